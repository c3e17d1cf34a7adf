"""One call for several images, boxes by corners, and estimators in threads and processes."""

import concurrent.futures
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_estimator import TASK, estimator, network, picture  # noqa: F401

from hourglass_jax import PoseEstimator
from hourglass_jax.errors import UserError
from hourglass_jax.inference import boxes, several

# Pytest's fixtures are arguments of the same names.
# ruff: noqa: F811


def test_lists_arrays_and_iterators(estimator, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    other = picture[::-1].copy()
    box = [10, 8, 40, 64]
    expected = [estimator(picture), estimator(other, box)]
    given = [str(tmp_path / "a.png"), Image.fromarray(other)]
    found = estimator(given, [None, box])
    assert isinstance(found, list)
    lazily = estimator((image for image in given), iter([None, box]))
    for many in (found, list(lazily), estimator(tuple(given), [None, box])):
        for poses, alone in zip(many, expected, strict=True):
            assert poses.image is None and alone.image is not None
            np.testing.assert_allclose(poses.joints, alone.joints, atol=1e-3)
    assert len(estimator(np.stack([picture, other]))) == 2 and estimator([]) == []
    with pytest.raises(UserError, match=r"gone\.png cannot be read"):
        estimator(["gone.png"])
    waiting = estimator(iter(["gone.png"]))  # nothing is read yet
    with pytest.raises(UserError, match=r"gone\.png cannot be read"):
        next(waiting)
    with pytest.raises(UserError, match="boxes must have an entry for each image"):
        estimator(given, [None])
    with pytest.raises(UserError, match="more entries than there are images"):
        estimator(given, [None] * 3)


def test_no_more_images_are_read_than_are_predicted_together(tmp_path):
    read = []
    images = (read.append(i) or np.zeros((2, 2, 3), np.uint8) for i in range(10))
    found = several.each(lambda images, boxes: images, images, None, 4)
    next(found)
    assert read == [0, 1, 2, 3]
    with open(ROOT / "README.md", "rb") as file:
        assert not several.are_several(file)


def test_boxes_by_corners(estimator, picture):
    sides, corners = [[10, 8, 40, 64], [-20, 0, 50, 60]], [[10, 8, 50, 72], [-20, 0, 30, 60]]
    expected = estimator(picture, sides)
    found = estimator(picture, corners, box_format="xyxy")
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.joints, expected.joints)
    assert estimator(picture, box_format="xyxy").joints.shape == (1, 3, 2)
    assert len(estimator([picture], [corners], box_format="xyxy")[0].boxes) == 2
    with pytest.raises(UserError, match=r"\[\[50.0, 8.0, 10.0, 72.0\]\] as xyxy: x2 must be above"):
        estimator(picture, [50, 8, 10, 72], box_format="xyxy")
    with pytest.raises(UserError, match=r"each box must be \(x1, y1, x2, y2\), but boxes=\[1, 2\]"):
        boxes.from_corners("xyxy")([1, 2])
    with pytest.raises(UserError, match="box_format='cxcywh' must be xywh or xyxy"):
        estimator(picture, box_format="cxcywh")


def test_how_alike_the_stacks_are(network, estimator, picture):
    compared = PoseEstimator(*network, TASK, input_size=32, batch_size=4, compare_stacks=True)
    boxes = [[10, 8, 40, 64], [30, 20, 40, 30]]
    poses = compared(picture, boxes)
    np.testing.assert_allclose(poses.joints, estimator(picture, boxes).joints, atol=1e-3)
    assert poses.agreement.shape == (2,) and estimator(picture).agreement is None
    assert (poses.agreement >= 0).all() and (poses.agreement < 1).all()
    assert [one.agreement for one in poses.instances] == poses.agreement.tolist()
    # The first stack alone is the one that is compared.
    first = PoseEstimator(*network, TASK, input_size=32, batch_size=4, num_stacks=1)
    from hourglass_jax.inference.similarity import oks

    expected = np.diagonal(oks(first(picture, boxes), poses))
    np.testing.assert_allclose(poses.agreement, expected, atol=1e-3)
    single = PoseEstimator(
        *network, TASK, input_size=32, batch_size=4, num_stacks=1, compare_stacks=True
    )
    np.testing.assert_array_equal(single(picture).agreement, [1])


def test_threads_share_an_estimator(estimator, picture):
    images = [np.roll(picture, 5 * i, axis=1) for i in range(8)]
    expected = [estimator(image).joints for image in images]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda image: estimator(image).joints, images))
    np.testing.assert_array_equal(found, expected)


def test_an_estimator_can_be_pickled(network, picture):
    before = PoseEstimator(*network, TASK, input_size=32, decode="refined", num_stacks=1)
    after = pickle.loads(pickle.dumps(before))
    np.testing.assert_array_equal(after(picture).joints, before(picture).joints)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_forked_process_says_what_to_do(estimator, picture):
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        for attempt in (lambda: estimator(picture), lambda: pickle.loads(pickle.dumps(estimator))):
            try:
                attempt()
            except UserError as error:
                os.write(writes, f"{error}\n".encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    sentences = os.read(reads, 10_000).decode().splitlines()
    assert len(sentences) == 2 and set(sentences) == {sentences[0]}
    assert "was forked from one that uses JAX" in sentences[0]
    assert 'multiprocessing.get_context("spawn")' in sentences[0]


PROGRAM = """
import multiprocessing
import numpy as np
from hourglass_jax import PoseEstimator

if __name__ == "__main__":
    estimator = PoseEstimator.from_checkpoint("lsp-small")
    image = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (there,) = pool.map(estimator, [image])
    assert np.allclose(there.joints, estimator(image).joints, atol=1e-3)
"""


@pytest.mark.slow
def test_processes_take_an_estimator(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "program.py")]
    subprocess.run(command, check=True, env=environment, timeout=600)
