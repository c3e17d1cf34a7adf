"""The manifests for Kubernetes, by the schemas of Kubernetes and of JobSet."""

import copy
import json
import os
import pathlib
import shlex
import subprocess

import pytest
import yaml
from conftest import ROOT

LAUNCH = ROOT / "launch"
VERSION = "1.31"  # of Kubernetes; later ones demand less


def manifest(name):
    return yaml.safe_load((LAUNCH / name).read_text())


def problems(validate, job):
    """Returns what Kubernetes' schema says against a job; unknown fields count."""
    try:
        validate.validate(job, VERSION, strict=True)
    except validate.ValidationError as error:
        return [error.message]
    return []


def jobs():
    """Yields the jobs of the manifests, those that JobSet makes as jobs too."""
    yield manifest("predict_job.yaml")
    for replicated in manifest("jobset.yaml")["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": replicated["name"]}}
        yield {**job, **replicated["template"]}


def test_jobs_are_those_of_kubernetes():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    for job in jobs():
        assert problems(validate, job) == []
        wrong = copy.deepcopy(job)
        wrong["spec"]["template"]["spec"]["containers"][0]["arg"] = ["--config=configs/mpii.py"]
        assert "'arg' was unexpected" in problems(validate, wrong)[0]


def understood(job_set):
    """Returns what is left of it in JobSet's models, which leave unknown fields out."""
    reason = "kubeflow-trainer-api, which has JobSet's models, is missing"
    models = pytest.importorskip("kubeflow_trainer_api.models", reason=reason)
    return json.loads(models.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(job_set)).to_json())


def test_the_job_set_is_one_of_jobset():
    job_set = manifest("jobset.yaml")
    assert understood(job_set) == job_set
    wrong = copy.deepcopy(job_set)
    wrong["spec"]["failurePolicy"]["maxRestart"] = 3
    assert understood(wrong) != wrong


def test_the_job_predicts_a_shard_in_each_pod():
    spec = manifest("predict_job.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["completionMode"] == "Indexed"  # it sets JOB_COMPLETION_INDEX
    assert f"--shards={spec['completions']}" in container["args"]
    assert container["command"] == ["python", "-m", "hourglass_jax.predict"]
    by_exit, by_condition = spec["podFailurePolicy"]["rules"]
    assert by_exit["onExitCodes"]["containerName"] == container["name"]
    assert by_condition["action"] == "Ignore"
    places = [text for text in container["args"] if "gs://BUCKET/" in text]
    assert [text.partition("=")[0] for text in places] == ["--input", "--output"]


def test_xpk_makes_a_job_set_that_restarts_what_has_saved(tmp_path):
    """By its own dry run: XPK=PYTHON names an interpreter that has it, with other versions."""
    if "XPK" not in os.environ:
        pytest.skip("XPK is not set")
    names = {"CLUSTER": "c", "NAME": "hg", "TYPE": "v5litepod-16", "IMAGE": "i/h:1"}
    names |= {"ZONE": "us-central1-a", "PROJECT": "p", "SLICES": "2", "DRY_RUN": "1"}
    launcher = ["bash", LAUNCH / "xpk.sh", "--config=mpii", "--workdir=gs://b/a run"]
    shown = subprocess.run(
        launcher, env={**os.environ, **names}, check=True, capture_output=True, text=True
    ).stdout
    command = [os.environ["XPK"], "-m", "xpk.main", *shlex.split(shown)[1:], "--dry-run"]
    command += [f"--output-manifest-file={tmp_path / 'job_set.yaml'}"]
    assert subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0
    wrong = subprocess.run([*command, "--max-restartz=1"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "unrecognized arguments: --max-restartz=1" in wrong.stderr
    spec = yaml.safe_load(pathlib.Path(tmp_path / "job_set.yaml").read_text())["spec"]
    (job,) = spec["replicatedJobs"]
    (rule,) = job["template"]["spec"]["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert (rule["action"], codes["operator"]) == ("FailJob", "NotIn")
    assert {1, 75} <= set(codes["values"]) and not {0, 2} & set(codes["values"])
    pod = job["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (
        r"(exec python -m hourglass_jax.main --config=mpii --workdir=gs://b/a\ run) &"
        in (container["command"][-1])
    )
    assert (job["replicas"], spec["failurePolicy"]["maxRestarts"]) == (2, 30)
    assert (pod["terminationGracePeriodSeconds"], container["image"]) == (120, "i/h:1")
