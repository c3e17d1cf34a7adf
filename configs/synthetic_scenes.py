"""Everybody's pose in drawn scenes, by associative embedding: a first run, without a download.

    python -m hourglass_jax.main --config=configs/synthetic_scenes.py --workdir=runs/scenes

Two CPU cores: one minute to draw the scenes, 12 to 15 minutes to train. Expected: OKS AP of 0.31 on
the 300 scenes held out.
"""


def get_config(config):
    config.task = "grouped_pose"
    config.grouped_pose = {"sigma": 1.5, "max_people": 10, "tag_weight": 4e-3, "threshold": 0.2}
    config.num_steps = 3000

    config.data.dataset = "synthetic_scenes"
    config.data.resolution = 256
    config.data.shuffle_buffer = 3000
    config.data.drawing_seed = 0
    config.data.num_train = 3000
    config.data.num_validation = 300

    config.model.update(num_stacks=1, features=64, stem_features=16)
    config.model.update(input_size=256, training_size=192)
    config.augment.update(scale=0.3, rotation=0.0, rotation_probability=0.0, translate=0.15)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.patience = 2000

    config.eval.update(every_steps=3000, batch_size=50, decode="refined")
    config.eval.scales = (0.75, 1.0, 1.5)
    config.checkpoint.every_steps = 750
    return config
