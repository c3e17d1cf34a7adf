"""What a config stands for: the data set, the crop, the network and the devices it runs on.

Training and evaluation both begin here.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hourglass_jax import config as config_lib
from hourglass_jax import data
from hourglass_jax.data import augment, pipeline, records
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.nn.stacked_hourglass import Normalisation, StackedHourglass, make_model
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.training import step as steps


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The parts that a config describes, built once.

    Attributes:
      config: as checked.
      builder: of the data set; its records may have to be prepared yet.
      crop: what the network is given.
      model: the network.
      normalisation: of its input.
      mesh: all devices.
    """

    config: ConfigDict
    builder: records.PoseBuilder
    crop: augment.Crop
    model: StackedHourglass
    normalisation: Normalisation
    mesh: Mesh

    @classmethod
    def from_config(cls, config: ConfigDict) -> "Experiment":
        """Checks the config and builds what it describes; raises UserError."""
        config_lib.check(config, jax.device_count())
        builder = data.builder_class(config.data.dataset).from_config(config.data)
        builder.builder_config.limits.check(config.augment, config.model.input_size)
        crop = augment.Crop(
            input_size=config.model.input_size,
            sigma=config.heatmap.sigma,
            zero_target=config.heatmap.zero_target,
            flip_order=tuple(builder.SKELETON.flip_order.tolist()),
        )
        return cls(
            config=config,
            builder=builder,
            crop=crop,
            model=make_model(config.model.to_dict(), builder.SKELETON.num_joints),
            normalisation=Normalisation(),
            mesh=sharding.make_mesh(),
        )

    def as_trained(self, metadata: dict) -> "Experiment":
        """Returns the experiment with what a checkpoint alone knows.

        That is the normalisation, and for a network that was trained elsewhere its shape.
        """
        normalisation = Normalisation(tuple(metadata["normalisation"]["mean"]))
        model = self.model
        if metadata["records"] is None:
            fields = metadata["config"]["model"]
            ours = {key: self.config.model[key] for key in ("dtype", "remat")}
            model = make_model({**fields, **ours}, self.skeleton.num_joints)
        return dataclasses.replace(self, model=model, normalisation=normalisation)

    @property
    def skeleton(self) -> Skeleton:
        return self.builder.SKELETON

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
    def manual_dir(self) -> pathlib.Path:
        """Where the user put the data set's files."""
        return pathlib.Path(self.config.data.get("manual_dir", "")).absolute()

    def prepare(self) -> None:
        """Makes the data set's records unless they are there: the first process, for all."""
        for turn in (True, False):
            # The others find them made, or have disks of their own and make them there.
            if distributed.is_first() == turn:
                pipeline.prepare(self.builder, str(self.manual_dir))
            distributed.wait_for_all(f"records {'made' if turn else 'found'}")

    def training_batches(self, first_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process's rows of augmented batches; see `pipeline.training_batches`."""
        return pipeline.training_batches(
            self.builder,
            self.crop,
            augment.Augmentation.from_config(self.config.augment),
            self.rows,
            seed=self.config.seed,
            shuffle_buffer=self.config.data.shuffle_buffer,
            first_step=first_step,
        )

    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of a training batch; see `steps.batch_shapes`."""
        return steps.batch_shapes(
            self.config.batch_size, self.crop.input_size, self.skeleton.num_joints, self.mesh
        )

    def num_steps(self) -> int:
        """Returns the updates of the whole run; needs the records if the config has epochs."""
        if not self.config.num_epochs:
            return self.config.num_steps
        self.prepare()
        people = self.builder.info.splits[self.builder.TRAIN].num_examples
        return max(round(self.config.num_epochs * people / self.config.batch_size), 1)

    def metadata(self) -> dict:
        """Returns what a checkpoint says about its state."""
        metadata = {
            "config": self.config.to_dict(),
            "skeleton": self.skeleton.to_json(),
            "normalisation": dataclasses.asdict(self.normalisation),
            "records": self.builder.builder_config.training,
        }
        return json.loads(json.dumps(metadata))  # as it will be read back: tuples become lists
