"""How many of the people in photographs a detector finds, and how often it is right.

    python benchmarks/finder.py --finder=people-small --annotations=FILE --images=DIR

FILE is in COCO's format. People at least `--height` px high count, of images that list everybody
(`all_people_listed`, if the file says so); `--leave_out=img_` leaves out images whose `source_name`
starts with it. A box is right if it has an IoU of 0.5 with a person; one that lies more than half
in a crowd, or has that IoU with a smaller person, neither counts for nor against the detector.
Prints the average precision and the recall at several precisions.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from hourglass_jax.image import io
from hourglass_jax.inference.detector import Detector
from hourglass_jax.tasks.detection import boxes

PRECISIONS = (0.7, 0.8, 0.9)


def matched(found, truth, counts, crowds):
    """Returns for each box, by decreasing score: True (right), False (wrong) or None (ignored)."""
    overlaps, free = boxes.iou(found, truth), np.ones(len(truth), bool)
    in_crowd = np.zeros(len(found), bool)
    if len(crowds):
        shared = boxes.intersections(found[:, None], crowds[None]).max(1)
        in_crowd = shared > 0.5 * boxes.areas(found)
    verdicts = []
    for row, crowded in zip(overlaps, in_crowd, strict=True):
        able = free & (row >= 0.5)
        if able.any():  # a person that counts, if there is one
            best = int((able * (row + counts)).argmax())
            free[best] = False
            verdicts.append(True if counts[best] else None)
        else:
            verdicts.append(None if crowded else False)
    return verdicts


def evaluate(detector, annotations, folder, *, height, leave_out):
    """Returns the scores and verdicts of all boxes, and the number of people that count."""
    content = json.loads(annotations.read_text())
    by_image = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    images = [
        image
        for image in content["images"]
        if image.get("all_people_listed", True)
        and not (leave_out and image.get("source_name", "").startswith(leave_out))
    ]
    people, scores, verdicts = 0, [], []
    for start in range(0, len(images), 16):
        part = images[start : start + 16]
        found = detector.predict(
            [io.decode(folder / image["file_name"], image["file_name"]) for image in part]
        )
        for image, one in zip(part, found, strict=True):
            labels = by_image[image["id"]]
            crowd = np.array([bool(label.get("iscrowd")) for label in labels], bool)
            truth = boxes.from_sizes(np.array([x["bbox"] for x in labels], float).reshape(-1, 4))
            counts = (truth[:, 3] - truth[:, 1] >= height)[~crowd]
            people += int(counts.sum())
            scores += one.scores.tolist()
            verdicts += matched(
                boxes.from_sizes(one.boxes.astype(float)), truth[~crowd], counts, truth[crowd]
            )
    return np.array(scores), np.array([-1 if v is None else int(v) for v in verdicts]), people


def figures(scores, verdicts, people):
    """Returns the average precision, and the recall and the score at each precision."""
    order = np.argsort(-scores, kind="stable")
    order = order[verdicts[order] >= 0]
    hits = np.cumsum(verdicts[order])
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    recalls = {}
    for wanted in PRECISIONS:
        reached = np.flatnonzero(precision >= wanted)
        last = reached[-1] if len(reached) else None
        recalls[wanted] = (0.0, 1.0) if last is None else (hits[last] / people, scores[order][last])
    steps = np.diff(np.concatenate([[0], hits])) / people
    return float((best * steps).sum()), recalls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finder", default="people-small", help="checkpoint or name of a network")
    parser.add_argument("--annotations", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--height", type=float, default=48, help="of people that count, px")
    parser.add_argument("--leave_out", default="")
    options = parser.parse_args()
    detector = Detector.from_checkpoint(options.finder, min_score=0.01)
    start = time.perf_counter()
    found = evaluate(
        detector,
        options.annotations,
        options.images,
        height=options.height,
        leave_out=options.leave_out,
    )
    seconds = time.perf_counter() - start
    average, recalls = figures(*found)
    at = ", ".join(
        f"recall {recall:.3f} at precision {precision:.2f} (score {score:.2f})"
        for precision, (recall, score) in recalls.items()
    )
    print(f"{found[2]} people: AP50 {average:.3f}, {at}; {seconds:.1f} s")


if __name__ == "__main__":
    main()
