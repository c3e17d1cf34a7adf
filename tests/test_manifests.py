"""The manifests for Kubernetes, by the schemas of Kubernetes and of JobSet."""

import copy
import json

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


def test_the_job_set_is_one_of_jobset():
    reason = "kubeflow-trainer-api, which has JobSet's models, is missing"
    models = pytest.importorskip("kubeflow_trainer_api.models", reason=reason)

    def understood(job_set):
        """Returns what is left of it in JobSet's models, which leave unknown fields out."""
        return json.loads(models.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(job_set)).to_json())

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
