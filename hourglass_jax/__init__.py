"""Stacked Hourglass Networks in JAX: the public names, which are loaded lazily."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of `_PUBLIC`, for type checkers and editors
    from hourglass_jax.checkpoint.state import TrainState, create_train_state
    from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
    from hourglass_jax.data.skeleton import COCO, FLIC, LSP, MPII, Skeleton
    from hourglass_jax.errors import RunError, UserError
    from hourglass_jax.evaluation.step import make_eval_step
    from hourglass_jax.inference.detector import Detector
    from hourglass_jax.inference.estimator import PoseEstimator
    from hourglass_jax.inference.found import Detections, Poses
    from hourglass_jax.nn.hourglass104 import Hourglass104
    from hourglass_jax.nn.network import Normalisation, forward, init_variables
    from hourglass_jax.nn.pose_ae import PoseAE
    from hourglass_jax.nn.presets import PRESETS
    from hourglass_jax.nn.stacked_hourglass import Hourglass, Residual, StackedHourglass
    from hourglass_jax.tasks.base import Head, Instance, Metric, Task
    from hourglass_jax.tasks.detection.task import Detection
    from hourglass_jax.tasks.grouped_pose.task import GroupedPose
    from hourglass_jax.tasks.single_pose.heatmap import decode as decode_heatmaps
    from hourglass_jax.tasks.single_pose.heatmap import encode as encode_heatmaps
    from hourglass_jax.tasks.single_pose.heatmap import flip_heatmaps
    from hourglass_jax.tasks.single_pose.losses import heatmap_loss
    from hourglass_jax.tasks.single_pose.metrics import pck, pckh, pckh_auc
    from hourglass_jax.tasks.single_pose.task import SinglePose
    from hourglass_jax.training.step import make_train_step
    from hourglass_jax.training.train import train_and_evaluate

__version__ = "0.1.0"

_PUBLIC = {
    "checkpoint.state": ("TrainState", "create_train_state"),
    "data.base": ("AnnotatedImage", "Annotation", "Source"),
    "data.skeleton": ("COCO", "FLIC", "LSP", "MPII", "Skeleton"),
    "errors": ("RunError", "UserError"),
    "evaluation.step": ("make_eval_step",),
    "inference.detector": ("Detector",),
    "inference.estimator": ("PoseEstimator",),
    "inference.found": ("Detections", "Poses"),
    "nn.hourglass104": ("Hourglass104",),
    "nn.network": ("Normalisation", "forward", "init_variables"),
    "nn.pose_ae": ("PoseAE",),
    "nn.presets": ("PRESETS",),
    "nn.stacked_hourglass": ("Hourglass", "Residual", "StackedHourglass"),
    "tasks.base": ("Head", "Instance", "Metric", "Task"),
    "tasks.detection.task": ("Detection",),
    "tasks.grouped_pose.task": ("GroupedPose",),
    "tasks.single_pose.heatmap": ("decode_heatmaps", "encode_heatmaps", "flip_heatmaps"),
    "tasks.single_pose.losses": ("heatmap_loss",),
    "tasks.single_pose.metrics": ("pck", "pckh", "pckh_auc"),
    "tasks.single_pose.task": ("SinglePose",),
    "training.step": ("make_train_step",),
    "training.train": ("train_and_evaluate",),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
# These have shorter names in their modules, where the context is clear.
_SHORT_NAMES = {"decode_heatmaps": "decode", "encode_heatmaps": "encode"}
__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]  # listed above


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, _SHORT_NAMES.get(name, name))


def __dir__() -> list[str]:
    return [*globals(), *__all__]
