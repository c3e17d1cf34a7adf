"""Saving and restoring of checkpoints; the only file that uses Orbax.

The folder of a step holds the state, as JSON its metadata (see `metadata.py`), and digests of both
(see `integrity.py`). A checkpoint is therefore all that prediction needs.
"""

import asyncio
import contextlib
import logging
import math
import pathlib
import time
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers
from orbax.checkpoint.path import atomicity

from hourglass_jax.checkpoint import compatibility, figures, integrity
from hourglass_jax.checkpoint.integrity import DamagedError, steps_in
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import digests, distributed, paths

logger = logging.getLogger(__name__)


class _WithDigests(atomicity.AtomicRenameTemporaryPath):
    """A folder that gets digests of its files before it gets its final name.

    A checkpoint is therefore never without them, whenever the process is killed. The first process
    writes them, after all have written their files.
    """

    async def finalize(self) -> None:
        store = self._checkpoint_metadata_store
        if store is not None:  # the whole, and not a part of it
            await asyncio.to_thread(_commit, self.get(), store)
        self.get().rename(self.get_final())


class _InBucket(atomicity.CommitFileTemporaryPath):
    """A folder in a bucket, where none gets another name at once: it is whole if it has digests."""

    @classmethod
    async def validate(cls, temporary_path) -> None:
        await atomicity._shared_validate(cls.__name__, temporary_path)
        if await asyncio.to_thread((temporary_path / digests.NAME).is_file):
            raise atomicity.ValidationError(f"{temporary_path} is whole")

    @classmethod
    async def validate_final(cls, final_path) -> None:
        if not await asyncio.to_thread((final_path / digests.NAME).is_file):
            raise atomicity.ValidationError(f"{final_path} has no {digests.NAME}")

    async def finalize(self) -> None:
        store = self._checkpoint_metadata_store
        if store is not None:
            await asyncio.to_thread(_commit, self.get(), store)


def _commit(folder: Any, store: Any) -> None:
    """Adds to a folder what Orbax notes at the end, and digests of its files."""
    store.wait_until_finished()
    store.update(file_path=folder / "_CHECKPOINT_METADATA", commit_timestamp_nsecs=time.time_ns())
    store.wait_until_finished()
    digests.write(paths.path(folder))


def _kind_of(folder: pathlib.Path) -> Any:
    return _InBucket if paths.is_remote(folder) else _WithDigests


class Checkpoints:
    """The checkpoints of one workdir: the latest ones, and the best one by a metric."""

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *unused) -> None:
        self.close()

    def __init__(
        self, workdir: pathlib.Path, metric: str | None, keep: int = 1, *, read_only: bool = False
    ):
        """Opens the checkpoints of a workdir.

        Args:
          workdir: workdir of a training run.
          metric: name of the figure that selects the best checkpoint; None, for reading, takes the
            figure that was saved.
          keep: number of latest checkpoints to keep.
          read_only: open for reading, beside a run that may be writing.

        Raises:
          DamagedError: figures cannot be read, and cannot be set aside.
          UserError: a file is where the folder of checkpoints should be.
        """
        self.metric = metric
        self.folder = workdir.absolute() / "checkpoints"
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} must be a folder; move the file away")
        self._check_figures(read_only)
        # `max_to_keep` with a best function would evict the latest step; both must stay.
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    n=1, get_metric_fn=self._figure, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=self._figure,
                # A reader must not delete what a concurrent training run is writing.
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                read_only=read_only,
                enable_async_checkpointing=True,
                # A thread that cannot make a folder would leave the save waiting for five minutes.
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
                temporary_path_class=_kind_of(self.folder),
            ),
            item_names=("state", "metadata"),
        )

    def _check_figures(self, read_only: bool) -> None:
        """Sets aside steps with damaged figures, since Orbax reads the figures of all steps."""
        steps = steps_in(self.folder)
        for step in steps:
            folder = self.folder / str(step)
            try:
                figures.check(folder, repair=not read_only and distributed.is_first())
            except (OSError, ValueError, AttributeError, RecursionError) as error:
                integrity.check_reached(folder, error)
                if read_only and _vanishes(folder):
                    continue
                damaged = integrity.damaged(folder, error)
                if read_only or len(steps) == 1:
                    raise damaged from error
                self._move_aside(step, damaged)

    def _figure(self, metrics: dict) -> float:
        if self.metric is None:
            return max(metrics.values(), default=-math.inf)
        return metrics.get(self.metric, -math.inf)

    @property
    def latest(self) -> int | None:
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """The step with the best figure, or the latest if there are no figures."""
        best = self._manager.best_step()
        return self.latest if best is None else best

    def save(self, state: Any, metadata: dict, figure: float | None) -> None:
        """Saves the state in the background, under its number of updates.

        Args:
          state: the state to save.
          metadata: metadata to save with it, from `metadata.describe`.
          figure: the figure that selects the best checkpoint, if it was measured.

        Raises:
          RunError: this or the previous checkpoint could not be written.
        """
        step = int(state.step)
        with self._writing():  # also raises errors of the previous save
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    metadata=ocp.args.JsonSave({**metadata, "step": step, "digests": digests.NAME}),
                ),
                metrics=None if figure is None else {self.metric: figure},
            )

    def is_measured(self, step: int) -> bool:
        """Returns whether a figure was saved with a step."""
        return figures.are_there(self.folder / str(step))

    def add_figure(self, step: int, figure: float) -> None:
        """Adds the figure to a step that was saved without it.

        Raises:
          RunError: it could not be written.
        """
        with self._writing():
            if distributed.is_first():
                figures.add(self.folder / str(step), {self.metric: figure})
            distributed.wait_for_all("figure")
            self._manager.reload()

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise various errors for full disks
            if jax.process_count() > 1 and isinstance(error, jax.errors.JaxRuntimeError):
                raise  # another process is gone
            raise RunError(
                f"a checkpoint could not be written to {self.folder} ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}); after making space or granting access, "
                f"run the same command to continue from the checkpoint before it"
            ) from error

    def metadata(self, step: int) -> dict:
        """Reads the metadata of a step; see `read_metadata`."""
        return read_metadata(self.folder / str(step))

    def restore(self, step: int, like: Any) -> Any:
        """Restores the parts of a step's state that `like` describes; see `read_state`."""
        return read_state(self.folder / str(step), like)

    def set_aside(self, step: int, error: DamagedError) -> None:
        """Moves a damaged checkpoint out of the folder, so that the one before it is the latest.

        Raises:
          DamagedError: it is the only checkpoint, without which the run would start over.
        """
        if len(self._manager.all_steps()) == 1:
            raise error
        self._move_aside(step, error)
        self._manager.reload()

    def _move_aside(self, step: int, error: DamagedError) -> None:
        aside = self.folder.parent / f"damaged-{step}"
        logger.warning("%s; moved to %s", error, aside)
        if distributed.is_first():
            paths.rmtree(aside)
            (self.folder / str(step)).rename(aside)
        distributed.wait_for_all(f"set aside {step}")

    def close(self) -> None:
        """Waits for saves in the background; raises RunError if one failed."""
        with self._writing():
            self._manager.close()


def read_metadata(folder: pathlib.Path) -> dict:
    """Reads the metadata in the folder of a step.

    Raises:
      DamagedError: it cannot be read.
      UserError: this version does not read the checkpoint's format.
    """
    return compatibility.upgrade(integrity.reading(folder, integrity.metadata), folder)


def read_state(folder: pathlib.Path, like: Any) -> Any:
    """Restores the parts of the state that `like` describes from the folder of a step.

    Args:
      folder: folder of one step.
      like: tree of shapes with sharding; may lack parts of the state.

    Raises:
      DamagedError: it cannot be read, or has weights that are not finite.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.PyTreeRestore(
        abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=True,
    )

    def has_digests(folder):
        return not distributed.is_first() or integrity.check_digests(folder)

    def read(folder):
        integrity.check_size(folder, like)
        handler = ocp.CompositeCheckpointHandler()
        with ocp.Checkpointer(handler, temporary_path_class=_kind_of(folder)) as reader:
            state = reader.restore(folder, args=ocp.args.Composite(state=args))["state"]
        integrity.check_arrays(state)
        return state

    # The first process reads every file for them; TensorStore's own checksums are everybody's.
    # Restoring waits for the other processes, so all of them have to know the outcome before.
    if not integrity.reading(folder, has_digests):
        logger.info(
            "%s has no digests, since an earlier version wrote it; some damage goes unnoticed",
            folder,
        )
    return integrity.reading(folder, read)


def _vanishes(folder: pathlib.Path) -> bool:
    """Returns whether the run that a reader looks at is just deleting a checkpoint."""
    time.sleep(0.2)
    return not folder.exists()
