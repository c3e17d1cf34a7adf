"""`lsp-small`, the network of poses that comes with the package: Leeds Sports Pose on a CPU.

    python -m hourglass_jax.main --config=configs/lsp_small.py --config.data.manual_dir=DIR

Two CPU cores: 45 to 60 minutes, for 256,000 images. Expected: PCK@0.2 of 0.795 on the 1,000 test
people, with the 5,597 people of the extended set that have at least 13 joints labelled.
"""


def get_config(config):
    config.num_steps = 16_000
    config.ema_decay = 0.999

    config.data.dataset = "lsp"
    config.data.manual_dir = ""  # holds lsp/ and lspet/, as published
    config.data.extended = True  # train on lspet/ as well
    config.data.resolution = 128

    config.model.update(num_stacks=2, order=3, features=96, stem_features=24, input_size=96)
    config.heatmap.sigma = 1.25
    config.augment.update(rotation=40.0, rotation_probability=0.6, translate=0.03)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=2000, batch_size=50, decode="refined")
    config.checkpoint.every_steps = 1000
    return config
