"""The command: exit statuses, and one sentence for each mistake of the user."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import types

import pytest
from conftest import ROOT, load_config, write_lsp

from hourglass_jax import command


def run(*flags, devices=1, cwd=ROOT):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    arguments = [sys.executable, "-m", "hourglass_jax.main", *flags]
    return subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0]


SYNTHETIC = "--config=configs/synthetic.py"
LARGE_RECORDS = (SYNTHETIC, "--config.data.resolution=256")


MISTAKES = [
    ((SYNTHETIC, "--config.batch_size=many"), ["batch_size", "many"]),
    ((SYNTHETIC, "--config.heatmap.sigma=-1"), ["heatmap.sigma=-1"]),
    ((SYNTHETIC, "--config.model.num_stackz=2"), ["model.num_stackz; did you mean model.num_st"]),
    ((SYNTHETIC, "--config.data.shuffle_bufer=2"), ["did you mean data.shuffle_buffer?"]),
    (("--config=mpii", "--config.data.allow_missing=-1"), ["allow_missing=-1", "whole number"]),
    ((SYNTHETIC, "--config.eval.decode=best"), ["eval.decode='best'", "quarter, refined"]),
    ((*LARGE_RECORDS, "--config.model.input_size=200"), ["200", "192", "224"]),
    ((SYNTHETIC, "--config.model.input_size=256"), ["256", "data.resolution=256"]),
    ((SYNTHETIC, "--config.model.num_stacks=0"), ["num_stacks=0"]),
    ((SYNTHETIC, "--config.num_steps=0"), ["num_steps=0", "num_epochs=0"]),
    ((SYNTHETIC, "--config.accumulate=3"), ["batch_size=16", "accumulate=3", "15 or 18"]),
    ((SYNTHETIC, "--config.model.dtype=float64"), ["float64", "JAX_ENABLE_X64"]),
    ((SYNTHETIC, "--config.data.dataset=imagenet"), ["imagenet", "synthetic_people"]),
    ((SYNTHETIC, "--config.augment.scale=0.9"), ["augment.scale=0.9"]),
    ((SYNTHETIC, "--workdir=s3://bucket/run"), ["--workdir=s3://bucket/run: s3://", "gs://"]),
    ((SYNTHETIC, "--workdir=README.md/run"), ["README.md/run", "choose another folder"]),
    ((SYNTHETIC, "--mode=fly"), ["fly"]),
    ((SYNTHETIC, "surplus"), ["surplus"]),
    (("--config=configs/lsp.py", "--config.data.manual_dir=/nowhere"), ["/nowhere", "joints.mat"]),
    (("--config=configs/mpii.py",), ["mpii"]),
]
# All of them in one process, which starts up once.
ONE_BY_ONE = """
import contextlib, io, json, sys
from absl import flags
from hourglass_jax import main
for number, arguments in enumerate(json.loads(sys.argv.pop())):
    sys.argv[1:], stderr = arguments, io.StringIO()
    flags.FLAGS.unparse_flags()
    with contextlib.redirect_stderr(stderr):
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = end.code
    print("RESULT", json.dumps([status, stderr.getvalue()]))
"""


def run_one_by_one(*commands, cwd=ROOT):
    """Returns for each command its exit status and what was written to stderr."""
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(commands)]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280
    )
    lines = [line for line in output.stdout.splitlines() if line.startswith("RESULT")]
    assert len(lines) == len(commands), output.stdout + output.stderr
    results = [json.loads(line.removeprefix("RESULT ")) for line in lines]
    return [subprocess.CompletedProcess((), status, "", stderr) for status, stderr in results]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("refusals") / "run"
    results = run_one_by_one(*([f"--workdir={workdir}", *flags] for flags, _ in MISTAKES))
    assert not workdir.exists()
    return results


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_costs_one_sentence(refusals, number):
    assert_refused(refusals[number], *MISTAKES[number][1])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((SYNTHETIC, "--config.modle.num_stacks=2"), ["modle.num_stacks", "model.num_stacks"]),
        (("--config=configs/nope.py",), ["configs/nope.py", "synthetic"]),
        (("--config=mpi",), ["did you mean mpii?"]),
        ((), ["no --config given", "--config=synthetic"]),
        (("--mode=evaluate",), ["run/config.json does not exist", "--config"]),
        ((SYNTHETIC, "--wrokdir=x"), ["--wrokdir; did you mean --workdir?"]),
    ],
)
def test_so_does_one_that_is_found_before_jax_is_loaded(tmp_path, flags, words):
    assert_refused(run(*flags, f"--workdir={tmp_path / 'run'}"), *words)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_devices_cannot_share(tmp_path):
    flags = (SYNTHETIC, f"--workdir={tmp_path}", "--config.batch_size=7")
    assert_refused(run(*flags, devices=2), "batch_size=7", "2 devices", "6 or 8")


def test_damaged_data(tmp_path):
    write_lsp(tmp_path / "picture")
    shutil.copytree(tmp_path / "picture", tmp_path / "joints")
    (tmp_path / "picture/lsp/images/im0002.jpg").write_text("no picture")
    (tmp_path / "joints/lsp/joints.mat").write_bytes(b"")
    folders = [tmp_path / name for name in ("picture", "joints", "nothing")]
    results = run_one_by_one(
        *(
            [
                "--config=configs/lsp.py",
                f"--config.data.manual_dir={folder}",
                f"--config.data.data_dir={tmp_path / 'records'}",
                f"--workdir={tmp_path / 'run'}",
            ]
            for folder in folders
        )
    )
    files = ("im0002.jpg", "joints.mat", "lsp/joints.mat")
    for result, folder, file in zip(results, folders, files, strict=True):
        assert_refused(result, str(folder), file)


def test_an_unknown_joint_in_a_skeleton(tmp_path):
    """Through the command: a data set whose skeleton has a limb to a joint that it lacks."""
    program = (
        "from hourglass_jax import main\n"
        "from hourglass_jax.data import skeleton\n"
        "import sys\n"
        "sys.argv = ['main', '--config=configs/synthetic.py']\n"
        "from hourglass_jax.training import train\n"
        "def wrong(*unused):\n"
        "    skeleton.Skeleton('mouse', ('nose', 'tail'), (), (('nose', 'tial'),))\n"
        "train.train_and_evaluate = wrong\n"
        "main.run()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert_refused(result, "tial", "mouse", "nose, tail")


HEAVY = {"jax", "tensorflow", "flax", "orbax", "numpy", "matplotlib"}


@pytest.mark.parametrize(
    ("module", "function", "words"),
    [
        ("main", "run", ["--workdir", "--mode", "--config"]),
        ("command", "main", ["train", "evaluate", "predict", "export", "import-weights"]),
    ],
)
def test_help_is_quick_to_read(module, function, words):
    program = (
        f"import sys; from hourglass_jax import {module}\n"
        f"sys.argv = ['{module}', '--help']\n"
        "try:\n"
        f"    {module}.{function}()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"sys.exit(', '.join({HEAVY} & set(sys.modules)) or 0)\n"
    )
    arguments = [sys.executable, "-c", program]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in words)
    assert "Traceback" not in result.stderr


@pytest.fixture
def called(monkeypatch):
    """What `hourglass` hands to a command: its module's name and sys.argv."""
    calls = []

    def import_module(name):
        def run():
            calls.append((name.removeprefix("hourglass_jax."), sys.argv[1:]))

        return types.SimpleNamespace(run=run)

    monkeypatch.setattr(command, "importlib", types.SimpleNamespace(import_module=import_module))
    return calls


@pytest.mark.parametrize(
    ("arguments", "module", "passed"),
    [
        (["train", "--config=mpii"], "main", ["--mode=train", "--config=mpii"]),
        (["evaluate", "--workdir=x"], "main", ["--mode=evaluate", "--workdir=x"]),
        (["predict", "--input=a.jpg"], "predict", ["--input=a.jpg"]),
        (["export", "--help"], "interop.export", ["--help"]),
        (["merge", "poses"], "merge", ["poses"]),
        (["import-labels", "a.slp"], "import_labels", ["a.slp"]),
        (["import-weights", "f.pth"], "interop.torch_weights", ["f.pth"]),
    ],
)
def test_one_command_hands_over_to_the_others(called, monkeypatch, arguments, module, passed):
    monkeypatch.setattr(sys, "argv", ["hourglass", *arguments])
    command.main()
    assert called == [(module, passed)]


def test_every_command_can_be_run():
    for module, _, _ in command.COMMANDS.values():
        assert callable(importlib.import_module(f"hourglass_jax.{module}").run)


def test_an_unknown_command(monkeypatch, capsys):
    for name, words in (("trian", "did you mean train?"), ("fly", "choose from train, evaluate")):
        monkeypatch.setattr(sys, "argv", ["hourglass", name])
        with pytest.raises(SystemExit) as end:
            command.main()
        assert end.value.code == 2
        assert words in capsys.readouterr().err


def test_training_without_its_extra():
    program = (
        "import importlib.util, sys\n"
        "from hourglass_jax import main\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'tensorflow' else find(name)\n"
        "sys.argv = ['main', '--config=synthetic']\n"
        "main.run()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert_refused(result, "needs tensorflow", "pip install 'hourglass-jax[train]'")


def test_prediction_needs_nothing_of_that_extra():
    """And neither do export and the import of weights."""
    program = (
        "import sys\n"
        "from hourglass_jax import main\n"
        "sys.modules.update({name: None for name in main._TRAINING})\n"
        "from hourglass_jax import PoseEstimator, config_files, predict\n"
        "from hourglass_jax.interop import export, package, torch_weights\n"
        "config_files.load('mpii')\n"
        "PoseEstimator.from_checkpoint('lsp-small')\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_a_run_has_its_config_in_its_workdir(tmp_path):
    """From another folder; evaluation gets as far as to look for checkpoints."""
    config = load_config("synthetic")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(config.to_dict()))
    evaluate, train = ["--mode=evaluate", "--workdir=run"], ["--workdir=run", "--config.seed=-1"]
    plain, wrong = run_one_by_one(evaluate, train, cwd=tmp_path)
    assert_refused(plain, "--workdir=run holds no checkpoint")
    assert_refused(wrong, "config.seed=-1")
