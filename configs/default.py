"""Every field, with the value that it has unless an experiment's file changes it.

The network and the recipe are those of the paper (Newell et al. 2016, 4.1). Data sets and
other tasks have further fields, which files in this folder that use them set.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "single_pose"  # what the network learns; or detection, grouped_pose
    config.seed = 0
    config.batch_size = 16  # over all devices
    config.num_steps = 250_000
    config.num_epochs = 0.0  # instead of num_steps, if above 0
    config.init_from = ""  # a workdir or checkpoint to fine-tune; empty: from scratch
    config.init_network = False  # True: with init_from, config.model is that of the checkpoint
    config.freeze = ()  # patterns of parameters that are not trained, such as ("stem/*",)
    config.sync_batch_norm = False  # False: statistics of each device, as in the reference
    config.freeze_batch_norm = False  # True: train with the running statistics, unchanged
    config.accumulate = 1  # number of parts of a batch, computed one after another
    config.ema_decay = 0.0  # decay of averaged parameters, which are then evaluated; 0: no averages
    config.profile_steps = 0  # steps to profile for TensorBoard, after the first ten
    config.log_every_steps = 50
    config.log_to = ""  # "mlflow": also to MLflow's server, at MLFLOW_TRACKING_URI

    config.data = ConfigDict()
    config.data.dataset = ""  # a data set by name, such as mpii; see docs/data.md
    config.data.data_dir = ""  # where records go; empty: TFDS's own folder
    config.data.resolution = 256  # px of a person's box, or of a whole image, that records keep
    config.data.shuffle_buffer = 8192  # records; about 50 kB each at 256 px, 9 to 12 kB at 128 px

    config.model = ConfigDict()
    config.model.network = "stacked_hourglass"
    config.model.preset = ""  # a network by name, such as centernet_104; fields set here win
    config.model.num_stacks = 8
    config.model.order = 4  # how many times a stack halves its input: 64, 32, 16, 8, 4 px
    config.model.features = 256
    config.model.stem_features = 64  # of the first convolution
    config.model.num_residuals = 1  # at each place of a stack
    config.model.input_size = 256  # px
    config.model.training_size = 0  # of training's inputs; 0: input_size
    config.model.stem = "paper"  # or "bearpaw", the wider stem of some published networks
    config.model.dtype = "float32"  # of the computation: float32, bfloat16 or float64
    config.model.remat = False  # True: recompute stacks in the backward pass, to save memory

    config.heatmap = ConfigDict()
    config.heatmap.sigma = 1.0  # of the Gaussian at each joint, px of the heatmap
    config.heatmap.zero_target = False  # True: joints without a label are trained to empty maps
    config.heatmap.zero_outside = False  # True: so are labelled joints beyond the crop

    config.augment = ConfigDict()
    config.augment.scale = 0.25  # uniform in 1 -+ scale
    config.augment.rotation = 30.0  # largest angle either way, degrees
    config.augment.rotation_probability = 1.0
    config.augment.translate = 0.0  # largest shift either way, as a share of the input's side
    config.augment.aspect = 0.0  # of whole images: width to height changes by up to 1 + aspect
    config.augment.any_angle = 0.0  # share of the images that are rotated by any angle
    config.augment.half_body = 0.0  # share of the people of whom one end of the body is shown
    config.augment.occluder = 0.0  # share of the images that a rectangle partly covers
    config.augment.flip = 0.5  # probability of a mirrored image
    config.augment.colour = 0.2  # each channel's gain is uniform in 1 -+ colour
    config.augment.jitter = 0.0  # brightness, contrast and saturation: factors in 1 -+ jitter
    config.augment.lighting = 0.0  # of the light's colour, standard deviations; AlexNet: 0.1

    config.optimizer = ConfigDict()
    config.optimizer.name = "rmsprop"  # rmsprop, adam or muon
    config.optimizer.learning_rate = 2.5e-4
    config.optimizer.schedule = "step"  # constant, step, cosine or plateau
    config.optimizer.warmup_steps = 0
    config.optimizer.drop_at = (0.8,)  # of the step schedule: shares of the run
    config.optimizer.drop_factor = 0.2
    config.optimizer.multipliers = ()  # of the learning rate, such as ("stem/*=0.1",)
    config.optimizer.patience = 20_000  # of the plateau schedule: steps without progress
    config.optimizer.clip_norm = 0.0  # of the gradient; 0: not clipped

    config.eval = ConfigDict()
    config.eval.every_steps = 5000
    config.eval.patience = 0  # ends training so many steps after the best figure; 0: never
    config.eval.batch_size = 64
    config.eval.flip_test = True  # average with the mirrored image's outputs
    config.eval.scales = (1.0,)  # of whole images: sizes, as multiples of model.input_size
    config.eval.decode = "quarter"  # quarter of a pixel, as in the paper, or refined

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 1000
    config.checkpoint.keep = 2  # number of latest checkpoints, in addition to the best
    return config
