"""Every field of a config is read by something: recorded while configs are resolved and run."""

import dataclasses

import pytest
from conftest import load_config, small_synthetic
from recorded_reads import recorded_reads

from hourglass_jax import nn, tasks
from hourglass_jax.config import Augment, Config, Optimizer
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.nn.hourglass104 import Hourglass104
from hourglass_jax.nn.pose_ae import PoseAE
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.tasks.base import Head
from hourglass_jax.training import optimizer, train

# Sections that are handed on whole, field by field, to what reads them.
READ_AS = {
    Augment: Augmentation,
    **{network.Options: network for network in (StackedHourglass, Hourglass104, PoseAE)},
}


def sections(kind=Config):
    """Returns a config's dataclass and those of the sections in it."""
    inner = [f.type for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.type)]
    return [kind, *(section for each in inner for section in sections(each))]


def unread(kinds, read):
    return {
        f"{kind.__qualname__}.{field.name}"
        for kind in kinds
        for field in dataclasses.fields(kind)
        if (READ_AS.get(kind, kind), field.name) not in read
    }


@pytest.mark.core
def test_reads_are_recorded():
    config = Config.from_dict(load_config("synthetic"))
    with recorded_reads(*sections()) as read:
        config.to_dict()
        dataclasses.asdict(config.augment)
        assert read == {(Config, "augment")}
        _ = config.optimizer.name
        assert read == {(Config, "augment"), (Config, "optimizer"), (Optimizer, "name")}
    _ = config.seed
    assert len(read) == 3


def test_every_field_of_a_config_is_read_in_a_run(records, tmp_path):
    owned = tasks.task_class("single_pose").sections.values()
    kinds = [*sections(), *owned, *(nn.network_class(name).Options for name in nn.NETWORKS)]
    recorded = [READ_AS.get(kind, kind) for kind in kinds]
    with recorded_reads(*recorded) as read:
        config = small_synthetic(records)
        config.num_steps = 2
        train.train_and_evaluate(config, tmp_path)
        train.evaluate_only(config, tmp_path)
        # What belongs to one schedule alone.
        for schedule in ("step", "plateau"):
            config.optimizer.schedule = schedule
            optimizer.create_optimizer(Config.from_dict(config).optimizer, 10)
        # And to the other networks.
        heads = {"tl": Head(("one",), 0.0, "top_left")}
        nn.variable_shapes(nn.make_network("hourglass104", {}, heads))
        nn.variable_shapes(nn.make_network("pose_ae", {}, {"tags": Head(("one",))}))
    assert not unread(kinds, read)
