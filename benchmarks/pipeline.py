"""How fast is the way from images to training batches, a core?

    python benchmarks/pipeline.py [--task=single_pose|detection] [--rounds=5] [--images=DIR]

By this project's stream from its records, and by what a data set for PyTorch does to each image
(OpenCV decodes all of it, warps and flips it; NumPy draws the heatmaps). One thread against one,
and two against one. First both make the same examples from the same draws, and have to agree.
Prints images/s, ratios round by round, and a JSON line. `pipeline_poses.py` and `pipeline_boxes.py`
hold the images, the augmentation and the data set for PyTorch of each task.

Heatmaps of detection are drawn in the training step, on the accelerator: 80 of an image take 5 MB.
"ours, and drawn" draws them on the same core after each batch, as a step on CPUs does.

A round is short turns: each core by itself, whose mean is "1 core", and both. So what else the
processor is busy with for seconds, or on one core alone, falls on all alike. Beside them is a
process on each core at once, which share nothing but the machine: what its two cores are worth.
"""

import argparse
import importlib
import json
import os
import pathlib
import pickle
import statistics
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from hourglass_jax.runtime import startup

CASES = {"single_pose": "pipeline_poses", "detection": "pipeline_boxes"}


def baseline(case, entries: list[dict]):
    """Yields batches as a data set for PyTorch and its loader make them."""
    from hourglass_jax.data import augment

    rng = np.random.default_rng(0)
    while True:
        chosen = rng.integers(len(entries), size=case.BATCH)
        rows = [case.as_pytorch_does(entries[i], rng.random(augment.DRAWS)) for i in chosen]
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def records_of(case, entries: list[dict], folder: pathlib.Path):
    """Returns the entries' records, prepared."""
    from hourglass_jax.data.records import Records

    records = Records(*case.source_and_task(entries), str(folder))
    records.prepare()
    return records


def stream(case, entries: list[dict], folder: pathlib.Path):
    from hourglass_jax.data import pipeline

    return pipeline.training_batches(
        records_of(case, entries, folder),
        (case.SIDE, case.SIDE),
        case.AUGMENTATION,
        pipeline.Rows(case.BATCH),
        seed=0,
        shuffle_buffer=case.SHUFFLE_BUFFER,
    )


def check(case, entries: list[dict], folder: pathlib.Path) -> None:
    """Both ways make the same of the same draws, but for a record's sides being whole pixels."""
    import tensorflow as tf

    from hourglass_jax.data import augment, parsing

    records = records_of(case, entries, folder)
    make = parsing.training_function(records, (case.SIDE, case.SIDE), case.AUGMENTATION)
    files = [str(path) for path in records.info.splits["train"].filepaths]
    differences = []
    for record in tf.data.TFRecordDataset(files):
        fields = tf.io.parse_single_example(record, {"id": tf.io.FixedLenFeature([], tf.string)})
        i = int(fields["id"].numpy())
        uniform = tf.random.stateless_uniform([augment.DRAWS], [0, i], dtype=tf.float64)
        ours = {name: rows[0].numpy() for name, rows in make(record[None], uniform[None]).items()}
        differences.append(
            case.differences(ours, case.as_pytorch_does(entries[i], uniform.numpy()))
        )
    maps, image = zip(*differences, strict=True)
    print(
        f"the same examples: heatmaps differ by {max(maps):.0e} at most, images by "
        f"{statistics.median(image):.1f} of 255 a pixel, as records are compressed again"
    )
    assert len(maps) == len(entries) and max(maps) < 0.1 and statistics.median(image) < 8


def rate(batches, count: int, seconds: float) -> float:
    """Returns images/s of batches of `count`."""
    start, made = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        next(batches)
        made += count
    return made / passed


def work(batches, count: int, seconds: float) -> None:
    """Answers each line with images/s, of a turn."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    rate(batches, count, 2.0)
    print(0.0, file=answers)
    for _ in sys.stdin:
        rate(batches, count, 0.3)  # what was made ahead while nobody asked
        print(rate(batches, count, seconds), file=answers)


def made_by(worker: str, case, entries: list[dict], folder: pathlib.Path):
    """Returns the batches of a worker."""
    if worker == "baseline":
        return baseline(case, entries)
    batches = stream(case, entries, folder)
    return case.drawn(batches) if worker == "drawn" else batches


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", choices=CASES, default="single_pose")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=8, help="of a round")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn")
    parser.add_argument("--images", type=pathlib.Path, help="folder of real ones to use as well")
    for hidden in ("--worker", "--folder", "--cores"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    case = importlib.import_module(CASES[flags.task])
    if flags.worker:
        os.sched_setaffinity(0, [int(core) for core in flags.cores.split(",")])
        import cv2

        cv2.setNumThreads(1)
        startup.keep_freed_memory()
        folder = pathlib.Path(flags.folder)
        entries = pickle.loads((folder / "entries.pickle").read_bytes())
        return work(made_by(flags.worker, case, entries, folder), case.BATCH, flags.seconds)

    from alternate import Worker

    cores = [str(core) for core in sorted(os.sched_getaffinity(0))[:2]]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        real = sorted(flags.images.glob("*.jpg")) if flags.images else []
        entries = case.write(folder, real)
        (folder / "entries.pickle").write_bytes(pickle.dumps(entries))
        check(case, entries, folder)
        given = {"task": flags.task, "folder": folder, "seconds": flags.seconds}
        command = [
            sys.executable,
            __file__,
            *(f"--{name}={value}" for name, value in given.items()),
        ]

        def worker(kind, *where):
            flags_of_one = [f"--worker={kind}", f"--cores={','.join(where)}"]
            return Worker(command + flags_of_one, dict(os.environ))

        base = [worker("baseline", core) for core in cores]
        ours = [worker("ours", core) for core in cores]
        both = [worker("ours", *cores)] if len(cores) > 1 else []
        drawn = [worker("drawn", core) for core in cores] if hasattr(case, "drawn") else []
        turns = [
            *(("baseline, 1 core", [one]) for one in base),
            *(("ours, 1 core", [one]) for one in ours),
            *(("ours, and drawn, 1 core", [one]) for one in drawn),
            *(("ours, 2 cores", [one]) for one in both),
            *(("ours, a process a core", ours) for _ in both),
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
        for one in (*base, *ours, *drawn, *both):
            one.close()
    report(rates)


def at_once(workers) -> float:
    for worker in workers:
        worker.ask()
    return sum(worker.answer() for worker in workers)


RATIOS = {
    "ratio": ("ours to baseline", "ours, 1 core", "baseline, 1 core"),
    "ratio_drawn": ("and drawn, to baseline", "ours, and drawn, 1 core", "baseline, 1 core"),
    "scaling": ("two cores to one", "ours, 2 cores", "ours, 1 core"),
    "machine": ("two processes to one", "ours, a process a core", "ours, 1 core"),
}


def report(rates: dict[str, list[float]]) -> None:
    """Prints each way's images/s, a figure a round, and their ratios round by round."""
    from alternate import spread

    for way, values in rates.items():
        print(f"{way:24} {spread(values)} images/s")
    figures = {way: round(statistics.median(values), 1) for way, values in rates.items()}
    for key, (name, of, to) in RATIOS.items():
        if of in rates:
            ratios = [a / b for a, b in zip(rates[of], rates[to], strict=True)]
            print(f"{name:24} {spread(ratios)}")
            figures[key] = statistics.median(ratios)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
