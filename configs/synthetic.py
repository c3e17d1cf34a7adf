"""A small network on drawn people: a first run, without a download.

    python -m hourglass_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Two CPU cores: one minute to draw the people, 4 to 9 minutes to train. Expected:
PCKh@0.5 of about 0.91.
"""


def get_config(config):
    config.num_steps = 2500

    config.data.dataset = "synthetic_people"
    config.data.resolution = 128
    config.data.drawing_seed = 0
    config.data.num_train = 4000
    config.data.num_validation = 500

    config.model.update(num_stacks=2, order=3, features=64, stem_features=16, input_size=96)
    config.heatmap.sigma = 1.25
    config.augment.scale = 0.1
    config.augment.rotation = 180.0  # one person in ten lies or is upside down
    config.augment.rotation_probability = 0.2
    config.augment.translate = 0.03

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=2500, batch_size=50, decode="refined")
    config.checkpoint.every_steps = 625
    return config
