"""The command: flags and devices, then train or evaluate. `python -m hourglass_jax.main --help`."""

import logging
import os
import pathlib
import signal
import sys

from absl import app, flags
from ml_collections import config_flags

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line as command

MODES = ("train", "evaluate", "predict_test", "calibrate_batch_norm")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment, e.g. configs/synthetic.py; --config.seed=1 changes a field."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints, logs and results. Default: runs/<name of the config>."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    MODES,
    "train (and evaluate at the end), evaluate the best checkpoint, write its predictions for the "
    "evaluation server, or compute its BatchNorm statistics anew.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for several processes that do not find it."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Processes in all.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of this process.", lower_bound=0)


def _parse(argv: list[str]) -> list[str]:
    """Parses flags, turning whatever a wrong config or flag raises into one sentence."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise UserError(f"{rest[1]!r} is no flag; every argument has the form --name=value")
        if _CONFIG.value is None:
            raise UserError("no --config given; try --config=configs/synthetic.py")
        name = flags.FLAGS["config"].config_filename
        if not pathlib.Path(name).is_file():
            raise UserError(f"--config={name}: there is no such file; see configs/")
    except UserError:
        raise
    except SystemExit:  # absl has shown its help, and would end with 1
        sys.exit(0)
    # A misspelt field or a value of the wrong type raises one of many kinds.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise UserError(f"flags: {' '.join(str(error).split())}") from None
    return rest


def main(_) -> None:
    if _MODE.value == "train":  # as long as there is nothing to save
        signal.signal(signal.SIGTERM, lambda *unused: sys.exit(75))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets on stderr otherwise
    # Not before: they import JAX and TensorFlow, which --help does without.
    from hourglass_jax.runtime import distributed, startup
    from hourglass_jax.training import train

    distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    startup.keep_compiled()
    startup.keep_memory()
    startup.collect_rarely()
    if not distributed.is_first():
        logging.getLogger("hourglass_jax").setLevel(logging.WARNING)

    config = _CONFIG.value
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    workdir = pathlib.Path(_WORKDIR.value or f"runs/{name}")
    if "://" in (_WORKDIR.value or ""):
        raise UserError(f"--workdir={_WORKDIR.value} is no folder; mount the bucket, and name that")
    modes = {
        "train": train.train_and_evaluate,
        "evaluate": train.evaluate_only,
        "predict_test": train.predict_test,
        "calibrate_batch_norm": train.calibrate_batch_norm,
    }
    with distributed.ending_with_others():
        modes[_MODE.value](config, workdir)


def run() -> None:
    """Runs the command; exit status 0, 2 for the user's mistake, 75 stopped but saved, else 1."""
    with command.speaking():
        app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    run()
