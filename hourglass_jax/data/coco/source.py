"""COCO's people with keypoints, and its own evaluation."""

import collections
import contextlib
import io
import json
import logging
import math
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import pycocotools.coco
import tensorflow_datasets as tfds
from jaxtyping import Float
from ml_collections import ConfigDict
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data import images as photographs
from hourglass_jax.data import records
from hourglass_jax.data.formats import coco_json as keypoint_json
from hourglass_jax.data.formats.coco_json import BOX_MARGIN, Instance, KeypointFile
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

# Of COCOeval.summarize for keypoints, in its order.
FIGURES = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium",
           "AR_large")  # fmt: skip


# What COCOeval reads of an annotation.
_EVALUATED = {"id", "image_id", "bbox", "area", "iscrowd", "keypoints", "num_keypoints"}


class CocoPose(records.PoseBuilder):
    """Lin et al., ECCV 2014: people in everyday pictures, 17 joints.

    Trained on are people with at least one joint. Evaluated are the boxes of the people with
    joints or, with `data.detections` and --mode=evaluate, those of a detector, which may lie over
    people without: as COCO's evaluation wants them, the latter count neither for nor against. The
    box is the square around `bbox` times 1.25.
    """

    SKELETON = COCO
    MEASURE = "PCK@0.2"  # of the box's side, for the table per joint
    METRIC = "AP"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Unpack annotations_trainval2017.zip, train2017.zip and val2017.zip in <manual_dir>, from "
        "https://cocodataset.org/#download."
    )

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        return {"allow_missing": config.get("allow_missing", 0)}

    @classmethod
    def paths(cls, config: ConfigDict) -> dict[str, str]:
        root = pathlib.Path(config.get("manual_dir", ""))
        defaults = {
            "train_json": root / "annotations/person_keypoints_train2017.json",
            "image_dir": root / "train2017",
            "validation_json": root / "annotations/person_keypoints_val2017.json",
            "validation_image_dir": root / "val2017",
        }
        paths = {name: config.get(name, "") or default for name, default in defaults.items()}
        if config.get("detections", ""):
            paths["detections"] = config.detections
        return {name: str(pathlib.Path(path).absolute()) for name, path in paths.items()}

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        paths = cls.paths(config)
        names = ("train_json", "validation_json")
        for name in names:
            if not os.path.isfile(paths[name]):
                raise UserError(
                    f"{paths[name]} is missing; unpack annotations_trainval2017.zip in "
                    f"data.manual_dir, or set config.data.{name}"
                )
        return [pathlib.Path(paths[name]) for name in names]

    @classmethod
    def evaluation_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        paths = cls.paths(config)
        return [pathlib.Path(paths["detections"])] if "detections" in paths else []

    @classmethod
    def large_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        files = []
        for name in ("image_dir", "validation_image_dir"):
            folder = pathlib.Path(cls.paths(config)[name])
            if not folder.is_dir():
                raise UserError(
                    f"{folder} is no folder; unpack the pictures in data.manual_dir, or set "
                    f"config.data.{name}"
                )
            files += sorted(folder.iterdir())
        return files

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        paths = self.builder_config.paths
        validation = _read(pathlib.Path(paths["validation_json"]), evaluated=True)
        if "detections" in paths:
            boxes = _read_detections(pathlib.Path(paths["detections"]), validation)
            splits = {"validation": [_detected(name, *box[:2]) for name, box in boxes.items()]}
        else:
            train = _read(pathlib.Path(paths["train_json"]))
            splits = {
                "train": [_person(instance) for instance in train.instances if _counts(instance)],
                "validation": [_person(i) for i in validation.instances if _counts(i)],
            }
        sources = {
            "train": photographs.Folder(pathlib.Path(paths["image_dir"])),
            "validation": photographs.Folder(pathlib.Path(paths["validation_image_dir"])),
        }
        for name, people in splits.items():
            photographs.check(people, sources[name], self._allowed)
        self.announce(sum(map(len, splits.values())))
        return {
            name: self._generate_examples(people, sources[name]) for name, people in splits.items()
        }

    @property
    def _allowed(self) -> int:
        return self.builder_config.settings["allow_missing"]

    def _generate_examples(self, people, source):
        yield from photographs.records_of(people, source, self.record, self._allowed)

    def figures(
        self,
        ids: np.ndarray,
        joints: Float[np.ndarray, "people 17 2"],
        scores: Float[np.ndarray, "people 17"],
    ) -> dict[str, float]:
        """Returns COCO's ten figures for predictions of the validation boxes.

        A person's score is the mean of the joints' times the detection's, if there is one.
        """
        paths = self.builder_config.paths
        box_scores = collections.defaultdict(lambda: 1.0)
        validation = pathlib.Path(paths["validation_json"])
        category = _read(validation).category_id
        if "detections" in paths:
            found = _read_detections(pathlib.Path(paths["detections"]), _read(validation))
            box_scores |= {name: score for name, (_, _, score) in found.items()}
        results = [
            {
                "image_id": int(name.partition("/")[0]),
                "category_id": category,
                "keypoints": np.c_[xy, peaks].ravel().tolist(),
                "score": float(peaks.mean() * box_scores[name]),
            }
            for name, xy, peaks in zip(ids.tolist(), joints, scores, strict=True)
        ]
        return average_precision(validation, results)


def average_precision(truth: pathlib.Path, results: list[dict]) -> dict[str, float]:
    """Returns the ten figures of COCOeval by name, over the object keypoint similarity.

    Args:
      truth: the annotations.
      results: in COCO's results format: image_id, category_id, keypoints, score.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        annotations = pycocotools.coco.COCO(str(truth))
        evaluation = COCOeval(annotations, annotations.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 stands for "nobody of that size".
    values = [float(value) if value >= 0 else math.nan for value in evaluation.stats]
    return dict(zip(FIGURES, values, strict=True))


def _read(path: pathlib.Path, *, evaluated: bool = False) -> KeypointFile:
    """Reads annotations; `evaluated` ones must hold all that COCO's evaluation looks for."""
    file = keypoint_json.read(path)
    if evaluated:
        for i, annotation in enumerate(json.loads(path.read_bytes())["annotations"]):
            missing = _EVALUATED - annotation.keys()
            if missing and annotation["category_id"] == file.category_id:
                raise UserError(
                    f"{path}, annotations[{i}]: there is no {sorted(missing)[0]!r}, which COCO's "
                    f"evaluation needs"
                )
    if file.skeleton.joints != COCO.joints:
        raise UserError(
            f"{path} has the joints {', '.join(file.skeleton.joints)}, not COCO's 17; for other "
            f"joints there is configs/custom.py"
        )
    return file


def _counts(instance: Instance) -> bool:
    return not instance.crowd and instance.labelled.any() and instance.box is not None


def _person(instance: Instance) -> photographs.Person:
    center, size = instance.square()
    return photographs.Person(
        id=f"{instance.image_id}/{instance.id}",
        image=instance.image,
        joints_source=instance.joints_source,
        labelled=instance.labelled,
        visible=instance.visible,
        center=center,
        size=size,
        reference=size / BOX_MARGIN,
        picture_size=instance.picture_size,
    )


def _detected(name: str, image: str, box: tuple) -> photographs.Person:
    """A box of which nobody knows whose it is: nothing is labelled."""
    center, size = keypoint_json.square_around(box)
    nothing = np.zeros(COCO.num_joints, bool)
    return photographs.Person(
        id=name,
        image=image,
        joints_source=np.zeros((COCO.num_joints, 2)),
        labelled=nothing,
        visible=nothing,
        center=center,
        size=size,
        reference=size / BOX_MARGIN,
    )


def _read_detections(
    path: pathlib.Path, annotations: KeypointFile
) -> Mapping[str, tuple[str, tuple, float]]:
    """Returns picture, box and score of each detected person, by "image_id/place in the file"."""
    boxes = {}
    try:
        for i, entry in enumerate(json.loads(path.read_bytes())):
            if entry["category_id"] != annotations.category_id:
                continue
            box, score = tuple(float(x) for x in entry["bbox"]), float(entry["score"])
            if len(box) != 4 or not np.isfinite([*box, score]).all() or min(box[2:]) <= 0:
                raise ValueError(f"entry {i} has the bbox {entry['bbox']} and the score {score}")
            image_id = keypoint_json.whole(entry["image_id"])
            boxes[f"{image_id}/{i}"] = annotations.images[image_id], box, score
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as detections in COCO's results format "
            f"({type(error).__name__}: {error})"
        ) from None
    if not boxes:
        raise UserError(f"{path} holds no detections of the category {annotations.category_id}")
    return boxes
