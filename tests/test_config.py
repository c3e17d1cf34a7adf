"""The typed config, config files, and changes to them by flags."""

import ast
import dataclasses
import json
import random
import re
import textwrap

import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from hourglass_jax import config_files, rules
from hourglass_jax.config import Config
from hourglass_jax.errors import UserError

NAMES = config_files.names()


def synthetic(**fields):
    config = config_files.load("synthetic")
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return config


def test_the_typed_config_and_its_nested_form():
    loaded = config_files.load("lsp")
    config = Config.from_dict(loaded)
    assert (config.task, config.model.network) == ("single_pose", "stacked_hourglass")
    assert config.data.options == {"manual_dir": "", "extended": True}
    assert config.model.options["num_stacks"] == 2 and config.model.input_size == 96
    zeros = {"zero_target": False, "zero_outside": False}
    assert config.sections == {"heatmap": {"sigma": 1.25, **zeros}}
    assert config.to_dict() == loaded.to_dict()
    assert Config.from_dict(config) is config
    assert Config.from_dict(config.to_dict()) == config
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_a_config_from_before_tasks_and_networks_had_names():
    former = synthetic().to_dict()
    del former["task"], former["model"]["network"]
    assert Config.from_dict(former) == Config.from_dict(synthetic())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_sise": 3}, "unknown config field batch_sise; did you mean batch_size?"),
        ({"optimizer__nam": ""}, "unknown config field optimizer.nam; did you mean optimizer."),
        ({"optimizer__drop_at": (0.9, 0.1)}, "config.optimizer.drop_at=(0.9, 0.1) must be an inc"),
        ({"seed": -1}, "config.seed=-1 must be a whole number of at least 0"),
    ],
)
def test_a_wrong_field_is_named(fields, message):
    with pytest.raises(UserError) as error:
        Config.from_dict(synthetic(**fields))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("fields", "devices", "words"),
    [
        ({"num_steps": 0}, 1, ["num_steps=0", "num_epochs=0"]),
        ({"batch_size": 7}, 2, ["batch_size=7", "2 devices", "take 6 or 8"]),
        ({"accumulate": 3}, 1, ["batch_size=16", "accumulate=3", "take 15 or 18"]),
        ({"model__dtype": "float64"}, 1, ["JAX_ENABLE_X64"]),
    ],
)
def test_fields_that_do_not_go_together(fields, devices, words):
    with pytest.raises(UserError) as error:
        Config.from_dict(synthetic(**fields)).check(devices)
    assert all(word in str(error.value) for word in words)


def test_a_batch_that_fits_is_accepted():
    Config.from_dict(synthetic(accumulate=4)).check(4)


def test_input_sizes_near_one_that_the_network_does_not_take():
    def valid_size(height, width):
        return max(height // 32 * 32, 32), max(width // 32 * 32, 32)

    Config.from_dict(synthetic()).check_input_size(valid_size)
    with pytest.raises(UserError, match=r"input_size=200 .*a multiple of 32, such as 192 or 224"):
        Config.from_dict(synthetic(model__input_size=200)).check_input_size(valid_size)
    with pytest.raises(UserError, match=r"input_size=8 .*such as 32$"):
        Config.from_dict(synthetic(model__input_size=8)).check_input_size(valid_size)
    with pytest.raises(
        UserError, match=r"training_size=200 .*a multiple of 32, such as 192 or 224"
    ):
        Config.from_dict(synthetic(model__training_size=200)).check_input_size(valid_size)


@dataclasses.dataclass(frozen=True)
class Heatmap:
    sigma: float = rules.field(rules.Number(0, above=True))
    zero_target: bool = rules.field(rules.SWITCH)
    zero_outside: bool = rules.field(rules.SWITCH)


def test_sections_of_the_task():
    kinds = {"heatmap": Heatmap}
    config = Config.from_dict(synthetic())
    assert config.task_sections(kinds) == {"heatmap": Heatmap(1.25, False, False)}
    for fields, message in (
        ({"heatmap__sigma": 0}, "config.heatmap.sigma=0.0 must be a number above 0"),
        ({"heatmap__sigms": 1}, "unknown config field heatmap.sigms; did you mean heatmap.sigma?"),
        ({"heatmap": {}}, "the config lacks heatmap.sigma, a number above 0"),
    ):
        values = synthetic().to_dict() | synthetic(**fields).to_dict()
        if fields == {"heatmap": {}}:
            values["heatmap"] = {}
        with pytest.raises(UserError) as error:
            config = Config.from_dict(values)
            config.check_sections(kinds)
            config.task_sections(kinds)
        assert str(error.value) == message


def test_sections_that_the_task_does_not_declare():
    config = Config.from_dict(synthetic())
    config.check_sections({"heatmap", "mass"})
    for name, meant in (("heatmpa", "heatmap"), ("modle", "model")):
        wrong = Config.from_dict(synthetic().to_dict() | {name: {}})
        with pytest.raises(UserError) as error:
            wrong.check_sections({"heatmap", "mass"})
        assert str(error.value) == f"unknown config field {name}; did you mean {meant}?"


@pytest.mark.parametrize("name", NAMES)
def test_experiments_say_what_they_are_and_change_a_few_fields(name):
    text = (ROOT / f"configs/{name}.py").read_text()
    tree = ast.parse(text)
    assert f"--config=configs/{name}.py" in ast.get_docstring(tree)
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    overrides = [line for line in text.splitlines()[function.lineno : -1] if line.strip()]
    assert len(overrides) <= 25
    assert "hourglass_jax" not in re.sub('""".*?"""', "", text, flags=re.DOTALL)
    Config.from_dict(config_files.load(name)).check(1)


def test_the_default_has_a_comment_or_a_plain_name_for_every_field_once():
    text = (ROOT / "configs/default.py").read_text()
    fields = re.findall(r"config\.([\w.]+) = (?!ConfigDict)", text)
    assert len(fields) == len(set(fields))
    sections = {"data", "model", "augment", "optimizer", "eval", "checkpoint"}
    assert set(rules.names(Config)) - sections <= set(fields)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_configs_are_found_from_any_folder_and_a_file_of_the_users_comes_first(folder):
    ours = config_files.FOLDER / "mpii.py"
    for name in ("mpii", "mpii.py", "configs/mpii.py", "configs/mpii"):
        assert config_files.find(name) == ours
    write(folder / "configs/mpii.py", "")
    assert config_files.find("mpii").read_text() == ""
    assert config_files.find("configs/mpii.py").read_text() == ""
    write(folder / "mpii.py", "first = True")
    assert config_files.find("mpii.py").read_text() == "first = True"
    for name, words in (
        ("mine/mpii.py", "mine/mpii.py: there is no such file"),
        ("mpi", "did you mean mpii?"),
        ("nothing_like_it", "the package has centernet, centernet_pose, coco, coco_grouped"),
        ("", "there is no such file"),
        (folder, "is a folder; give a config file"),
        ("~nosuchuser/mine.py", "--config=~nosuchuser/mine.py: there is no such home folder"),
        (300 * "a", "there is no such file"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            config_files.find(name)


def test_the_home_folder_in_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    write(folder / "mine.py", "")
    assert config_files.find("~/mine.py") == folder / "mine.py"
    config = Config.from_dict(synthetic(data__data_dir="~/records", init_from="~"))
    assert (config.data.data_dir, config.init_from) == (f"{folder}/records", str(folder))
    with pytest.raises(UserError, match=r"config.init_from=~nosuchuser/run: there is no such home"):
        Config.from_dict(synthetic(init_from="~nosuchuser/run"))
    (folder / "~nosuchuser").mkdir()  # in the current folder
    assert Config.from_dict(synthetic(init_from="~nosuchuser/run")).init_from == "~nosuchuser/run"


def mutations(seed, count):
    """Flags that a typing error or two make of right ones."""
    rng = random.Random(seed)
    names = config_files._names(config_files.load("synthetic"))
    values = ["1", "0.5", "True", "x", "()", "(1,", "None", "", "nan", "-1", "{}", "'", "@", "1e9"]
    for _ in range(count):
        text = f"--config.{rng.choice(names)}={rng.choice(values)}"
        for _ in range(rng.randrange(3)):
            at = rng.randrange(9, len(text))
            text = (
                text[:at]
                + rng.choice(["", ".", "a", "[", "=", " ", "é", text[at]])
                + text[at + 1 :]
            )
        yield text


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_flags_with_typing_errors_are_understood_or_named(count):
    loaded = config_files.load("synthetic")
    for flag in mutations(count, count):
        config = loaded.copy_and_resolve_references()
        try:
            rest = config_files.change(config, [flag])
            Config.from_dict(config)
        except UserError as error:
            assert len(str(error)) < 300 and "\n" not in str(error), flag
        else:
            assert not rest or not rest[0].startswith("--config."), flag


def test_fields_that_a_users_file_lacks_are_those_of_the_default(folder):
    text = """
        import ml_collections
        def get_config():
            config = ml_collections.ConfigDict()
            config.data = {"dataset": "lsp", "manual_dir": "here"}
            config.num_steps = 7
            return config
    """
    config = config_files.load(write(folder / "mine.py", text))
    assert (config.num_steps, config.data.manual_dir, config.data.resolution) == (7, "here", 256)
    assert Config.from_dict(config).optimizer.name == "rmsprop"


def test_the_config_of_a_workdir(folder):
    config = synthetic(freeze=("stem/*",))
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert config_files.load(path).to_dict() == config.to_dict()
    path.write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read as a config"):
        config_files.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "mine.py: SyntaxError"),
        ("x = 1", "mine.py: AttributeError: .*get_config"),
        ("def get_config(c):\n  c.num_steps = 1\n  c.seed = 'a'\n  return c", "mine.py, line 3: "),
        ("def get_config(c):\n  pass", "must return a ConfigDict, not None"),
    ],
)
def test_a_file_that_makes_no_config(folder, text, words):
    with pytest.raises(UserError, match=words):
        config_files.load(write(folder / "mine.py", text))


def test_flags_change_fields():
    config = config_files.load("synthetic")
    rest = config_files.change(
        config,
        [
            *("--config.seed=3", "--config.num_steps", "9", "--config.freeze=('stem/*',)"),
            *("--config.model.remat", "--noconfig.eval.flip_test"),
            *("--config.optimizer.drop_at=(0.5,0.75)", "--config.optimizer.learning_rate=1"),
            *("--config.data.allow_missing=3", "--config.data.image_dir=a b", "--other=1", "x"),
        ],
    )
    assert rest == ["--other=1", "x"]
    assert (config.seed, config.num_steps, config.freeze) == (3, 9, ("stem/*",))
    assert config.model.remat is True and config.eval.flip_test is False
    assert config.optimizer.drop_at == (0.5, 0.75) and config.optimizer.learning_rate == 1.0
    assert (config.data.allow_missing, config.data.image_dir) == (3, "a b")  # not in the file
    Config.from_dict(config)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.batch_size=many", "config.batch_size=many must be a whole number, such as 16"),
        ("--config.eval.flip_test=maybe", "flip_test=maybe must be True or False, such as True"),
        ("--config.model=big", "config.model is a section; .* --config.model.dtype="),
        ("--config..seed=1", "unknown config field .seed; did you mean seed?"),
        ("--config.optimizer.drop_at[0]=1", "did you mean optimizer.drop_at?"),
        ("--config.modle.num_stacks=3", "modle.num_stacks; did you mean model.num_stacks"),
        ("--config.seed.x=3", "unknown config field seed.x"),
        ("--config.seed", "config.seed"),
    ],
)
def test_flags_that_cannot_be_understood(flag, words):
    with pytest.raises(UserError, match=words):
        config_files.change(config_files.load("synthetic"), [flag])


def test_loading_twice_gives_two_configs():
    first, second = config_files.load("mpii"), config_files.load("mpii")
    first.model.num_stacks = 1
    assert second.model.num_stacks == 8 and isinstance(second, ConfigDict)
