"""Small networks with random weights, whose outputs depend on the image, for tests of their use."""

import pathlib
from typing import Any

import jax
import numpy as np

from hourglass_jax import nn
from hourglass_jax.checkpoint.metadata import Inference, describe
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.data.base import NO_JOINTS
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.detection.options import CENTRES, CORNERS, JOINTS, Options
from hourglass_jax.tasks.detection.task import Detection
from hourglass_jax.tasks.grouped_pose.options import Options as GroupedOptions
from hourglass_jax.tasks.grouped_pose.task import GroupedPose
from hourglass_jax.tasks.single_pose.task import SinglePose

SIDE = 64
CATEGORIES, IDS = ("cup", "person"), (3, 7)
EYES = Skeleton("eyes", ("left_eye", "right_eye"), (("left_eye", "right_eye"),), ())
NORMALISATION = Normalisation((0.4, 0.5, 0.6), (0.3, 0.25, 0.2))
OPTIONS = {
    "hourglass104": {
        "num_stacks": 2, "widths": (8, 10, 12), "blocks": (1, 2, 1), "stem_features": 4,
        "corner_features": 4,
    },
    "stacked_hourglass": {"num_stacks": 2, "features": 8, "order": 2, "stem_features": 4},
}  # fmt: skip
# Of the last layer, so that outputs vary by about 1.
GAINS = {
    ("stacked_hourglass", CENTRES): 0.7,
    ("hourglass104", CENTRES): 8.0,
    ("hourglass104", JOINTS): 8.0,
    ("hourglass104", CORNERS): 30.0,
}


def detector(kind=CENTRES, network="hourglass104", categories=CATEGORIES, ids=IDS, **options):
    """Returns a network that finds boxes."""
    skeleton = EYES if kind == JOINTS else NO_JOINTS
    published = options.pop("published", False)
    settings = Options(kind=kind, top_k=20, max_objects=8, published=published)
    stride = options.get("stride", 4)
    task = Detection(settings, categories, ids, skeleton, stride, SIDE)
    fields = {**OPTIONS[network], **options}
    model = nn.make_network(network, fields, task.heads, normalisation=NORMALISATION)
    variables = _drawn(model)
    for module in _modules(variables["params"], ("outputs", "heatmaps")):
        module["kernel"] *= GAINS[network, kind]
        if "wh" in task.heads:  # boxes of about a third of the image
            first = len(task.heads["hm"].channels)
            module["bias"][first : first + 2] += 5.0
    return Trained(model, variables, task, SIDE, Inference(), pathlib.Path("somewhere"))


def poses(skeleton=EYES):
    """Returns a network that predicts one person's joints."""
    task = SinglePose(skeleton)
    options = OPTIONS["stacked_hourglass"]
    model = nn.make_network("stacked_hourglass", options, task.heads, normalisation=NORMALISATION)
    return Trained(model, _drawn(model), task, SIDE, Inference(), pathlib.Path("somewhere"))


def grouped(unused=0, **options):
    """Returns a network that predicts everybody's joints."""
    settings = GroupedOptions(**{"max_people": 5, **options})
    task = GroupedPose(settings, EYES, input_size=SIDE, resolution=SIDE, unused=unused)
    fields = {**OPTIONS["stacked_hourglass"], "num_stacks": 1, "order": 1}
    model = nn.make_network("stacked_hourglass", fields, task.heads, normalisation=NORMALISATION)
    variables = _drawn(model)
    for module in _modules(variables["params"], ("heatmaps",)):
        module["kernel"] *= 0.08  # peaks below 1, and tags that differ by less
        module["bias"] *= 0.0
    return Trained(model, variables, task, SIDE, Inference(), pathlib.Path("somewhere"))


def _drawn(model):
    rng = np.random.default_rng(1)

    def drawn(path, shape):
        leaf = path[-1].key
        if leaf == "kernel":
            spread = 1 / np.sqrt(np.prod(shape.shape[:-1]))
            return rng.normal(0, spread, shape.shape).astype(np.float32)
        low, high = {"bias": (-0.2, 0.2), "mean": (-0.1, 0.1)}.get(leaf, (0.7, 1.4))
        return rng.uniform(low, high, shape.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(drawn, nn.variable_shapes(model))


def _modules(params, names):
    for name, module in params.items():
        if name in names:
            yield module
        elif isinstance(module, dict):
            yield from _modules(module, names)


def save(folder: pathlib.Path, loaded: Trained, network="hourglass104") -> pathlib.Path:
    """Writes a workdir with the network as its only checkpoint."""
    model = loaded.model
    options = {
        name: getattr(model, name) for name in nn.network_class(network).Options.__annotations__
    }
    metadata = describe(
        config={},
        task=loaded.task,
        network={"name": network, "options": options, "input_size": SIDE, "dtype": "float32"},
        normalisation=NORMALISATION,
        inference=loaded.inference,
        records=None,
        averaged=False,
    )
    count: Any = np.int32(1)
    state = TrainState(step=count, opt_state=(), **loaded.variables)
    with Checkpoints(folder, None) as checkpoints:
        checkpoints.save(state, metadata, None)
    return folder
