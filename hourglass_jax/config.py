"""What a config must hold: checked before anything is built, so that a mistake costs a second."""

import math
from typing import Any

import jax
from ml_collections import ConfigDict

from hourglass_jax.errors import UserError
from hourglass_jax.nn.stacked_hourglass import STEMS
from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.training import optimizer

DTYPES = ("float32", "bfloat16", "float64")


class OneOf(tuple):
    """Values of which a field must have one."""

    def accepts(self, value: Any) -> bool:
        return value in self

    def __str__(self):
        return "one of " + ", ".join(map(str, self))


class Number:
    """A number between two bounds, themselves allowed unless `above`."""

    kind = (int, float)

    def __init__(self, low: float, high: float = math.inf, *, above: bool = False):
        self.low, self.high, self.above = low, high, above

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, self.kind) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self):
        name = "a whole number" if self.kind is int else "a number"
        bound = f"{name} {'above' if self.above else 'of at least'} {self.low}"
        return bound if self.high == math.inf else f"{bound} and at most {self.high}"


class Whole(Number):
    """A whole number between two bounds."""

    kind = int


class Shares:
    """Shares of a run: numbers between 0 and 1, in order."""

    def accepts(self, value: Any) -> bool:
        inside = isinstance(value, (list, tuple)) and all(Number(0, 1).accepts(v) for v in value)
        return inside and list(value) == sorted(value)

    def __str__(self):
        return "a list of numbers between 0 and 1 that rise"


class Texts:
    """Any number of texts."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)

    def __str__(self):
        return "a list of texts, such as ('stem/*',)"


class Text:
    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self):
        return "a text"


SWITCH = OneOf((False, True))
FIELDS = {
    "seed": Whole(0, 2**31 - 1),
    "batch_size": Whole(1),
    "num_steps": Whole(0),
    "num_epochs": Number(0),
    "log_every_steps": Whole(1),
    "init_from": Text(),
    "freeze": Texts(),
    "sync_batch_norm": SWITCH,
    "freeze_batch_norm": SWITCH,
    "accumulate": Whole(1),
    "ema_decay": Number(0, 1),
    "profile_steps": Whole(0),
    "data.dataset": Text(),
    "data.data_dir": Text(),
    "data.resolution": Whole(16),
    "data.shuffle_buffer": Whole(1),
    "model.num_stacks": Whole(1),
    "model.order": Whole(1, 8),
    "model.features": Whole(2),
    "model.stem_features": Whole(1),
    "model.num_residuals": Whole(1),
    "model.input_size": Whole(8),
    "model.stem": OneOf(STEMS),
    "model.dtype": OneOf(DTYPES),
    "model.remat": SWITCH,
    "heatmap.sigma": Number(0, above=True),
    "heatmap.zero_target": SWITCH,
    "augment.scale": Number(0, 1),
    "augment.rotation": Number(0, 180),
    "augment.rotation_probability": Number(0, 1),
    "augment.translate": Number(0, 1),
    "augment.flip": Number(0, 1),
    "augment.colour": Number(0, 1),
    "optimizer.name": OneOf(optimizer.NAMES),
    "optimizer.learning_rate": Number(0, above=True),
    "optimizer.schedule": OneOf(optimizer.SCHEDULES),
    "optimizer.warmup_steps": Whole(0),
    "optimizer.drop_at": Shares(),
    "optimizer.drop_factor": Number(0, 1),
    "optimizer.multipliers": Texts(),
    "optimizer.patience": Whole(1),
    "optimizer.clip_norm": Number(0),
    "eval.every_steps": Whole(1),
    "eval.batch_size": Whole(1),
    "eval.flip_test": SWITCH,
    "eval.decode": OneOf(heatmap.DECODERS),
    "checkpoint.every_steps": Whole(1),
    "checkpoint.keep": Whole(1),
}
# Fields that only some configs have, and what they depend on.
OPTIONAL = {
    "data.manual_dir": Text(),
    "data.extended": SWITCH,
    "data.allow_missing": Whole(0),
    "data.train_json": Text(),
    "data.validation_json": Text(),
    "data.image_dir": Text(),
    "data.validation_image_dir": Text(),
    "data.detections": Text(),
    "data.pck_reference": Text(),
    "data.pck_threshold": Number(0, above=True),
    "data.drawing_seed": Whole(0),
    "data.num_train": Whole(1),
    "data.num_validation": Whole(1),
}


def check(config: ConfigDict, num_devices: int) -> None:
    """Raises UserError for the first field that is missing, unknown or has an impossible value."""
    flat = dict(_fields(config.to_dict()))
    for name, rule in FIELDS.items():
        if name not in flat:
            raise UserError(f"the config lacks {name}, {rule}")
    for name, value in flat.items():
        rule = FIELDS.get(name) or OPTIONAL.get(name)
        if rule is None:
            raise UserError(f"config.{name}={value!r} is no field that anything reads")
        if not rule.accepts(value):
            raise UserError(f"config.{name}={value!r} must be {rule}")
    if config.model.dtype == "float64" and not jax.config.jax_enable_x64:
        raise UserError("config.model.dtype='float64' needs JAX_ENABLE_X64=1 in the environment")
    if not config.num_steps and not config.num_epochs:
        raise UserError("config.num_steps=0 and config.num_epochs=0; one of them must be above 0")

    coarsest = 4 * 2**config.model.order
    if config.model.input_size % coarsest:
        below = config.model.input_size // coarsest * coarsest
        raise UserError(
            f"config.model.input_size={config.model.input_size} is not divisible by {coarsest}, as "
            f"4 * 2**order must; take {below or coarsest} or {below + coarsest}, or a lower "
            f"config.model.order"
        )
    parts = num_devices * config.accumulate
    if config.batch_size % parts:
        below = config.batch_size // parts * parts
        times = f" times config.accumulate={config.accumulate}" if config.accumulate > 1 else ""
        raise UserError(
            f"config.batch_size={config.batch_size} is not divisible by the {num_devices} devices"
            f"{times}; take {below or parts} or {below + parts}"
        )


def _fields(tree: dict, prefix: str = ""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
