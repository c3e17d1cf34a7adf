"""Logs of a training run: TensorBoard event files, and metrics.jsonl."""

import itertools
import json
import math
import pathlib
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from clu import metric_writers

from hourglass_jax.errors import RunError
from hourglass_jax.runtime import distributed, json_lines, mirror

_NAME = "metrics.jsonl"


class Log:
    """TensorBoard event files, and metrics.jsonl with one object per logged step.

    Of several processes, only the first one writes.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        schedule: optax.Schedule,
        first_step: int,
        *,
        evaluated: bool = True,
        also: Callable[[], metric_writers.MetricWriter] | None = None,
    ):
        """Opens the logs of a workdir.

        Args:
          workdir: workdir of the run.
          schedule: schedule of the learning rate.
          first_step: number of updates done; later lines of an earlier start are removed.
          evaluated: whether the evaluation of that step is complete, so that its line stays.
          also: makes a further writer, which gets what the event files get.
        """
        self._schedule = schedule
        self._writes = distributed.is_first()
        if not self._writes:
            return
        self._mirror = mirror.Mirror(workdir, _NAME, every=10)
        self._path = self._mirror.local / _NAME
        further = [] if also is None else [also()]
        self._writer = metric_writers.MultiWriter(
            [metric_writers.SummaryWriter(str(self._mirror.local)), *further]
        )
        kept = []
        if self._path.exists():
            # Lines after the checkpoint will be logged again, with the same values.
            lines = json_lines.read(self._path)
            stays = [
                line["step"] < first_step
                or (line["step"] == first_step and (evaluated or "loss" in line))
                for line in lines
            ]
            kept = [json.dumps(line) for line in itertools.compress(lines, stays)]
        rewritten = self._path.with_suffix(".rewritten")
        rewritten.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        rewritten.replace(self._path)  # atomic: a full disk must not lose lines
        self._lines = self._path.open("a", buffering=1, encoding="utf-8")

    def training(self, step: int, metrics: Mapping[str, Any], rates: Mapping[str, float]) -> dict:
        """Logs the metrics of a step, and returns the logged record.

        Args:
          step: number of updates done.
          metrics: metrics of the training step, on the host.
          rates: images/s and seconds, from `Progress.rates`.
        """
        per_stack = [float(loss) for loss in metrics["loss_per_stack"]]
        plateau = float(metrics["plateau"])
        terms = metrics["terms"] if len(metrics["terms"]) > 1 else {}
        record = {
            "step": step,
            "loss": float(metrics["loss"]),
            "loss_per_stack": per_stack,
            **{f"loss/{name}": [float(x) for x in term] for name, term in terms.items()},
            # 1 means predicting nothing, where a network that does not learn stays.
            "ratio_to_plateau": [loss / plateau if plateau else 1.0 for loss in per_stack],
            "learning_rate": float(self._schedule(step - 1) * metrics["learning_rate_factor"]),
            **{key: float(metrics[key]) for key in metrics if key.endswith("_norm")},
            **rates,
            **_memory(),
        }
        self._write(record)
        return record

    def evaluation(
        self, step: int, figures: Mapping[str, float], name: str, sheet: np.ndarray | None
    ) -> None:
        """Logs the finite figures, and an image under a name."""
        self._write({"step": step, **{k: v for k, v in figures.items() if math.isfinite(v)}})
        if self._writes and sheet is not None:
            self._writer.write_images(step, {name: sheet[None]})

    def _write(self, record: dict) -> None:
        if not self._writes:
            return
        if not self._path.exists():  # writing to a deleted file would not fail
            raise RunError(f"{self._path} was deleted; start again with another --workdir")
        self._lines.write(json.dumps(record) + "\n")
        scalars = {}
        for key, value in record.items():
            values = value if isinstance(value, list) else [value]
            names = [f"{key}/{i + 1}" for i in range(len(values))] if value is values else [key]
            scalars |= dict(zip(names, values, strict=True))
        step = scalars.pop("step")
        self._writer.write_scalars(step, scalars)
        self._mirror.publish()

    def publish(self) -> None:
        """Makes sure that all lines are in the workdir, from which a restart goes on."""
        if self._writes:
            self._mirror.publish(now=True)

    def close(self) -> None:
        if self._writes:
            self._lines.close()
            self._writer.close()
            self._mirror.close()


def _memory() -> dict[str, float]:
    """Returns the memory in GB of this process and, if available, of its first device."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes; see getrusage(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    memory = {"memory_gb_process_peak": peak / 1e9}
    stats = jax.local_devices()[0].memory_stats() or {}
    for name, key in (("device", "bytes_in_use"), ("device_peak", "peak_bytes_in_use")):
        if key in stats:
            memory[f"memory_gb_{name}"] = stats[key] / 1e9
    return memory
