"""Plots for the report."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

_IOUS = (0.5, 0.75, 0.9)


def precision_by_recall(
    recall: Float[np.ndarray, " points"], by_iou: Mapping[float, Float[np.ndarray, " points"]]
) -> Figure:
    """Plots precision by recall at a few IoUs.

    Args:
      recall: fractions of the objects that are found.
      by_iou: precision at each recall, by the smallest IoU of a correct box.
    """
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    for iou, precision in by_iou.items():
        if any(abs(iou - shown) < 1e-6 for shown in _IOUS):
            axes.plot(recall, precision, label=f"IoU {iou:.2f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False)
    return figure
