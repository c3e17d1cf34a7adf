"""Mutations of annotations: no traceback, no neighbour lost, and nothing lost in silence.

Ten of each kind; with --slow 200.
"""

import copy
import json
import logging

import numpy as np
import pytest
from damages import damage_bytes, damage_tree
from keypoint_data import annotations_of, files, images_of, make, write
from test_coco import figures_of, write_coco
from test_coco import make_source as coco_source
from test_deeplabcut import HEAD, ROW
from test_deeplabcut import write as write_table

from hourglass_jax.errors import UserError

VALUES = [None, "", "x", "1", [], {}, -1, 0, 0.5, 1e9, 1e300, float("nan"), float("inf"), True,
          False, [[]], [1, [2]], 10**30, "\ud800", "../x", "a\\b", "é" * 300, 7]  # fmt: skip
CELLS = [
    "",
    " ",
    "x",
    "nan",
    "inf",
    "-5",
    "1e9",
    "0.5",
    "0",
    '"',
    "\0",
    "é",
    "..",
    "/a",
    ";",
    "1,2",
]

variants = pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])


def of_each_kind(attempt):
    """Makes a test that calls attempt(rng, folder, caplog) for each variant."""

    @variants
    def test(tmp_path, count, caplog):
        for variant in range(count):
            caplog.clear()
            rng = np.random.default_rng([variant, *attempt.__name__.encode()])
            attempt(rng, tmp_path / str(variant), caplog)

    test.__doc__ = attempt.__doc__
    return test


def outcome(source_of):
    """What a source makes of a file: its annotations, or the one sentence that refuses it."""
    try:
        source = source_of()
        assert source.large_files is not None
        found = annotations_of(source)
        for image in images_of(source):
            assert image.read().ndim == 3
    except UserError as error:
        assert 10 < len(str(error)) < 1500 and "\n" not in str(error)
        return None, str(error)
    for a in found.values():
        assert np.isfinite([*a.center, a.size, a.reference]).all() and a.labelled.any()
        assert np.isfinite(a.joints).all() and len(a.joints) == source.labels.num_joints
    return found, ""


def unlike(found, whole):
    return [
        id for id, a in whole.items()
        if id not in found or not np.array_equal(a.joints, found[id].joints)
    ]  # fmt: skip


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@of_each_kind
def test_an_entry_of_json(rng, folder, caplog):
    """One field of one image or annotation has another value."""
    whole = write(folder)
    before = annotations_of(make(folder))
    caplog.clear()
    entry = whole[["images", "annotations"][rng.integers(2)]][rng.integers(6)]
    key = list(entry)[rng.integers(len(entry))]
    value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    if key == "keypoints" and rng.random() < 0.7:
        entry[key][rng.integers(12)] = value
    elif rng.random() < 0.2:
        del entry[key]
    else:
        entry[key] = value
    (folder / "k.json").write_text(json.dumps(whole))
    found, refused = outcome(lambda: make(folder))
    if found is None:  # another file, another size or an image outside
        assert key in ("file_name", "width", "height", "image_id"), (key, value, refused)
        return
    changed = unlike(found, before)
    assert len(changed) <= (2 if key in ("id", "image_id") else 1), (key, value, changed)
    if changed and key not in ("keypoints", "iscrowd"):
        assert said(caplog) or len(found) == 6, (key, value)


@of_each_kind
def test_a_tree_of_json(rng, folder, caplog):
    whole = write(folder)
    for _ in range(rng.integers(1, 4)):
        whole = damage_tree(rng, whole)
        if not isinstance(whole, dict):
            break
    (folder / "k.json").write_text(json.dumps(whole))
    found, _ = outcome(lambda: make(folder))
    if found is not None and len(found) < 6:
        listed = [a for a in whole["annotations"] if isinstance(a, dict)]
        assert len(listed) < 6 or said(caplog) or any(not a.get("keypoints") for a in listed)


@of_each_kind
def test_a_table(rng, folder, caplog):
    lines = [HEAD, *(ROW.format(i) for i in range(6))]
    place, cell = int(rng.integers(1, 7)), rng.integers(5)
    cells = lines[place].rstrip("\n").split(",")
    kind = rng.integers(4)
    if kind == 0:
        del cells[cell]
    elif kind == 1:
        cells.insert(cell, CELLS[rng.integers(len(CELLS))])
    else:
        cells[cell] = CELLS[rng.integers(len(CELLS))]
    lines[place] = ",".join(cells) + "\n"
    text = "".join(lines).encode("utf-8")
    if rng.random() < 0.3:
        text = damage_bytes(rng, text)
    table = write_table(folder, text)
    fields = {"train_json": str(table), "image_dir": str(folder)}
    found, _ = outcome(lambda: make(folder, **fields))
    rows = len(text.splitlines()) - 3
    if found is not None and len(found) < rows:
        assert said(caplog) or kind != 0


@of_each_kind
def test_cocos_evaluation(rng, folder, caplog):
    """Ids and fields of a validation file: perfect predictions score what is found, or it is 2."""
    content = write_coco(folder)
    for _ in range(3):
        entry = content["annotations"][rng.integers(18)]
        key = list(entry)[rng.integers(len(entry))]
        entry[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    (folder / "keypoints.json").write_text(json.dumps(content))
    try:
        found = list(coco_source(folder).images("validation"))
    except UserError:
        return
    people = [a for image in found for a in image.annotations]
    joints, scores = np.array([a.joints for a in people]), np.ones((len(people), 17))
    figures = figures_of(coco_source(folder), [a.id for a in people], joints, scores)
    assert figures["AP"] > 0.6


@of_each_kind
def test_orientations(rng, folder, caplog):
    """Each image of another orientation and stated size: read, refused by its size, or said."""
    content = write(folder)
    turns = rng.integers(1, 9, 6)
    for image, turn in zip(content["images"], turns, strict=True):
        path = folder / "pics" / image["file_name"]
        path.write_bytes(files(int(turn), (200, 160))[image["id"] - 1])
        for side in ("width", "height"):
            if rng.random() < 0.4:
                image[side] = VALUES[rng.integers(len(VALUES))]
    (folder / "k.json").write_text(json.dumps(content))
    found, refused = outcome(lambda: make(folder))
    if found is None:
        assert "px, and the annotations say" in refused
    elif {2, 3, 4} & set(turns.tolist()):
        assert any("orientation" in text for text in said(caplog))
