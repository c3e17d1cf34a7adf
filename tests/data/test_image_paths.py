"""Names of images as programs and systems write them, and those that lead out of their folder."""

import unicodedata

import pytest
from keypoint_data import each, images_of, make, only, write

from hourglass_jax.data.formats import image_paths
from hourglass_jax.data.formats.image_paths import OutsideError, image_path
from hourglass_jax.errors import UserError


@pytest.mark.parametrize(
    ("on_disk", "name"),
    [
        ("images/p1.jpg", "images\\p1.jpg"),
        ("images/p1.jpg", ".\\images\\p1.jpg"),
        ("a\\b.jpg", "a\\b.jpg"),  # a backslash is a letter here
        ("my image.jpg", "my%20image.jpg"),
        ("my%20image.jpg", "my%20image.jpg"),
        ("100%.jpg", "100%.jpg"),
        (unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg")),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")),
        ("sub/é ü.jpg", "sub\\e\u0301%20ü.jpg"),
        ("p1.jpg", "x/../p1.jpg"),
    ],
)
def test_names_are_found(tmp_path, on_disk, name):
    file = tmp_path / "pics" / on_disk
    file.parent.mkdir(parents=True)
    (tmp_path / "pics/x").mkdir()
    file.write_text("")
    assert image_path(tmp_path / "pics", name).samefile(file)


def test_names_are_utf8_whatever_the_locale_is(monkeypatch):
    monkeypatch.setattr("os.fsdecode", lambda name: name.decode("ascii", "surrogateescape"))
    assert "\udcc3\udca9.jpg" in image_paths._spellings("é.jpg")
    assert list(image_paths._spellings("\ud800.jpg")) == ["\ud800.jpg"] * 16


def test_an_absolute_name_within_the_folder_stays_there(tmp_path):
    assert image_path(tmp_path, str(tmp_path / "a.jpg")) == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "x/../../a.jpg", "..\\a.jpg", "/etc/a.jpg", "C:\\a.jpg", "C:/a.jpg",
     "\\\\server\\a.jpg", "..", ".", "../pics2/a.jpg"],
)  # fmt: skip
def test_names_that_lead_out_are_refused_unless_allowed(tmp_path, name):
    folder = tmp_path / "pics"
    with pytest.raises(OutsideError, match=r"config\.data\.outside_files=True"):
        image_path(folder, name)
    assert image_path(folder, name, outside=True)


def test_an_encoded_name_does_not_lead_out(tmp_path):
    (tmp_path / "pics").mkdir()
    (tmp_path / "a.jpg").write_text("")
    assert image_path(tmp_path / "pics", "%2e%2e/a.jpg") == tmp_path / "pics/%2e%2e/a.jpg"


@pytest.mark.parametrize("name", ["", " ", None, 5, "a\0", ["a"]])
def test_what_is_no_name_is_told(tmp_path, name):
    with pytest.raises(ValueError, match="is not a file name"):
        image_path(tmp_path, name)


def test_the_entry_that_leads_out_is_named(tmp_path):
    write(tmp_path, only(2, "images", file_name="../p.png"))
    (tmp_path / "p.png").write_bytes((tmp_path / "pics/p1.png").read_bytes())
    with pytest.raises(UserError, match=r"k\.json, images\[2\]: '\.\./p\.png' leads out"):
        make(tmp_path)
    assert len(images_of(make(tmp_path, outside_files=True))) == 6
    link = tmp_path / "pics/link.png"  # is the user's own
    link.symlink_to(tmp_path / "p.png")
    write(tmp_path, only(2, "images", file_name="link.png"))
    assert len(images_of(make(tmp_path))) == 6


def test_a_file_of_windows(tmp_path):
    write(tmp_path, each("images", file_name=lambda i: f"more\\{i['file_name']}"))
    (tmp_path / "pics").rename(tmp_path / "more")
    assert len(images_of(make(tmp_path, image_dir=str(tmp_path)))) == 6
    missing = tmp_path / "more/p3.png"
    missing.unlink()
    with pytest.raises(UserError, match=r"1 annotations in 1 images.*more/p3\.png is missing"):
        images_of(make(tmp_path, image_dir=str(tmp_path)))
