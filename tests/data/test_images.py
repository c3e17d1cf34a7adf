"""Reading all images of a split: order, what counts as lost, and what is refused."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data import images
from hourglass_jax.data.base import Annotation
from hourglass_jax.errors import UserError


def annotation(id):
    return Annotation(id=id, center=np.zeros(2), size=1.0)


@pytest.fixture
def folder(tmp_path):
    """Ten images; the third is missing, the fifth no image, and each has two annotations."""
    for i in range(10):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").unlink()
    (tmp_path / "5.png").write_bytes(b"nothing")
    return tmp_path


def annotated(folder, names=range(10)):
    annotations = {f"{i}.png": [annotation(f"{i}/a"), annotation(f"{i}/b")] for i in names}
    return images.in_folder(folder, annotations)


def first_pixel(image):
    return [int(image.read()[0, 0, 0])] * len(image.annotations)


def test_results_come_in_order_and_lost_annotations_are_counted(folder, caplog):
    found = list(images.read_all(annotated(folder), first_pixel, allow_missing=4))
    assert found == [i for i in (0, 1, 2, 4, 6, 7, 8, 9) for _ in range(2)]
    (said,) = [r.getMessage() for r in caplog.records]  # each once, in a summary
    assert "4 annotations in 2 images are without an image" in said
    assert said.count(f"{folder / '3.png'} is missing") == said.count("5.png cannot be read") == 1
    with pytest.raises(UserError, match=r"4 annotations.*3\.png.*5\.png.*allow_missing=4"):
        list(images.read_all(annotated(folder), first_pixel, allow_missing=3))


def test_an_image_without_annotations_counts_as_well(folder):
    empty = images.image_file(folder / "3.png", [], id="3")
    with pytest.raises(UserError, match=r"1 annotations in 1 images.*allow_missing=1"):
        images.check_files([empty], allow_missing=0)
    images.check_files([empty], allow_missing=1)


def test_missing_files_are_known_without_opening_the_others(folder):
    images.check_files(annotated(folder), allow_missing=2)
    with pytest.raises(UserError, match=r"2 annotations.*3\.png is missing.*allow_missing=2"):
        images.check_files(annotated(folder), allow_missing=1)


def test_other_mistakes_are_not_counted_as_lost(folder):
    def make(image):
        image.read()
        raise UserError("a box that no image can hold")

    with pytest.raises(UserError, match=r"^a box that no image can hold$"):
        list(images.read_all(annotated(folder, [0]), make, allow_missing=100))


def test_a_split_without_a_single_result_is_refused(folder):
    with pytest.raises(UserError, match="none of a split's 4 annotations"):
        list(images.read_all(annotated(folder, [3, 5]), first_pixel, allow_missing=100))


def test_another_size_than_annotated_is_refused(folder):
    image = images.image_file(folder / "0.png", [], id="0", size=(6, 8))
    with pytest.raises(UserError, match=r"0\.png is 8 x 6 px.*6 x 8"):
        image.read()


def test_ids_must_differ():
    with pytest.raises(UserError, match=r"1 ids .* for example a"):
        images.check_ids([annotation("a"), annotation("b"), annotation("a")])


def test_an_archive_that_is_cut_short_is_refused(folder):
    path = folder / "images.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for i in range(3):
            archive.add(folder / f"{i}.png", f"./images/{i}.png")
    annotations = {f"{i}.png": [annotation(str(i))] for i in (2, 0)}
    found = list(images.in_archive(path, "images/", annotations))
    assert [image.id for image in found] == ["0.png", "2.png"]
    assert [int(image.read()[0, 0, 0]) for image in found] == [0, 2]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="cannot be read to its end"):
        list(images.in_archive(path, "images/", {"9.png": [annotation("9")]}))
