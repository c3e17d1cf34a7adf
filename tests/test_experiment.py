"""The parts of a config whose network and task are not those of the default config."""

import dataclasses

import pytest
from conftest import small_synthetic

from hourglass_jax import nn, tasks
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
