"""A small network on drawn people: the first thing to run, nothing to download.

    python -m hourglass_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Two CPU cores: one minute to draw the people, 4 to 9 to train. Expected: PCKh@0.5 of about
0.91.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16  # over all devices
    config.num_steps = 2500
    config.num_epochs = 0.0  # instead of num_steps, if above 0
    config.init_from = ""  # a workdir or checkpoint to fine-tune; empty: from scratch
    config.freeze = ()  # patterns of parameters that stay as they are, such as ("stem/*",)
    config.sync_batch_norm = False  # statistics per device, as the reference has them
    config.freeze_batch_norm = False  # True: train with the running statistics as they are
    config.accumulate = 1  # parts of a batch, computed one after the other
    config.ema_decay = 0.0  # of averaged parameters, which are evaluated; 0: none
    config.profile_steps = 0  # steps to profile for TensorBoard, after the first ten

    config.data = ConfigDict()
    config.data.dataset = "synthetic_people"
    config.data.data_dir = ""  # where records go; empty: TFDS's own folder
    config.data.resolution = 128  # px of a person's box that records keep
    config.data.shuffle_buffer = 8192  # records; about 12 kB each
    config.data.drawing_seed = 0
    config.data.num_train = 4000
    config.data.num_validation = 500

    config.model = ConfigDict()
    config.model.num_stacks = 2
    config.model.order = 3  # 24, 12, 6, 3 px
    config.model.features = 64
    config.model.stem_features = 16
    config.model.num_residuals = 1
    config.model.input_size = 96
    config.model.stem = "paper"
    config.model.dtype = "float32"
    config.model.remat = False

    config.heatmap = ConfigDict()
    config.heatmap.sigma = 1.25
    config.heatmap.zero_target = False

    config.augment = ConfigDict()
    config.augment.scale = 0.1
    config.augment.rotation = 180.0  # one person in ten lies or stands on the head
    config.augment.rotation_probability = 0.2
    config.augment.translate = 0.03
    config.augment.flip = 0.5
    config.augment.colour = 0.2

    config.optimizer = ConfigDict()
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.drop_at = (0.8,)  # of the step schedule: shares of the run
    config.optimizer.drop_factor = 0.2
    config.optimizer.multipliers = ()  # of the learning rate, such as ("stem/*=0.1",)
    config.optimizer.patience = 2000  # of the plateau schedule: steps without progress
    config.optimizer.clip_norm = 0.0  # 0: none

    config.eval = ConfigDict()
    config.eval.every_steps = 2500
    config.eval.batch_size = 50
    config.eval.flip_test = True
    config.eval.decode = "refined"

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 625
    config.checkpoint.keep = 2  # latest ones, beside the best

    config.log_every_steps = 50
    return config
