"""The command that trains and evaluates networks.

python -m hourglass_jax.main --config=NAME [--workdir=DIR] [--mode=MODE] [--config.FIELD=VALUE ...]
"""

import gc
import importlib.util
import logging
import os
import pathlib
import sys

from absl import app, flags
from ml_collections import ConfigDict

from hourglass_jax import config_files, rules
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import disk, paths, preemption

MODES = ("train", "evaluate", "predict_test", "calibrate_batch_norm")
_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "Config file such as configs/mpii.py, or the name of a config of the package, such as mpii. "
    "--config.seed=1 changes a field. Default: the config in the workdir.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder for checkpoints, logs and results, also gs://bucket/folder. Default: runs/<name of the "
    "config>.",
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    MODES,
    "train (and evaluate at the end), evaluate the best checkpoint, write its predictions for the "
    "evaluation server, or recompute its BatchNorm statistics.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, where JAX does not find it by itself."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Index of this process.", lower_bound=0)
_PROCESSES = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)
# Installed by the extra `train`, and not needed for prediction.
_TRAINING = (
    *("tensorflow", "tensorflow_datasets", "clu", "tensorboard"),
    *("matplotlib", "pycocotools", "simplejpeg"),
)


def _parse(argv: list[str]) -> list[str]:
    """Parses flags, and returns the arguments that are left: changes of the config."""
    if {"--help", "-help", "-h"} & set(argv):
        # absl's own help lists the flags of the module that was started, which may be command.py.
        module = flags.FLAGS.find_module_defining_flag("workdir")
        print(__doc__, flags.FLAGS.module_help(module), sep="")
        sys.exit(0)
    flags.FLAGS.set_gnu_getopt()  # in any order
    try:
        return flags.FLAGS(argv, known_only=True)
    except SystemExit:  # absl has shown further help, and would exit with 1
        sys.exit(0)
    except flags.Error as error:
        raise UserError(f"flags: {' '.join(str(error).split())}") from None


def _config_and_workdir(changes: list[str]) -> tuple[ConfigDict, pathlib.Path]:
    """Returns the config, changed by arguments such as --config.seed=1, and the workdir."""
    given = rules.expand(_WORKDIR.value or "", "--workdir")
    if _CONFIG.value is not None:
        path = config_files.find(_CONFIG.value)
        workdir = paths.path(given or f"runs/{path.stem}", "--workdir")
    else:
        workdir = paths.path(given, "--workdir")
        path = workdir / "config.json"
        if not given or (_MODE.value == "train" and not paths.is_file(path)):
            raise UserError("no --config given; try --config=synthetic, or the --workdir of a run")
        if not paths.is_file(path):
            raise UserError(f"{path} does not exist; give the --config that the run began with")
    config = config_files.load(path)
    rest = config_files.change(config, changes)
    if rest and not rest[0].startswith("-"):
        raise UserError(f"{rest[0]!r} is not a flag; every argument has the form --name=value")
    if rest:
        name = rest[0].partition("=")[0]
        known = [f"--{flag.name}" for flag in (_CONFIG, _WORKDIR, _MODE, *_PROCESSES)]
        raise UserError(f"unknown flag {name}{rules.did_you_mean(name, known)}")
    disk.check_utf8(workdir, f"--workdir={workdir}")
    return config, workdir


def main(argv: list[str]) -> None:
    config, workdir = _config_and_workdir(argv[1:])
    missing = [name for name in _TRAINING if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--mode={_MODE.value} needs {', '.join(missing)}, which the extra `train` installs: "
            "pip install 'hourglass-jax[train]'"
        )
    # Less on stderr: TensorFlow announces these operations, of which records need none.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Imported late, because they import JAX and TensorFlow, which --help does not need. Nothing of
    # an import is garbage, and looking for it takes a fifth of the time.
    gc.disable()
    from hourglass_jax.runtime import distributed, startup
    from hourglass_jax.training import inherited, train

    startup.collect_garbage_rarely()
    distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    if not distributed.is_first():
        logging.getLogger("hourglass_jax").setLevel(logging.WARNING)

    modes = {
        "train": train.train_and_evaluate,
        "evaluate": train.evaluate_only,
        "predict_test": train.predict_test,
        "calibrate_batch_norm": train.calibrate_batch_norm,
    }
    with distributed.ending_with_others():
        # Fields on the command line win over those of a checkpoint.
        given = config_files.given(argv[1:])
        modes[_MODE.value](inherited.with_network(config.to_dict(), workdir, given), workdir)


def run() -> None:
    """Runs the command; its exit statuses are those of docs/training.md."""
    preemption.end_at_once(resumes=lambda: flags.FLAGS.is_parsed() and _MODE.value == "train")
    with command.reporting_errors():
        app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    run()
