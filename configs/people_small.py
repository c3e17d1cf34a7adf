"""`people-small`, the finder of people that comes with the package: on a CPU.

    python -m hourglass_jax.main --config=configs/people_small.py --config.data.manual_dir=DIR

It learns from images of 192 px, and looks for people in 192 and in 320 px.

Two CPU cores: 75 minutes for 176,000 images. Expected: see hourglass_jax/models/README.md.
"""

# Folders or data sets, and their shares of a batch.
PARTS = (
    ("people_boxes", 0.2),
    ("people_boxes_more", 0.45),
    ("coco_people", 0.12),
    ("lsp", 0.05, {"extended": False}),
    ("lspet", 0.06),
    ("lspet_partial", 0.04),
    ("synthetic_scenes", 0.08, {"num_train": 3000, "num_validation": 300}),
)


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "centres"}
    config.batch_size = 8
    config.num_steps = 22_000
    config.ema_decay = 0.999

    config.data.dataset = "mixture"
    config.data.manual_dir = ""  # holds the folders of the parts
    config.data.parts = PARTS
    config.data.validate_on = "coco_people"
    config.data.resolution = 320
    config.data.shuffle_buffer = 4096

    config.model.preset = "detection_small"
    config.model.widths = (32, 48, 64, 96, 96)
    config.model.blocks = (1, 1, 1, 1, 1)
    config.model.input_size = 320
    config.model.training_size = 192
    config.augment.update(scale=0.6, rotation=0.0, rotation_probability=0.0, translate=0.25)
    config.augment.update(aspect=0.35, jitter=0.3, colour=0.1, lighting=0.1)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.patience = 5000

    config.eval.update(every_steps=22_000, batch_size=32, scales=(0.6, 1.0))
    config.checkpoint.every_steps = 500
    return config
