"""The parts that a config describes: data set, task, network, records and devices.

Training and evaluation start from an `Experiment`, and pass to each part only what it uses.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hourglass_jax import config_files, data, nn, rules, tasks
from hourglass_jax.checkpoint import compatibility
from hourglass_jax.checkpoint import metadata as metadata_lib
from hourglass_jax.checkpoint.compatibility import trained_elsewhere
from hourglass_jax.checkpoint.trained import model_and_task
from hourglass_jax.config import Augment, Config, Data, Model
from hourglass_jax.data import pipeline
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import Source
from hourglass_jax.data.local_options import local_options
from hourglass_jax.data.records import Records
from hourglass_jax.errors import UserError
from hourglass_jax.nn import presets
from hourglass_jax.rules import Path
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The parts that a config describes.

    Attributes:
      config: checked config, with defaults for fields that were left out.
      source: data set.
      task: task of the network.
      model: the network.
      records: records that the task makes from the data set; `prepare` writes them.
      mesh: mesh of all devices.
    """

    config: Config
    source: Source
    task: Task
    model: Any
    records: Records
    mesh: Mesh

    @classmethod
    def from_config(cls, config: Config | Mapping[str, Any]) -> "Experiment":
        """Checks a config, and makes the parts that it describes.

        Raises:
          UserError: a field is missing, unknown or has an invalid value, or a file is missing.
        """
        config = _with_network_of_preset(Config.from_dict(config))
        config.check(jax.device_count())
        network = nn.network_class(config.model.network)
        task_class = tasks.task_class(config.task)
        config = _without_unused_defaults(config, rules.names(network.Options), task_class.sections)
        config.check_sections(task_class.sections)
        source = make_source(config)
        config = Config.from_dict(_merged(defaults(config), config.to_dict()))
        make_network = functools.partial(
            nn.make_network,
            config.model.network,
            config.model.options,
            dtype=config.model.dtype,
            remat=config.model.remat,
        )
        task = task_class.from_config(config, source, make_network(heads={}).stride)
        model = make_network(heads=task.heads)
        config.check_input_size(model.valid_size)
        records = Records(source, task, config.data.data_dir)
        return cls(config, source, task, model, records, sharding.make_mesh())

    def as_trained(self, metadata: Mapping[str, Any]) -> "Experiment":
        """Returns the experiment with the settings that only a checkpoint has.

        These are the normalisation and, for a network trained by another program, its shape.
        """
        trained, _ = model_and_task(metadata)
        if trained_elsewhere(metadata):
            dtype = np.dtype(self.config.model.dtype)
            model = trained.clone(dtype=dtype, remat=self.config.model.remat)
        else:
            model = self.model.clone(normalisation=trained.normalisation)
        return dataclasses.replace(self, model=model)

    @property
    def headline(self) -> str:
        """Name of the figure that selects the best checkpoint."""
        return self.task.metrics(self.source, self.source.select)[0].headline

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input in evaluation and prediction."""
        return self.config.model.input_size, self.config.model.input_size

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths of the inputs in evaluation: one for each of `eval.scales`."""
        config = self.config
        sides = views.sides_of(self.model, config.model.input_size, config.eval.scales)
        return [(side, side) for side in sides]

    @property
    def training_size(self) -> tuple[int, int]:
        """Height and width of the network's input in training."""
        side = self.config.model.training_size or self.config.model.input_size
        return side, side

    @property
    def rows(self) -> pipeline.Rows:
        """This process's share of a training batch."""
        return pipeline.Rows(self.config.batch_size, jax.process_index(), jax.process_count())

    @property
    def evaluation_rows(self) -> pipeline.Rows:
        """This process's share of an evaluation batch, rounded up to fill every device."""
        devices = jax.device_count()
        size = -(-self.config.eval.batch_size // devices) * devices
        return pipeline.Rows(size, jax.process_index(), jax.process_count())

    @property
    def num_steps(self) -> int:
        """Total number of updates; needs the records if the config counts epochs."""
        if not self.config.num_epochs:
            return self.config.num_steps
        if not self.records.info.splits:
            raise RuntimeError("an epoch has no length before `prepare` has made the records")
        count = pipeline.training_count(self.records)
        return max(round(self.config.num_epochs * count / self.config.batch_size), 1)

    def prepare(self) -> None:
        """Writes the records unless they exist; the first process does so before the others."""
        for first in (True, False):
            # Other processes find the records, or write them if they do not share its disk.
            distributed.together(self.records.prepare, "records", first=first)

    def training_batches(self, first_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process's rows of augmented batches; see `pipeline.training_batches`."""
        return pipeline.training_batches(
            self.records,
            self.training_size,
            Augmentation(**dataclasses.asdict(self.config.augment)),
            self.rows,
            seed=self.config.seed,
            shuffle_buffer=self.config.data.shuffle_buffer,
            first_step=first_step,
        )

    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of a training batch, split over the mesh; needs the records."""
        shapes = {
            name: jax.ShapeDtypeStruct((self.config.batch_size, *shape), dtype)
            for name, (shape, dtype) in pipeline.target_shapes(
                self.records, self.training_size
            ).items()
        }
        return sharding.with_sharding(shapes, self.mesh, sharding.SHARDED)

    def metadata(self) -> dict[str, Any]:
        """Returns the metadata of this run's checkpoints; see `checkpoint/metadata.py`."""
        config = self.config
        return metadata_lib.describe(
            config=config.to_dict(),
            task=self.task,
            network={
                "name": config.model.network,
                "options": config.model.options,
                "input_size": config.model.input_size,
                "dtype": config.model.dtype,
            },
            normalisation=self.model.normalisation,
            inference=metadata_lib.Inference(
                flip_test=config.eval.flip_test,
                scales=config.eval.scales,
                box_margin=self.source.box_margin,
            ),
            records=self.records.data,
            averaged=config.ema_decay > 0,
        )

    def check(
        self, folder: pathlib.Path, metadata: Mapping[str, Any], *, evaluate_only: bool = False
    ) -> None:
        """Refuses the checkpoint of another run; see `compatibility.check`."""
        fields = dataclasses.fields(self.source.Options)
        compatibility.check(
            folder,
            metadata,
            self.metadata(),
            evaluate_only=evaluate_only,
            # Fields that only locate files.
            paths=[f"data.{f.name}" for f in fields if isinstance(f.metadata["rule"], Path)],
            defaults=defaults(self.config),
        )


def make_source(config: Config) -> Source:
    """Makes the data set that a config names, and checks the fields that only it has."""
    kind = data.source_class(config.data.dataset)
    options = rules.section(kind.Options, config.data.options, "data.", beside=Data)
    return kind(**local_options(options))


def defaults(config: Config) -> dict[str, Any]:
    """Returns the defaults of a config's fields, and of the fields of the parts that it names.

    A preset's options are defaults.
    """
    kinds = tasks.task_class(config.task).sections
    sections = {name: rules.defaults(kind) for name, kind in kinds.items()}
    parts = {
        "data": (Data, data.source_class(config.data.dataset).Options),
        "model": (Model, nn.network_class(config.model.network).Options),
    }
    for name, (common, specific) in parts.items():
        sections[name] = {**rules.defaults(common), **rules.defaults(specific)}
    sections["augment"] = rules.defaults(Augment)
    sections["model"] |= presets.PRESETS.get(config.model.preset, {})
    return {**rules.defaults(Config), **sections}


def _with_network_of_preset(config: Config) -> Config:
    """Returns the config with the network that its preset is for."""
    preset, network = config.model.preset, config.model.network
    if not preset:
        return config
    wanted = presets.network_of(preset)
    if network not in (wanted, Model.network):
        raise UserError(
            f"config.model.preset={preset!r} is a {wanted}, and config.model.network={network!r}; "
            f"leave one of them out"
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, network=wanted))


def _without_unused_defaults(
    config: Config, options: Collection[str], sections: Collection[str]
) -> Config:
    """Removes fields of configs/default.py that were not meant for the config's network or task.

    These are fields that the network or task lacks and, since they describe one network, all of
    those of `model` if there is a preset or another network. Fields with other values than there
    were set by somebody, and stay, to be used or reported as unknown.

    Args:
      config: config of the run.
      options: names of the network's options.
      sections: names of the task's sections.
    """
    default = Config.from_dict(config_files.default())
    if config.model.preset or config.model.network != default.model.network:
        options = ()

    def used(values: Mapping[str, Any], known: Collection[str], by_default: Mapping[str, Any]):
        return {
            name: value
            for name, value in values.items()
            if name in known or name not in by_default or value != by_default[name]
        }

    model = dataclasses.replace(
        config.model, options=used(config.model.options, options, default.model.options)
    )
    kept = used(config.sections, sections, default.sections)
    return dataclasses.replace(config, model=model, sections=kept)


def _merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Merges a config into its defaults, sections field by field."""
    sections = {
        name: {**fields, **values.get(name, {})}
        for name, fields in defaults.items()
        if isinstance(fields, dict)
    }
    return {**defaults, **values, **sections}
