"""The notebook of the documentation: it runs from top to bottom, and what it stores is small."""

import json
import os

import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs/tutorial.ipynb"


def cells():
    return [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]


def test_what_it_stores_is_small_and_from_one_run():
    assert NOTEBOOK.stat().st_size < 250_000
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    text = NOTEBOOK.read_text()
    assert not any(place in text for place in ("/tmp/", "/home/", "site-packages"))
    kinds = {output["output_type"] for cell in cells() for output in cell["outputs"]}
    assert kinds == {"stream", "execute_result"}  # no error
    shown = [output.get("data", {}) for cell in cells() for output in cell["outputs"]]
    assert sum("image/png" in data for data in shown) == 3


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(monkeypatch):
    """In a new kernel, with the images of the repository, and without a network."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.outputs = [] if cell.cell_type == "code" else cell.get("outputs")
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=where).execute()
    metrics = notebook.cells[6].outputs[-1]["data"]["text/plain"]
    assert "PCK" in metrics
