"""Everybody's pose in one pass on COCO, by associative embedding (Newell et al. 2017).

    python -m hourglass_jax.main --config=configs/coco_grouped.py --config.data.manual_dir=DIR

DIR holds annotations/, train2017/ and val2017/. It takes 8.5e18 operations: 5 to 7 hours on eight
A100s at 40 to 60 TFLOP/s each (not run yet). Published: 56.6 OKS AP on test-dev with the flip test,
63.0 with several scales; users who trained the published program reached 53 on val2017. The paper's
stacks of residual modules do with a quarter of it: --config.model.preset=paper_4. Unlike the
published program, this masks people without labelled joints, as HigherHRNet does.
"""


def get_config(config):
    config.task = "grouped_pose"
    config.grouped_pose = {"sigma": 2.0, "max_people": 30, "tag_weight": 1e-3}
    config.batch_size = 32
    config.num_steps = 200_000

    config.data.dataset = "coco_detection"
    config.data.manual_dir = ""  # holds annotations/, train2017/ and val2017/
    config.data.joints = True  # people alone
    config.data.resolution = 640
    config.data.shuffle_buffer = 2048

    config.model.preset = "pose_ae"
    config.model.input_size = 512
    config.model.dtype = "bfloat16"
    config.model.remat = True

    config.augment.update(scale=0.25, rotation=30.0, translate=0.2, colour=0.0, jitter=0.4)

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2e-4
    config.optimizer.drop_at = (0.75,)
    config.optimizer.drop_factor = 0.05

    config.eval.update(every_steps=20_000, batch_size=16)
    return config
