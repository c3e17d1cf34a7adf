"""The page's sources: what they load is there, and nothing else is; nothing becomes HTML."""

import json
import re

import pytest
from conftest import ROOT

from hourglass_jax.interop import web_page

pytestmark = pytest.mark.core

SOURCES = {path.name: path.read_text(encoding="utf-8") for path in web_page.SOURCES.iterdir()}


def loaded_by(name):
    """Returns the files that are loaded with one of the page's, without the worker and its own."""
    text = SOURCES[name]
    names = re.findall(r'^import .* from "\./(.*)";$', text, re.MULTILINE)
    names += re.findall(r'(?:href|src)="([\w.]+)"', text) if name.endswith(".html") else []
    return {name}.union(*map(loaded_by, names))


def test_everything_that_is_loaded_first_works_offline():
    (listed,) = re.findall(r"const FIRST = \[(.*?)\];", SOURCES["offline.js"], re.DOTALL)
    listed = set(re.findall('"(.*?)"', listed))
    assert listed == loaded_by("index.html") - {"index.html"} | {"."}


def test_every_source_is_used():
    used = loaded_by("index.html") | loaded_by("worker.js") | {"offline.js"}
    assert used == set(SOURCES)


def test_texts_never_become_html_or_code():
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not [name for name, text in SOURCES.items() if re.search(forbidden, text)]
    page = SOURCES["index.html"]
    assert not re.search(r"\son\w+=|style=|javascript:|https?:", page)
    (policy,) = re.findall(r'content="(default-src .*?)"', page)
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


def test_files_are_short():
    assert all(len(text.splitlines()) <= 310 for text in SOURCES.values())


def test_the_runtime_is_pinned_in_one_version():
    package = json.loads((ROOT / "web/package.json").read_text())
    assert package["dependencies"] == {"onnxruntime-web": web_page.VERSION}
    lock = (ROOT / "web/package-lock.json").read_text()
    entry = json.loads(lock)["packages"]["node_modules/onnxruntime-web"]
    assert entry["version"] == web_page.VERSION and entry["integrity"].startswith("sha512-")
    assert "://" not in lock  # of no particular registry
