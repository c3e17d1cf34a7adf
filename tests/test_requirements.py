"""The lists of exact versions: what pyproject.toml asks for, with hashes, from any index."""

import re
import tomllib

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.core

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LISTS = {path.stem: path.read_text(encoding="utf-8") for path in ROOT.glob("requirements*.txt")}


def pinned(*lists):
    """Returns the requirement of each package in lists."""
    lines = [line for name in lists for line in re.findall(r"(?m)^\w[^\\\n]*", LISTS[name])]
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


def test_there_is_a_list_for_every_extra_of_the_launchers():
    extras = ("dev", "cuda", "tpu", "torch")
    assert set(LISTS) == {"requirements", *(f"requirements-{extra}" for extra in extras)}


@pytest.mark.parametrize("extra", ["train", "gcs", "dev", "cuda", "tpu"])
def test_pinned_versions_are_in_the_ranges_of_the_package(extra):
    lists = {"train": (), "gcs": (), "dev": ("requirements-dev", "requirements-torch")}
    pins = pinned("requirements", *lists.get(extra, (f"requirements-{extra}",)))
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    for requirement in map(Requirement, wanted):
        pin = pins[canonicalize_name(requirement.name)]
        (version,) = [specifier.version for specifier in pin.specifier]
        assert requirement.specifier.contains(version), (str(requirement), str(pin))


def test_each_package_has_hashes_and_is_in_one_list():
    names = [name for name in LISTS if name != "requirements-torch"]
    assert sum(len(pinned(name)) for name in names) == len(pinned(*names))
    for name in names:
        requirements = re.split(r"\n(?=\w)", LISTS[name])[1:]
        assert len(requirements) >= len(pinned(name)) > 0  # two versions for two Pythons
        firsts = [requirement.splitlines()[0] for requirement in requirements]
        assert len(set(firsts)) == len(firsts)
        for requirement in requirements:
            first, *hashes = requirement.rstrip().split(" \\\n    ")
            assert "==" in first and hashes, requirement
            assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


def test_no_list_names_a_place():
    assert not any(re.search("://|index-url|find-links", text) for text in LISTS.values())
