"""Projects of DeepLabCut: tables of several videos, unique parts, old formats, spreadsheets."""

import numpy as np
import pytest
from keypoint_data import annotations_of, files, images_of, make
from test_custom import write_csv

from hourglass_jax.data.formats import deeplabcut
from hourglass_jax.errors import UserError

HEAD = "scorer,A,A,A,A\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
ROW = "labeled-data/v/img{}.png,50,40,120,45\n"


def write(folder, text=None, video="v", rows=6, scorer="A"):
    """Writes a video's table and images, and returns the table's path."""
    where = folder / f"labeled-data/{video}"
    where.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(files(1, (200, 160))[:rows]):
        (where / f"img{i}.png").write_bytes(content)
    if text is None:
        text = HEAD + "".join(ROW.format(i) for i in range(rows)).replace("/v/", f"/{video}/")
    path = where / f"CollectedData_{scorer}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def source_of(folder, table, **fields):
    return make(folder, **{"train_json": str(table), "image_dir": str(folder), **fields})


def test_a_project_is_given_by_its_folder_a_pattern_or_its_tables(tmp_path):
    tables = [write(tmp_path), write(tmp_path, video="w", rows=3)]
    ways = [tmp_path, tmp_path / "labeled-data", tmp_path / "labeled-data/*/Collected*.csv",
            f"{tables[0]}, {tables[1]}"]  # fmt: skip
    for way in ways:
        source = source_of(tmp_path, way)
        found = images_of(source)
        assert len(found) == 9 and source.count("train") == 8
        assert list(source.source_files) == tables
        assert len(set(annotations_of(source))) == 9
    assert len(images_of(source_of(tmp_path, tmp_path, image_dir=""))) == 9
    assert len(images_of(source_of(tmp_path, tables[0].parent, image_dir="/nowhere"))) == 6
    with pytest.raises(UserError, match="no file of annotations matches"):
        source_of(tmp_path, tmp_path / "*.csv")
    (tables[0].parents[1] / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no tables labeled-data/\*/CollectedData"):
        source_of(tmp_path, tables[0].parents[1] / "empty")


def test_tables_of_two_people_are_refused(tmp_path):
    write(tmp_path)
    write(tmp_path, scorer="B")
    with pytest.raises(UserError, match=r"several people, A, B; name those of one as .*_A\.csv"):
        source_of(tmp_path, tmp_path)
    assert len(images_of(source_of(tmp_path, tmp_path / "labeled-data/*/CollectedData_A.csv"))) == 6
    (tmp_path / "config.yaml").write_text("Task: x\nscorer: 'B'  # me\n", encoding="utf-8")
    source = source_of(tmp_path, tmp_path / "config.yaml", image_dir="")
    assert len(images_of(source)) == 6 and source.source_files[0].name == "CollectedData_B.csv"
    with pytest.raises(UserError, match=r"CollectedData_C\.h5 cannot be read: No such file"):
        source_of(tmp_path, tmp_path / "CollectedData_C.h5")


def test_unique_parts_are_no_joints_of_an_animal(tmp_path, caplog):
    animals = "individuals,m1,m1,m1,m1,m2,m2,m2,m2,single,single"
    parts = "bodyparts,nose,nose,tail,tail,nose,nose,tail,tail,corner,corner"
    head = f"scorer{',A' * 10}\n{animals}\n{parts}\ncoords{',x,y' * 5}\n"
    row = "labeled-data/v/img{}.png,50,40,120,45,100,120,150,100,10,10\n"
    table = write(tmp_path, head + "".join(row.format(i) for i in range(6)))
    source = source_of(tmp_path, table)
    assert source.labels.joints == ("nose", "tail") and len(annotations_of(source)) == 12
    assert "the part 'corner': left out: a unique part" in caplog.text
    alone = head.replace("m1", "single").replace("m2", "single").replace("nose", "n", 2)
    file = deeplabcut.read(
        write(tmp_path, alone.replace("tail,tail,corner", "t,t,corner")), tmp_path
    )
    assert file.skeleton.joints == ("n", "tail", "nose", "t", "corner")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text + ",,,,\n  ,,,,\n",
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", ";").replace(";50;", ";50,0;"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("/v/", "\\v\\"),
        lambda text: text.replace("labeled-data/", "C:\\Users\\me\\p\\labeled-data\\"),
        lambda text: text.replace("labeled-data/", "/home/me/p/labeled-data/"),
        lambda text: text.replace("labeled-data/v/", ""),
        lambda text: text.replace("labeled-data/v/", "labeled-data,v,")
        .replace("scorer,", "scorer,,,")
        .replace("bodyparts,", "bodyparts,,,").replace("coords,", "coords,,,"),
        lambda text: text.replace("nose,nose", " nose,nose "),
    ],
)  # fmt: skip
def test_what_versions_and_spreadsheets_write(tmp_path, change, caplog):
    text = HEAD + "".join(ROW.format(i) for i in range(6))
    found = annotations_of(source_of(tmp_path, write(tmp_path, change(text))))
    assert len(found) == 6
    for a in found.values():
        np.testing.assert_array_equal(a.joints, [[50, 40], [120, 45]])
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("labeled-data/v/img1.png,50,4x0,120,45\n", "line 5: left out: '4x0' is not a number"),
        ("labeled-data/v/img1.png,50,40\n", "line 5: left out: 3 columns, not 5"),
        ("labeled-data/v/img1.png,50,40,120,45,6\n", "line 5: left out: 6 columns, not 5"),
        (ROW.format(0), "line 5: left out: it is in the file twice"),
        (",50,40,120,45\n", "line 5: left out: file_name '' is not a file name"),
        ("labeled-data/v/img1.png,5000,40,120,45\n", "far outside the image counts as not"),
        ("labeled-data/v/img1.png,inf,40,120,45\n", "whose coordinates are not px counts as not"),
    ],
)  # fmt: skip
def test_a_wrong_row_costs_no_other(tmp_path, row, says, caplog):
    text = HEAD + "".join(row if i == 1 else ROW.format(i) for i in range(6))
    assert len(annotations_of(source_of(tmp_path, write(tmp_path, text)))) == 5
    assert says in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "there are none"),
        (HEAD.replace("tail", "nose"), "two columns hold x of 'nose' of animal"),
        (HEAD.replace(",tail,tail", "").replace("x,y,x,y", "x,y").replace("A,A,A,A", "A,A")
         + "labeled-data/v/img1.png,50,40\n", "1 have neither a bbox nor two labelled joints"),
        (HEAD + "../a.png,1,2,3,4\n", r"line 4: '\.\./a\.png' leads out"),
        (HEAD.encode() + b"\xff,1,2,3,4\n", "not valid CSV in UTF-8"),
        ("a,b\n1,2\n", "DeepLabCut's rows scorer"),
    ],
)  # fmt: skip
def test_a_table_without_anything_to_use_says_why(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        source_of(tmp_path, write(tmp_path, text)).count("train")


def test_ids_are_lines_as_ever(tmp_path):
    write_csv(tmp_path / "t.csv", folders=False)
    file = deeplabcut.read(tmp_path / "t.csv", tmp_path)
    assert [image.id for image in file.images] == [str(line) for line in range(4, 16)]
