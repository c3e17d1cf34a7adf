"""A small detector of drawn people: a first run, without a download.

    python -m hourglass_jax.main --config=configs/synthetic_boxes.py --workdir=runs/synthetic_boxes

Two CPU cores: one minute to draw the scenes, 13 to 15 to train and evaluate. Expected: AP of
0.54, and 0.86 at an IoU of 0.5, on the 300 scenes held out. With people's joints as well,
--config.detection.kind=centres_and_joints, it takes 18 minutes (boxes' AP 0.50, OKS AP 0.40).
Corners instead of centres learn more slowly: with --config.detection.kind=corners and
--config.num_steps=3200 it takes 25 to 28 minutes (AP 0.57, and 0.80 at an IoU of 0.5).
"""


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "centres", "max_objects": 16, "tag_weight": 1.0, "reach": 1}
    config.num_steps = 2600

    config.data.dataset = "synthetic_scenes"
    config.data.resolution = 320
    config.data.shuffle_buffer = 3000
    config.data.drawing_seed = 0
    config.data.num_train = 3000
    config.data.num_validation = 300

    config.model.preset = "detection_small"
    config.model.input_size = 320
    config.model.training_size = 192
    config.augment.update(scale=0.3, rotation=0.0, rotation_probability=0.0, translate=0.15)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=2600, batch_size=50, scales=(0.6, 0.8, 1.1))
    config.checkpoint.every_steps = 650
    return config
