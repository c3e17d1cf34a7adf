"""The report is one whole file: valid, readable without a network, and of the right figures."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data.base import Tolerance
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.evaluation import report
from hourglass_jax.tasks.single_pose.measure import JointsFound, People

VOID = {"meta", "img"}
METRICS = [JointsFound(LSP, Tolerance(0.2))]


class Document(HTMLParser):
    """Checks that tags nest, and collects what refers to something."""

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        pass


def write_report(folder, predictions, trained=True):
    """Writes the report of a run, or of a checkpoint that no run made; returns its path."""
    (folder / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "pictures/best.png")
    figures = predictions.figures(METRICS)
    result = {
        "metrics": {k: None if np.isnan(v) else v for k, v in figures.items()},
        "persons": 30,
        "checkpoint": "checkpoints/7",
        "dataset": "people & <others>",
        "split": "test",
        "config": {"seed": 3},
    }
    lines = [
        {"step": 1, "loss": 1.0, "ratio_to_plateau": [1.0, 1.0]},
        {"step": 2, "loss": 0.5, "ratio_to_plateau": [0.5, 0.4]},
        {"step": 2, "validation/PCK@0.2": 0.5, "train/PCK@0.2": None},
    ]
    path = folder / "report.html"
    report.write(path, result, predictions, METRICS, lines if trained else [])
    return path


@pytest.mark.parametrize("trained", [True, False])
def test_a_report(tmp_path, predictions, trained):
    path = write_report(tmp_path, predictions, trained)
    text = path.read_text()
    document = Document()
    document.feed(text)
    assert not document.open
    (source,) = [s for s in document.sources if not s.startswith("#")]
    content = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (40, 30)
    plots = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == (4 if trained else 2)
    for plot in plots:
        ElementTree.fromstring(plot)
    figures = predictions.figures(METRICS)
    assert f"{100 * figures['PCK@0.2']:.1f} PCK@0.2" in text
    assert "people &amp; &lt;others&gt;" in text and "<others>" not in text
    people = People.of(predictions.found, predictions.truth)
    found = people.errors[:, 2] <= 0.2
    shares = [found[mask[:, 2]].mean() for mask in people.kinds.values()]
    row = re.search(r"<td>right_hip</td>(.*?)</tr>", text).group(1)
    assert re.findall("<td>(.*?)</td>", row) == [
        *(f"{100 * share:.1f}" for share in shares),
        str(people.labelled[:, 2].sum()),
    ]
    assert re.search(r"<td>left_hip</td><td>-</td><td>-</td><td>-</td><td>0</td>", text)
    assert write_report(tmp_path, predictions, trained).read_text() == text
