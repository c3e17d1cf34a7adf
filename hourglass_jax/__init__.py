"""Stacked Hourglass Networks for human pose estimation in JAX. The public names, loaded lazily."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what follows, for type checkers and editors
    from hourglass_jax.errors import RunError, UserError
    from hourglass_jax.estimator import PoseEstimator, Poses
    from hourglass_jax.losses import heatmap_loss
    from hourglass_jax.model import (
        PRESETS,
        Hourglass,
        Normalisation,
        Residual,
        StackedHourglass,
        forward,
    )
    from hourglass_jax.pose.heatmap import decode, encode, flip_heatmaps
    from hourglass_jax.pose.metrics import pck, pckh, pckh_auc
    from hourglass_jax.pose.skeleton import COCO, FLIC, LSP, MPII, Skeleton
    from hourglass_jax.steps import (
        TrainState,
        create_train_state,
        init_variables,
        make_eval_step,
        make_train_step,
    )
    from hourglass_jax.train import train_and_evaluate

__version__ = "0.1.0"

_PUBLIC = {
    "errors": ("RunError", "UserError"),
    "estimator": ("PoseEstimator", "Poses"),
    "losses": ("heatmap_loss",),
    "model": (
        *("PRESETS", "Hourglass", "Normalisation", "Residual", "StackedHourglass"),
        "forward",
    ),
    "pose.heatmap": ("decode", "encode", "flip_heatmaps"),
    "pose.metrics": ("pck", "pckh", "pckh_auc"),
    "pose.skeleton": ("COCO", "FLIC", "LSP", "MPII", "Skeleton"),
    "steps": (
        *("TrainState", "create_train_state", "init_variables"),
        *("make_eval_step", "make_train_step"),
    ),
    "train": ("train_and_evaluate",),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
