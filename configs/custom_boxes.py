"""Your own boxes: a JSON file in COCO's format, and images.

    python -m hourglass_jax.main --config=configs/custom_boxes.py \\
        --config.data.train_json=FILE --config.data.image_dir=DIR

The categories are those of the file. The network is small, for a few hundred images: two CPU cores
take 11 to 14 minutes, after which drawn people are found with an AP50 of 0.84. What to expect of
photographs depends on them, and has not been measured: from scratch, the network learns a few
categories of one look, but no everyday scenes. For those, start from a trained detector,
--config.init_from=CHECKPOINT, whose network is then used. On an accelerator, use a larger network
and more steps (not run yet): --config.model.preset=centernet_52 --config.model.input_size=512
--config.data.resolution=640 --config.num_steps=20000.
"""


def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "centres"}
    config.num_steps = 3000
    config.init_network = True

    config.data.dataset = "custom_boxes"
    config.data.train_json = ""  # a file, several with commas, or a pattern
    config.data.image_dir = ""  # folder of images; empty: near the annotations
    config.data.validation_json = ""  # empty: a fixed random tenth is held out
    config.data.validation_image_dir = ""  # empty: image_dir
    config.data.outside_files = False  # whether images may lie outside their folder
    config.data.allow_missing = 0  # annotations whose image may be missing or unreadable
    config.data.exhaustive = True  # False: there may be objects without a box
    config.data.resolution = 256
    config.data.shuffle_buffer = 4096

    config.model.preset = "detection_small"
    config.model.input_size = 192
    config.augment.update(scale=0.4, rotation=0.0, rotation_probability=0.0, translate=0.2)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100

    config.eval.update(every_steps=1000, batch_size=32)
    return config
