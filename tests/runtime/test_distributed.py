"""Two processes of four devices against one of eight, and what happens when one of them dies."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from short_run import wait_for_step

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import distributed

FIELDS = {
    "batch_size": 8,
    "sync_batch_norm": True,
    "num_steps": 20,
    "log_every_steps": 1,
    "data.num_train": 20,
    "data.num_validation": 11,
    "data.resolution": 64,
    "model.num_stacks": 1,
    "model.order": 1,
    "model.features": 8,
    "model.stem_features": 4,
    "model.input_size": 64,
    "model.dtype": "float64",
    "optimizer.name": "adam",
    "eval.every_steps": 20,
    "eval.batch_size": 8,
    "checkpoint.every_steps": 5,
}


# What tells two processes on this machine of each other, by who starts them: the environment, given
# a process's number and a free port from 61440 on.
SCHEDULERS = {
    "variables": lambda i, port: {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(i),
    },
    # JAX makes the port of the job's number.
    "SLURM": lambda i, port: {
        "SLURM_JOB_ID": str(port - 61440),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(i),
        "SLURM_LOCALID": str(i),
    },
    "Open MPI 4": lambda i, port: {
        "OMPI_MCA_orte_hnp_uri": f"{(port - 61440) * 2**12}.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(i),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(i),
    },
    "Open MPI 5": lambda i, port: {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(i),
    },
}


def start(
    records, workdir, variables=None, processes=1, *, config="configs/synthetic.py", **fields
):
    fields = FIELDS | {"data.data_dir": records} | fields
    command = [
        *(sys.executable, "-m", "hourglass_jax.main", f"--config={config}"),
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in fields.items() if value is not None),
    ]
    flags = f"--xla_force_host_platform_device_count={8 // processes}"
    environment = {
        **os.environ,
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
    }
    environment |= variables or {}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(records, workdir, scheduler="variables", **fields):
    tell, port = SCHEDULERS[scheduler], free_port()
    return [start(records, workdir, tell(i, port), 2, **fields) for i in range(2)]


def free_port():
    for port in random.sample(range(61440, 65536), 100):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("localhost", port))
            return port
    pytest.fail("no port is free")


def end(*processes):
    outputs = [process.communicate(timeout=280)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]
    return outputs


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process: its workdir, and its records, which the others read."""
    records, workdir = tmp_path_factory.mktemp("records"), tmp_path_factory.mktemp("run") / "one"
    end(start(records, workdir))
    return records, workdir


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(alone, tmp_path):
    records, reference = alone
    first, second = end(*start_two(records, tmp_path))
    assert "total" in first and "total" not in second  # one of them speaks
    expected = losses(reference)
    assert len(expected) == FIELDS["num_steps"]
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-6)
    results = [json.loads((d / "evaluation.json").read_text()) for d in (tmp_path, reference)]
    assert results[0]["persons"] == FIELDS["data.num_validation"]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], abs=0.02)
    both = [np.load(d / "predictions.npz") for d in (tmp_path, reference)]
    assert both[0]["ids"].tolist() == both[1]["ids"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "variables"])
def test_they_find_each_other_under_every_scheduler(alone, tmp_path, scheduler):
    records, reference = alone
    end(*start_two(records, tmp_path, scheduler, num_steps=2))
    expected = losses(reference)
    assert losses(tmp_path) == pytest.approx({i: expected[i] for i in (1, 2)}, rel=1e-6)


@pytest.mark.slow
def test_in_float32_each_step_from_the_same_state_is_the_same(alone, tmp_path):
    fields = {"model.dtype": "float32", "checkpoint.every_steps": 1, "checkpoint.keep": 9}
    records, reference = alone[0], tmp_path / "one"
    end(start(records, reference, num_steps=4, **fields))
    for step in (0, 3):
        workdir = tmp_path / f"from{step}"
        shutil.copytree(reference, workdir)
        (workdir / "evaluation.json").unlink()
        for folder in (workdir / "checkpoints").iterdir():
            if int(folder.name) > step:
                shutil.rmtree(folder)
        end(*start_two(records, workdir, num_steps=step + 1, **fields))
        expected = losses(reference)[step + 1]
        assert losses(workdir)[step + 1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_two_processes_share_one_making_of_records(alone, tmp_path):
    end(*start_two(tmp_path / "records", tmp_path / "run", num_steps=1))
    made = list((tmp_path / "records").rglob("dataset_info.json"))
    assert len(made) == 1 and not list((tmp_path / "records").rglob("*incomplete*"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_dies_the_other_ends_and_both_can_go_on(alone, tmp_path, victim):
    records, _ = alone
    processes = start_two(records, tmp_path, num_steps=10_000)
    for process in processes:
        wait_for_step(process, tmp_path, 12)
    processes[victim].kill()
    died = time.monotonic()
    output, _ = processes[1 - victim].communicate(timeout=120)
    assert processes[1 - victim].returncode != 0
    assert time.monotonic() - died < 60, output[-2000:]
    done = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    first, _ = end(*start_two(records, tmp_path, num_steps=done + 2))
    assert f"continuing from step {done}" in first


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_one_stops_both_at_one_step(alone, tmp_path, number):
    records, _ = alone
    processes = start_two(records, tmp_path, num_steps=10_000)
    for process in processes:
        wait_for_step(process, tmp_path, 12)
    processes[1].send_signal(number)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    status = 130 if number == signal.SIGINT else 75
    assert [process.returncode for process in processes] == [75, status], outputs
    assert not any("Traceback" in output for output in outputs), outputs


@pytest.mark.slow
def test_a_signal_ends_an_evaluation_of_both(alone, tmp_path):
    fields = {"num_steps": 40, "data.num_validation": 2000, "checkpoint.every_steps": 40}
    processes = start_two(tmp_path / "records", tmp_path / "run", **fields)
    for process in processes:
        wait_for_step(process, tmp_path / "run", 20)
    processes[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [75, 75], outputs
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["20"]
    end(*start_two(tmp_path / "records", tmp_path / "run", **fields))
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    measured = [json.loads(line)["step"] for line in lines if "validation/PCKh@0.5" in line]
    assert measured == [20, 40]


@pytest.mark.slow
@pytest.mark.parametrize("culprit", [0, 1])
def test_when_one_process_cannot_start_the_other_ends_with_the_same_sentence(
    alone, tmp_path, culprit
):
    """The first one finds no folder for records, or the second one, which has another."""
    (tmp_path / "file").write_text("")
    begin, port = time.monotonic(), free_port()
    tell = SCHEDULERS["variables"]
    folders = [alone[0], tmp_path / "file/records"]
    if culprit == 0:
        folders.reverse()
    processes = [
        start(folders[i], tmp_path / "run", tell(i, port), 2, num_steps=2) for i in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert time.monotonic() - begin < 60
    for output in outputs:
        assert "file/records" in output and "Not a directory" in output
        assert "Traceback" not in output


EXPLICIT = {
    "JAX_COORDINATOR_ADDRESS": "host:1",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
ONE_OF_FOUR = {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "4"}
SLURM = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"}
TOLD = {
    "coordinator_address": "host:1",
    "num_processes": 4,
    "process_id": 3,
    "cluster_detection_method": "deactivate",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (EXPLICIT, TOLD),
        ({"JAX_COORDINATOR_ADDRESS": "host:1", **OPEN_MPI}, TOLD),
        ({**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}, {}),
        (SLURM, {}),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"}, None),  # in the batch script itself
        ({**SLURM, "SLURM_NTASKS": "1"}, None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),  # in a shell by salloc
        ({**ONE_OF_FOUR, "JOB_COMPLETION_INDEX": "3"}, TOLD),
        ({"JOB_COMPLETION_INDEX": "0"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, {}),
        ({"TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "a:1", "TPU_WORKER_HOSTNAMES": "a"}, {}),
    ],
)
def test_the_environment_tells_of_other_processes(environment, expected):
    environment = {"JAX_PLATFORMS": "cpu", **environment}
    assert distributed._arguments(environment, None, None, None) == expected


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "needs JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        ({**EXPLICIT, "JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID=4 must be at least 0 and below"),
        ({**EXPLICIT, "JAX_PROCESS_ID": "x"}, "JAX_PROCESS_ID='x' must be a whole number"),
        (OPEN_MPI, "address of process 0 is unknown"),
        ({"JOB_COMPLETION_INDEX": "1"}, "process 1 of several, and the address of process 0"),
    ],
)
def test_half_of_it_is_refused(environment, says):
    with pytest.raises(UserError, match=says):
        distributed._arguments({"JAX_PLATFORMS": "cpu", **environment}, None, None, None)
