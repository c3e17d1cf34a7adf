"""The published soft-NMS as a plain loop, with its two faults or without them."""

import numpy as np

from hourglass_jax.tasks.detection import boxes

SIGMA, IOU, MIN_SCORE, EXPONENT = 0.5, 0.5, 0.001, 10


def loop(rows, method, *, votes=False, faults=True):
    """Returns the rows as they are left behind, and how many of them are kept.

    Args:
      rows: [n, 7], box, score and scores of the two corners.
      method: method of suppression.
      votes: average the corners.
      faults: keep discarded rows in the array, and leave corner scores behind when sorting.
    """
    rows, count = np.array(rows, np.float64), len(rows)
    columns = slice(5 if faults else 7)
    i = 0
    while i < count:
        best = i + int(rows[i:count, 4].argmax())
        rows[[i, best], columns] = rows[[best, i], columns]
        weights = rows[i, [5, 5, 6, 6]].copy()
        sums = rows[i, :4] * weights
        j = i + 1
        while j < count:
            factor = _factor(_overlap(rows[i], rows[j]), method)
            weight = rows[j, [5, 5, 6, 6]] * (1 - factor) ** EXPONENT
            sums, weights = sums + rows[j, :4] * weight, weights + weight
            rows[j, 4] *= factor
            if rows[j, 4] < MIN_SCORE:
                rows[j, columns] = rows[count - 1, columns]
                count -= 1
            else:
                j += 1
        if votes:
            rows[i, :4] = sums / weights
        i += 1
    return rows, count


def _overlap(a, b):
    sides = np.maximum(np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2]) + 1, 0)
    shared = sides.prod()
    return shared / ((a[2:4] - a[:2] + 1).prod() + (b[2:4] - b[:2] + 1).prod() - shared)


def _factor(overlap, method):
    if method == "gaussian":
        return np.exp(-(overlap**2) / SIGMA)
    above = {"linear": 1 - overlap, "hard": 0.0}[method]
    return above if overlap > IOU else 1.0


def image_rows(detections, scales, image_size):
    """Returns [n, 8] rows in px of the image from decoded rows [scales, 2 views, n, 8] in cells."""
    pooled = []
    for views, scale in zip(np.array(detections, np.float64), scales, strict=True):
        height, width = (int(side * scale) for side in image_size)
        canvas = np.array([width | 127, height | 127])
        cells = (canvas + 1) // 4
        views[1][:, [0, 2]] = cells[0] - views[1][:, [2, 0]]
        rows = views.reshape(-1, 8)
        border = canvas // 2 - np.array([width // 2, height // 2])
        rows[:, :4] = rows[:, :4] / np.tile(cells / canvas, 2) - np.tile(border, 2)
        rows[:, :4] = boxes.clipped(rows[:, :4], width, height) / scale
        pooled.append(rows)
    rows = np.concatenate(pooled)
    return rows[rows[:, 4] > -1]


def by_category(rows, method, *, votes=False, faults=True, limit=100):
    """Returns [n, 6] rows, box, score and category, of the best of all categories."""
    left = []
    for category in np.unique(rows[:, 7]):
        found, count = loop(rows[rows[:, 7] == category, :7], method, votes=votes, faults=faults)
        found = found if faults else found[:count]
        left.append(np.concatenate([found[:, :5], np.full((len(found), 1), category)], axis=1))
    left = np.concatenate(left)
    if len(left) > limit:
        left = left[left[:, 4] >= np.sort(left[:, 4])[-limit]]
    return left
