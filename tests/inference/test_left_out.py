"""What is wrong with a box, a frame or a file is named, and costs nothing else."""

import json

import numpy as np
import pytest
from fake import fake, run  # noqa: F401 (a fixture)
from PIL import Image

pytestmark = pytest.mark.core


def test_bad_boxes_and_files_cost_nothing_else(fake, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pages = [
        Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8))
        for shape in ((64, 48), (64, 48), (40, 80))
    ]
    pages[0].save(folder / "a.png")
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    pages[0].save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[:-2])
    (folder / "half.jpg").write_bytes(content[: len(content) // 2])
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile a.png\n")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    people = {"a.png": [[5, 5, 30, 40], [500, 5, 30, 40]], "pages": [[9, 9, 20, 20], [1, 1, 0, 9]]}
    people |= {name: [[5, 5, 30, 40]] for name in ("cut.jpg", "whole.jpg", "half.jpg", "list.mp4")}
    (tmp_path / "boxes.json").write_text(json.dumps(people))
    assert run(folder, tmp_path / "out", f"--boxes={tmp_path}/boxes.json") == 1
    lines = capsys.readouterr().err.splitlines()
    for said in (
        "pages: a box is x,y,width,height in px, the last two at least 1, but this one is [1, 1, 0",
        "a.png: the box [500.0, 5.0, 30.0, 40.0] shows nothing of the image, which is 48 x 64 px",
        "half.jpg cannot be read (it is cut short)",
        "list.mp4 is not a video that can be read",
    ):
        assert [said in line for line in lines].count(True) == 1, said
    assert len(lines) == 4
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    names = ["a.png", "cut.jpg", *(f"pages.tif#{i}" for i in range(3)), "whole.jpg"]
    assert [person["image_id"] for person in found] == names
    assert found[1]["keypoints"] == found[-1]["keypoints"]  # every pixel is there


def test_pages_of_several_sizes_are_each_one_person(fake, tmp_path):  # noqa: F811
    wide, high = Image.new("RGB", (80, 40)), Image.new("RGB", (40, 80))
    wide.save(tmp_path / "a.tif", save_all=True, append_images=[high])
    assert run(tmp_path / "a.tif", tmp_path / "out") == 0
    first, second = json.loads((tmp_path / "out/predictions.json").read_text())
    assert (first["bbox"][2], second["bbox"][2]) == (80 / 1.25, 40 / 1.25)


def test_an_image_of_which_no_box_shows_anything_counts_as_failed(fake, tmp_path, caplog):  # noqa: F811
    caplog.set_level("INFO")
    Image.new("RGB", (80, 40)).save(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text('{"a.png": [[5000, 5000, 100, 200]]}')
    flags = [f"--boxes={tmp_path}/boxes.json"]
    assert run(tmp_path / "a.png", tmp_path / "out", *flags) == 1
    assert "0 people in 0 of 1 files" in caplog.text
