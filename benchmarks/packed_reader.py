"""Training batches from packed records, made by several processes without TensorFlow."""

import concurrent.futures
import dataclasses
import io
import itertools
import mmap
import multiprocessing
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from hourglass_jax.data import augment, examples, jpeg, shares
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.tasks.base import Record, Task

# Forks would wait for OpenCV's threads, which they do not have.
cv2.setNumThreads(0)

_SLOTS = 3  # batches that a process makes ahead
_PATIENCE = 60  # s


@dataclasses.dataclass
class Split:
    """The records of a split in memory."""

    images: list[bytes]  # JPEG
    records: list[Record]

    @classmethod
    def read(cls, path: pathlib.Path) -> "Split":
        """Reads a file of `packed.pack`."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        images, ends = arrays.pop("images").tobytes(), [0, *arrays.pop("image_ends").tolist()]
        parts = (images[a:b] for a, b in itertools.pairwise(ends))
        with concurrent.futures.ThreadPoolExecutor() as threads:
            jpegs = list(threads.map(_as_jpeg, parts))
        records: list[Record] = [{"id": str(name)} for name in arrays.pop("id")]
        for name in [name for name in arrays if not name.endswith("_ends")]:
            values = arrays[name]
            if f"{name}_ends" in arrays:
                values = np.split(values, arrays[f"{name}_ends"][:-1])
            for record, value in zip(records, values, strict=True):
                record[name] = value
        return cls(jpegs, records)


def _as_jpeg(content: bytes) -> bytes:
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return jpeg.encode(pixels)


class Reader:
    """An iterator over batches, which processes make ahead; step i is a function of (seed, i)."""

    def __init__(
        self,
        task: Task,
        splits: Sequence[Split],
        parts: Sequence[float],
        augmentation: Augmentation,
        size: tuple[int, int],
        *,
        batch_size: int,
        seed: int,
        processes: int,
    ):
        self._task, self._splits, self._augmentation, self._size = task, splits, augmentation, size
        self._ends = shares.limits(parts)
        self._batch_size, self._seed, self._processes = batch_size, seed, processes
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # of each part's present epoch
        self._specs = examples.specs_of(task, splits[0].records[0], size)
        fork = multiprocessing.get_context("fork")
        shapes = {"image": ((*size, 3), np.dtype(np.uint8)), **self._specs}
        self._slots = [
            [
                {
                    name: _shared((batch_size, *shape), dtype)
                    for name, (shape, dtype) in shapes.items()
                }
                for _ in range(_SLOTS)
            ]
            for _ in range(processes)
        ]
        self._free = [fork.Semaphore(_SLOTS) for _ in range(processes)]
        self._full = [fork.Semaphore(0) for _ in range(processes)]
        self._workers = [
            fork.Process(target=self._make, args=(i,), daemon=True) for i in range(processes)
        ]
        for worker in self._workers:
            worker.start()
        self._step = 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        worker, turn = self._step % self._processes, self._step // self._processes
        if not self._full[worker].acquire(timeout=_PATIENCE):
            raise RuntimeError(
                f"process {worker} of the reader has ended, or made no batch for long"
            )
        batch = {name: array.copy() for name, array in self._slots[worker][turn % _SLOTS].items()}
        self._free[worker].release()
        self._step += 1
        return batch

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _make(self, worker: int) -> None:
        size = self._batch_size
        before = np.zeros(len(self._splits), np.int64)  # rows of each split so far
        next_step = 0
        for turn in itertools.count():
            step = turn * self._processes + worker
            for each in range(next_step, step + 1):
                part = np.searchsorted(
                    self._ends, shares.place(np.arange(each * size, (each + 1) * size)), "right"
                )
                first, before = before, before + np.bincount(part, minlength=len(before))
            next_step = step + 1
            nth = np.zeros(size, np.int64)
            for i, start in enumerate(first):
                nth[part == i] = start + np.arange(np.count_nonzero(part == i))
            rows = [self._row(int(p), int(n)) for p, n in zip(part, nth, strict=True)]
            uniform = np.random.default_rng((self._seed, step)).random((size, augment.DRAWS))
            self._free[worker].acquire()
            made = examples.training(
                self._task,
                self._specs,
                self._size,
                self._augmentation,
                [memoryview(self._splits[p].images[i]) for p, i in rows],
                [self._splits[p].records[i] for p, i in rows],
                uniform,
            )
            for name, array in self._slots[worker][turn % _SLOTS].items():
                array[:] = made[name]
            self._full[worker].release()

    def _row(self, part: int, nth: int) -> tuple[int, int]:
        count = len(self._splits[part].records)
        epoch, place = divmod(nth, count)
        return part, int(self._order(part, epoch, count)[place])

    def _order(self, part: int, epoch: int, count: int) -> np.ndarray:
        """Returns the order of a part's records in an epoch."""
        known = self._orders.get(part)
        if known is None or known[0] != epoch:
            rng = np.random.default_rng((self._seed, part, epoch))
            known = self._orders[part] = epoch, rng.permutation(count)
        return known[1]


def _shared(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Returns an array that processes share which are forked later."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, count), dtype).reshape(shape)
