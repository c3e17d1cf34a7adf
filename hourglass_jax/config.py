"""The config of a run: what it may contain, checked before anything is built.

A mistake is thus reported within a second. Fields that belong to a single data set, network or task
are declared there. Here they are collected in `options` and `sections`, and are checked by
`rules.section` where they are declared.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.rules import (
    SWITCH,
    Number,
    OneOf,
    Path,
    Scales,
    Shares,
    Text,
    Texts,
    Whole,
    field,
)

DTYPES = ("float32", "bfloat16", "float64")
OPTIMIZERS = ("rmsprop", "adam", "muon")
SCHEDULES = ("constant", "step", "cosine", "plateau")


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set and its records; `options` are the fields that only this data set has."""

    dataset: str = field(Text())
    data_dir: str = field(Path())
    resolution: int = field(Whole(16))
    shuffle_buffer: int = field(Whole(1))
    options: Mapping[str, Any] = rules.others(rules.Anything())


@dataclasses.dataclass(frozen=True)
class Model:
    """The network; `options` are the fields that only this network has."""

    input_size: int = field(Whole(8))
    dtype: str = field(OneOf(DTYPES))
    remat: bool = field(SWITCH)
    network: str = field(Text(), default="stacked_hourglass")
    preset: str = field(Text(), default="")
    training_size: int = field(Whole(0), default=0)
    options: Mapping[str, Any] = rules.others(rules.Anything())


@dataclasses.dataclass(frozen=True)
class Augment:
    """Limits of the augmentation of training images."""

    scale: float = field(Number(0, 1))
    rotation: float = field(Number(0, 180))
    rotation_probability: float = field(Number(0, 1))
    translate: float = field(Number(0, 1))
    flip: float = field(Number(0, 1))
    colour: float = field(Number(0, 1))
    jitter: float = field(Number(0, 1), default=0.0)
    lighting: float = field(Number(0), default=0.0)
    aspect: float = field(Number(0, 1), default=0.0)
    any_angle: float = field(Number(0, 1), default=0.0)
    half_body: float = field(Number(0, 1), default=0.0)
    occluder: float = field(Number(0, 1), default=0.0)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The optimizer and the schedule of its learning rate."""

    name: str = field(OneOf(OPTIMIZERS))
    learning_rate: float = field(Number(0, above=True))
    schedule: str = field(OneOf(SCHEDULES))
    warmup_steps: int = field(Whole(0))
    drop_at: tuple[float, ...] = field(Shares())
    drop_factor: float = field(Number(0, 1))
    multipliers: tuple[str, ...] = field(Texts())
    patience: int = field(Whole(1))
    clip_norm: float = field(Number(0))


@dataclasses.dataclass(frozen=True)
class Eval:
    """How and how often a network is evaluated; the task checks `decode`."""

    every_steps: int = field(Whole(1))
    batch_size: int = field(Whole(1))
    flip_test: bool = field(SWITCH)
    decode: str = field(Text())
    patience: int = field(Whole(0), default=0)
    scales: tuple[float, ...] = field(Scales(), default=(1.0,))


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """How often the state is saved, and how many of the latest checkpoints are kept."""

    every_steps: int = field(Whole(1))
    keep: int = field(Whole(1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that describes a run; configs/default.py says what each field means.

    `sections` are those that belong to the task, such as `heatmap`.
    """

    seed: int = field(Whole(0, 2**31 - 1))
    batch_size: int = field(Whole(1))
    num_steps: int = field(Whole(0))
    num_epochs: float = field(Number(0))
    init_from: str = field(Path())
    freeze: tuple[str, ...] = field(Texts())
    sync_batch_norm: bool = field(SWITCH)
    freeze_batch_norm: bool = field(SWITCH)
    accumulate: int = field(Whole(1))
    ema_decay: float = field(Number(0, 1))
    profile_steps: int = field(Whole(0))
    log_every_steps: int = field(Whole(1))
    data: Data
    model: Model
    augment: Augment
    optimizer: Optimizer
    eval: Eval
    checkpoint: Checkpoint
    task: str = field(Text(), default="single_pose")
    init_network: bool = field(SWITCH, default=False)
    log_to: str = field(OneOf(("", "mlflow")), default="")
    sections: Mapping[str, Mapping[str, Any]] = rules.others(rules.Fields())

    @classmethod
    def from_dict(cls, values: "Mapping[str, Any] | ConfigDict | Config") -> "Config":
        """Returns the config of a nested mapping, as in a config file or in config.json.

        Raises:
          UserError: names the first field that is missing or unknown, or has a value that is not
            allowed. `options` and `sections` are not checked.
        """
        if isinstance(values, Config):
            return values
        plain = values.to_dict() if isinstance(values, ConfigDict) else values
        return rules.section(cls, plain)

    def to_dict(self) -> dict[str, Any]:
        """Returns the nested form that `from_dict` takes, and that config.json holds."""
        return rules.to_dict(self)

    def task_sections(self, kinds: Mapping[str, type]) -> dict[str, Any]:
        """Returns the sections that belong to the task.

        Args:
          kinds: a dataclass for each section that the task declares.

        Raises:
          UserError: names a field that is missing or unknown, or whose value is not allowed.
        """
        return {
            name: rules.section(kind, self.sections.get(name, {}), f"{name}.")
            for name, kind in kinds.items()
        }

    def check_sections(self, known: Collection[str]) -> None:
        """Raises UserError for a section that the task does not declare.

        Args:
          known: names of the task's sections.
        """
        for name in self.sections:
            if name not in known:
                raise rules.unknown_field(name, [*rules.names(Config), *known])

    def check(self, num_devices: int) -> None:
        """Raises UserError for values that are allowed, but not together or not here."""
        if self.model.dtype == "float64" and not jax.config.jax_enable_x64:  # type: ignore
            raise UserError(
                "config.model.dtype='float64' needs JAX_ENABLE_X64=1 in the environment"
            )
        if not self.num_steps and not self.num_epochs:
            raise UserError(
                "config.num_steps=0 and config.num_epochs=0; one of them must be above 0"
            )
        parts = num_devices * self.accumulate
        if self.batch_size % parts:
            below = self.batch_size // parts * parts
            times = f" times config.accumulate={self.accumulate}" if self.accumulate > 1 else ""
            raise UserError(
                f"config.batch_size={self.batch_size} is not divisible by the {num_devices} "
                f"devices{times}; take {below or parts} or {below + parts}"
            )

    def check_input_size(self, valid_size: Callable[[int, int], tuple[int, int]]) -> None:
        """Raises UserError for sizes that the network does not accept, with the nearest ones.

        Args:
          valid_size: the network's method, which returns an accepted height and width unchanged,
            and for 0 that of which any multiple is accepted.
        """
        coarsest, _ = valid_size(0, 0)
        for name in ("input_size", "training_size"):
            size = getattr(self.model, name)
            if size and tuple(valid_size(size, size)) != (size, size):
                below = size // coarsest * coarsest
                near = [str(side) for side in (below, below + coarsest) if side]
                raise UserError(
                    f"config.model.{name}={size} cannot be halved as often as the network does; "
                    f"take a multiple of {coarsest}, such as {' or '.join(near)}"
                )
