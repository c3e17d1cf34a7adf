"""The paper's network on MPII Human Pose: 8 stacks, 256 px, RMSprop (Newell et al. 2016, 4.1).

    python -m hourglass_jax.main --config=configs/mpii.py --config.data.manual_dir=DIR

DIR holds mpii_human_pose_v1_u12_1.mat and images/ or mpii_human_pose_v1.tar.gz, as the site
distributes them; making records takes a few minutes. Training takes 6.6e17 operations, 6 to 9 hours
on an A100 at 20 to 30 TFLOP/s (not run yet; the authors needed 3 days on a Titan X). On several
devices, 16 images are few for each: docs/scaling.md says what to set there. Published: 88.1 %
PCKh@0.5 on the validation split (the authors' repository), 90.9 % on test.
"""


def get_config(config):
    config.num_steps = 250_000  # 180 epochs

    config.data.dataset = "mpii"
    config.data.manual_dir = ""  # holds mpii_human_pose_v1_u12_1.mat and images/
    config.data.allow_missing = 0  # people whose image may be missing or unreadable

    config.model.num_stacks = 8

    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 2.5e-4
    return config
