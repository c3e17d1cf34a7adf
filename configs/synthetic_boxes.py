"""Boxes of drawn people: a first detector, without a download.

python -m hourglass_jax.main --config=configs/synthetic_boxes.py --workdir=runs/synthetic_boxes
"""


def get_config(config):
    config.task = "detection"
    config.num_steps = 2500

    config.data.dataset = "synthetic_scenes"
    config.data.resolution = 256
    config.data.drawing_seed = 0
    config.data.num_train = 3000
    config.data.num_validation = 300

    config.model.preset = "detection_small"
    config.model.input_size = 192

    config.detection = {"kind": "centres", "max_objects": 16, "suppression": "gaussian"}
    config.augment.update(scale=0.4, rotation=0.0, rotation_probability=0.0, translate=0.3)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=2500, batch_size=50)
    config.checkpoint.every_steps = 625
    return config
