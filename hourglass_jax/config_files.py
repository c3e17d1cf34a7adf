"""Config files: Python files with a `get_config`, and the config.json of a workdir.

    config = load("mpii")  # or "configs/mpii.py", or a file of your own
    change(config, ["--config.seed=1"])

The package's configs are `configs/` of the repository, and are installed as hourglass_jax/configs.
"""

import importlib.util
import inspect
import json
import os
import pathlib
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk, paths

if TYPE_CHECKING:  # it imports JAX, which --help does not need
    from hourglass_jax.config import Config

_PACKAGE = pathlib.Path(__file__).parent
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", tuple: "a list"}
FOLDER = next(
    (path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir()),
    _PACKAGE / "configs",
)


def names() -> list[str]:
    """Returns the names of the package's experiments."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "default")


def find(name: str | pathlib.Path) -> pathlib.Path:
    """Returns the file that a name stands for.

    That is the file of this name; else, for "mpii", "mpii.py" and "configs/mpii.py", the file in
    configs/ of the current folder; else the one that comes with the package.

    Raises:
      UserError: there is no such file.
    """
    path = paths.path(rules.expand(str(name), "--config"))
    if paths.is_file(path):  # False for names that are too long, too
        return path
    if path.suffix in ("", ".py") and str(path.parent) in (".", "configs"):
        for folder in (pathlib.Path("configs"), FOLDER):
            if os.path.isfile(folder / f"{path.stem}.py"):
                return folder / f"{path.stem}.py"
    if str(name) and os.path.isdir(path):
        raise UserError(f"--config={name} is a folder; give a config file, such as {path}/mine.py")
    hint = rules.did_you_mean(path.stem, names()) or f"; the package has {', '.join(names())}"
    raise UserError(f"--config={name}: there is no such file{hint}")


def load(name: str | pathlib.Path) -> ConfigDict:
    """Returns the config of a file; see `find` for the names.

    A `get_config` with an argument receives the config of configs/default.py to change. Fields
    that a file leaves out have the values of configs/default.py.

    Raises:
      UserError: there is no such file, or it cannot be read as a config.
    """
    path = find(name)
    values = default()
    if path.suffix == ".json":
        try:
            config = ConfigDict(_tuples(json.loads(path.read_text("utf-8-sig"))))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path} cannot be read as a config ({error})") from None
    else:
        with paths.local(path) as file:
            config = _get_config(file, values.copy_and_resolve_references())
    return ConfigDict(_merged(values.to_dict(), config.to_dict()))


def default() -> ConfigDict:
    """Returns the config of the package's configs/default.py."""
    return _get_config(FOLDER / "default.py")


def save(config: "Config", workdir: pathlib.Path) -> None:
    """Writes the config.json of a workdir, which `load` reads."""
    with disk.replacing(workdir / "config.json") as file:
        file.write_text(json.dumps(config.to_dict(), indent=2) + "\n", "utf-8")


def change(config: ConfigDict, arguments: Sequence[str]) -> list[str]:
    """Changes fields of a config by arguments such as --config.seed=1; returns the other arguments.

    Fields that are missing from the config are added: they may belong to the data set or the
    network, and are checked there.

    Raises:
      UserError: an argument cannot be understood, or its value is not of the field's type.
    """
    for argument in arguments:
        match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if match is None:
            continue
        name = match[1]
        section = name.rpartition(".")[0]
        known = not section or isinstance(_get(config, section), ConfigDict)
        if not known or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
            raise rules.unknown_field(name, _names(config))
        if isinstance(value := _get(config, name), ConfigDict):
            field = next(iter(value), "field")
            raise UserError(
                f"config.{name} is a section; set its fields one by one, as in "
                f"--config.{name}.{field}=..."
            )
    values = flags.FlagValues()
    values.set_gnu_getopt()
    try:
        config_flags.DEFINE_config_dict(
            "config",
            config,
            flag_values=values,
            lock_config=False,
            accept_new_attributes=True,
            sys_argv=list(arguments),
        )
        return values(["", *arguments], known_only=True)[1:]
    # A field that cannot be set or a value of the wrong type raises one of many kinds.
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        text = " ".join(str(error).split())
        match = re.match(r"flag --(?:no)?config\.([\w.]+)=(.*?): ", text)
        value = _get(config, match[1]) if match else None
        if match is None or value is None or isinstance(value, ConfigDict):
            raise UserError(f"flags: {text}") from None
        kind = _KINDS.get(type(value), "of the same kind")
        raise UserError(f"config.{match[1]}={match[2]} must be {kind}, such as {value!r}") from None


def given(arguments: Sequence[str]) -> set[str]:
    """Returns the names of the fields that arguments such as --config.seed=1 set: {"seed"}."""
    matches = (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in arguments)
    return {match[1] for match in matches if match}


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config.get(part) if isinstance(config, ConfigDict) else None
    return config


def _names(config: ConfigDict, prefix: str = "") -> list[str]:
    found = []
    for name, value in config.items():
        inner = _names(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else []
        found += [f"{prefix}{name}", *inner]
    return found


def _get_config(path: pathlib.Path, *default: ConfigDict) -> ConfigDict:
    """Returns the config that a file's `get_config` makes, from the default if it takes one."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is neither a Python file nor a JSON file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        takes = inspect.signature(module.get_config).parameters
        config = module.get_config(*default) if takes else module.get_config()
    except Exception as error:  # whatever a user's program raises
        lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f", line {lines[-1].lineno}" if lines else ""
        text = " ".join(str(error).split())
        raise UserError(f"{path}{where}: {type(error).__name__}: {text}") from error
    if isinstance(config, Mapping):
        config = ConfigDict(config)
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config must return a ConfigDict, not {config!r}")
    return config


def _merged(default: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Returns a nested dict with the fields of both; those of `config` win."""
    merged = default | config
    for name in default.keys() & config.keys():
        if isinstance(default[name], dict) and isinstance(config[name], dict):
            merged[name] = _merged(default[name], config[name])
    return merged


def _tuples(value: Any) -> Any:
    """Returns parsed JSON with tuples in place of lists, as in config files and flags."""
    if isinstance(value, dict):
        return {name: _tuples(each) for name, each in value.items()}
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
