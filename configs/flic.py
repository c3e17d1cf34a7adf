"""The paper's network on FLIC, film frames of upper bodies.

    python -m hourglass_jax.main --config=configs/flic.py --config.data.manual_dir=DIR

DIR holds FLIC/examples.mat and FLIC/images/. Training takes 6.6e16 operations, about an hour on an
A100 at 20 TFLOP/s (not run yet). Published, with 8 stacks: PCK@0.2 of 99.0 % for elbows and
97.0 % for wrists (Newell et al. 2016, table 1), with observer-centric joints; here they are
person-centric, which differs for people who turn their backs.
"""


def get_config(config):
    config.num_steps = 25_000  # 111 epochs

    config.data.dataset = "flic"
    config.data.manual_dir = ""  # holds FLIC/examples.mat and FLIC/images/
    config.data.allow_missing = 0  # people whose image may be missing or unreadable

    config.model.num_stacks = 8

    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 2.5e-4
    return config
