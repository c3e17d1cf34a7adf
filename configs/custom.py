"""Your own keypoints: a JSON in COCO's format (or DeepLabCut's CSV) and a folder of pictures.

    python -m hourglass_jax.main --config=configs/custom.py \\
        --config.data.train_json=FILE --config.data.image_dir=DIR

Joints, pairs and limbs come from the file. The network is small, for a few hundred pictures and a
CPU: 8 to 11 minutes on two cores. Trained on 87 pictures of a mouse it puts four points within 10
px, of 640, in 99 % of 29 others. On an accelerator take more: --config.model.features=256
--config.model.stem_features=64 --config.model.num_stacks=4 --config.num_steps=20000.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16  # over all devices
    config.num_steps = 1200
    config.num_epochs = 0.0  # instead of num_steps, if above 0
    config.init_from = ""  # a workdir or checkpoint to fine-tune; empty: from scratch
    config.freeze = ()  # patterns of parameters that stay as they are, such as ("stem/*",)
    config.sync_batch_norm = False  # statistics per device, as the reference has them
    config.freeze_batch_norm = False  # True: train with the running statistics as they are
    config.accumulate = 1  # parts of a batch, computed one after the other
    config.ema_decay = 0.0  # of averaged parameters, which are evaluated; 0: none
    config.profile_steps = 0  # steps to profile for TensorBoard, after the first ten

    config.data = ConfigDict()
    config.data.dataset = "custom"
    config.data.train_json = ""
    config.data.image_dir = ""  # where file_name leads from
    config.data.validation_json = ""  # empty: a seeded tenth of the pictures is held out
    config.data.validation_image_dir = ""  # empty: image_dir
    config.data.allow_missing = 0  # annotations whose picture may be missing or unreadable
    config.data.pck_reference = "box"  # or "one_joint:other_joint"
    config.data.pck_threshold = 0.1  # of the box's side, or of the joints' distance
    config.data.data_dir = ""  # where records go; empty: TFDS's own folder
    config.data.resolution = 128  # px of a box that records keep
    config.data.shuffle_buffer = 8192  # records; about 10 kB each

    config.model = ConfigDict()
    config.model.num_stacks = 2
    config.model.order = 3  # 32, 16, 8, 4 px
    config.model.features = 64
    config.model.stem_features = 16
    config.model.num_residuals = 1
    config.model.input_size = 128
    config.model.stem = "paper"
    config.model.dtype = "float32"
    config.model.remat = False

    config.heatmap = ConfigDict()
    config.heatmap.sigma = 1.25
    config.heatmap.zero_target = False

    config.augment = ConfigDict()
    config.augment.scale = 0.25
    config.augment.rotation = 45.0
    config.augment.rotation_probability = 0.8
    config.augment.translate = 0.05
    config.augment.flip = 0.5
    config.augment.colour = 0.2

    config.optimizer = ConfigDict()
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.drop_at = (0.8,)  # of the step schedule: shares of the run
    config.optimizer.drop_factor = 0.2
    config.optimizer.multipliers = ()  # of the learning rate, such as ("stem/*=0.1",)
    config.optimizer.patience = 2000  # of the plateau schedule: steps without progress
    config.optimizer.clip_norm = 0.0  # 0: none

    config.eval = ConfigDict()
    config.eval.every_steps = 400
    config.eval.batch_size = 32
    config.eval.flip_test = True
    config.eval.decode = "refined"

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 400
    config.checkpoint.keep = 2  # latest ones, beside the best

    config.log_every_steps = 50
    return config
