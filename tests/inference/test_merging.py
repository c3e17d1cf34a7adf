"""Shards that do not belong together, or are not whole, are not merged."""

import shutil

import numpy as np
import pytest

from hourglass_jax import merge
from hourglass_jax.errors import UserError
from hourglass_jax.inference import table
from hourglass_jax.inference.entries import Format
from hourglass_jax.inference.shards import Shard

pytestmark = pytest.mark.core

FORM = Format(("left", "right"), tracked=True)
BOXES = Format((), ("cup", "person"), (3, 7), tracked=True)
COMMAND = {"checkpoint": ["lsp-small", "lsp"], "input": ["in", "/in"], "scales": ["None"] * 2}
NAMES = ["a/b.jpg", "a/c.jpg", "a-b.jpg", "a.jpg", "caf\udce9.jpg", "d.mp4"]


def entry(rng, form=FORM, **more):
    found = {"category_id": 1}
    if form.categories:
        i = int(rng.integers(2))
        found = {"category_id": form.category_ids[i], "category": form.categories[i]}
    found["bbox"] = np.round(rng.uniform(0, 9999, 4), 2).tolist()
    if form.joints:
        found["keypoints"] = np.round(rng.uniform(0, 9999, 6), 4).tolist()
    return {**found, "score": round(float(rng.uniform()), 4), **more}


def write(folder, names=NAMES, shards=2, listed=None, form=FORM, **command):
    """Writes the tables of shards, each of which has a person in every file."""
    folder.mkdir(exist_ok=True)
    listed = names if listed is None else listed
    command = {**COMMAND, **command}
    about = table.About(form, command, len(listed), table.digest(listed))
    for shard in (Shard(i, shards) for i in range(shards)):
        with table.writing(folder / f"{shard.name}.parquet", about.schema()) as add:
            for name in filter(shard.has, names):
                found = [entry(np.random.default_rng(len(name)), form)]
                add(table.rows(form, name, [(None, found)]))


@pytest.mark.parametrize("form", [FORM, BOXES], ids=["poses", "boxes"])
def test_rows_stand_for_entries(tmp_path, form):
    rng = np.random.default_rng(0)
    images = [(None, [entry(rng, form), entry(rng, form)])]
    frames = [(0, [entry(rng, form, track_id=3)]), (1, []), (2, [entry(rng, form, track_id=5)])]
    path = tmp_path / "a.parquet"
    about = table.About(form, COMMAND, 2, "")
    with table.writing(path, about.schema()) as add:
        add(table.rows(form, "a.jpg", images))
        add(table.rows(form, "b.mp4", frames))
        add(table.rows(form, "c.jpg", [], "it is broken"))
    assert table.About.of(path) == about
    expected = [{"image_id": "a.jpg", **one} for one in images[0][1]]
    expected += [{"image_id": f"b.mp4#{i}", **one} for i, found in frames for one in found]
    rows = list(table.read(path))
    assert list(table.entries(form, rows)) == expected
    number = "object" if form.categories else "person"
    assert [row[number] for row in rows] == [0, 1, 3, None, 5, None]
    assert [row["frame"] for row in rows] == [None, None, 0, 1, 2, None]
    assert [row["error"] for row in rows] == [None] * 5 + ["it is broken"]


def test_shards_are_merged_in_the_order_of_the_input(tmp_path):
    """By folders, as the input is sorted; again after a merge."""
    write(tmp_path, shards=3)
    for _ in range(2):
        assert merge.main([str(tmp_path)]) == 0
        rows = list(table.read(tmp_path / "predictions.parquet"))
        assert [row["image"] for row in rows] == [*NAMES[:4], r"caf\udce9.jpg", "d.mp4"]


def refused(folder, says):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=says):
        merge.main([str(folder)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        merge.main([str(tmp_path / "gone")])
    refused(tmp_path, "holds no shards that are finished")
    write(tmp_path, shards=9)
    for i in (1, 2, 4, 5, 6, 8):
        (tmp_path / f"{Shard(i, 9).name}.parquet").unlink()
    refused(tmp_path, "lacks 6 of 9 shards, with the numbers 1, 2, 4, 5, 6 and 1 more: .*--shard=1")


def test_shards_of_another_number_are_named(tmp_path):
    write(tmp_path, shards=2)
    write(tmp_path, shards=3)
    refused(tmp_path, r"shards of 2 and of 3, predictions-00000-of-00002.parquet and predictions-0")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"checkpoint": ["lsp-small", "changed"]}, "with --checkpoint=lsp-small as it was then;"),
        ({"scales": ["1,2", "1,2"]}, "with --scales=1,2; give all shards the same flags"),
        ({"form": Format(("a", "b"))}, "with another network"),
        ({"listed": [*NAMES, "x"]}, "an input of 7 files, and .*00000-of-00002.* one of 6"),
    ],
)
def test_shards_of_another_command_are_named(tmp_path, changed, says):
    write(tmp_path)
    write(tmp_path / "other", **changed)
    name = f"{Shard(1, 2).name}.parquet"
    shutil.move(tmp_path / "other" / name, tmp_path / name)
    shutil.rmtree(tmp_path / "other")
    refused(tmp_path, f"{name} is of.*{says}")


def test_the_input_may_lie_elsewhere_for_each_shard(tmp_path):
    write(tmp_path)
    write(tmp_path / "other", input=["in", "/elsewhere"])
    name = f"{Shard(1, 2).name}.parquet"
    shutil.move(tmp_path / "other" / name, tmp_path / name)
    assert merge.main([str(tmp_path)]) == 0


def test_each_file_must_be_there_once(tmp_path):
    write(tmp_path, names=NAMES[1:], listed=NAMES)
    refused(tmp_path, "hold 5 files, which are not the 6 files of the input; run the command")
    write(tmp_path)
    shutil.copy(tmp_path / f"{Shard(0, 2).name}.parquet", tmp_path / f"{Shard(1, 2).name}.parquet")
    refused(tmp_path, r"jpg is in predictions-00000-of-00002.parquet and in .*00001-of-00002.parq")
    write(tmp_path, names=[*NAMES[:3], *NAMES])
    refused(tmp_path, r"jpg is in .*.parquet twice")


def test_tables_of_others_and_damaged_ones(tmp_path):
    write(tmp_path)
    path = tmp_path / f"{Shard(1, 2).name}.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(tmp_path, r"00001-of-00002.parquet cannot be read \(.*\); delete it")
    pa = table.arrow()
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": [1]}), path)
    refused(tmp_path, "is not a table of predictions")
    write(tmp_path)
    (tmp_path / "progress.jsonl").write_text("")
    refused(tmp_path, "holds the results of a command without --shards as well")
