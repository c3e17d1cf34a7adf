"""The command: exit statuses, and one sentence for each mistake of the user."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, write_lsp


def run(*flags, devices=1, cwd=ROOT):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "hourglass_jax.main", *flags]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0]


SYNTHETIC = "--config=configs/synthetic.py"


MISTAKES = [
    ((SYNTHETIC, "--config.batch_size=many"), ["batch_size", "many"]),
    ((SYNTHETIC, "--config.heatmap.sigma=-1"), ["heatmap.sigma=-1"]),
    ((SYNTHETIC, "--config.model.input_size=200"), ["200", "192", "224"]),
    ((SYNTHETIC, "--config.model.num_stacks=0"), ["num_stacks=0"]),
    ((SYNTHETIC, "--config.num_steps=0"), ["num_steps=0", "num_epochs=0"]),
    ((SYNTHETIC, "--config.accumulate=3"), ["batch_size=16", "accumulate=3", "15 or 18"]),
    ((SYNTHETIC, "--config.model.dtype=float64"), ["float64", "JAX_ENABLE_X64"]),
    ((SYNTHETIC, "--config.data.dataset=imagenet"), ["imagenet", "synthetic_people"]),
    ((SYNTHETIC, "--config.augment.scale=0.9"), ["augment.scale=0.9"]),
    ((SYNTHETIC, "--workdir=gs://bucket/run"), ["gs://bucket/run", "mount"]),
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


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """For each of the mistakes the exit status and what was written to stderr."""
    workdir = tmp_path_factory.mktemp("refusals") / "run"
    commands = [[f"--workdir={workdir}", *flags] for flags, _ in MISTAKES]
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(commands)]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )
    lines = [line for line in output.stdout.splitlines() if line.startswith("RESULT")]
    assert len(lines) == len(MISTAKES), output.stdout + output.stderr
    assert not workdir.exists()
    return [json.loads(line.removeprefix("RESULT ")) for line in lines]


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_costs_one_sentence(refusals, number):
    status, stderr = refusals[number]
    assert_refused(subprocess.CompletedProcess((), status, "", stderr), *MISTAKES[number][1])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((SYNTHETIC, "--config.model.num_stackz=2"), ["num_stackz", "num_stacks"]),
        (("--config=configs/nope.py",), ["configs/nope.py"]),
        ((), ["--config"]),
    ],
)
def test_so_does_one_that_flags_do_not_survive(tmp_path, flags, words):
    assert_refused(run(*flags, f"--workdir={tmp_path / 'run'}"), *words)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_devices_cannot_share(tmp_path):
    flags = (SYNTHETIC, f"--workdir={tmp_path}", "--config.batch_size=7")
    assert_refused(run(*flags, devices=2), "batch_size=7", "2 devices", "6 or 8")


def test_damaged_data(tmp_path):
    write_lsp(tmp_path / "manual")
    flags = (
        "--config=configs/lsp.py",
        f"--config.data.manual_dir={tmp_path / 'manual'}",
        f"--config.data.data_dir={tmp_path / 'records'}",
        f"--workdir={tmp_path / 'run'}",
    )
    picture = tmp_path / "manual/lsp/images/im0002.jpg"
    picture.unlink()
    picture.write_text("no picture")
    assert_refused(run(*flags), "im0002.jpg")
    (tmp_path / "manual/lsp/joints.mat").write_bytes(b"")
    assert_refused(run(*flags), "joints.mat")
    shutil.rmtree(tmp_path / "manual/lsp")
    assert_refused(run(*flags), "lsp/joints.mat")


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


def test_help_is_quick_to_read():
    result = run("--help")
    assert result.returncode == 0
    assert "--workdir" in result.stdout and "--mode" in result.stdout
    assert "Traceback" not in result.stderr
