"""Paths in a bucket on this machine: what `pathlib` promises, faults, leases and copies."""

import errno
import json
import pathlib
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gcp_storage_emulator")
pytest.importorskip("google.cloud.storage")

import bucket_server

from hourglass_jax.data.local_options import local_options
from hourglass_jax.data.lsp.source import LspSource
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.image import draw
from hourglass_jax.inference.inputs import inputs
from hourglass_jax.inference.journal import Journal
from hourglass_jax.inference.places import Places
from hourglass_jax.runtime import bucket_requests, digests, disk, lease, lock, mirror, paths


@pytest.fixture(scope="module")
def server():
    with bucket_server.reached() as bucket:
        yield bucket


@pytest.fixture
def bucket(server):
    server.recover()
    server.clear()
    paths._check.cache_clear()
    return server


@pytest.fixture
def folder(bucket):
    return paths.path(f"{bucket.url}/runs/a run")


def test_a_path_is_on_a_disk_or_in_a_bucket(bucket):
    assert paths.path("runs/x") == pathlib.Path("runs/x")
    path = paths.path(f"{bucket.url}/runs/x/", "--workdir")
    assert str(path / "y") == "gs://bucket/runs/x/y" == str(paths.path(path / "y"))
    assert (path / "y").relative_to(path.parent) == paths.pathlib.PurePosixPath("x/y")
    with pytest.raises(UserError, match=r"^--workdir=gs:///x names no bucket$"):
        paths.path("gs:///x", "--workdir")


def test_what_is_written_is_there(folder):
    assert not folder.exists() and not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    assert folder.is_dir() and not folder.is_file() and list(folder.iterdir()) == []
    file = folder / "a.txt"
    file.write_text("ä\n", "utf-8")
    assert (file.read_text("utf-8"), file.stat().st_size) == ("ä\n", 3)
    assert file.is_file() and not file.is_dir()
    with (folder / "b.csv").open("w", encoding="utf-8", newline="") as stream:
        stream.write("x\r\n")
    assert (folder / "b.csv").read_bytes() == b"x\r\n"
    with pytest.raises(FileExistsError):
        (folder / "b.csv").open("x")
    with pytest.raises(ValueError, match="appended"):
        (folder / "b.csv").open("a")
    file.unlink()
    with pytest.raises(FileNotFoundError) as missing:
        file.read_bytes()
    assert missing.value.filename == str(file)
    file.unlink(missing_ok=True)


def test_an_error_in_the_middle_leaves_the_file_as_it_was(folder):
    file = folder / "a.txt"
    file.write_text("before")
    for open_it in (lambda: file.open("w", encoding="utf-8"), lambda: file.open("wb")):
        with pytest.raises(KeyError), open_it() as stream:
            stream.write("x" if stream.mode == "w" else b"x") if hasattr(stream, "mode") else None
            raise KeyError
    with pytest.raises(KeyError), disk.replacing(file) as part:
        part.write_text("half", "utf-8")
        raise KeyError
    assert file.read_text() == "before"
    with disk.replacing(file) as part:
        part.write_text("after", "utf-8")
    assert file.read_text() == "after"


def test_listing_and_patterns(folder):
    for name in ("1/state/d", "1/SHA256SUMS", "20/SHA256SUMS", "b.jpg", "x/a.jpg", "x/y/c.jpg"):
        (folder / name).write_bytes(b"")

    def names(found):
        return [str(path.relative_to(folder)) for path in found]

    assert names(folder.iterdir()) == ["1", "20", "b.jpg", "x"]
    assert names(folder.glob("*")) == ["1", "20", "b.jpg", "x"]
    assert names(folder.glob("*/SHA*")) == ["1/SHA256SUMS", "20/SHA256SUMS"]
    assert names(folder.rglob("*.jpg")) == ["b.jpg", "x/a.jpg", "x/y/c.jpg"]
    assert names(folder.rglob("*")) == sorted(
        ["1", "1/state", "20", "x", "x/y", *names(folder.tree())]
    )
    walked = {str(place): (inner, files) for place, inner, files in folder.walk()}
    assert walked[str(folder / "x")] == (["y"], ["a.jpg"])
    assert list((folder / "none").glob("*")) == []
    assert [path.name for path in digests.files_in(folder)] == ["b.jpg", "a.jpg", "c.jpg"]


def test_a_folder_is_whole_or_has_no_digests_whenever_it_is_stopped(bucket, folder):
    """Moving and deleting take a request a file: the digests come last, and go first."""
    for name in ("a", "b/c", "SHA256SUMS"):
        (folder / name).write_bytes(name.encode())
    bucket.requests.clear()
    folder.rename(folder.parent / "moved")
    done = [path for method, path in bucket.requests if method in ("POST", "DELETE")]
    assert "SHA256SUMS" in done[2] and "SHA256SUMS" in done[3] and "SHA256SUMS" not in done[4]
    assert bucket.names() == ["runs/moved/SHA256SUMS", "runs/moved/a", "runs/moved/b/c"]
    assert bucket.read("runs/moved/b/c") == b"b/c"
    with pytest.raises(FileNotFoundError):
        folder.rename(folder.parent / "again")
    paths.rmtree(folder.parent / "moved")
    assert bucket.names() == []


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (403, PermissionError, "the account has no rights there"),
        (401, PermissionError, "there are no credentials"),
        (404, FileNotFoundError, "there is no such bucket"),
    ],
)
def test_what_stays_wrong_ends_at_once(bucket, folder, status, kind, text):
    fault = bucket.fail("POST", "upload", status=status, times=100)
    with pytest.raises(kind, match=text):
        (folder / "a").write_bytes(b"x")
    assert fault.hit == 1


@pytest.mark.parametrize("status", [429, 503, None])
def test_what_may_pass_is_tried_again(bucket, folder, status):
    fault = bucket.fail("POST", "upload", status=status)
    (folder / "a").write_bytes(b"x")
    assert fault.hit == 1 and bucket.read("runs/a run/a") == b"x"


@pytest.mark.parametrize(("status", "text"), [(503, "only answers 503"), (None, "no connection")])
def test_patience_has_an_end(bucket, folder, monkeypatch, status, text):
    monkeypatch.setattr(bucket_requests, "PATIENCE", 0.3)
    bucket.fail("GET", "", status=status, times=1000)
    with pytest.raises(OSError, match=text) as error:
        (folder / "a").read_bytes()
    assert error.value.errno == errno.EIO in disk.FAILED
    with pytest.raises(RunError, match=f"^--output={bucket.url}/x: .*{text}"):
        paths.path(f"{bucket.url}/x", "--output")


def test_a_bucket_that_does_not_exist(bucket):
    with pytest.raises(UserError, match=r"^--input=gs://nobody/x: there is no such bucket$"):
        paths.path("gs://nobody/x", "--input")


def test_one_process_at_a_time(bucket, folder, monkeypatch):
    monkeypatch.setattr(lease, "_EVERY", 0.1)
    monkeypatch.setattr(lease, "_LOOK", 0.01)
    monkeypatch.setattr(lease, "_is_gone", lambda owner: False)  # as on another machine
    with lock.claim(folder, "--workdir"):
        at_work = pytest.raises(UserError, match=r"--workdir=gs://.*: process \d+ on .* is at work")
        with at_work, lock.claim(folder, "--workdir"):
            pass
    assert bucket.names() == []
    # The lease of a process that was killed.
    (folder / ".lock").write_bytes(json.dumps({"process": 1, "host": "gone"}).encode())
    monkeypatch.setattr(lease, "_EXPIRES", 0.3)
    with lock.claim(folder, "--workdir"):
        assert json.loads((folder / ".lock").read_bytes())["host"] != "gone"
    assert bucket.names() == []


def test_an_owner_that_is_certainly_gone_is_not_waited_for(folder):
    gone = {**json.loads(lease._content()), "process": 2**22 + 1}
    (folder / ".lock").write_bytes(json.dumps(gone).encode())
    with lock.claim(folder, "--workdir"):
        pass


def test_two_at_once_get_the_claim_one_after_the_other(folder, monkeypatch):
    monkeypatch.setattr(lease, "_EVERY", 0.1)
    monkeypatch.setattr(lease, "_LOOK", 0.01)
    inside, most = [], []

    def work():
        with lock.claim(folder, "--workdir", wait=True):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_files_that_grow(bucket, folder):
    (folder / "log").write_bytes(b"1\n")
    growing = mirror.Mirror(folder, "log", every=1000)
    with (growing.local / "log").open("a", encoding="utf-8") as file:
        file.write("2\n")
    growing.publish()
    with (growing.local / "log").open("a", encoding="utf-8") as file:
        file.write("3\n")
    growing.publish()  # not due yet
    assert (folder / "log").read_bytes() == b"1\n2\n"
    growing.close()
    assert (folder / "log").read_bytes() == b"1\n2\n3\n" and not growing.local.exists()
    assert mirror.Mirror(pathlib.Path("x")).local == pathlib.Path("x")


def test_a_journal_goes_on_where_it_was_written_last(folder):
    journal = Journal(folder / "progress.jsonl")
    journal.start({"input": ["a", "a"]}, {"kind": "x"})
    journal.begin("a.jpg", [1, 2], "a")
    journal.add(None, [{"score": 1.0}])
    journal.end(None)
    journal.close()
    again = Journal(folder / "progress.jsonl")
    assert list(again.entries) == ["a.jpg"] and again.header["command"]
    assert list(again.images(again.entries["a.jpg"])) == [(None, [{"score": 1.0}])]


def test_drawings_get_their_places(bucket, folder):
    places = Places(folder)
    part = places.part("overlays", ".png")
    Image.new("RGB", (3, 2)).save(part)
    places.put(part, "overlays", places.stem("day 1/a.jpg"), ".png")
    assert bucket.names() == ["runs/a run/overlays/day 1/a.png"]
    places.clear("day 1/a")
    assert bucket.names() == []
    draw.save_png(folder / "pictures/b.png", np.zeros((2, 3, 3), np.uint8))
    with (folder / "pictures/b.png").open("rb") as file:
        assert Image.open(file).size == (3, 2)


def test_inputs_in_a_bucket(bucket):
    for name in ("in/a.jpg", "in/day 1/b.png", "in/day 1/._b.png", "in/day 2/c.mp4", "in/x.txt"):
        bucket.write(name, b"x")

    def found(pattern, output="out"):
        pairs = inputs(f"{bucket.url}/{pattern}", paths.path(f"{bucket.url}/{output}"))
        return [name for _, name in pairs]

    assert found("in") == ["a.jpg", "day 1/b.png", "day 2/c.mp4"]
    assert found("in/a.jpg") == ["a.jpg"]
    assert found("in/day*") == ["day 1/b.png", "day 2/c.mp4"]
    assert found("in/day*/*.png") == ["._b.png", "b.png"]
    assert found("in/**/*.mp4") == ["c.mp4"]
    bucket.write("in/overlays/a.jpg", b"x")
    assert found("in", "in") == ["a.jpg", "day 1/b.png", "day 2/c.mp4"]
    with pytest.raises(UserError, match="no image or video"):
        found("none")


def test_a_data_set_is_copied_once(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bucket.write("data/lsp/joints.mat", b"1")
    bucket.write("data/lsp/images/im1.jpg", b"22")
    options = LspSource.Options(manual_dir=f"{bucket.url}/data")

    def fetched():
        bucket.requests.clear()
        folder = pathlib.Path(local_options(options)["manual_dir"])
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}
        return files, sum("alt=media" in path for _, path in bucket.requests)

    before = {"lsp/joints.mat": b"1", "lsp/images/im1.jpg": b"22"}
    assert fetched() == (before, 2)
    assert fetched() == (before, 0)
    bucket.write("data/lsp/joints.mat", b"3")
    bucket.delete("data/lsp/images/im1.jpg")
    assert fetched() == ({"lsp/joints.mat": b"3"}, 1)
    missing = LspSource.Options(manual_dir=f"{bucket.url}/none")
    with pytest.raises(UserError, match=r"config.data.manual_dir=gs://bucket/none: .*nothing"):
        local_options(missing)
