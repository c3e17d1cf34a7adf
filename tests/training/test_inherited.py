"""A run that fine-tunes has the network of its checkpoint, except for what a user asks for."""

import json

import pytest

from hourglass_jax import config_files, nn
from hourglass_jax.checkpoint import trained
from hourglass_jax.config import Config
from hourglass_jax.errors import UserError
from hourglass_jax.training import inherited, train


def custom(name="custom", **fields):
    config = config_files.load(name)
    config.update({"init_from": "lsp-small", **fields})
    return config


def network_of(config):
    """Returns the network that a config describes, for the joints of lsp-small."""
    heads = trained.task_of("lsp-small").heads
    return nn.make_network(config.model.network, config.model.options, heads)


def test_the_network_is_that_of_the_checkpoint(tmp_path):
    before = Config.from_dict(custom())
    config = inherited.with_network(before, tmp_path)
    source = trained.load("lsp-small")
    assert not nn.differences(source.model, network_of(config))
    assert nn.differences(source.model, network_of(before))
    assert config.model.input_size == 96 and config.data.resolution == 128
    assert not config.init_network and config.optimizer == before.optimizer
    # Once is enough.
    assert inherited.with_network(config, tmp_path) is config


@pytest.mark.parametrize("fields", [{"init_from": ""}, {"init_network": False}])
def test_other_runs_keep_their_network(tmp_path, fields):
    config = Config.from_dict(custom(**fields))
    assert inherited.with_network(config, tmp_path) is config


def test_fields_on_the_command_line_win(tmp_path):
    arguments = ["--config.model.num_stacks=1", "--config.model.input_size=160", "--workdir=x"]
    config = custom()
    assert config_files.change(config, arguments) == ["--workdir=x"]
    given = config_files.given(arguments)
    assert given == {"model.num_stacks", "model.input_size"}
    made = inherited.with_network(config, tmp_path, given)
    assert made.model.options["num_stacks"] == 1 and made.model.options["features"] == 96
    assert made.model.input_size == 160 and made.data.resolution == 160
    made = inherited.with_network(config, tmp_path, {*given, "data.resolution"})
    assert made.data.resolution == 128
    # Another network has nothing to take over.
    config.model.preset = "paper_2"
    made = inherited.with_network(config, tmp_path, {"model.preset"})
    assert made.model == Config.from_dict(config).model and not made.init_network


def test_a_network_of_another_kind_brings_its_preset_and_sizes(tmp_path):
    config = inherited.with_network(custom("custom_boxes", init_from="people-small"), tmp_path)
    assert (config.model.network, config.model.preset) == ("hourglass104", "detection_small")
    assert config.model.options["widths"] == (32, 48, 64, 96, 96)
    assert (config.model.input_size, config.model.training_size) == (320, 192)
    assert config.data.resolution == 320


def test_a_run_that_continues_keeps_the_network_that_it_began_with(tmp_path, caplog):
    config = inherited.with_network(custom(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    gone = custom(init_from="gone")
    with pytest.raises(UserError, match=r"config\.init_from=gone does not exist"):
        inherited.with_network(gone, tmp_path)  # it has no checkpoint yet
    (tmp_path / "checkpoints/4").mkdir(parents=True)
    with caplog.at_level("INFO"):
        assert inherited.with_network(gone, tmp_path).model == config.model
    assert f"the network is that of {tmp_path}: " in caplog.text


def test_mistakes_are_found_before_records_are_made(tmp_path, shared_data):
    data = {"train_json": str(shared_data / "mouse/train.json"), "data_dir": str(tmp_path / "r")}
    config = custom(freeze=("stemm/*",))
    config.data.update(data)
    with pytest.raises(UserError, match=r"'stemm/\*' matches no parameter"):
        train.train_and_evaluate(config, tmp_path / "run")
    config.init_network, config.model.features, config.model.stem_features = False, 10, 6
    with pytest.raises(UserError, match=r"config\.init_from=lsp-small: nothing in it"):
        train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "r").exists()
