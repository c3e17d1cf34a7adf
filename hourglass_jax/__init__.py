"""Stacked Hourglass Networks for human pose estimation in JAX. The public names, loaded lazily."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what follows, for type checkers and editors
    from hourglass_jax.data.skeleton import COCO, FLIC, LSP, MPII, Skeleton
    from hourglass_jax.errors import RunError, UserError
    from hourglass_jax.inference.estimator import PoseEstimator, Poses
    from hourglass_jax.nn.stacked_hourglass import (
        PRESETS,
        Hourglass,
        Normalisation,
        Residual,
        StackedHourglass,
        forward,
    )
    from hourglass_jax.tasks.single_pose.heatmap import decode, encode, flip_heatmaps
    from hourglass_jax.tasks.single_pose.losses import heatmap_loss
    from hourglass_jax.tasks.single_pose.metrics import pck, pckh, pckh_auc
    from hourglass_jax.training.step import (
        TrainState,
        create_train_state,
        init_variables,
        make_eval_step,
        make_train_step,
    )
    from hourglass_jax.training.train import train_and_evaluate

__version__ = "0.1.0"

_PUBLIC = {
    "data.skeleton": ("COCO", "FLIC", "LSP", "MPII", "Skeleton"),
    "errors": ("RunError", "UserError"),
    "inference.estimator": ("PoseEstimator", "Poses"),
    "nn.stacked_hourglass": (
        *("PRESETS", "Hourglass", "Normalisation", "Residual", "StackedHourglass"),
        "forward",
    ),
    "tasks.single_pose.heatmap": ("decode", "encode", "flip_heatmaps"),
    "tasks.single_pose.losses": ("heatmap_loss",),
    "tasks.single_pose.metrics": ("pck", "pckh", "pckh_auc"),
    "training.step": (
        *("TrainState", "create_train_state", "init_variables"),
        *("make_eval_step", "make_train_step"),
    ),
    "training.train": ("train_and_evaluate",),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
