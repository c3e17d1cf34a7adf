"""`people-pose`: poses of people in sport and everyday photographs, whole or cut off, on a CPU.

    python -m hourglass_jax.main --config=configs/people_pose.py --config.data.manual_dir=DIR

It learns 19 joints, those of Leeds Sports Pose and of COCO, labelled where a data set labels them.
A teacher's joints mend the labels of Leeds Sports Pose's extended set, and label people who only
have boxes; see hourglass_jax/data/teacher.py.

The network in the package was trained on one H200 in 7 minutes, in bfloat16, its learning rate
following the clock; see hourglass_jax/models/README.md. Two CPU cores: about 10 hours for the same
883,000 images, estimated from single steps. Records take 162 MB. A run that was stopped goes on
with the same command. To train on from its best checkpoint with another recipe, give another
--workdir and --config.init_from=WORKDIR. Expected on people held out: PCK@0.2 of
85 % for Leeds Sports Pose, a mean OKS of 0.67 for COCO.
"""

_LSP = ("lsp", "lspet", "lspet_partial")
_TEACHER = "teacher.npz"
# Folders, and their shares of a batch. Those of Leeds Sports Pose are split together.
PARTS = (
    ("lsp", 0.17, {"folders": _LSP[:1], "beside": _LSP[1:]}),
    ("lspet", 0.38, {"beside": _LSP[::2], "teacher": _TEACHER}),
    ("lspet_partial", 0.17, {"beside": _LSP[:2], "teacher": _TEACHER}),
    ("coco_people", 0.13),
    ("people_boxes", 0.15, {"teacher": _TEACHER}),
)


def get_config(config):
    config.batch_size = 128
    config.num_steps = 6900
    config.ema_decay = 0.999

    config.data.dataset = "mixture"
    config.data.manual_dir = ""  # holds the folders of the parts
    config.data.parts = PARTS
    config.data.validate_on = ("lsp", "coco_people")
    config.data.resolution = 160

    config.model.update(num_stacks=2, order=4, features=144, stem_features=32, input_size=128)
    config.heatmap.update(sigma=1.25, zero_outside=True)
    config.augment.update(scale=0.3, rotation=40.0, rotation_probability=0.6, translate=0.05)
    config.augment.update(any_angle=0.15, half_body=0.2, occluder=0.3, jitter=0.2)

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 2e-2
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.patience = 5000

    config.eval.update(every_steps=690, batch_size=50, decode="refined")
    config.checkpoint.every_steps = 230
    return config
