"""The parts of a config whose network and task are not those of the default config."""

import dataclasses

import pytest
from conftest import small_synthetic

from hourglass_jax import PRESETS, config_files, nn, tasks
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.rules import Whole, field
from hourglass_jax.tasks.single_pose.task import SinglePose


class Small(StackedHourglass):
    """A network that has a single option."""

    @dataclasses.dataclass(frozen=True)
    class Options:
        features: int = field(Whole(1), default=8)

    @classmethod
    def from_options(cls, options, heads, **fields):
        channels = sum(len(head.channels) for head in heads.values())
        return cls(num_joints=channels, num_stacks=1, features=options.features, **fields)


@dataclasses.dataclass(frozen=True)
class WithoutSections(SinglePose):
    """A task without a section in the config."""

    name = "without_sections"
    sections = {}

    @classmethod
    def from_config(cls, config, source, stride):
        return cls(source.labels, stride=stride)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config with another network and task, in which their fields alone differ from defaults."""
    monkeypatch.setitem(nn.NETWORKS, "small", Small)
    monkeypatch.setitem(tasks.TASKS, "without_sections", WithoutSections)
    config = small_synthetic(tmp_path)
    config.model.update({"network": "small", "num_stacks": 8, "order": 4, "stem_features": 64})
    config.task, config.heatmap.sigma = "without_sections", 1.0
    return config


def test_defaults_of_other_networks_and_tasks_do_not_count(config):
    experiment = Experiment.from_config(config)
    assert experiment.config.model.options == {"features": 8}
    assert not experiment.config.sections
    assert experiment.metadata()["network"]["options"] == {"features": 8}


def test_fields_of_other_networks_and_tasks_that_somebody_set_are_unknown(config):
    config.model.order = 3
    with pytest.raises(UserError, match=r"unknown config field model\.order"):
        Experiment.from_config(config)
    config.model.order, config.heatmap.sigma = 4, 2.0
    with pytest.raises(UserError, match="unknown config field heatmap"):
        Experiment.from_config(config)


@pytest.fixture
def preset(tmp_path):
    """A config with the network that a preset names."""
    config = config_files.load("synthetic")
    config.data.data_dir = str(tmp_path)
    config.model = config_files.default().model
    config.model.update({"preset": "detection_small", "input_size": 128})
    return config


def test_a_preset_sets_the_network_and_fields_win(preset):
    preset.model.corner_features = 16
    experiment = Experiment.from_config(preset)
    options = {**PRESETS["detection_small"], "corner_features": 16, "stride": 4, "squeeze": False}
    assert experiment.config.model.options == options
    assert experiment.config.model.network == "hourglass104"
    assert (experiment.model.widths, experiment.model.corner_features) == (options["widths"], 16)
    assert experiment.metadata()["network"]["name"] == "hourglass104"
    # The config that is saved describes the same network.
    assert Experiment.from_config(experiment.config.to_dict()).config == experiment.config


def test_a_preset_of_the_papers_network(preset):
    preset.model.preset, preset.model.features = "bearpaw_2", 32
    model = Experiment.from_config(preset).model
    assert (model.num_stacks, model.stem, model.features, model.order) == (2, "bearpaw", 32, 4)


def test_defaults_of_the_papers_network_are_not_those_of_another(preset):
    preset.model.update({"preset": "", "network": "hourglass104"})
    options = Experiment.from_config(preset).config.model.options
    assert (options["num_stacks"], options["stem_features"]) == (2, 128)


@pytest.mark.parametrize("stride", [4, 8])
def test_the_task_has_the_stride_of_the_networks_options(preset, stride):
    preset.model.stride = stride
    experiment = Experiment.from_config(preset)
    assert (experiment.task.stride, experiment.model.stride) == (stride, stride)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "centernet_140"}, "preset='centernet_140'; did you mean centernet_104"),
        ({"preset": "x"}, "must be one of paper_1, .*detection_small"),
        ({"network": "small"}, "is a hourglass104, and config.model.network='small'; leave one"),
        ({"order": 3}, r"unknown config field model\.order"),
        (
            {"input_size": 100},
            "input_size=100 cannot be halved .* take a multiple of 32, such as 96 or 128$",
        ),
    ],
)
def test_a_preset_that_does_not_fit(preset, fields, message):
    preset.model.update(fields)
    with pytest.raises(UserError, match=message):
        Experiment.from_config(preset)
