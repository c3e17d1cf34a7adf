"""CenterNet's boxes and joints of everybody, in one network, on COCO (Zhou et al. 2019, 4.2).

    python -m hourglass_jax.main --config=configs/centernet_pose.py --config.data.manual_dir=DIR \\
        --config.init_from=CENTERNET

DIR holds annotations/, train2017/ and val2017/. As published, training starts from boxes alone, a
checkpoint of configs/centernet.py or its converted weights, and uses the 64,115 images with people.
It takes 6.7e18 operations: 4 to 6 hours on eight A100s at 40 to 60 TFLOP/s each (not run yet; the
authors needed 62 hours). Published: 58.7 OKS AP on val2017 with the flip test, and 64.0 with
--config.num_epochs=150 --config.optimizer.drop_at="(0.867,)".
"""


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "centres_and_joints", "min_iou": "published", "max_objects": 32}
    config.batch_size = 24
    config.num_epochs = 50.0
    config.init_from = ""  # a checkpoint of configs/centernet.py; empty: from scratch

    config.data.dataset = "coco_detection"
    config.data.manual_dir = ""  # holds annotations/, train2017/ and val2017/
    config.data.joints = True  # people alone
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
