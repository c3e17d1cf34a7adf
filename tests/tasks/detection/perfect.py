"""What a network that has learned its targets exactly would return."""

import numpy as np


def outputs(task, targets, *, scores=None):
    """Returns outputs [batch, height, width, channels] that decode to a batch of targets.

    Args:
      task: detection task.
      targets: targets, [batch, ...].
      scores: [batch, objects], logits of the peaks; None stands for 4.
    """
    batch, height, width = targets["background"].shape
    maps = {
        name: np.full((batch, height, width, len(head.channels)), -8.0 if head.start else 0.0)
        for name, head in task.heads.items()
    }
    corners = targets["boxes"]
    low, high = corners[..., :2], corners[..., 2:]
    points = {"tl": low, "br": high, "": (low + high) / 2}
    for b, k in np.argwhere(targets["mask"]):
        category = int(targets["categories"][b, k])
        score = 4.0 if scores is None else scores[b, k]
        for corner, place in points.items():
            x, y = _cell(place[b, k], height, width)
            offset = place[b, k] - (x, y)
            if f"{corner}_heat" in maps:
                maps[f"{corner}_heat"][b, y, x, category] = score
                maps[f"{corner}_offset"][b, y, x] = offset
                maps[f"{corner}_tag"][b, y, x] = 2.0 * k
            elif not corner and "hm" in maps:
                maps["hm"][b, y, x, category] = score
                maps["reg"][b, y, x] = offset
                maps["wh"][b, y, x] = corners[b, k, 2:] - corners[b, k, :2]
                if "hps" in maps:
                    ends = targets["joints"][b, k] - (x, y)
                    maps["hps"][b, y, x] = ends.ravel() + 0.2  # peaks correct them
        if "hps" in maps:
            for j in np.flatnonzero(targets["joint_mask"][b, k]):
                place = targets["joints"][b, k, j]
                x, y = _cell(place, height, width)
                maps["hm_hp"][b, y, x, j] = 3.0
                maps["hp_offset"][b, y, x] = place - (x, y)
    return np.concatenate(list(maps.values()), axis=-1).astype(np.float32)


def _cell(place, height, width):
    return np.clip(np.floor(place), 0, (width - 1, height - 1)).astype(int)
