"""The shape of the project: imports point downwards, configs hold what is read, files are short."""

import ast
import importlib
import io
import re
import subprocess
import sys
import tokenize

import pytest
from conftest import ROOT

import hourglass_jax

pytestmark = pytest.mark.core

PACKAGE = ROOT / "hourglass_jax"
# From the top down: a module may import those of its own and of lower levels.
LEVELS = (
    ("command",),
    ("main", "predict", "merge", "import_labels", "interop"),
    ("training",),
    ("evaluation",),
    ("inference",),
    ("experiment",),
    ("checkpoint",),
    ("tasks", "data"),
    ("config_files",),
    ("config",),
    ("nn", "image"),
    ("runtime",),
    ("rules",),
    ("errors",),
)
EXEMPT = {"__init__", "pose"}  # names of other modules alone


def modules():
    """Returns the package's files by the names of their modules."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


MODULES = modules()
EVERY_MODULE = pytest.mark.parametrize("name", MODULES)


def part_of(module):
    return (module.split(".")[1:] or ["__init__"])[0]


def level_of(module):
    (level,) = (i for i, parts in enumerate(LEVELS) if part_of(module) in parts)
    return level


def imports(nodes):
    """Yields the modules of everybody's that these statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def at_once(body):
    """Yields the statements that run when a module is imported."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_once(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            for name in ("body", "orelse", "finalbody"):
                yield from at_once(getattr(node, name, []))
            for handler in getattr(node, "handlers", []):
                yield from at_once(handler.body)


def tree_of(name):
    return ast.parse(MODULES[name].read_text())


@EVERY_MODULE
def test_imports_point_downwards(name):
    """Those inside functions and for type checkers, too."""
    if part_of(name) in EXEMPT:
        return
    for imported in imports(ast.walk(tree_of(name))):
        if imported in MODULES and part_of(imported) not in EXEMPT:
            assert level_of(imported) >= level_of(name), f"{name} imports {imported}"


def test_no_modules_import_each_other():
    graph = {name: set(imports(at_once(tree_of(name).body))) & set(MODULES) for name in MODULES}
    assert "hourglass_jax.tasks.base" in graph["hourglass_jax.tasks.single_pose.task"]
    while graph:  # take away those whose imports are all taken away
        free = [name for name, needs in graph.items() if not needs & (graph.keys() - {name})]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]


@EVERY_MODULE
def test_one_idea_a_file(name):
    path = MODULES[name]
    text = path.read_text()
    assert len(text.splitlines()) <= 310
    assert path.stem != "utils"
    assert ast.get_docstring(ast.parse(text)) or not text.strip()


@pytest.mark.parametrize("folder", ["tests", "configs", "benchmarks"])
def test_other_files_are_short(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 310, path


def test_every_folder_of_modules_is_installed():
    assert all((path.parent / "__init__.py").exists() for path in MODULES.values())


@EVERY_MODULE
def test_large_packages_are_imported_where_they_belong(name):
    found = {imported.split(".")[0] for imported in imports(ast.walk(tree_of(name)))}
    if part_of(name) != "data":
        assert not found & {"tensorflow", "tensorflow_datasets"}
    if name != "hourglass_jax.checkpoint.store":
        assert "orbax" not in found


@EVERY_MODULE
def test_text_files_are_utf8_whatever_the_locale(name):
    for call in ast.walk(tree_of(name)):
        if not isinstance(call, ast.Call):
            continue
        function = ast.unparse(call.func)
        method = function.rpartition(".")[2]
        # Positions of the mode and the encoding; the modules are those that open other things.
        first = 1 if function == "open" else 0
        positions = {"open": first + 2, "read_text": 0, "write_text": 1}
        if method not in positions or function in ("os.open", "Image.open", "tarfile.open"):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        mode = given.get("mode") or (call.args[first] if len(call.args) > first else None)
        if method == "open" and mode is not None and "b" in ast.unparse(mode):
            continue
        encoded = "encoding" in given or len(call.args) > positions[method]
        assert encoded, f"{name}, line {call.lineno}: give the encoding of a text file"


@pytest.mark.parametrize("part", ["training", "evaluation", "checkpoint"])
def test_what_is_predicted_is_behind_the_seam(part):
    """Comments and docstrings may speak of it."""
    for path in (PACKAGE / part).rglob("*.py"):
        found = re.findall(r"(?i).*(?:joint|heatmap|pck).*", code_of(path.read_text()))
        assert not found, (path, found)


def code_of(text):
    """Returns a program without its comments and docstrings."""
    tree, lines = ast.parse(text), text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for row in range(node.lineno - 1, node.end_lineno):
                lines[row] = ""
    return "\n".join(lines)


def test_code_is_read_without_what_is_said_of_it():
    text = '"""Joints."""\nx = "joint"  # a joint\n\n\ndef f():\n    """Joint\n    joint."""\n'
    assert code_of(text).split() == ["x", "=", '"joint"', "def", "f():"]


def run_alone(program):
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_library_needs_neither_tensorflow_nor_orbax_nor_clu():
    run_alone(
        "import sys, hourglass_jax\n"
        "from hourglass_jax import StackedHourglass, make_train_step\n"
        "heavy = {'tensorflow', 'orbax', 'clu', 'tensorflow_datasets'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )


def test_networks_images_and_tasks_bring_no_tensorflow():
    """Nor do their imports."""
    names = [name for name in MODULES if part_of(name) in ("nn", "image", "tasks")]
    run_alone(
        f"import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "sys.exit(', '.join({'tensorflow', 'tensorflow_datasets'} & set(sys.modules)) or 0)\n"
    )


def test_public_names_are_there_for_programs_and_for_type_checkers():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        for alias in node.names
    }
    assert sorted(typed) == hourglass_jax.__all__
    for name, (module, there) in typed.items():
        assert getattr(hourglass_jax, name) is getattr(importlib.import_module(module), there)
    version = re.search('version = "(.*)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert hourglass_jax.__version__ == version
    assert (PACKAGE / "py.typed").exists()
    with pytest.raises(AttributeError, match="has no attribute 'StackedHourGlass'"):
        _ = hourglass_jax.StackedHourGlass
