"""Plots of the distances between predicted and true joints, for the report."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#718096"
_COLOURS = {"all": "black", "visible": _BLUE, "occluded": _ORANGE}


def found_by_distance(
    errors: Float[np.ndarray, "people joints"],
    kinds: Mapping[str, Bool[np.ndarray, "people joints"]],
    share: float,
    reference: str,
) -> Figure:
    """Plots the fraction of correct joints against the allowed distance.

    Args:
      errors: distances in reference lengths.
      kinds: masks of the joints: "all", "visible" and "occluded".
      share: tolerance of the reported figures, in reference lengths.
      reference: label of the distance axis.
    """
    at = np.linspace(0, 2 * share, 81)
    figure, axes = _axes()
    for kind, mask in kinds.items():
        if mask.any():
            shares = (errors[mask][:, None] <= at).mean(0)
            axes.plot(at, 100 * shares, color=_COLOURS[kind], label=f"{kind} joints")
    axes.axvline(share, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel=reference, ylabel="correct joints, %", ylim=(0, 100), xlim=(0, at[-1]))
    axes.legend(frameon=False, loc="lower right")
    return figure


def error_by_joint(
    errors: Float[np.ndarray, "people joints"], joints: Sequence[str], share: float, reference: str
) -> Figure:
    """Plots the 25th to 75th percentile and the median of each joint's error.

    Args:
      errors: distances in reference lengths, NaN where nothing is labelled.
      joints: names of the joints.
      share: tolerance of the reported figures, in reference lengths.
      reference: label of the distance axis.
    """
    figure, axes = _axes(0.24 * len(joints) + 0.8)
    for k in range(len(joints)):
        known = errors[~np.isnan(errors[:, k]), k]
        if len(known):
            low, middle, high = np.percentile(known, [25, 50, 75])
            axes.barh(k, high - low, left=low, color=_BLUE, alpha=0.5, height=0.6)
            axes.plot([middle, middle], [k - 0.3, k + 0.3], color="black", linewidth=1.5)
    names = [joint.replace("_", " ").replace("$", r"\$") for joint in joints]
    axes.set_yticks(range(len(joints)), names)
    axes.axvline(share, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel=reference)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    return figure


def _axes(height: float = 3.4):
    """Returns a figure with one plot, sized to be legible on phones as well as on desktops."""
    figure = Figure(figsize=(4.8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
