"""The built-in data set: drawn people, nothing to download."""

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from hourglass_jax.data import records
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.data.synthetic_people.drawing import Person, draw_person
from hourglass_jax.image import geometry

BOX_MARGIN = 1.25
# Half of the head box's diagonal is about the length of a head: MPII's rule (SC_BIAS).
HEAD_SHARE = 0.6
# People that one process draws while a further one starts.
WORTH_A_PROCESS = 50


class SyntheticPeoplePose(records.PoseBuilder):
    """Drawn people with MPII's 16 joints, every one a function of (seed, index)."""

    SKELETON = MPII
    MEASURE = METRIC = "PCKh@0.5"

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        return {
            "seed": config.get("drawing_seed", 0),
            "train": config.get("num_train", 4000),
            "validation": config.get("num_validation", 500),
        }

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        settings = self.builder_config.settings if self.builder_config else {}
        seed, train = settings.get("seed", 0), settings.get("train", 4000)
        validation = settings.get("validation", 500)
        return {
            "train": self._generate_examples(seed, range(train)),
            "validation": self._generate_examples(seed, range(train, train + validation)),
        }

    def _generate_examples(self, seed: int, indices: range):
        for index, person in zip(indices, _draw(seed, indices), strict=True):
            yield index, self._person_record(index, person)

    def _person_record(self, index: int, person: Person) -> dict:
        center, size = geometry.box_around(person.joints, person.labelled, BOX_MARGIN)
        corners = person.head_box.astype(np.float64)
        return self.record(
            image=person.image,
            joints_source=person.joints,
            labelled=person.labelled,
            visible=person.visible,
            center=center,
            size=size,
            reference=HEAD_SHARE * np.linalg.norm(corners[2:] - corners[:2]),
            id=f"synthetic/{index:06d}",
        )


def _draw(seed: int, indices: range) -> Iterator[Person]:
    draw = functools.partial(draw_person, seed)
    workers = min(os.cpu_count() or 1, len(indices) // WORTH_A_PROCESS)
    if workers < 2:
        yield from map(draw, indices)
        return
    # Fresh processes: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(draw, indices, chunksize=16)
