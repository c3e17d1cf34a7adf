"""What a network is trained to say: the seam between mathematics and the rest of the program.

A task turns an annotated image into records, a record into targets, outputs into losses, and
outputs back into instances; it knows its metrics and how to draw. The training loop, evaluation,
checkpoints, export and prediction know a task by this file alone. Each task is a folder
`tasks/<name>/` with a `task.py`, and a line in `tasks/__init__.py`.

Frames: a *source* image, a *record* (the part of it that is kept for training), the network's
*input*, and its *outputs*, `stride` times smaller than the input. Coordinates follow
`image/geometry.py` in each of them.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Float, UInt8

from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hourglass_jax.config import Config

Candidates = Any  # what `Task.decode` returns: a pytree of arrays [batch, ...]
Record = dict[str, Any]


class Head(NamedTuple):
    """Output channels that belong together.

    Attributes:
      channels: their names; fine-tuning keeps the weights of channels of the same name.
      start: what the channels say before training; None: whatever the initialiser makes of them.
      features: which of a network's features they are computed from; "" where there is one kind.
    """

    channels: tuple[str, ...]
    start: float | None = None
    features: str = ""


class Spec(NamedTuple):
    """Shape and NumPy dtype of a field of a record; None as first side: any number of rows."""

    shape: tuple[int | None, ...]
    dtype: Any


class Draws(NamedTuple):
    """The random numbers of one augmentation.

    Attributes:
      scale: of what is shown, 1 being as annotated.
      rotation: radians, clockwise as seen.
      translate: shift, x and y, as shares of the input's side.
      flip: mirror the input.
      uniform: all the numbers it was made of, uniform in 0 to 1, for tasks that need others.
    """

    scale: float
    rotation: float
    translate: tuple[float, float]
    flip: bool
    uniform: Float[np.ndarray, " draws"]


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """A person or an object, found or annotated.

    Attributes:
      score: how sure the network is of it; 1 for the truth.
      box: x, y, width, height, from the image's corner; None where there is none.
      category: index into the source's categories.
      joints: x, y; None for tasks without joints.
      joint_scores: of each joint; 0 where the truth has none.
    """

    score: float
    box: Float[np.ndarray, "4"] | None = None
    category: int = 0
    joints: Float[np.ndarray, "joints 2"] | None = None
    joint_scores: Float[np.ndarray, " joints"] | None = None

    def mapped(self, affine: Affine) -> "Instance":
        """Returns the instance in another frame; a box becomes the upright one around it."""
        box, joints = self.box, self.joints
        if box is not None:
            x, y, width, height = np.asarray(box, float)
            corners = [(x, y), (x + width, y), (x, y + height), (x + width, y + height)]
            corners = geometry.apply(affine, np.array(corners) - 0.5) + 0.5
            box = np.concatenate([corners.min(0), corners.max(0) - corners.min(0)])
        if joints is not None:
            joints = geometry.apply(affine, joints)
        return dataclasses.replace(self, box=box, joints=joints)


# What was found for each record after each stack: found[stack][record] is a list of instances.
Found = Sequence[Sequence[list[Instance]]]


class Metric(Protocol):
    """Measures what was found against the truth."""

    @property
    def headline(self) -> str:
        """Name of the figure that stands for all, such as "PCKh@0.5" or "AP"."""
        ...

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        """Returns figures by name, as fractions, the headline among them.

        Args:
          found: for each record, after each stack.
          truth: the records, without their images.
        """
        ...

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        """Returns the figures as a table for people."""
        ...

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        """Returns how far off each record is, NaN where nothing is known: orders the pictures."""
        ...

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        """Returns plots by their titles, for the report."""
        ...


class Task(Protocol):
    """A task. Its methods are pure functions of their arguments and of the task's settings.

    Attributes:
      name: of the task in configs.
      sections: the config's sections that belong to the task, as dataclasses made by `rules.field`.
      joints: what an instance's joints are called; empty for tasks without joints.
      exports: what an exported network may return instead of maps; see `export`.
      heads: the channels of the network's outputs, in order.
      settings: JSON from which `from_settings` rebuilds the task: a checkpoint carries them.
      schema: the fields of a record beside `image`, `record_to_source` and `id`.
      record_version: raised with each change of what records hold.
      record_settings: what else `records` depends on, as JSON.
      record_bytes: what a record takes on the disk, at most.
    """

    name: str
    sections: Mapping[str, type]
    joints: Sequence[str]
    exports: Sequence[str]
    heads: Mapping[str, Head]
    settings: Mapping[str, Any]
    schema: Mapping[str, Spec]
    record_version: int
    record_settings: Mapping[str, Any]
    record_bytes: float

    @classmethod
    def from_config(cls, config: "Config", source: Source, stride: int) -> "Task":
        """Makes the task that a config asks for.

        Args:
          config: the experiment's.
          source: whose images it is trained on.
          stride: px of the network's input to a px of its outputs.

        Raises:
          UserError: a field has an impossible value.
        """
        ...

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Task":
        """Rebuilds a task from the settings that a checkpoint carries."""
        ...

    def records(self, image: AnnotatedImage) -> Iterator[tuple[int | str, Record]]:
        """Yields (key, record): one for each annotation, or one for the image.

        A record holds `image` (uint8 RGB), `record_to_source` (an affine map, float32), `id` (a
        text that names it in predictions), and the fields of `schema`. Keys are unique in a split
        and decide the order of the records.
        """
        ...

    def view(self, record: Record, draws: Draws | None, size: tuple[int, int]) -> Affine:
        """Returns the map from a record to the network's input of `size` (height, width).

        Its determinant is negative where the input is mirrored. `draws` is None in evaluation.
        """
        ...

    def targets(
        self, record: Record, to_input: Affine, size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """Returns what the network is to say, as arrays of the same shapes for every record."""
        ...

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        """Returns the counts that losses are divided by, of one share of a batch.

        `losses` and `plateau` receive their means over all shares (devices, processes, parts of an
        accumulated batch). As losses are averaged over the shares, too, a sum divided by such a
        mean becomes the whole batch's sum divided by the whole batch's count.
        """
        ...

    def losses(
        self,
        outputs: Float[Array, "batch stacks h w channels"],
        targets: Mapping[str, Array],
        totals: Mapping[str, Float[Array, ""]],
    ) -> dict[str, Float[Array, " stacks"]]:
        """Returns the weighted terms of each stack's loss by name; their sum is minimised."""
        ...

    def plateau(
        self, targets: Mapping[str, Array], totals: Mapping[str, Float[Array, ""]]
    ) -> Float[Array, ""]:
        """Returns a stack's loss before it has learnt anything, when heads say their `start`."""
        ...

    def merge(
        self, views: Sequence[tuple[Float[Array, "batch h w channels"], Affine]]
    ) -> Float[Array, "batch h w channels"] | None:
        """Combines one stack's outputs for several views of the same inputs.

        Args:
          views: outputs, and the map from the plain input to the view that they are of; mirrored
            views have a negative determinant.

        Returns:
          outputs of the plain input; None where views are pooled in `finish`.
        """
        ...

    def decode(self, outputs: Float[Array, "batch h w channels"]) -> Candidates:
        """Reads one stack's outputs, on the device: any pytree of arrays [batch, ...]."""
        ...

    def finish(self, views: Sequence[tuple[Candidates, Affine]]) -> list[Instance]:
        """Makes instances of one record's candidates, in NumPy.

        Args:
          views: candidates without their batch axis, and the map from the view's input to the
            frame that is wanted; one view where `merge` combined them.
        """
        ...

    def export(
        self, name: str, outputs: Float[Array, "batch h w channels"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Returns one of `exports` of the last stack's outputs: arrays by name, px of the input."""
        ...

    def truth(self, record: Record) -> list[Instance]:
        """Returns a record's annotations, px of the source image."""
        ...

    def arrays(self, found: Sequence[list[Instance]]) -> dict[str, np.ndarray]:
        """Returns what predictions.npz keeps of the last stack's instances, beside `ids`."""
        ...

    def metrics(self, source: Source, split: str) -> Sequence[Metric]:
        """Returns the metrics of a split; the first one's headline chooses the best checkpoint."""
        ...

    def draw(
        self, image: UInt8[np.ndarray, "height width 3"], found: Sequence[Instance]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Draws instances, px of the image, into a copy of it."""
        ...

    def draw_targets(
        self, image: UInt8[np.ndarray, "height width 3"], targets: Mapping[str, np.ndarray]
    ) -> UInt8[np.ndarray, "newheight width 3"]:
        """Draws what the network is to say of an input: how a batch is checked by eye."""
        ...
