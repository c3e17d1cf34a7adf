"""report.html: the results of an evaluation in one self-contained file."""

import base64
import html
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.runtime import disk
from hourglass_jax.tasks.base import Metric
from hourglass_jax.tasks.table import Table

# Text is not converted to paths, and equal evaluations give equal files.
_SVG: dict[Any, str] = {"svg.fonttype": "none", "svg.hashsalt": "hourglass"}
_COLOURS = ("#2b6cb0", "#dd6b20")
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
    result: Mapping[str, Any],
    predictions: Predictions,
    metrics: Sequence[Metric],
    training: Sequence[dict],
) -> None:
    """Writes the report.

    Args:
      path: HTML file to write; embeds images from the sibling `pictures/`.
      result: content of evaluation.json.
      predictions: evaluated predictions.
      metrics: metrics of the split, headline first.
      training: lines of metrics.jsonl; may be empty.
    """
    headline = metrics[0].headline
    name = f"{result['dataset']}, {result['split']}"
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f'<div class="figure">{_percent(result["metrics"][headline])} '
        f"{html.escape(headline)}</div>",
        f'<p class="small">{len(predictions.ids)} records, {html.escape(result["checkpoint"])}. '
        f"Figures are percentages.</p>",
    ]
    for metric in metrics:
        table = metric.table(predictions.found, predictions.truth)
        parts += [f"<h2>{html.escape(table.title)}</h2>", _table(table)]
        plots = metric.plots(predictions.found, predictions.truth)
        parts += [_plots(plots)] if plots else []
    for kind in ("best", "middling", "worst"):
        image = path.parent / f"pictures/{kind}.png"
        if image.exists():
            parts += [f"<h2>The {kind} predictions</h2>", _image(image, kind)]
    if any("loss" in line for line in training):
        parts += ["<h2>Training</h2>", _plots(_training(training, headline))]
    rest = dict(sorted(result["metrics"].items()))
    parts += [
        "<h2>All figures</h2>",
        f"<details><summary>{len(rest)} figures</summary><pre>"
        f"{html.escape(json.dumps(rest, indent=1))}</pre></details>",
        "<h2>Config</h2>",
        f"<pre>{html.escape(json.dumps(result['config'], indent=1))}</pre>",
    ]
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(name)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    with disk.replacing(path) as file:
        file.write_text(text, "utf-8")


def _percent(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.1f}"


def _table(table: Table) -> str:
    titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in ["", *table.head])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.cells(digits=1)
    )
    notes = "<br>".join(map(html.escape, table.notes))
    notes = f'<p class="small">{notes}</p>' if notes else ""
    return f'<div class="wide"><table><tr>{titles}</tr>{body}</table></div>{notes}'


def _plots(plots: Mapping[str, Figure]) -> str:
    sections = "".join(
        f"<section><h2>{html.escape(title)}</h2>{_svg(figure)}</section>"
        for title, figure in plots.items()
    )
    return f'<div class="plots">{sections}</div>'


def _training(lines: Sequence[dict], headline: str) -> dict[str, Figure]:
    losses, axes = _axes()
    steps = [line["step"] for line in lines if "loss" in line]
    ratios = np.array([line["ratio_to_plateau"] for line in lines if "loss" in line])
    for stack in range(ratios.shape[1]):
        axes.plot(steps, ratios[:, stack], label=f"stack {stack + 1}", linewidth=1)
    axes.set(xlabel="step", ylabel="loss, fractions of the plateau", ylim=(0, None))
    axes.legend(frameon=False)
    scores, axes = _axes()
    keys = [f"{split}/{headline}" for split in ("validation", "train")]
    for key, colour in zip(keys, _COLOURS, strict=True):
        points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if points:
            axes.plot(*np.array(points).T, "o-", color=colour, label=key.partition("/")[0])
    axes.set(xlabel="step", ylabel=headline)
    if axes.lines:
        axes.legend(frameon=False)
    return {"Loss": losses, headline: scores}


def _axes():
    """Returns a figure with one plot, sized to be legible on phones as well as on desktops."""
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    with matplotlib.rc_context(_SVG):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _image(path: pathlib.Path, kind: str) -> str:
    stream = io.BytesIO()
    with path.open("rb") as file:
        Image.open(file).convert("RGB").save(stream, "jpeg", quality=85)
    content = base64.b64encode(stream.getvalue()).decode()
    text = f"the {kind} predictions, each beside the truth"
    return f'<img alt="{text}" src="data:image/jpeg;base64,{content}">'
