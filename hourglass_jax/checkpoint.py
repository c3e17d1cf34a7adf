"""Checkpoints: the only file that knows Orbax. Save, resume, and read the best one.

A step's folder holds the state and, as JSON, what the state means: format, step, config, skeleton,
normalisation and the fingerprint of the records. A checkpoint alone is therefore enough to predict.
"""

import contextlib
import dataclasses
import logging
import math
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hourglass_jax import distributed
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.model import Normalisation, StackedHourglass, make_model
from hourglass_jax.pose.skeleton import Skeleton

logger = logging.getLogger(__name__)
FORMAT = 1
# What may differ between the run that saved and the run that goes on: length, where and how often
# it logs and saves, how it evaluates, and where files lie (their content has a fingerprint).
MAY_CHANGE = (
    *("num_steps", "num_epochs", "log_every_steps", "profile_steps", "eval", "checkpoint"),
    "init_from",
    *("data.manual_dir", "data.data_dir", "data.train_json", "data.validation_json"),
    *("data.image_dir", "data.validation_image_dir", "data.detections"),
)


class DamagedError(UserError):
    """A checkpoint that cannot be read."""


class Checkpoints:
    """The checkpoints of one workdir: the latest ones, and the best by a metric."""

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *unused) -> None:
        self.close()

    def __init__(
        self, workdir: pathlib.Path, metric: str | None, keep: int = 1, *, read_only: bool = False
    ):
        """Opens a workdir's checkpoints; a reader may leave the metric open, as they have one."""
        self.metric = metric
        self.folder = workdir.absolute() / "checkpoints"
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
                # A reader must not sweep away what a training run beside it is writing.
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                read_only=read_only,
                enable_async_checkpointing=True,
            ),
            item_names=("state", "metadata"),
        )

    def _figure(self, metrics: dict) -> float:
        if self.metric is None:
            return max(metrics.values(), default=-math.inf)
        return metrics.get(self.metric, -math.inf)

    @property
    def latest(self) -> int | None:
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """The step with the best figure; the latest where none was measured."""
        best = self._manager.best_step()
        return self.latest if best is None else best

    def save(self, state: Any, metadata: dict, figure: float | None) -> None:
        """Writes the state in the background, under the number of its updates.

        Raises:
          RunError: this or the checkpoint before it could not be written.
        """
        step = int(state.step)
        with self._writing():  # which also tells how the last one ended
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    metadata=ocp.args.JsonSave({"format": FORMAT, "step": step, **metadata}),
                ),
                metrics=None if figure is None else {self.metric: figure},
            )

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except Exception as error:  # whatever Orbax and TensorStore make of a full disk
            raise RunError(
                f"a checkpoint could not be written to {self.folder} ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}); with room and rights there, the same "
                f"command goes on from the one before it"
            ) from error

    def metadata(self, step: int) -> dict:
        """Returns what was saved beside the state of a step.

        Raises:
          DamagedError: it cannot be read.
          UserError: the checkpoint is of a format that this version does not know.
        """
        metadata = self._read(step, metadata=ocp.args.JsonRestore())
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{self.folder / str(step)} has format {metadata.get('format')!r}, and this "
                f"version reads format {FORMAT}; use the version that wrote it"
            )
        return metadata

    def check_belongs(self, step: int, current: dict, parts: Sequence[str] | None = None) -> None:
        """Refuses a checkpoint of another run.

        Args:
          step: of the checkpoint.
          current: the metadata that the present run would save.
          parts: of the config that must agree, e.g. "model"; None: all that may not change.

        Raises:
          UserError: names the first thing that differs.
        """
        saved = self.metadata(step)
        if saved["skeleton"] != current["skeleton"]:
            raise self._another_run("skeleton", saved["skeleton"], current["skeleton"])
        if saved["records"] is None:  # trained elsewhere: of its run nothing else is known
            if parts is None:
                raise UserError(
                    f"{self.folder} holds a published network, which no run goes on from; begin "
                    f"one with --config.init_from={self.folder.parent} and another --workdir"
                )
            return
        before, now = _flatten(saved["config"]), _flatten(current["config"])
        for key in sorted(before.keys() | now.keys()):
            concerns = parts is None or key.partition(".")[0] in parts
            if concerns and before.get(key) != now.get(key):
                raise self._another_run(f"config.{key}", before.get(key), now.get(key))
        if saved["records"] != current["records"]:
            raise UserError(
                f"{self.folder} was trained on records {saved['records']}, and the data set's "
                f"files, which have changed, now make {current['records']}; put the former files "
                f"back, or take another --workdir"
            )

    def _another_run(self, what: str, before: Any, now: Any) -> UserError:
        return UserError(
            f"{self.folder} was trained with {what}={before!r}, and this run has {now!r}; go on "
            f"with the former, or take another --workdir"
        )

    def restore(self, step: int, like: Any) -> Any:
        """Returns of a step's state what `like` has, with its shapes and sharding.

        Raises:
          DamagedError: it cannot be read.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.PyTreeRestore(
            abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=True,
        )
        return self._read(step, state=args)

    def _read(self, step: int, **item) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**item))[next(iter(item))]
        except Exception as error:  # Orbax, TensorStore and JSON raise whatever they come upon
            raise DamagedError(
                f"the checkpoint {self.folder / str(step)} cannot be read "
                f"({type(error).__name__}: {' '.join(str(error).split())[:300]}); move the folder "
                f"away to go on from the one before it, or from the beginning"
            ) from error

    def set_aside(self, step: int, error: DamagedError) -> None:
        """Moves a damaged checkpoint out of the way, so that the one before it is the latest.

        Raises:
          DamagedError: there is none before it, and the run would begin anew.
        """
        if len(self._manager.all_steps()) == 1:
            raise error
        aside = self.folder.parent / f"damaged-{step}"
        logger.warning("%s; it is now %s", error, aside)
        if distributed.is_first():
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)
        distributed.wait_for_all(f"set aside {step}")
        self._manager.reload()

    def close(self) -> None:
        """Waits for what is being written; raises RunError where that failed."""
        with self._writing():
            self._manager.close()


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a checkpoint alone tells: a network, its variables and what they were trained with."""

    model: StackedHourglass
    variables: dict
    skeleton: Skeleton
    normalisation: Normalisation
    input_size: int
    where: pathlib.Path


def load(path: str | pathlib.Path, flag: str = "--checkpoint") -> Trained:
    """Reads a checkpoint by itself, its averaged variables where it has them.

    Args:
      path: a workdir (its best step), its folder of checkpoints, or one step's folder.
      flag: that named the path, for messages.

    Raises:
      UserError: there is no checkpoint, or it cannot be read.
    """
    workdir, step = _locate(pathlib.Path(path), flag)
    with Checkpoints(workdir, None, read_only=True) as checkpoints:
        step = checkpoints.best if step is None else step
        metadata = checkpoints.metadata(step)
        config = metadata["config"]
        skeleton = Skeleton(**metadata["skeleton"])
        model = make_model(config["model"], skeleton.num_joints)
        side = config["model"]["input_size"]
        shapes = jax.eval_shape(
            lambda: model.init(jax.random.key(0), jnp.zeros((1, side, side, 3)), train=False)
        )
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)
        if config["ema_decay"]:
            variables = checkpoints.restore(step, {"ema": like})["ema"]
        else:
            variables = checkpoints.restore(step, like)
    mean = tuple(metadata["normalisation"]["mean"])
    where = checkpoints.folder / str(step)
    return Trained(model, variables, skeleton, Normalisation(mean), side, where)


def _locate(path: pathlib.Path, flag: str) -> tuple[pathlib.Path, int | None]:
    """Returns the workdir that a path belongs to, and the step if it names one."""
    if path.name.isdigit() and (path / "metadata").exists():
        return path.absolute().parent.parent, int(path.name)
    workdir = path.absolute().parent if path.name == "checkpoints" else path
    if any(p.name.isdigit() for p in (workdir / "checkpoints").glob("*")):
        return workdir, None
    what = "holds no checkpoint" if path.exists() else "does not exist"
    raise UserError(
        f"{flag}={path} {what}; give a run's workdir, such as runs/synthetic, or one step's "
        f"folder in its checkpoints/"
    )


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if path in MAY_CHANGE:
            continue
        flat |= _flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
