"""Results of prediction: predictions.json (COCO's results format) and predictions.csv."""

import csv
import json
import pathlib

import numpy as np

from hourglass_jax.inference.estimator import Poses


class Results:
    """Writes results as they are predicted; a context manager."""

    def __init__(self, output: pathlib.Path):
        self.output, self.people = output, 0
        self._taken: set[pathlib.Path] = set()

    def __enter__(self) -> "Results":
        self._json = (self.output / "predictions.json").open("w")
        self._csv = (self.output / "predictions.csv").open("w", newline="")
        self._json.write("[")
        self._rows = csv.writer(self._csv)
        self._rows.writerow(["image", "person", "joint", "x", "y", "score"])
        return self

    def __exit__(self, *unused) -> None:
        self._json.write("\n]\n")
        self._json.close()
        self._csv.close()

    def add(self, name: str, poses: Poses) -> None:
        """Writes the poses of one image."""
        for person, (joints, scores) in enumerate(zip(poses.joints, poses.scores, strict=True)):
            table = np.concatenate([joints, scores[:, None]], axis=1)
            entry = {
                "image_id": name,
                "category_id": 1,
                "bbox": np.round(poses.boxes[person], 2).tolist(),
                "keypoints": np.round(table.ravel(), 4).tolist(),
                "score": round(float(scores.mean()), 4),
            }
            self._json.write(("," if self.people else "") + "\n" + json.dumps(entry))
            for joint, (x, y, score) in zip(poses.names, table, strict=True):
                self._rows.writerow([name, person, joint, f"{x:.2f}", f"{y:.2f}", f"{score:.4f}"])
            self.people += 1

    def place(self, folder: str, name: str, suffix: str) -> pathlib.Path:
        """Returns the file for an image's result; keeps suffixes that tell images apart."""
        path = self.output / folder / pathlib.Path(name).with_suffix(suffix)
        if path in self._taken:
            path = path.with_name(pathlib.Path(name).name + suffix)
        self._taken.add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
