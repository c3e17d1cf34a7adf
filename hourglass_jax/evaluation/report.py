"""report.html: what an evaluation found, in one file that opens anywhere."""

import base64
import html
import io
import json
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.evaluation.predictions import Predictions

# Text stays text, and two reports of one evaluation are the same file.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "hourglass"}
_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#718096"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a202c; margin: 0 auto; max-width: 1000px;
  padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
.figure { font-size: 2.6rem; font-weight: 600 } .small { color: #4a5568; font-size: .9rem }
img, svg { display: block; max-width: 100%; height: auto }
.plots { display: flex; flex-wrap: wrap; gap: 0 1.5rem }
.plots > * { max-width: 100%; flex: 1 1 420px }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e2e8f0 }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
pre { background: #f7fafc; padding: .8rem; overflow-x: auto; font-size: .8rem }
@media (max-width: 500px) { th, td { padding: .15rem .2rem; font-size: .9rem } }
"""


def write(
    path: pathlib.Path,
    result: dict,
    predictions: Predictions,
    skeleton: Skeleton,
    metric: str,
    training: Sequence[dict],
) -> None:
    """Writes the report.

    Args:
      path: of the file; pictures/ beside it are put into it.
      result: what evaluation.json holds.
      predictions: that it was found with.
      skeleton: of the joints.
      metric: of the table per joint, "PCKh@0.5" or "PCK@" any share.
      training: the lines of metrics.jsonl; may be none.
    """
    total = result["metrics"][metric]
    name = f"{result['dataset']}, {result['split']}"
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f'<div class="figure">{_percent(total)} {html.escape(metric)}</div>',
        f'<p class="small">{result["persons"]} people, {html.escape(result["checkpoint"])}. '
        f"Figures are percentages of labelled joints, occluded ones included.</p>",
        "<h2>Joints</h2>",
        _joint_table(predictions, skeleton, metric, result["metrics"]),
        '<div class="plots"><section><h2>Joints found, by the distance allowed</h2>',
        _curves(predictions, metric),
        "</section><section><h2>Error by joint</h2>",
        _errors(predictions, skeleton, metric),
        '<p class="small">Bars reach from the 25th to the 75th percentile, the mark is the '
        "median.</p></section></div>",
    ]
    for kind in ("best", "middling", "worst"):
        picture = path.parent / f"pictures/{kind}.png"
        if picture.exists():
            parts += [f"<h2>People with the {kind} predictions</h2>", _picture(picture, kind)]
    if any("loss" in line for line in training):
        parts += ["<h2>Training</h2>", _training(training, metric)]
    rest = dict(sorted(result["metrics"].items()))
    parts += [
        "<h2>All figures</h2>",
        f"<details><summary>{len(rest)} figures</summary><pre>"
        f"{html.escape(json.dumps(rest, indent=1))}</pre></details>",
        "<h2>Config</h2>",
        f"<pre>{html.escape(json.dumps(result['config'], indent=1))}</pre>",
    ]
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(name)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.1f}"


def _joint_table(predictions: Predictions, skeleton: Skeleton, metric: str, figures: dict) -> str:
    found, count = predictions.found(float(metric.partition("@")[2])), predictions.labelled.sum(0)
    rows = [
        [
            html.escape(joint.replace("_", " ")),
            *(_percent(share[k]) for share in found.values()),
            str(count[k]),
        ]
        for k, joint in enumerate(skeleton.joints)
    ]
    totals = [_percent(figures[f"{metric}{kind}"]) for kind in ("", "/visible", "/occluded")]
    rows.append(["<b>total</b>", *totals, str(count.sum())])
    head = ["", *found, "labelled"]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{body}</table></div>'


def _curves(predictions: Predictions, metric: str) -> str:
    threshold = float(metric.partition("@")[2])
    at = np.linspace(0, 2 * threshold, 81)
    errors = predictions.errors()
    figure, axes = _axes()
    for mask, label, colour in (
        (predictions.labelled, "all", "black"),
        (predictions.labelled & predictions.visible, "visible", _BLUE),
        (predictions.labelled & ~predictions.visible, "occluded", _ORANGE),
    ):
        if mask.any():
            shares = (errors[mask][:, None] <= at).mean(0)
            axes.plot(at, 100 * shares, color=colour, label=f"{label} joints")
    axes.axvline(threshold, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(
        xlabel=f"distance, shares of the reference of {metric}",
        ylabel="joints found, %",
        ylim=(0, 100),
        xlim=(0, at[-1]),
    )
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def _errors(predictions: Predictions, skeleton: Skeleton, metric: str) -> str:
    errors = predictions.errors()
    figure, axes = _axes(0.24 * skeleton.num_joints + 0.8)
    for k in range(skeleton.num_joints):
        found = errors[predictions.labelled[:, k], k]
        if len(found):
            low, middle, high = np.percentile(found, [25, 50, 75])
            axes.barh(k, high - low, left=low, color=_BLUE, alpha=0.5, height=0.6)
            axes.plot([middle, middle], [k - 0.3, k + 0.3], color="black", linewidth=1.5)
    names = [joint.replace("_", " ").replace("$", r"\$") for joint in skeleton.joints]
    axes.set_yticks(range(skeleton.num_joints), names)
    axes.axvline(float(metric.partition("@")[2]), color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"distance, shares of the reference of {metric}")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    return _svg(figure)


def _training(lines: Sequence[dict], metric: str) -> str:
    losses, axes = _axes()
    steps = [line["step"] for line in lines if "loss" in line]
    ratios = np.array([line["ratio_to_plateau"] for line in lines if "loss" in line])
    for stack in range(ratios.shape[1]):
        axes.plot(steps, ratios[:, stack], label=f"stack {stack + 1}", linewidth=1)
    axes.set(xlabel="step", ylabel="loss, shares of the plateau", ylim=(0, None))
    axes.legend(frameon=False)
    scores, axes = _axes()
    for key, colour in ((f"validation/{metric}", _BLUE), (f"train/{metric}", _ORANGE)):
        found = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if found:
            axes.plot(*np.array(found).T, "o-", color=colour, label=key.partition("/")[0])
    axes.set(xlabel="step", ylabel=metric)
    axes.legend(frameon=False)
    return f'<div class="plots">{_svg(losses)}{_svg(scores)}</div>'


def _axes(height: float = 3.4):
    """One plot, about as wide as a telephone: its letters are legible there and on a desk."""
    figure = Figure(figsize=(4.8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    with matplotlib.rc_context(_SVG):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _picture(path: pathlib.Path, kind: str) -> str:
    stream = io.BytesIO()
    Image.open(path).convert("RGB").save(stream, "jpeg", quality=85)
    content = base64.b64encode(stream.getvalue()).decode()
    text = f"people with the {kind} predictions, predicted and true skeletons side by side"
    return f'<img alt="{text}" src="data:image/jpeg;base64,{content}">'
