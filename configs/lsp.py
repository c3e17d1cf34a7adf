"""A small network on Leeds Sports Pose and its extended set, for a CPU.

    python -m hourglass_jax.main --config=configs/lsp.py --config.data.manual_dir=DIR

Two CPU cores: 34 minutes in all, for 112,000 images. Expected: PCK@0.2 of about 0.745 on the
1,000 test people. On an accelerator use the paper's network:
--config.model.num_stacks=8 --config.model.features=256 --config.model.stem_features=64
--config.model.order=4 --config.model.input_size=256 --config.data.resolution=256, and more steps.
"""


def get_config(config):
    config.num_steps = 7000

    config.data.dataset = "lsp"
    config.data.manual_dir = ""  # holds lsp/ and lspet/, as published
    config.data.extended = True  # train on lspet/ as well
    config.data.resolution = 128

    config.model.update(num_stacks=2, order=3, features=64, stem_features=16, input_size=96)
    config.heatmap.sigma = 1.25
    config.augment.update(scale=0.2, rotation_probability=0.5, translate=0.03)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=1750, batch_size=50, decode="refined")
    config.checkpoint.every_steps = 700
    return config
