"""The documentation keeps up with the code: links lead somewhere, and public names have a page."""

import pathlib
import re

import pytest
from conftest import ROOT

import hourglass_jax

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "hourglass_jax/models/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: pathlib.Path):
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text())
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing


def test_every_public_name_is_on_the_api_page():
    page = (ROOT / "docs/api/index.md").read_text()
    documented = re.findall(r"^::: hourglass_jax\.(\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(hourglass_jax.__all__)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_modules_in_commands_exist(page: pathlib.Path):
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    text = "\n".join(blocks)
    modules = {
        name.replace(".", "/") + ".py" for name in re.findall(r"python -m (hourglass\S+)", text)
    }
    scripts = set(re.findall(r"\b(?:launch|benchmarks|configs)/\w+\.(?:sh|py)", text))
    assert not [name for name in modules | scripts if not (ROOT / name).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/library.md", "docs/nnx.md"])
def test_examples_run(page: str, monkeypatch):
    monkeypatch.chdir(ROOT)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        exec(compile(block, page, "exec"), {})
