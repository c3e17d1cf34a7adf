"""The `hourglass` command, which runs every command of the package; see `hourglass --help`."""

import importlib
import sys

import hourglass_jax
from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import command_line

# For each command: the module with its `run`, the flags to put first, and what it does.
COMMANDS: dict[str, tuple[str, list[str], str]] = {
    "train": ("main", ["--mode=train"], "train a network, then evaluate it"),
    "evaluate": ("main", ["--mode=evaluate"], "evaluate the best checkpoint of a run"),
    "predict": ("predict", [], "find poses in images and videos"),
    "export": ("interop.export", [], "write a network as a StableHLO or ONNX file"),
    "import-weights": ("interop.torch_weights", [], "read a network published for PyTorch"),
    "merge": ("merge", [], "merge what the shards of a prediction have found"),
    "import-labels": ("import_labels", [], "write labels of other tools in COCO's format"),
}


def main() -> None:
    """Runs the command that the first argument names; the exit status is the command's."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print("usage: hourglass COMMAND [flags]; hourglass COMMAND --help lists its flags\n")
        print("\n".join(f"  {name:16}{text}" for name, (_, _, text) in COMMANDS.items()))
        return
    if name == "--version":
        print(hourglass_jax.__version__)
        return
    if name not in COMMANDS:
        with command_line.reporting_errors():
            hint = rules.did_you_mean(name, COMMANDS) or f"; choose from {', '.join(COMMANDS)}"
            raise UserError(f"unknown command {name}{hint}")
    module, first, _ = COMMANDS[name]
    sys.argv = [f"hourglass {name}", *first, *arguments]
    importlib.import_module(f"hourglass_jax.{module}").run()


if __name__ == "__main__":
    main()
