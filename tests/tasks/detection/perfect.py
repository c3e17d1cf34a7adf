"""What a network that has learned its targets exactly would return."""

import jax.numpy as jnp
import numpy as np

from hourglass_jax.tasks.detection import heatmaps


def outputs(task, targets, *, scores=None):
    """Returns outputs [batch, height, width, channels] that decode to a batch of targets.

    Args:
      task: detection task.
      targets: targets, [batch, ...].
      scores: [batch, objects], logits of the peaks; None stands for 4.
    """
    targets = {name: jnp.asarray(x) for name, x in targets.items()}
    batch, height, width = targets["background"].shape
    maps = {
        name: np.full((batch, height, width, len(head.channels)), -8.0 if head.start else 0.0)
        for name, head in task.heads.items()
    }
    corners = np.asarray(targets["boxes"])
    low, high = corners[..., :2], corners[..., 2:]
    points = {"tl": low, "br": high, "": (low + high) / 2}
    for b, k in np.argwhere(np.asarray(targets["mask"])):
        category = int(targets["categories"][b, k])
        score = 4.0 if scores is None else scores[b, k]
        for corner, place in points.items():
            cells, offsets = heatmaps.split(jnp.asarray(place), height, width)
            x, y = np.asarray(cells[b, k])
            if f"{corner}_heat" in maps:
                maps[f"{corner}_heat"][b, y, x, category] = score
                maps[f"{corner}_offset"][b, y, x] = offsets[b, k]
                maps[f"{corner}_tag"][b, y, x] = 2.0 * k
            elif not corner and "hm" in maps:
                maps["hm"][b, y, x, category] = score
                maps["reg"][b, y, x] = offsets[b, k]
                maps["wh"][b, y, x] = corners[b, k, 2:] - corners[b, k, :2]
                if "hps" in maps:
                    ends = np.asarray(targets["joints"])[b, k] - (x, y)
                    maps["hps"][b, y, x] = ends.ravel() + 0.2  # peaks correct them
        if "hps" in maps:
            cells, offsets = heatmaps.split(targets["joints"], height, width)
            for j in np.flatnonzero(np.asarray(targets["joint_mask"])[b, k]):
                x, y = np.asarray(cells[b, k, j])
                maps["hm_hp"][b, y, x, j] = 3.0
                maps["hp_offset"][b, y, x] = offsets[b, k, j]
    return jnp.asarray(np.concatenate(list(maps.values()), axis=-1), jnp.float32)
