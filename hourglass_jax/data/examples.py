"""Makes examples of records, a part of a batch at a time, in NumPy and OpenCV.

The task computes each record's view and targets; the images of all are sampled together.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.data import augment
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.tasks.base import Record, Task

Specs = Mapping[str, tuple[tuple[int, ...], np.dtype]]


def training(
    task: Task,
    specs: Specs,
    size: tuple[int, int],
    augmentation: Augmentation,
    jpegs: Sequence[memoryview],
    records: Sequence[Record],
    uniform: Float[np.ndarray, "batch draws"],
) -> dict[str, np.ndarray]:
    """Makes augmented examples.

    Args:
      task: task that defines views and targets.
      specs: shape and dtype of each of the task's targets; see `specs_of`.
      size: height and width of the network's input.
      augmentation: limits of the augmentation.
      jpegs: the records' images.
      records: the other fields of the records.
      uniform: random numbers of each example, `augment.DRAWS` that are uniform in [0, 1).

    Returns:
      {"image": uint8 [B, H, W, 3], and the task's targets [B, ...]}.
    """
    count = len(jpegs)
    to_input = np.empty((count, 2, 3))
    targets = {n: augment.aligned((count, *s), d) for n, (s, d) in specs.items()}
    for i, record in enumerate(records):
        to_input[i] = task.view(record, augmentation.draw(uniform[i]), size)
    write = getattr(task, "write_targets", functools.partial(_copy_targets, task))
    write(records, to_input, size, targets)
    images = augment.sample(jpegs, to_input, size, augmentation.colours(uniform))
    augmentation.occlude(images, uniform)
    return {"image": images, **targets}


def evaluation(
    task: Task, size: tuple[int, int], jpegs: Sequence[memoryview], records: Sequence[Record]
) -> tuple[UInt8[np.ndarray, "batch height width 3"], Float[np.ndarray, "batch 2 3"]]:
    """Returns plain inputs, and the maps from the records to them."""
    to_input = np.stack([task.view(record, None, size) for record in records])
    return augment.sample(jpegs, to_input, size), to_input


def specs_of(task: Task, record: Record, size: tuple[int, int]) -> Specs:
    """Returns shape and dtype of each of the task's targets, taken from a record."""
    targets = task.targets(record, task.view(record, None, size), size)
    return {name: (array.shape, array.dtype) for name, array in targets.items()}


def _copy_targets(task: Task, records: Sequence[Record], to_input, size, out) -> None:
    for i, record in enumerate(records):
        targets = task.targets(record, to_input[i], size)
        for name, array in out.items():
            array[i] = targets[name]
