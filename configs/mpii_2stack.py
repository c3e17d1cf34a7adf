"""The paper's recipe with 2 stacks: a quarter of the cost, and about a point less.

    python -m hourglass_jax.main --config=configs/mpii_2stack.py --config.data.manual_dir=DIR

DIR holds mpii_human_pose_v1_u12_1.mat and images/ or mpii_human_pose_v1.tar.gz. Training
takes 2.0e17 operations, 2 to 3 hours on an A100 at 20 to 30 TFLOP/s (not run yet). Published:
87.3 % PCKh@0.5 on the validation split (bearpaw's "hg_s2_b1", counted by this project's
evaluation).
"""


def get_config(config):
    config.num_steps = 250_000  # 180 epochs

    config.data.dataset = "mpii"
    config.data.manual_dir = ""  # holds mpii_human_pose_v1_u12_1.mat and images/
    config.data.allow_missing = 0  # people whose image may be missing or unreadable

    config.model.num_stacks = 2

    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 2.5e-4
    return config
