"""MATLAB files are read as SciPy reads them, and damaged ones harm nothing."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from mpii_files import person, structs

from hourglass_jax.data.formats import matlab
from hourglass_jax.data.lsp.source import _load_joints
from hourglass_jax.data.mpii import annotations
from hourglass_jax.errors import UserError

pytestmark = pytest.mark.core


def content_of(variables, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, **options)
    return file.getvalue()


def release(people=3):
    rng = np.random.default_rng(0)
    entries = [
        {"image": {"name": f"{i}.jpg"}, "annorect": structs([person(rng, np.array([90, 99]))] * i)}
        for i in range(1, people)
    ]
    return {"annolist": structs(entries), "img_train": np.ones((1, people - 1))}


def assert_same(found, expected):
    if isinstance(expected, scipy.io.matlab.mat_struct):
        assert set(vars(found)) == set(expected._fieldnames)
        for name in expected._fieldnames:
            assert_same(getattr(found, name), getattr(expected, name))
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        assert found.shape == expected.shape
        for a, b in zip(found.ravel(), expected.ravel(), strict=True):
            assert_same(a, b)
    elif isinstance(expected, np.ndarray):
        assert found.size == expected.size and found.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(found.ravel(), expected.ravel())
    else:
        assert type(found) is type(expected) and found == expected


CONTENTS = {
    "numbers": np.arange(24.0).reshape(2, 3, 4),
    "one": 3.5,
    "none": np.zeros((0, 3)),
    **{kind: np.array([[1, 2], [3, 100]], kind) for kind in ("i1", "u2", "i4", "u8", "f4")},
    "logical": np.array([[True, False]]),
    "complex": np.array([[1 + 2j, 3]]),
    "text": "left wrist",
    "letters": "Händel",
    "texts": np.array(["ab", "c"]),
    "cells": np.array([[np.zeros(3), "x"], [1.5, np.ones(3)]], object),
    "struct": {"a": 1.0, "b": {"c": "d", "e": np.zeros((0, 0))}},
    "release": release(),
}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", CONTENTS)
def test_it_reads_what_scipy_reads(tmp_path, name, compressed):
    path = tmp_path / "a.mat"
    path.write_bytes(content_of({"x": CONTENTS[name], "y": 1.0}, do_compression=compressed))
    expected = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)
    assert_same(matlab.load(path, "x"), expected["x"])
    if isinstance(CONTENTS[name], np.ndarray) and CONTENTS[name].dtype.kind in "fiub":
        plain = matlab.load(path, "x", squeeze=False)
        np.testing.assert_array_equal(plain, scipy.io.loadmat(path)["x"])
    with pytest.raises(ValueError, match="it lacks 'z', and has x, y"):
        matlab.load(path, "z")


def test_either_byte_order(tmp_path):
    def element(kind, content):
        return struct.pack(">2I", kind, len(content)) + content + b"\0" * (-len(content) % 8)

    array = element(6, struct.pack(">2I", 6, 0)) + element(5, struct.pack(">2i", 1, 3))
    array += element(1, b"x") + element(9, struct.pack(">3d", 1, 2, 3))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    path = tmp_path / "a.mat"
    path.write_bytes(header + element(14, array))
    assert matlab.load(path, "x").tolist() == [1, 2, 3]
    assert scipy.io.loadmat(path)["x"].tolist() == [[1, 2, 3]]


def with_sizes(count):
    """A file whose structure claims to have so many items."""
    content = content_of({"RELEASE": release()})
    sizes = struct.pack("<2i", 1, 2)
    return content.replace(sizes, struct.pack("<2i", 1, count))


REFUSED = {
    "claims much": (with_sizes(2**30), "items are stored in"),
    "claims less than nothing": (with_sizes(-1), "has the sizes"),
    "bomb": (content_of({"RELEASE": np.zeros(2**24)}, do_compression=True), "too much memory"),
    "empty": (b"", "it is empty"),
    "page": (b"\n<!DOCTYPE html><html>404</html>", "it is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "archive": (b"PK\x03\x04" + bytes(200), "unpack it"),
    "text": (b"x y\n1 2\n" * 50, "does not begin as one"),
    "version 7.3": (bytes(512) + b"\x89HDF\r\n\x1a\n", "version 7.3.*'-v7'"),
    "version 4": (content_of({"RELEASE": 1.0}, format="4"), "version 4"),
    "cut": (content_of({"RELEASE": release()})[:3000], "beyond its end"),
    "cut inside": (content_of({"RELEASE": release()}, do_compression=True)[:500], "beyond its end"),
    "sparse": (content_of({"RELEASE": scipy.sparse.eye(3)}), "it holds a sparse matrix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path, name):
    content, says = REFUSED[name]
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(ValueError, match=says):
        matlab.load(path, "RELEASE")
    with pytest.raises(UserError, match=rf"a\.mat cannot be read as MPII's.*{says}.*unpack"):
        annotations.read(path)
    with pytest.raises(UserError, match=r"a\.mat cannot be read as a MATLAB file with `joints`"):
        _load_joints(path)
    assert time.process_time() - start < 5


def test_it_is_not_nested_without_end(tmp_path):
    value = 1.0
    for _ in range(40):
        value = {"x": value}
    path = tmp_path / "a.mat"
    path.write_bytes(content_of({"x": value}))
    with pytest.raises(ValueError, match="nested too deeply"):
        matlab.load(path, "x")


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_damage_is_refused_or_changes_values_alone(tmp_path, count):
    """SciPy's reader would crash the process in some of these; memory stays in bounds."""
    rng = np.random.default_rng(0)
    whole = content_of({"RELEASE": release()})
    path = tmp_path / "a.mat"
    read = 0
    tracemalloc.start()
    for _ in range(count):
        content = bytearray(whole)
        for place in rng.integers(128, len(content), rng.integers(1, 4)):
            content[place] = rng.choice([0, 1, 14, 15, 127, 128, 255, rng.integers(256)])
        if rng.random() < 0.2:
            content = content[: rng.integers(len(content))]
        if rng.random() < 0.5:  # the same, compressed
            packed = zlib.compress(bytes(content[128:]))
            content[128:] = struct.pack("<2I", 15, len(packed)) + packed
        path.write_bytes(content)
        try:
            annotations.read(path)
            read += 1
        except UserError:
            pass
    assert 0 < read < count
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
