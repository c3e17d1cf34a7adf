"""A small network on Leeds Sports Pose and its extended set, for a CPU.

    python -m hourglass_jax.main --config=configs/lsp.py --config.data.manual_dir=DIR

Two CPU cores: 34 minutes in all, for 112,000 pictures. Expected: PCK@0.2 of about 0.745 on the
1,000 test people. For an accelerator scale it up to the paper's network:
--config.model.num_stacks=8 --config.model.features=256 --config.model.stem_features=64
--config.model.order=4 --config.model.input_size=256 --config.data.resolution=256, and more steps.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16  # over all devices
    config.num_steps = 7000
    config.num_epochs = 0.0  # instead of num_steps, if above 0
    config.init_from = ""  # a workdir or checkpoint to fine-tune; empty: from scratch
    config.freeze = ()  # patterns of parameters that stay as they are, such as ("stem/*",)
    config.sync_batch_norm = False  # statistics per device, as the reference has them
    config.freeze_batch_norm = False  # True: train with the running statistics as they are
    config.accumulate = 1  # parts of a batch, computed one after the other
    config.ema_decay = 0.0  # of averaged parameters, which are evaluated; 0: none
    config.profile_steps = 0  # steps to profile for TensorBoard, after the first ten

    config.data = ConfigDict()
    config.data.dataset = "lsp"
    config.data.manual_dir = ""  # holds lsp/ and lspet/, as published
    config.data.extended = True  # train on lspet/ as well
    config.data.data_dir = ""  # where records go; empty: TFDS's own folder
    config.data.resolution = 128  # px of a person's box that records keep
    config.data.shuffle_buffer = 8192  # records; about 9 kB each

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
    config.augment.scale = 0.2
    config.augment.rotation = 30.0
    config.augment.rotation_probability = 0.5
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
    config.eval.every_steps = 1750
    config.eval.batch_size = 50
    config.eval.flip_test = True
    config.eval.decode = "refined"

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 700
    config.checkpoint.keep = 2  # latest ones, beside the best

    config.log_every_steps = 50
    return config
