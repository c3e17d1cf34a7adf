"""How good are the two ways to everybody's pose: box after box, and all at once?

    python benchmarks/both_ways.py --pose=CHECKPOINT --finder=CHECKPOINT --grouped=CHECKPOINT
        [--images=N] [--annotations=FILE --images_dir=DIR] [--min_score=S]

Top-down, a network predicts a pose in each box that a finder has found, or in the annotated ones.
All at once, a network finds everybody's joints and groups them. The images are the scenes that
configs/synthetic_boxes.py and configs/synthetic_scenes.py hold out, drawn here, or those of a file
in COCO's format that list everybody. Prints the average precision over the object keypoint
similarity, images without people included, the seconds an image takes, what the finder costs, and a
JSON line. Only joints that the annotations and all networks have count, by their names.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from hourglass_jax.data.formats import boxes, coco_json
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.data.synthetic_scenes.source import SyntheticScenesSource
from hourglass_jax.tasks.detection import precision, records

DRAWN = {"drawing_seed": 0, "num_train": 3000, "num_validation": 300}
FIGURES = ("OKS AP", "OKS AP50", "OKS AP75", "OKS AR")
FOUND, TRUE, GROUPED = "top-down, found boxes", "top-down, true boxes", "grouped"
AT_ONCE = 8  # images


def annotated(options):
    """Returns the images with their people, and the names of their joints."""
    if options.annotations:
        file = coco_json.read(options.annotations, options.images_dir)
        joints = file.skeleton.joints
        images = (image for image in boxes.with_boxes(file) if image.exhaustive)
    else:
        count = min(options.images or DRAWN["num_validation"], DRAWN["num_validation"])
        source = SyntheticScenesSource(**{**DRAWN, "num_validation": count})
        images, joints = source.images("validation"), source.labels.joints
    return list(itertools.islice(images, options.images)), joints


def record_of(image, pixels, places):
    """Returns the record of an image with some of the joints, by their places."""
    people = [
        a
        if a.joints is None
        else dataclasses.replace(a, joints=a.joints[places], labelled=a.labelled[places])
        for a in image.annotations
    ]
    image = dataclasses.replace(image, read=lambda: pixels, annotations=people)
    return records.make(
        image, categories=1, joints=len(places), max_objects=None, resolution=max(pixels.shape)
    )


def with_joints(people, places):
    """Returns instances with some of the joints, by their places."""
    return [
        dataclasses.replace(
            one, category=0, joints=one.joints[places], joint_scores=one.joint_scores[places]
        )
        for one in people
    ]


def measure(predictor, photographs, truth, names, *, true_boxes):
    """Returns a predictor's figures, and the seconds an image takes, without compilation.

    Args:
      predictor: `PoseEstimator` or `Detector`.
      photographs: the images' pixels.
      truth: the images' records, with joints of these names.
      names: names of the joints that count.
      true_boxes: give the predictor the annotated boxes.
    """
    places = [predictor.task.joints.index(name) for name in names]
    given = [record["boxes_source"][~record["crowd"]].astype(float) for record in truth]
    groups = [slice(start, start + AT_ONCE) for start in range(0, len(truth), AT_ONCE)]

    def predict(group):
        return predictor.predict(photographs[group], given[group] if true_boxes else None)

    for group in {0, len(groups) - 1}:
        predict(groups[group])  # compiles
    start = time.perf_counter()
    found = [one for group in groups for one in predict(group)]
    seconds = (time.perf_counter() - start) / len(truth)
    people = [with_joints(one.instances, places) for one in found]
    metric = precision.JointPrecision(("person",), Skeleton("shared", tuple(names), (), ()))
    figures = metric([people], truth)
    return {name: figures[name] for name in FIGURES} | {"seconds an image": seconds}


def predictors(options):
    """Returns the networks by the name of their way."""
    from hourglass_jax import Detector, PoseEstimator
    from hourglass_jax.inference.finder import Finder

    ways = {}
    if options.pose:
        if options.finder:
            finder = Finder.from_checkpoint(options.finder, min_score=options.min_score)
            ways[FOUND] = PoseEstimator.from_checkpoint(options.pose, finder=finder)
        ways[TRUE] = PoseEstimator.from_checkpoint(options.pose, finder=None)
    if options.grouped:
        ways[GROUPED] = Detector.from_checkpoint(options.grouped)
    return ways


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--pose", help="checkpoint that predicts a person's pose in a box")
    add("--finder", help="checkpoint that finds people")
    add("--grouped", help="checkpoint that predicts everybody's pose")
    add("--annotations", type=pathlib.Path, help="file in COCO's format; default: drawn scenes")
    add("--images_dir", type=pathlib.Path, help="folder of its images")
    add("--images", type=int, help="number of images, the first ones; default: all")
    add("--min_score", type=float, default=0.1, help="lowest score of a found box; default: 0.1")
    options = parser.parse_args()
    if not (options.pose or options.grouped):
        parser.error("give --pose, --grouped or both")
    if bool(options.annotations) != bool(options.images_dir):
        parser.error("give --annotations and --images_dir together")

    from hourglass_jax.runtime import startup

    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    ways = predictors(options)
    images, joints = annotated(options)
    names = [joint for joint in joints if all(joint in way.task.joints for way in ways.values())]
    if not names:
        sys.exit("the annotations and the networks have no joint in common")
    photographs = [image.read() for image in images]
    places = [joints.index(name) for name in names]
    truth = [record_of(*pair, places) for pair in zip(images, photographs, strict=True)]
    figures = {
        name: measure(way, photographs, truth, names, true_boxes=name == TRUE)
        for name, way in ways.items()
    }

    people = sum(int((~record["crowd"]).sum()) for record in truth)
    print(f"{len(truth)} images, {people} people, {len(names)} joints: {', '.join(names)}\n")
    print("| way | " + " | ".join(FIGURES) + " | seconds an image |\n" + "|---" * 6 + "|")
    for name, values in figures.items():
        cells = [f"{100 * values[figure]:.1f}" for figure in FIGURES]
        print(f"| {name} | {' | '.join(cells)} | {values['seconds an image']:.3f} |")
    if FOUND in figures:
        costs = figures[TRUE]["OKS AP"] - figures[FOUND]["OKS AP"]
        print(f"\nthe finder costs {100 * costs:.1f} points of OKS AP")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
