"""Your own keypoints: labels as COCO's JSON or as a labelling tool writes them, and images.

    python -m hourglass_jax.main --config=configs/custom.py --config.data.train_json=LABELS \\
        --config.init_from=lsp-small

Joints, pairs and limbs come from the file. The recipe is for 20 to 500 labelled images. With
init_from, the network is that of the checkpoint, in shape and weights; without, it is a small one
that starts from nothing. Two CPU cores: 4 to 6 minutes. Trained from lsp-small on 87 images of a
mouse with four joints each, it finds all 116 joints in 29 other images within 10 px (of 640). On
an accelerator, leave init_from out, and use a larger network and more steps:
--config.model.features=256 --config.model.stem_features=64 --config.model.num_stacks=4
--config.num_steps=20000 --config.eval.patience=0.
"""


def get_config(config):
    config.num_steps = 1000
    config.init_network = True

    config.data.dataset = "custom"
    config.data.train_json = ""  # a file or project, several with commas, or a pattern
    config.data.image_dir = ""  # folder of images or videos; empty: near the labels
    config.data.validation_json = ""  # empty: a fixed random tenth is held out
    config.data.validation_image_dir = ""  # empty: image_dir
    config.data.outside_files = False  # whether images may lie outside their folder
    config.data.allow_missing = 0  # annotations whose image may be missing or unreadable
    config.data.pck_reference = "box"  # or "one_joint:other_joint"
    config.data.pck_threshold = 0.1  # of the box's side, or of the joints' distance
    config.data.resolution = 128

    config.model.update(num_stacks=2, order=3, features=64, stem_features=16, input_size=128)
    config.heatmap.sigma = 1.25
    config.augment.update(rotation=45.0, rotation_probability=0.8, translate=0.05)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.patience = 2000

    config.eval.update(every_steps=250, patience=500, batch_size=32, decode="refined")
    config.checkpoint.every_steps = 250
    return config
