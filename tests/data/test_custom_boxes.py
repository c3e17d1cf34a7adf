"""Boxes in files of COCO's format: what is read, and what is said of the rest."""

import numpy as np
import pytest
from box_data import HEIGHT, WIDTH, images_of, make, write
from conftest import load_config, shrink

from hourglass_jax.data.custom_boxes.source import CustomBoxesSource
from hourglass_jax.errors import UserError
from hourglass_jax.training import train


def test_categories_boxes_crowds_and_empty_images(tmp_path):
    write(tmp_path)
    source = make(tmp_path)
    assert source.categories == ("cat", "dog") and source.category_ids == (3, 7)
    assert not source.labels.joints
    images = images_of(source)
    assert list(images) == list("123456") and not images["6"].annotations
    assert source.count("train") == source.count("validation") == 10
    dog, cat = images["2"].annotations
    assert (dog.category, dog.box, dog.crowd) == (1, (10, 10, 20, 30), False)
    assert (cat.category, cat.box, cat.crowd) == (0, (40, 10, 20, 30), True)
    assert all(i.exhaustive and i.size == (WIDTH, HEIGHT) for i in images.values())
    assert len(source.large_files) == 12


def test_images_that_do_not_list_everything(tmp_path):
    def partly(made):
        made["images"][0]["all_people_listed"] = False

    write(tmp_path, partly)
    listed = {id: i.exhaustive for id, i in images_of(make(tmp_path)).items()}
    assert listed == {id: id != "1" for id in "123456"}
    assert not any(i.exhaustive for i in images_of(make(tmp_path, exhaustive=False)).values())


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (None, "1 have no bbox"),
        ([WIDTH + 4, 5, 20, 20], "it shows nothing of the image"),
        ([5, 5, 0, 20], "it has no width or height"),
        ([5, 5, 20], "it is not the numbers x, y, width, height"),
    ],
)
def test_an_annotation_without_a_usable_box_is_left_out(tmp_path, caplog, box, words):
    write(tmp_path, lambda made: made["annotations"][0].update(bbox=box))
    images = images_of(make(tmp_path))
    assert [a.category for a in images["1"].annotations] == [0]
    assert words in caplog.text
    # The object is still in the image.
    assert [id for id, image in images.items() if not image.exhaustive] == ["1"]


def test_a_crowd_outside_the_image_is_left_out(tmp_path):
    write(tmp_path, lambda made: made["annotations"][3].update(bbox=[WIDTH + 4, 5, 20, 20]))
    assert len(images_of(make(tmp_path))["2"].annotations) == 1


def test_a_category_without_a_box(tmp_path, caplog):
    def more(made):
        made["categories"].insert(0, {"id": 0, "name": "animals"})

    write(tmp_path, more)
    assert make(tmp_path).categories == ("cat", "dog")
    assert (
        "categories without a box are left out, as they cannot be learned: animals" in caplog.text
    )


def test_categories_of_the_file_to_validate_on_are_found_by_name(tmp_path, caplog):
    def other(made):
        made["categories"] = [{"id": 3, "name": "dog"}, {"id": 7, "name": "bird"}]

    write(tmp_path)
    write(tmp_path, other, "other.json")
    source = make(tmp_path, validation_json=str(tmp_path / "other.json"))
    found = images_of(source, "validation")
    assert [a.category for a in found["1"].annotations] == [1]
    assert "the category 'bird' is not learned" in caplog.text
    assert found["1"].exhaustive


def test_joints_come_along_where_categories_have_them(tmp_path):
    def joints(made):
        made["categories"][1]["keypoints"] = ["nose", "tail"]
        for a in made["annotations"]:
            a["keypoints"] = [12, 15, 2, 0, 0, 0] if a["category_id"] == 7 else [1, 2]

    write(tmp_path, joints)
    source = make(tmp_path)
    assert source.labels.joints == ("nose", "tail") and source.categories == ("cat", "dog")
    dog, cat = images_of(source)["1"].annotations
    assert dog.labelled.tolist() == [True, False] and not cat.labelled.any()
    np.testing.assert_array_equal(dog.joints[0], [12, 15])


def without(part):
    return lambda made: made.update({part: []})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("annotations"), "has no annotation with a box; give annotations their bbox"),
        (without("categories"), "has no categories; add those of your annotations"),
        (
            lambda made: [a.update(bbox=[0.1, 0.1, 0.4, 0.5]) for a in made["annotations"]],
            "bbox lie within 1 px, so they seem to be shares",
        ),
        (
            lambda made: [a.update(bbox=[WIDTH, 1, 5, 5]) for a in made["annotations"]],
            "has no box that can be used",
        ),
    ],
)
def test_a_file_without_boxes_is_refused(tmp_path, change, words):
    write(tmp_path, change)
    with pytest.raises(UserError, match=words):
        list(make(tmp_path).images("train"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "boxes.csv").write_text("")
    with pytest.raises(UserError, match=r"boxes\.csv does not begin with DeepLabCut's rows"):
        make(tmp_path, train_json=str(tmp_path / "boxes.csv"))
    with pytest.raises(UserError, match=r"train_json is not set"):
        CustomBoxesSource()


def test_a_tenth_is_held_out(tmp_path):
    write(tmp_path)
    source = make(tmp_path, validation_json="")
    assert [len(images_of(source, split)) for split in source.splits] == [5, 1]
    assert source.held_out == ("validation",) and not make(tmp_path).held_out


def test_several_files_are_joined(tmp_path):
    write(tmp_path)
    write(tmp_path, lambda made: made["categories"].reverse(), "more.json")
    files = f"{tmp_path}/boxes.json, {tmp_path}/more.json"
    source = make(tmp_path, train_json=files)
    images = images_of(source)
    assert source.count("train") == 20 and len(images) == 12
    for id in ("1", "2-1"):
        assert [a.category for a in images[id].annotations] == [1, 0]


@pytest.mark.slow
def test_the_main_job_runs_on_them(tmp_path):
    write(tmp_path)
    config = shrink(load_config("custom_boxes"))
    for option in ("order", "features"):
        del config.model[option]
    config.model.update(widths=(4, 4), blocks=(1, 1))
    config.data.update(
        data_dir=str(tmp_path / "records"),
        train_json=str(tmp_path / "boxes.json"),
        image_dir=str(tmp_path / "images"),
    )
    config.num_steps = config.eval.every_steps = 2
    result = train.train_and_evaluate(config, tmp_path / "run")
    assert result["images"] == 1 and {"AP", "AP50", "AP/dog"} <= result["metrics"].keys()
