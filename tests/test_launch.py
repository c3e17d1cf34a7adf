"""The launchers: what they would do, and their files' form."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))
MAIN = "python -m hourglass_jax.main"


def dry(script, *flags, **environment):
    result = subprocess.run(
        ["bash", LAUNCH / script, *flags],
        env={**os.environ, "DRY_RUN": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name):
    beside_python = pathlib.Path(sys.executable).parent / "shellcheck"
    shellcheck = beside_python if beside_python.exists() else shutil.which("shellcheck")
    assert shellcheck, "shellcheck is not installed; it is part of the extra dev"
    command = [shellcheck, "--shell=bash", "-x", f"launch/{name}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_gpus_and_slurm_run_the_command_with_its_flags():
    flags = ("--config=configs/mpii.py", "--workdir=a b")
    assert f"{MAIN} --config=configs/mpii.py --workdir=a b" in dry("gpus.sh", *flags)
    told = dry("slurm.sh", *flags, SLURM_SUBMIT_DIR=str(ROOT))
    assert told.startswith("srun") and f"{MAIN} --config=configs/mpii.py" in told


def test_an_array_of_slurm_predicts_in_shares():
    flags = ("--input=a b", "--output=poses")
    told = dry("slurm_predict.sh", *flags, SLURM_SUBMIT_DIR=str(ROOT))
    assert told == "srun .venv/bin/python -m hourglass_jax.predict --input=a b --output=poses\n"
    assert "#SBATCH --array=0-" in (LAUNCH / "slurm_predict.sh").read_text()


@pytest.mark.parametrize(
    ("launcher", "status", "requeued"),
    [
        ("slurm.sh", 75, True),
        ("slurm.sh", 1, False),
        ("slurm_predict.sh", 143, True),
        ("slurm_predict.sh", 1, False),
    ],
)
def test_slurm_queues_a_stopped_job_again(tmp_path, launcher, status, requeued):
    for name, script in (("srun", f"exit {status}"), ("scontrol", f"echo $* > {tmp_path}/told")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    result = subprocess.run(
        ["bash", LAUNCH / launcher],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
    )
    assert result.returncode == status
    assert (tmp_path / "told").exists() == requeued
    if requeued:
        assert (tmp_path / "told").read_text() == "requeue 7\n"


def test_an_installation_that_fails_is_not_taken_for_done(tmp_path):
    """Sourced where errors do not end the shell, as over ssh."""
    shutil.copytree(LAUNCH, tmp_path / "launch")
    for name in ("requirements.txt", "requirements-tpu.txt", "pyproject.toml", "setup.py"):
        (tmp_path / name).write_text("")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    for path in (python, tmp_path / "uv"):
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    command = "true && { EXTRAS=tpu; source launch/environment.sh; } && echo installed"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode != 0 and "installed" not in result.stdout
    assert not list((tmp_path / ".venv").glob("installed*"))


@pytest.mark.parametrize("slices", [1, 2])
def test_tpu_vms_are_made_filled_and_run(slices):
    told = dry(
        "tpu_vm.sh",
        "--config=configs/mpii.py",
        "--workdir=/a b",
        **{"NAME": "hg", "ZONE": "z", "TYPE": "v5litepod-16", "SLICES": str(slices)},
        SETUP="mount it",
    )
    steps = [line for line in told.splitlines() if line.startswith("+ ")]
    assert "queued-resources create hg --zone=z --accelerator-type=v5litepod-16" in steps[0]
    assert ("--node-count=2 --node-prefix=hg" in steps[0]) == (slices == 2)
    runs = [line for line in steps if MAIN in line]
    assert len(runs) == slices and all("--worker=all" in line for line in runs)
    assert all(r"--config=configs/mpii.py --workdir=/a\ b" in line for line in runs)
    assert sum("mount it && " in line for line in steps) == slices
    names = {"hg"} if slices == 1 else {"hg-0", "hg-1"}
    assert {line.split(" ssh ")[1].split()[0] for line in runs} == names
    assert all("cd hourglass_jax && launch/keep.sh .venv" in line for line in runs)


@pytest.mark.parametrize(
    "flag",
    [
        "--workdir=/shared/NODE_A",
        "--a=b c",
        "--a=$HOME;ls",
        "--a='\"",
        "NODE",
        "--config.x=('a',)",
        "é",
    ],
)
def test_tpu_vms_get_the_flags_as_they_are(tmp_path, flag):
    """Their shell hands them to the command, which is asked for here."""
    told = dry("tpu_vm.sh", flag, "--last", NAME="hg", ZONE="z", TYPE="t")
    (line,) = [line for line in told.splitlines() if MAIN in line]
    command = line.split("hourglass_jax.main")[1].split(" --zone=z")[0]
    result = subprocess.run(
        ["bash", "-c", f"printf '%s\n'{command}"], capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [flag, "--last"]
    assert "hourglass_jax.main --zone=z" in dry("tpu_vm.sh", NAME="hg", ZONE="z", TYPE="t")
    with pytest.raises(AssertionError, match="SLICES=0 must be a number from 1"):
        dry("tpu_vm.sh", NAME="hg", ZONE="z", TYPE="t", SLICES="0")


def test_a_run_on_tpu_vms_is_stopped_and_nothing_else():
    (stopped,) = dry("tpu_vm.sh", NAME="hg", ZONE="z", TYPE="v5p-8", STOP="1").splitlines()
    assert f"hourglass_jax && STOP=1 launch/keep.sh .venv/bin/{MAIN} --zone" in stopped
    created = dry("tpu_vm.sh", NAME="hg", ZONE="z", TYPE="v5p-8").splitlines()[0]
    assert "create hg" in created and "--runtime-version=v2-alpha-tpuv5 " in created


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_a_preempted_resource_is_named_and_not_waited_for(tmp_path, state):
    (tmp_path / "gcloud").write_text(f"#!/bin/sh\necho {state}\n")
    (tmp_path / "gcloud").chmod(0o755)
    names = {"NAME": "hg", "ZONE": "z", "TYPE": "v5litepod-16"}
    result = subprocess.run(
        ["bash", LAUNCH / "tpu_vm.sh"],
        env={**os.environ, **names, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert result.returncode == 1
    assert f"hg is {state}; delete it" in result.stderr
    assert "queued-resources delete hg --zone=z --force" in result.stderr


def xpk(*flags, **names):
    """Returns the arguments of the command that XPK would get."""
    names = {"CLUSTER": "c", "NAME": "hg", "TYPE": "v5litepod-16", "IMAGE": "i/h:1", **names}
    return shlex.split(dry("xpk.sh", *flags, **names))


def test_xpk_gets_the_command_and_restarts_what_has_saved():
    """It puts the command between brackets into a shell, whose SIGTERM it passes on."""
    flags = ["--config=configs/mpii.py", "--workdir=gs://b/a run", "--config.x=('a',)"]
    create = xpk(*flags, SLICES="2", ZONE="z")
    assert create[:3] == ["xpk", "workload", "create"]
    assert {"--num-slices=2", "--restart-on-exit-codes=1,75", "--zone=z"} <= set(create)
    assert not any(argument.startswith("--project") for argument in create)
    command = create[-1].removeprefix("--command=")
    assert command.startswith("exec python -m hourglass_jax.main ")
    shown = command.replace("exec python -m hourglass_jax.main", "printf '%s\n'")
    result = subprocess.run(["bash", "-c", f"({shown})"], capture_output=True, text=True)
    assert result.stdout.splitlines() == flags


def test_the_job_set_runs_the_image_on_every_host_and_restarts_after_75():
    job_set = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert (job_set["apiVersion"], job_set["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (job,) = job_set["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    # A 4x4 slice has sixteen chips.
    assert spec["parallelism"] == spec["completions"] == 4 and spec["completionMode"] == "Indexed"
    assert spec["parallelism"] * container["resources"]["limits"]["google.com/tpu"] == 16
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [75]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert "volumes" not in pod and "volumeMounts" not in container
    config, *places = container["args"]
    assert (ROOT / config.removeprefix("--config=")).is_file()
    assert len(places) == 3 and all(re.fullmatch(r"--\S+=gs://BUCKET/\w+", p) for p in places)
    assert pod["serviceAccountName"] and container["image"] == "IMAGE"


@pytest.mark.parametrize("name", ["tpu", "cuda"])
def test_images_hold_what_the_command_needs(name):
    text = (LAUNCH / f"{name}.Dockerfile").read_text()
    assert 'ENTRYPOINT ["python", "-m", "hourglass_jax.main"]' in text
    copied = [
        word for line in text.splitlines() if line.startswith("COPY") for word in line.split()
    ]
    lists = ("requirements.txt", f"requirements-{name}.txt")
    for path in (*lists, "pyproject.toml", "setup.py", "hourglass_jax", "configs"):
        assert path in copied and (ROOT / path).exists()
    installs = [line for line in text.splitlines() if line.startswith("RUN pip")]
    assert "--require-hashes" in installs[0] and all(f"-r {path}" in installs[0] for path in lists)
    assert "--no-deps --no-build-isolation ." in installs[1]
    # Nothing is installed after the user has changed, and the command is that user's.
    assert text.index("pip install --no-cache-dir --no-deps") < text.index("\nUSER hourglass\n")
    assert text.index("\nUSER hourglass\n") < text.index("ENTRYPOINT")


def test_an_environment_that_is_up_to_date_is_taken_as_it_is(tmp_path):
    """With no extra named, in the strict shell of the launchers."""
    lists = sorted(ROOT.glob("requirements*.txt"))
    for path in (*lists, ROOT / "pyproject.toml", ROOT / "setup.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / ".venv").mkdir()
    mark = "cat requirements*.txt pyproject.toml setup.py | cksum > .venv/installed-base"
    command = f"set -euo pipefail; unset EXTRAS; {mark}; source {ROOT}/launch/environment.sh"
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
