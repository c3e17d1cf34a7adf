"""The interface of tasks: what a network predicts, and how it is trained, measured and drawn.

A task turns an annotated image into records, a record into targets, outputs into losses, and
outputs back into instances. It also provides metrics and drawings. The training loop, evaluation,
checkpoints, export and prediction use a task only through the protocols in this file. Each task is
a folder `tasks/<name>/` with a `task.py`, and a line in `tasks/__init__.py`.

Frames of coordinates are the *source* image, a *record* (the part of it that training reads), the
network's *input*, and its *outputs*, `stride` times smaller; all follow `image/geometry.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Float, UInt8

from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.instance import Found as Found
from hourglass_jax.tasks.instance import Instance as Instance
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hourglass_jax.config import Config

Candidates = Any  # result of `Task.decode`: a pytree of arrays [batch, ...]
Record = dict[str, Any]


class Head(NamedTuple):
    """A group of output channels.

    Attributes:
      channels: names of the channels; fine-tuning keeps the weights of channels of the same name.
      start: value of the channels before training; None leaves it to the initialiser.
      features: kind of features to compute the channels from; "" if the network has only one.
    """

    channels: tuple[str, ...]
    start: float | None = None
    features: str = ""


class Spec(NamedTuple):
    """Shape and NumPy dtype of a record's field; None as first side stands for any length.

    The dtype is bool, an integer that fits int64, or a float of at most 32 bits.
    """

    shape: tuple[int | None, ...]
    dtype: Any


class Draws(NamedTuple):
    """The random numbers of one augmentation.

    Attributes:
      scale: magnification of the content; 1 keeps the annotated size.
      rotation: radians, clockwise as seen.
      translate: shift in x and y, as fractions of the input's side.
      flip: whether the input is mirrored.
      uniform: the underlying random numbers, uniform in [0, 1), for tasks that derive others.
      aspect: factor of the ratio of width to height.
      half: uniform in [0, 1) where half of a body is to be shown, which it chooses; else None.
    """

    scale: float
    rotation: float
    translate: tuple[float, float]
    flip: bool
    uniform: Float[np.ndarray, " draws"]
    aspect: float = 1.0
    half: float | None = None


class Metric(Protocol):
    """A comparison of predictions with the truth.

    Subclasses inherit a plain table, and errors and plots that say nothing.
    """

    @property
    def headline(self) -> str:
        """Name of the main figure, such as "PCKh@0.5" or "AP"."""
        ...

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        """Returns figures by name, as fractions, including the headline.

        The records of `truth` lack their images.
        """
        ...

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        """Returns the figures as a table for logs and reports."""
        rows = [[name, value] for name, value in self(found, truth).items()]
        return Table(self.headline, ["%"], rows)

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        """Returns the error of each record, for sorting; NaN where it cannot be measured."""
        return np.full(len(truth), np.nan)

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        """Returns plots for the report, by title."""
        return {}


class Task(Protocol):
    """A task. Its methods are pure functions of their arguments and of the task's settings.

    Subclasses inherit what a simple task does without. A task may add `write_targets(records,
    to_input, size, out)`, which writes the targets of several records into arrays at once.

    Attributes:
      name: name of the task in configs.
      sections: config sections that belong to the task, as dataclasses made with `rules.field`.
      exports: what an exported network may return instead of its outputs; see `export`.
      record_version: version of the records' content, to be raised with every change.
      unit: what a record is of, as evaluation.json counts it.
      min_score: lowest score of an instance that is worth drawing.
    """

    name: ClassVar[str]
    sections: ClassVar[Mapping[str, type]] = {}
    exports: ClassVar[Sequence[str]] = ()
    record_version: ClassVar[int] = 1
    unit: ClassVar[str] = "persons"
    min_score: ClassVar[float] = 0.0

    @property
    def joints(self) -> Sequence[str]:
        """Names of an instance's joints; empty for tasks without joints."""
        return ()

    @property
    def heads(self) -> Mapping[str, Head]:
        """The channels of the network's outputs, in order."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON from which `from_settings` rebuilds the task; saved in checkpoints."""
        ...

    @property
    def schema(self) -> Mapping[str, Spec]:
        """Fields of a record besides `image`, `record_to_source` and `id`."""
        ...

    @property
    def record_settings(self) -> Mapping[str, Any]:
        """Settings that `records` depends on, as JSON."""
        return {}

    @property
    def record_bytes(self) -> float:
        """Size of a record on the disk, at most."""
        return 100_000

    @classmethod
    def from_config(cls, config: "Config", source: Source, stride: int) -> "Task":
        """Makes the task that a config describes.

        Args:
          config: config of the experiment.
          source: data set to train on.
          stride: input px per output px of the network.

        Raises:
          UserError: a field has an invalid value.
        """
        ...

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Task":
        """Rebuilds a task from the settings in a checkpoint."""
        ...

    def records(self, image: AnnotatedImage) -> Iterator[tuple[int | str, Record]]:
        """Yields (key, record) for each annotation, or once for the image.

        A record holds `image` (uint8 RGB), `record_to_source` (an affine map, float32), `id` (its
        name in predictions, a string), and the fields of `schema`. Keys are unique within a split
        and determine the order of the records.
        """
        ...

    def view(self, record: Record, draws: Draws | None, size: tuple[int, int]) -> Affine:
        """Returns the map from a record to the network's input of `size` (height, width).

        Its determinant is negative if the input is mirrored. `draws` is None in evaluation.
        """
        ...

    def targets(
        self, record: Record, to_input: Affine, size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """Returns the training targets, as arrays of the same shapes for every record."""
        ...

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        """Returns the counts by which `losses` divides, for one share of a batch.

        `losses` and `plateau` receive their means over all shares (devices, processes, parts of an
        accumulated batch). Losses are averaged likewise, so that sums over shares, divided by these
        means, give the batch's sum divided by the batch's count.
        """
        return {}

    def losses(
        self,
        outputs: Float[Array, "batch stacks h w channels"],
        targets: Mapping[str, Array],
        totals: Mapping[str, Float[Array, ""]],
    ) -> dict[str, Float[Array, " stacks"]]:
        """Returns the weighted terms of each stack's loss, by name; their sum is minimised."""
        ...

    def plateau(
        self, targets: Mapping[str, Array], totals: Mapping[str, Float[Array, ""]]
    ) -> Float[Array, ""]:
        """Returns the loss of a stack whose outputs are the `start` of each head."""
        ...

    def merge(
        self, views: Sequence[tuple[Float[Array, "batch h w channels"], Affine]]
    ) -> Float[Array, "batch h w channels"] | None:
        """Combines one stack's outputs for several views of the same inputs.

        Args:
          views: for each view, the outputs and the map from the plain input to the view; the map
            of a mirrored view has a negative determinant.

        Returns:
          Outputs for the plain input, or None if `finish` combines the views.
        """
        ...

    def decode(self, outputs: Float[Array, "batch h w channels"]) -> Candidates:
        """Decodes one stack's outputs on the device, to any pytree of arrays [batch, ...]."""
        ...

    def finish(self, views: Sequence[tuple[Candidates, Affine]]) -> list[Instance]:
        """Makes instances from one record's candidates, in NumPy.

        Args:
          views: for each view, the candidates without batch axis and the map from the view's input
            to the target frame. There is only one view if `merge` combined them.
        """
        ...

    def export(
        self, name: str, outputs: Float[Array, "batch h w channels"]
    ) -> dict[str, Float[Array, "batch ..."]]:
        """Returns one of `exports`, computed from the last stack's outputs; px of the input."""
        raise NotImplementedError

    def truth(self, record: Record) -> list[Instance]:
        """Returns a record's annotations, px of the source image."""
        ...

    def arrays(self, found: Sequence[list[Instance]]) -> dict[str, np.ndarray]:
        """Returns the arrays of predictions.npz besides `ids`, from the last stack's instances."""
        return {}

    def results(
        self, found: Sequence[list[Instance]], truth: Sequence[Record]
    ) -> list[dict[str, Any]] | None:
        """Returns the entries of predictions.json, in COCO's results format.

        None stands for predictions.npz instead; see `arrays`.
        """
        return None

    def metrics(self, source: Source, split: str) -> Sequence[Metric]:
        """Returns the metrics of a split; the first headline selects the best checkpoint."""
        ...

    def draw(
        self, image: UInt8[np.ndarray, "height width 3"], found: Sequence[Instance]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Returns a copy of the image with the instances (px of the image) drawn into it."""
        ...

    def draw_targets(
        self, image: UInt8[np.ndarray, "height width 3"], targets: Mapping[str, np.ndarray]
    ) -> UInt8[np.ndarray, "newheight width 3"]:
        """Returns an input with its targets drawn, for checking a batch by eye."""
        return image
