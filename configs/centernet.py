"""CenterNet on COCO: boxes as centres with a size, Hourglass-104 (Zhou et al. 2019).

    python -m hourglass_jax.main --config=configs/centernet.py --config.data.manual_dir=DIR \\
        --config.init_from=CORNERNET

DIR holds annotations/, train2017/ and val2017/. As published, training starts from a detector with
the same hourglasses, here a checkpoint of configs/cornernet.py or CornerNet's converted weights. It
takes 1.0e19 operations: 6 to 9 hours on eight A100s at 40 to 60 TFLOP/s each (not run yet; the
authors needed 109 hours on 5 GPUs). Published: 40.3 AP on val2017, 42.2 with the flip test. From
scratch, with --config.num_epochs=100, it is 38.9 and 40.6.
"""


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "centres", "min_iou": "published"}
    config.batch_size = 24
    config.num_epochs = 50.0
    config.init_from = ""  # a checkpoint of configs/cornernet.py; empty: from scratch

    config.data.dataset = "coco_detection"
    config.data.manual_dir = ""  # holds annotations/, train2017/ and val2017/
    config.data.resolution = 640
    config.data.shuffle_buffer = 2048

    config.model.preset = "centernet_104"
    config.model.input_size = 512
    config.model.dtype = "bfloat16"
    config.model.remat = True

    config.augment.update(scale=0.4, rotation=0.0, rotation_probability=0.0, translate=0.3)
    config.augment.update(colour=0.0, jitter=0.4, lighting=0.1)

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2.5e-4
    config.optimizer.drop_at = (0.8,)
    config.optimizer.drop_factor = 0.1

    config.eval.update(every_steps=25_000, batch_size=32)
    return config
