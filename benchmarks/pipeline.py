"""How fast is the way from images to training batches, a core?

    python benchmarks/pipeline.py [--rounds=5] [--images=DIR]

People of MPII's sizes in JPEGs of MPII's size, 1280x720, augmented as configs/mpii_modern.py does
and with the same 16 heatmaps at 256 px: by this project's stream from its records, and by what a
data set for PyTorch does to each image (OpenCV decodes all of it, warps, flips and colours it;
NumPy draws the heatmaps). One thread against one, and two against one. First both make the same
examples from the same draws, and have to agree. Prints images/s, ratios round by round, and a JSON
line.

A round is short turns: each core by itself, whose mean is "1 core", and both. So what else the
processor is busy with for seconds, or on one core alone, falls on all alike. Beside them is a
process on each core at once, which share nothing but the machine: what its two cores are worth.
"""

import argparse
import collections
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from hourglass_jax import config_files
from hourglass_jax.data import images
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import geometry
from hourglass_jax.runtime import startup
from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.tasks.single_pose.task import SinglePose

SIDE, SIGMA, BATCH = 256, 1.0, 16
IMAGES, PEOPLE = 60, 600  # epochs of a few people would be mostly beginnings and ends
AUGMENTATION = Augmentation(**config_files.load("mpii_modern").augment)


def write_people(folder: pathlib.Path, real: pathlib.Path | None) -> list[dict]:
    """Writes images of the weight of MPII's, about 100 kB, and returns the people in them."""
    import cv2

    rng = np.random.default_rng(0)
    found = sorted(real.glob("*.jpg")) if real else []
    written, people = [], []
    for i in range(IMAGES):
        path = folder / f"{i}.jpg"
        if i < len(found):
            path.write_bytes(found[i].read_bytes())
        else:  # noise at three sizes: as heavy to decode as a photograph
            image = sum(
                share * cv2.resize(rng.uniform(0, 255, (h, 16 * h // 9, 3)), (1280, 720))
                for h, share in ((9, 0.7), (45, 0.22), (240, 0.08))
            )
            cv2.imwrite(str(path), image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
        written.append((path, cv2.imread(str(path)).shape[:2]))
    for i in range(PEOPLE):
        path, (height, width) = written[i % IMAGES]
        size = 250 * np.clip(rng.lognormal(1.05, 0.4), 1, 7)  # MPII's scale is 3 in the middle
        center = rng.uniform(0.3, 0.7, 2) * (width, height)
        joints = center + rng.uniform(-0.4, 0.4, (16, 2)) * size
        labelled = rng.random(16) < 0.94
        people.append({
            "path": path, "center": center, "size": size, "joints": joints, "labelled": labelled
        })  # fmt: skip
    return people


def as_pytorch_does(person: dict, uniform: np.ndarray) -> dict:
    """Makes the example that the stream makes of a record, but of the whole image."""
    import cv2

    draws = AUGMENTATION.draw(uniform)
    to_crop = geometry.crop_map(
        person["center"],
        person["size"],
        SIDE,
        scale=draws.scale,
        rotation=draws.rotation,
        translate=draws.translate,
    )
    content = np.frombuffer(person["path"].read_bytes(), np.uint8)
    image = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = cv2.warpAffine(image, to_crop, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    joints, labelled = geometry.apply(to_crop, person["joints"]), person["labelled"]
    if draws.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        joints = np.stack([SIDE - 1 - joints[:, 0], joints[:, 1]], axis=1)[MPII.flip_order]
        labelled = labelled[MPII.flip_order]
    gains = AUGMENTATION.gains(uniform[None])[0].astype(np.float32)
    image = np.clip(image * gains, 0, 255).round().astype(np.uint8)
    joints_heatmap = geometry.crop_to_heatmap(joints, 4)
    heatmaps, weights = heatmap.encode(joints_heatmap, labelled, SIDE // 4, SIGMA)
    return {"image": image, "heatmaps": heatmaps, "weights": weights}


def baseline(people: list[dict]):
    rng = np.random.default_rng(0)
    while True:
        chosen = rng.integers(len(people), size=BATCH)
        rows = [as_pytorch_does(people[i], rng.random(9)) for i in chosen]
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class People(Source):
    """The people that `write_people` returns, all to train on."""

    name, labels, select, report = "benchmark_people", MPII, "train", "train"

    def __init__(self, people: list[dict]):
        self._people = people

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        found = collections.defaultdict(list)
        for i, person in enumerate(self._people):
            joints, labelled = person["joints"], person["labelled"]
            annotation = Annotation(
                str(i), person["center"], person["size"],
                joints=joints, labelled=labelled, visible=labelled, key=i,
            )  # fmt: skip
            found[person["path"]].append(annotation)
        for path, annotations in found.items():
            yield images.image_file(path, annotations, id=path.name)

    def count(self, split: str) -> int:
        return len(self._people)


def records_of(people: list[dict], folder: pathlib.Path):
    """Returns these people's records, prepared."""
    from hourglass_jax.data.records import Records

    records = Records(People(people), SinglePose(MPII, SIGMA), str(folder))
    records.prepare()
    return records


def stream(people: list[dict], folder: pathlib.Path):
    from hourglass_jax.data import pipeline

    return pipeline.training_batches(
        records_of(people, folder),
        (SIDE, SIDE),
        AUGMENTATION,
        pipeline.Rows(BATCH),
        seed=0,
        shuffle_buffer=1000,
    )


def check(people: list[dict], folder: pathlib.Path) -> None:
    """Both ways make the same of the same draws, but for a record's sides being whole pixels."""
    import tensorflow as tf

    from hourglass_jax.data import augment, examples

    records = records_of(people, folder)
    make = examples.training_function(records, (SIDE, SIDE), AUGMENTATION)
    files = [str(path) for path in records.info.splits["train"].filepaths]
    image, maps = [], []
    for record in tf.data.TFRecordDataset(files):
        fields = tf.io.parse_single_example(record, {"id": tf.io.FixedLenFeature([], tf.string)})
        i = int(fields["id"].numpy())
        uniform = tf.random.stateless_uniform([augment.DRAWS], [0, i], dtype=tf.float64)
        ours = {name: rows[0].numpy() for name, rows in make(record[None], uniform[None]).items()}
        theirs = as_pytorch_does(people[i], uniform.numpy())
        same = ours["weights"] == theirs["weights"]
        drawn = ours["heatmaps"], theirs["heatmaps"]
        check_borders(*(heatmaps[..., ~same] for heatmaps in drawn))
        maps.append(np.abs(drawn[0] - drawn[1])[..., same].max())
        image.append(np.abs(ours["image"] - theirs["image"].astype(float)).mean())
    print(
        f"the same examples: heatmaps differ by {max(maps):.0e} at most, images by "
        f"{statistics.median(image):.1f} of 255 a pixel, as records hold smaller ones"
    )
    assert len(maps) == len(people) and max(maps) < 0.1 and statistics.median(image) < 8


def check_borders(ours, theirs):
    """Joints that one way alone draws lie on the very border, half a pixel from the last one's."""
    for heatmap_of_one in np.moveaxis(ours + theirs, -1, 0):
        y, x = np.unravel_index(heatmap_of_one.argmax(), heatmap_of_one.shape)
        assert {y, x} & {0, SIDE // 4 - 1} and heatmap_of_one.max() < 0.9


def rate(batches, seconds: float) -> float:
    """Returns images/s."""
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        next(batches)
        count += BATCH
    return count / passed


def work(batches, seconds: float) -> None:
    """Answers each line with images/s, of a turn."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    rate(batches, 2.0)
    print(0.0, file=answers)
    for _ in sys.stdin:
        rate(batches, 0.3)  # what was made ahead while nobody asked
        print(rate(batches, seconds), file=answers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=8, help="of a round")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn")
    parser.add_argument("--images", type=pathlib.Path, help="real ones to use as well")
    for hidden in ("--worker", "--folder", "--cores"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        os.sched_setaffinity(0, [int(core) for core in flags.cores.split(",")])
        import cv2

        cv2.setNumThreads(1)
        startup.keep_freed_memory()
        folder = pathlib.Path(flags.folder)
        people = list(np.load(folder / "people.npy", allow_pickle=True))
        made = baseline(people) if flags.worker == "baseline" else stream(people, folder)
        return work(made, flags.seconds)

    from alternate import Worker

    cores = [str(core) for core in sorted(os.sched_getaffinity(0))[:2]]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        people = write_people(folder, flags.images)
        np.save(folder / "people.npy", people, allow_pickle=True)
        check(people, folder)
        command = [sys.executable, __file__, f"--folder={folder}", f"--seconds={flags.seconds}"]

        def worker(kind, *where):
            flags_of_one = [f"--worker={kind}", f"--cores={','.join(where)}"]
            return Worker(command + flags_of_one, dict(os.environ))

        base = [worker("baseline", core) for core in cores]
        ours = [worker("ours", core) for core in cores]
        both = worker("ours", *cores)
        turns = [
            *(("baseline, 1 core", [one]) for one in base),
            *(("ours, 1 core", [one]) for one in ours),
            ("ours, 2 cores", [both]),
            ("ours, a process a core", ours),
        ]
        rng, rates = np.random.default_rng(0), {way: [] for way, _ in turns}
        for _ in range(flags.rounds):
            values = {way: [] for way in rates}
            for _ in range(flags.turns):
                for i in rng.permutation(len(turns)):  # a core is slower after it was idle
                    way, of = turns[i]
                    values[way].append(at_once(of))
            # All turns are equally long, so that the mean of their rates is that of all the time.
            for way, value in values.items():
                rates[way].append(statistics.mean(value))
        for one in (*base, *ours, both):
            one.close()
    report(rates)


def at_once(workers) -> float:
    for worker in workers:
        worker.ask()
    return sum(worker.answer() for worker in workers)


def report(rates: dict[str, list[float]]) -> None:
    """Prints each way's images/s, a figure a round, and their ratios round by round."""
    from alternate import spread

    for way, values in rates.items():
        print(f"{way:24} {spread(values)} images/s")
    medians = {way: round(statistics.median(values), 1) for way, values in rates.items()}
    base, one, two, apart = rates.values()
    for key, name, of, to in (
        ("ratio", "ours to baseline", one, base),
        ("scaling", "two cores to one", two, one),
        ("machine", "two processes to one", apart, one),
    ):
        ratios = [a / b for a, b in zip(of, to, strict=True)]
        print(f"{name:24} {spread(ratios)}")
        medians[key] = statistics.median(ratios)
    print(json.dumps(medians))


if __name__ == "__main__":
    main()
