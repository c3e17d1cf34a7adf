"""Held out is held out: by file and content, not by id."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from keypoint_data import content, files, images_of, make, write

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.file_source import hold_out
from hourglass_jax.data.same_images import same_images, seen_in
from hourglass_jax.errors import UserError


def made_of(names):
    return [AnnotatedImage(str(i), str(name), lambda: 0, []) for i, name in enumerate(names, 1)]


def test_images_that_all_differ_are_drawn_as_ever(tmp_path):
    names = [tmp_path / f"{i}.jpg" for i in range(57)]
    for i, name in enumerate(names):
        name.write_bytes(bytes([i, 0]))
    train, validation = hold_out(made_of(names))
    drawn = np.random.default_rng(0).permutation(np.arange(1, 58))[:6]
    assert sorted(int(image.id) for image in validation) == sorted(drawn)
    assert len(train) == 51


@pytest.mark.parametrize("seed", range(5))
def test_copies_and_links_are_on_one_side(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = []
    for i in range(40):
        name = tmp_path / f"{i}.jpg"
        kind = rng.integers(4) if names else 0
        if kind == 1:
            name.symlink_to(names[rng.integers(len(names))])
        elif kind == 2:
            shutil.copy(names[rng.integers(len(names))], name)
        elif kind == 3:
            name = names[rng.integers(len(names))]  # listed twice
        else:
            name.write_bytes(bytes([i]) * 5)
        names.append(name)
    train, validation = hold_out(made_of(names))
    one, other = (
        {pathlib.Path(image.name).read_bytes() for image in part} for part in (train, validation)
    )
    assert not one & other and len(train) + len(validation) == 40
    assert 1 <= len(validation) <= 8 < len(train)


def test_images_that_are_all_the_same_are_said(tmp_path, caplog):
    (tmp_path / "a.jpg").write_bytes(b"a")
    train, validation = hold_out(made_of([tmp_path / "a.jpg"] * 20))
    assert (len(train), len(validation)) == (18, 2)
    assert "all 20 annotated images have the same content" in caplog.text
    with pytest.raises(UserError, match="there are 1 annotated images, too few"):
        hold_out(made_of([tmp_path / "a.jpg"]))


def test_images_of_one_size_are_told_apart_by_content(tmp_path):
    for name, text in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "three")):
        (tmp_path / name).write_text(text)
    os.link(tmp_path / "d", tmp_path / "e")
    paths = [str(tmp_path / name) for name in ("a", "b", "c", "d", "e", "gone", "gone")]
    assert same_images(paths) == [0, 1, 0, 3, 3, 5, 6]
    assert seen_in(paths[2:4], paths[:2]) == [0]


def test_images_of_both_files_are_counted(tmp_path, caplog):
    write(tmp_path)
    write(tmp_path / "v", lambda c: c["images"][0].update(file_name="new.png"))
    (tmp_path / "v/pics/new.png").write_bytes(files(2, (200, 160))[0])
    fields = {"validation_json": str(tmp_path / "v/k.json")}
    source = make(tmp_path, **fields, validation_image_dir=str(tmp_path / "v/pics"))
    assert len(images_of(source)) == 12
    assert "5 of 6 images of" in caplog.text and "are also trained on" in caplog.text


def test_images_listed_twice_are_held_out_together(tmp_path):
    def twice(made):
        again = content()
        for part in ("images", "annotations"):
            for entry in again[part]:
                entry["id"] += 10
                if "image_id" in entry:
                    entry["image_id"] += 10
            made[part] += again[part]

    write(tmp_path, twice)
    source = make(tmp_path)
    names = {split: {image.name for image in source.images(split)} for split in source.splits}
    assert not names["train"] & names["validation"] and len(images_of(source)) == 12


def test_annotations_are_freed_and_read_again(tmp_path):
    write(tmp_path)
    source = make(tmp_path)
    before = [image.id for image in images_of(source)]
    source.release()
    assert not {"_files", "_splits"} & vars(source).keys()
    assert source.labels.num_joints == 4
    assert [image.id for image in images_of(source)] == before
