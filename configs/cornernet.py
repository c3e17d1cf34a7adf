"""CornerNet on COCO: boxes as pairs of corners, Hourglass-104 (Law and Deng, ECCV 2018).

    python -m hourglass_jax.main --config=configs/cornernet.py --config.data.manual_dir=DIR

DIR holds annotations/, train2017/ and val2017/. Training takes 6.6e19 operations, 200 passes over
118,287 images: 40 to 60 hours on eight A100s at 40 to 60 TFLOP/s each (not run yet; the authors
used ten Titan X). Published: 40.5 AP on test-dev, 38.4 on the 5,000 images of val2017 after half
of the updates. The paper's batch is 49, of which ten GPUs receive 4 or 5 images each.
"""


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "corners", "min_iou": 0.3}
    config.batch_size = 48
    config.num_steps = 500_000

    config.data.dataset = "coco_detection"
    config.data.manual_dir = ""  # holds annotations/, train2017/ and val2017/
    config.data.resolution = 640
    config.data.shuffle_buffer = 2048

    config.model.preset = "cornernet_104"
    config.model.input_size = 511
    config.model.dtype = "bfloat16"
    config.model.remat = True

    config.augment.update(scale=0.4, rotation=0.0, rotation_probability=0.0, translate=0.3)
    config.augment.update(colour=0.0, jitter=0.4, lighting=0.1)

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2.5e-4
    config.optimizer.drop_at = (0.9,)
    config.optimizer.drop_factor = 0.1

    config.eval.update(every_steps=25_000, batch_size=32)
    return config
