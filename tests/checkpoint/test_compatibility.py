"""Which checkpoints are read, those of former versions too, and which belong to a run."""

import copy
import json
import pathlib

import pytest
from conftest import load_config, small_synthetic, write_lsp

from hourglass_jax.checkpoint import compatibility, store, trained
from hourglass_jax.checkpoint.metadata import Inference
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.nn import Normalisation
from hourglass_jax.training import train

FOLDER = pathlib.Path("run/checkpoints/8")


@pytest.fixture(scope="module")
def saved():
    """The metadata of a run, with a fingerprint in place of that of its records."""
    return metadata_of(small_synthetic("records"))


def metadata_of(config, **fields):
    config.update_from_flattened_dict(fields)
    experiment = Experiment.from_config(config)
    return {**experiment.metadata(), "step": 8, "records": "abc"}


def former(metadata):
    """What version 697f78f wrote beside such a state."""
    config = copy.deepcopy(metadata["config"])
    del config["task"], config["model"]["network"]
    return {
        "format": 1,
        "step": metadata["step"],
        "config": config,
        "skeleton": metadata["task"]["settings"]["skeleton"],
        "normalisation": metadata["normalisation"],
        "records": metadata["records"],
    }


def check(saved, metadata, **options):
    compatibility.check(FOLDER, saved, metadata, **options)


def changed(metadata, name, value):
    metadata = copy.deepcopy(metadata)
    section, _, field = name.rpartition(".")
    (metadata["config"][section] if section else metadata["config"])[field] = value
    return metadata


def test_a_run_goes_on(saved):
    check(saved, saved)
    check(saved, copy.deepcopy(saved), evaluate_only=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_steps", 9), ("num_epochs", 1.5), ("log_every_steps", 3), ("profile_steps", 1)),
        *(("eval.flip_test", False), ("checkpoint.keep", 7), ("init_from", "runs/other")),
        *(("data.data_dir", "/elsewhere"), ("log_to", "mlflow")),
    ],
)
def test_what_does_not_make_another_run_may_change(saved, name, value):
    check(saved, changed(saved, name, value))


@pytest.mark.parametrize(
    ("name", "value", "concerns_evaluation"),
    [
        ("seed", 1, False),
        ("optimizer.learning_rate", 1.0, False),
        ("heatmap.sigma", 2.0, False),
        ("model.features", 10, True),
        ("data.num_train", 25, True),
        ("data.dataset", "lsp", True),
    ],
)
def test_what_makes_another_run_may_not(saved, name, value, concerns_evaluation):
    other = changed(saved, name, value)
    with pytest.raises(UserError, match=rf"config\.{name}=.*but this run has {value!r}"):
        check(saved, other)
    if concerns_evaluation:
        with pytest.raises(UserError, match=rf"config\.{name}="):
            check(saved, other, evaluate_only=True)
    else:
        check(saved, other, evaluate_only=True)


def test_of_another_data_set_the_data_set_is_named(saved):
    other = changed(changed(saved, "data.dataset", "lsp"), "data.allow_missing", 3)
    with pytest.raises(UserError, match=r"data\.dataset='synthetic_people', .* has 'lsp'"):
        check(saved, other)


def test_tasks_heads_and_records_must_be_the_same(saved):
    for change, says in (
        ({"task": {"name": "detection"}}, "task='single_pose'"),
        ({"heads": {"heatmaps": ["nose"]}}, r"heads=.*right_ankle.*\['nose'\]"),
        ({"records": "xyz"}, "records abc, but the data set's files have changed.*xyz"),
    ):
        for evaluate_only in (False, True):
            with pytest.raises(UserError, match=says):
                check(saved, {**saved, **change}, evaluate_only=evaluate_only)


def test_files_may_lie_somewhere_else(saved):
    before = changed(saved, "data.manual_dir", "images")
    moved = changed(saved, "data.manual_dir", "/elsewhere")
    check(before, moved, paths=["data.manual_dir"])
    with pytest.raises(UserError, match=r"config\.data\.manual_dir='images'"):
        check(before, moved)


def test_a_source_says_which_of_its_fields_are_paths(tmp_path):
    write_lsp(tmp_path / "here", official=4)
    config = load_config("lsp")
    config.data.manual_dir = str(tmp_path / "here")
    experiment = Experiment.from_config(config)
    experiment.check(FOLDER, changed(experiment.metadata(), "data.manual_dir", "/gone"))
    with pytest.raises(UserError, match=r"config\.data\.extended=False"):
        experiment.check(FOLDER, changed(experiment.metadata(), "data.extended", False))


def test_a_field_left_out_is_one_at_its_default(saved):
    left_out = small_synthetic("records")
    del left_out.data.drawing_seed, left_out.model.num_residuals, left_out.heatmap.zero_target
    explicit = {"data.drawing_seed": 0, "model.num_residuals": 1, "heatmap.zero_target": False}
    one = metadata_of(left_out.copy_and_resolve_references())
    other = metadata_of(left_out, **explicit)
    assert one == other
    check(one, other)
    with pytest.raises(UserError, match=r"data\.drawing_seed=0, but this run has 2"):
        check(one, metadata_of(left_out, **{"data.drawing_seed": 2}))


def test_a_field_that_a_former_version_lacked_had_its_default(saved):
    experiment = Experiment.from_config(small_synthetic("records"))
    before = copy.deepcopy(saved)
    before["records"] = experiment.metadata()["records"]
    del before["config"]["data"]["drawing_seed"], before["config"]["model"]["stem"]
    del before["config"]["heatmap"]
    with pytest.raises(UserError, match=r"heatmap\.sigma=1\.0, but this run has 1\.25"):
        experiment.check(FOLDER, before)
    before["config"]["heatmap"] = {"sigma": 1.25}
    experiment.check(FOLDER, before)


def test_metadata_of_a_former_version_are_brought_up_to_date(saved):
    # Its records had another fingerprint, though they held the same.
    found = compatibility.upgrade({**former(saved), "records": "xyz"}, FOLDER)
    check(found, saved)
    assert found["task"]["settings"]["decoder"] == "refined"
    model, task = trained.model_and_task(found)
    now_model, now_task = trained.model_and_task(saved)
    assert (model, task) == (now_model, now_task)
    assert Inference(**found["inference"]).flip_test and saved["inference"]["flip_test"]
    assert found["evaluated"] == saved["evaluated"] == "params"
    assert compatibility.upgrade(saved, FOLDER) is saved


def test_how_a_network_is_read_stood_in_the_config(saved):
    before = former(saved)
    before["config"]["eval"] |= {"flip_test": False, "decode": "quarter"}
    before["config"]["ema_decay"] = 0.999
    before["normalisation"] = {"mean": [0.1, 0.2, 0.3]}
    found = compatibility.upgrade(before, FOLDER)
    assert not Inference(**found["inference"]).flip_test and found["evaluated"] == "ema"
    model, task = trained.model_and_task(found)
    assert task.decoder == "quarter" and model.normalisation == Normalisation((0.1, 0.2, 0.3))


def test_a_published_network_of_a_former_version(saved):
    """Its config held the network alone, and no run goes on from it."""
    before = former(saved)
    before |= {"config": {"model": before["config"]["model"]}, "records": None}
    found = compatibility.upgrade(before, FOLDER)
    assert compatibility.trained_elsewhere(found) and not compatibility.trained_elsewhere(saved)
    _, task = trained.model_and_task(found)
    assert task.decoder == "quarter" and found["inference"]["flip_test"]
    check(found, saved, evaluate_only=True)
    with pytest.raises(UserError, match=r"published network.*init_from=run/checkpoints/8"):
        check(found, saved)


def test_other_formats_are_refused():
    for form in (2, None):
        with pytest.raises(UserError, match=f"has format {form}, but this version reads format 1"):
            compatibility.upgrade({"format": form}, FOLDER)


def test_a_workdir_of_a_former_version_goes_on(finished, records, tmp_path, monkeypatch):
    """Its metadata are those of then; what follows is what follows today."""
    short = small_synthetic(records)
    short.num_steps = 4
    workdir = tmp_path / "run"
    save = store.Checkpoints.save
    with monkeypatch.context() as then:
        then.setattr(
            store.Checkpoints,
            "save",
            lambda self, state, metadata, figure: save(
                self, state, former({**metadata, "step": int(state.step)}), figure
            ),
        )
        train.train_and_evaluate(short, workdir)
    config = json.loads((workdir / "config.json").read_text())
    del config["task"], config["model"]["network"]
    (workdir / "config.json").write_text(json.dumps(config))
    result = train.train_and_evaluate(small_synthetic(records), workdir)
    expected = json.loads((finished[0] / "evaluation.json").read_text())
    assert result["metrics"] == expected["metrics"]
