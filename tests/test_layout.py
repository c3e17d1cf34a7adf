"""The shape of the project: imports point downwards, configs hold what is read, files are short."""

import ast
import contextlib
import dataclasses
import importlib
import re
import subprocess
import sys

import pytest
from conftest import ROOT, load_config

import hourglass_jax
from hourglass_jax import rules
from hourglass_jax.config import Config, Optimizer

pytestmark = pytest.mark.core

PACKAGE = ROOT / "hourglass_jax"
# From the top down: a module may import those of lower levels, and its own level's as long as no
# circle arises.
LAYERS = (
    ("command", "main", "predict", "interop"),
    (
        *("training", "evaluation", "experiment", "inference"),
        *("config", "config_files", "tasks", "data", "checkpoint", "nn", "image"),
    ),
    ("runtime", "rules"),
    ("errors",),
)


def layer(module):
    part = module.split(".")[1]
    return next(i for i, names in enumerate(LAYERS) if part in names), part


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    return [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    own, _ = layer(name)
    for imported in imports(path):
        if imported.startswith("hourglass_jax."):
            other, _ = layer(imported)
            assert other >= own, f"{name} imports {imported}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_idea_a_file(path):
    assert len(path.read_text().splitlines()) <= 320
    assert path.stem != "utils"
    assert ast.get_docstring(ast.parse(path.read_text())) or not path.read_text().strip()


def test_every_folder_of_modules_is_installed():
    assert all((path.parent / "__init__.py").exists() for path in modules())


def test_tensorflow_is_imported_by_the_data_path_alone():
    for path in modules():
        names = {name.split(".")[0] for name in imports(path)}
        if "data" not in path.relative_to(PACKAGE).parts:
            assert not names & {"tensorflow", "tensorflow_datasets"}, path
        if path != PACKAGE / "checkpoint/store.py":
            assert "orbax" not in names, path


def test_the_library_needs_neither_tensorflow_nor_orbax_nor_clu():
    program = (
        "import sys, hourglass_jax\n"
        "from hourglass_jax import StackedHourglass, make_train_step\n"
        "heavy = {'tensorflow', 'orbax', 'clu', 'tensorflow_datasets'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_public_names_are_there_for_programs_and_for_type_checkers():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(typed) == hourglass_jax.__all__
    for name, module in typed.items():
        assert getattr(hourglass_jax, name) is getattr(importlib.import_module(module), name)
    version = re.search('version = "(.*)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert hourglass_jax.__version__ == version
    assert (PACKAGE / "py.typed").exists()
    with pytest.raises(AttributeError, match="has no attribute 'StackedHourGlass'"):
        _ = hourglass_jax.StackedHourGlass


@contextlib.contextmanager
def recorded_reads(*kinds):
    """Collects (section, field) for every field of these dataclasses that is read in the block.

    Writing a config out again, by `to_dict`, is not reading it.
    """
    read = set()
    with contextlib.ExitStack() as undo:
        for kind in kinds:
            fields = {field.name for field in dataclasses.fields(kind)}

            def getattribute(self, name, kind=kind, fields=fields):
                if name in fields:
                    read.add((kind, name))
                return object.__getattribute__(self, name)

            kind.__getattribute__ = getattribute
            undo.callback(delattr, kind, "__getattribute__")
        yield read


def sections(kind=Config):
    """Returns a config's dataclass and those of the sections in it."""
    inner = [f.type for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.type)]
    return [kind, *(section for each in inner for section in sections(each))]


def test_reads_are_recorded():
    config = Config.from_dict(load_config("synthetic"))
    with recorded_reads(*sections()) as read:
        config.to_dict()
        assert not read
        _ = config.optimizer.name
        assert read == {(Config, "optimizer"), (Optimizer, "name")}
    _ = config.seed
    assert len(read) == 2


def test_every_field_is_read_by_something():
    # Interim: of the source's text. To be `recorded_reads` of a run.
    sources = "".join(path.read_text() for path in modules() if path.stem not in ("config",))
    for field in rules.names(Config):
        last = field.rpartition(".")[2]
        # The network's and the augmentation's are passed on whole, to attributes of those names.
        assert re.search(rf"(\.{last}\b|\b{last}:|\"{last}\")", sources), field
