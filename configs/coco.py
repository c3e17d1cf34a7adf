"""The paper's network with 4 stacks on COCO's people with keypoints.

    python -m hourglass_jax.main --config=configs/coco.py --config.data.manual_dir=DIR

DIR holds annotations/, train2017/ and val2017/, as unpacked from COCO's archives. Training on about
150,000 people takes 8.5e17 operations, 8 to 12 hours on an A100 at 20 to 30 TFLOP/s (not run yet).
Published: 72.6 AP on val2017 with a detector's boxes, for another, heavier hourglass at 256 px
(MMPose's "hourglass52").
"""


def get_config(config):
    config.batch_size = 32
    config.num_steps = 300_000  # 64 epochs

    config.data.dataset = "coco"
    config.data.manual_dir = ""  # holds annotations/, train2017/ and val2017/
    config.data.train_json = ""  # empty: annotations/person_keypoints_train2017.json
    config.data.image_dir = ""  # empty: train2017
    config.data.validation_json = ""  # empty: annotations/person_keypoints_val2017.json
    config.data.validation_image_dir = ""  # empty: val2017
    config.data.detections = (
        ""  # boxes to evaluate, in COCO's results format; empty: annotated ones
    )
    config.data.outside_files = False  # whether images may lie outside their folder
    config.data.allow_missing = 0  # people whose image may be missing or unreadable

    config.model.num_stacks = 4

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 500
    return config
