"""What a run writes while it trains: TensorBoard's event files and metrics.jsonl."""

import json
import math
import pathlib
import resource
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from clu import metric_writers

from hourglass_jax.errors import RunError
from hourglass_jax.runtime import distributed, json_lines


class Log:
    """TensorBoard event files, and metrics.jsonl with one object a logged step.

    Of several processes the first writes for all.
    """

    def __init__(self, workdir: pathlib.Path, schedule, first_step: int):
        self._schedule = schedule
        self._path = workdir / "metrics.jsonl"
        self._writes = distributed.is_first()
        if not self._writes:
            return
        self._writer = metric_writers.SummaryWriter(str(workdir))
        kept = []
        if self._path.exists():
            # What was logged after the checkpoint is logged again, the same.
            lines = json_lines.read(self._path)
            kept = [json.dumps(line) for line in lines if line["step"] <= first_step]
        rewritten = self._path.with_suffix(".rewritten")
        rewritten.write_text("".join(f"{line}\n" for line in kept))
        rewritten.replace(self._path)  # at once: a full disk takes none of the lines before
        self._lines = self._path.open("a", buffering=1)

    def training(self, step: int, metrics: Mapping[str, Any], rates: Mapping[str, float]) -> dict:
        """Logs a step's metrics, and returns what was logged.

        Args:
          step: the number of updates done.
          metrics: from the training step, on the host.
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
            # 1 is predicting nothing: where this network stays if it does not learn.
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
        """Logs the figures that are known, and a picture by its name."""
        self._write({"step": step, **{k: v for k, v in figures.items() if math.isfinite(v)}})
        if self._writes and sheet is not None:
            self._writer.write_images(step, {name: sheet[None]})

    def _write(self, record: dict) -> None:
        if not self._writes:
            return
        if not self._path.exists():  # an open file can be written to without having a name
            raise RunError(f"{self._path} is gone; start again with a --workdir that stays")
        self._lines.write(json.dumps(record) + "\n")
        scalars = {}
        for key, value in record.items():
            values = value if isinstance(value, list) else [value]
            names = [f"{key}/{i + 1}" for i in range(len(values))] if value is values else [key]
            scalars |= dict(zip(names, values, strict=True))
        step = scalars.pop("step")
        self._writer.write_scalars(step, scalars)

    def close(self) -> None:
        if self._writes:
            self._lines.close()
            self._writer.close()


def _memory() -> dict[str, float]:
    """Memory in GB: of this process, and of its first device where that tells."""
    unit = 1 if sys.platform == "darwin" else 1024  # of bytes: getrusage(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    memory = {"memory_gb_process_peak": peak / 1e9}
    told = jax.local_devices()[0].memory_stats() or {}
    for name, key in (("device", "bytes_in_use"), ("device_peak", "peak_bytes_in_use")):
        if key in told:
            memory[f"memory_gb_{name}"] = told[key] / 1e9
    return memory
