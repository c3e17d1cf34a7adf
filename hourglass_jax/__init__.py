"""Stacked Hourglass Networks for human pose estimation in JAX. The public names, loaded lazily."""

import importlib

_PUBLIC = {
    "Hourglass": "hourglass_jax.model",
    "PoseEstimator": "hourglass_jax.estimator",
    "Poses": "hourglass_jax.estimator",
    "Residual": "hourglass_jax.model",
    "StackedHourglass": "hourglass_jax.model",
    "Skeleton": "hourglass_jax.pose.skeleton",
    "TrainState": "hourglass_jax.steps",
    "UserError": "hourglass_jax.errors",
    "heatmap_loss": "hourglass_jax.losses",
    "make_eval_step": "hourglass_jax.steps",
    "make_train_step": "hourglass_jax.steps",
    "train_and_evaluate": "hourglass_jax.train",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
