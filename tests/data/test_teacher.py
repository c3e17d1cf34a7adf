"""A teacher's joints mend labels by a rule, case by case, and real labels in these numbers."""

import dataclasses

import numpy as np
import pytest

from hourglass_jax.data.base import Annotation
from hourglass_jax.data.lsp import source as lsp
from hourglass_jax.data.skeleton import COCO, LSP
from hourglass_jax.data.teacher import Teacher
from hourglass_jax.errors import UserError

pytestmark = pytest.mark.core

SIDE, MARGIN = 100.0, 1.25
LIMBS = 12


@pytest.fixture
def person():
    """Somebody with LSP's joints in a box of 100 px, all labelled, two of them hidden."""
    joints = np.random.default_rng(0).uniform(0, SIDE, (14, 2))
    joints[:2] = (0, 0), (SIDE, SIDE)
    visible = np.arange(14) > 1
    labelled = np.ones(14, bool)
    center = np.full(2, SIDE / 2)
    return Annotation(
        "lspet/im00007.jpg", center, SIDE * MARGIN, None, 0, joints, labelled, visible
    )


def write(folder, found, scores=0.9, **arrays):
    found = np.asarray(found, np.float32)[None]
    scores = np.broadcast_to(scores, found.shape[:2]).astype(np.float16)
    content = {"joints": found, "scores": scores, "ids": np.array([7], np.int32)}
    np.savez(folder / "teacher.npz", **{**content, **arrays})
    return Teacher.read(folder / "teacher.npz")


def known_by(person, tmp_path, shift=0.0, scores=0.9, **fields):
    """The person as mended by a teacher who finds the limbs' joints, moved by `shift` px."""
    teacher = write(tmp_path, person.joints[:LIMBS] + np.reshape(shift, (-1, 1)), scores)
    return teacher.corrected(dataclasses.replace(person, **fields), LSP, MARGIN)


def at(*joints, value, otherwise):
    numbers = np.full(LIMBS, otherwise, float)
    numbers[list(joints)] = value
    return numbers


def test_labels_that_agree_stay(person, tmp_path):
    made = known_by(person, tmp_path, shift=6.0)
    np.testing.assert_array_equal(made.joints, person.joints)
    assert made.labelled.all() and (made.visible == person.visible).all()
    np.testing.assert_allclose([*made.center, made.size], [*person.center, person.size])


def test_a_label_far_from_a_sure_joint_is_moved_there(person, tmp_path):
    made = known_by(person, tmp_path, shift=at(3, value=20.0, otherwise=0.0))
    expected = person.joints.copy()
    expected[3] += 20
    np.testing.assert_allclose(made.joints, expected, atol=1e-4)
    assert made.labelled.all()


@pytest.mark.parametrize(
    ("score", "shift", "stays"), [(0.4, 30, False), (0.4, 12, True), (0.2, 30, True)]
)
def test_a_label_far_from_a_likely_joint_is_dropped(person, tmp_path, score, shift, stays):
    scores = at(3, value=score, otherwise=0.9)
    made = known_by(person, tmp_path, at(3, value=shift, otherwise=0.0), scores)
    assert made.labelled[3] == stays and made.labelled.sum() == 13 + stays
    np.testing.assert_array_equal(made.joints[made.labelled], person.joints[made.labelled])


def test_what_is_missing_is_filled_in(person, tmp_path):
    scores = at(4, value=0.45, otherwise=0.9)
    labelled = ~np.isin(np.arange(14), (2, 4, 13))
    made = known_by(person, tmp_path, 1.0, scores, labelled=labelled, visible=labelled)
    assert list(np.flatnonzero(~made.labelled)) == [4, 13]
    np.testing.assert_allclose(made.joints[2], person.joints[2] + 1, atol=1e-4)


def test_left_and_right_are_exchanged_as_a_whole(person, tmp_path):
    mirrored = person.joints[LSP.flip_order]
    # Also those of whom the teacher knows little.
    scores = at(3, 6, value=0.2, otherwise=0.9)
    teacher = write(tmp_path, person.joints[:LIMBS], scores)
    made = teacher.corrected(dataclasses.replace(person, joints=mirrored), LSP, MARGIN)
    np.testing.assert_array_equal(made.joints, person.joints)
    assert made.labelled.all()


def test_people_whom_few_sure_joints_agree_with_are_left_out(person, tmp_path):
    made = known_by(person, tmp_path, shift=at(0, 1, value=0.0, otherwise=40.0))
    assert made.joints is None and made.labelled is None


def test_where_less_than_half_agrees_what_is_sure_stays(person, tmp_path):
    shift = at(0, 1, 2, 3, value=0.0, otherwise=40.0)
    made = known_by(person, tmp_path, shift, at(11, value=0.1, otherwise=0.9))
    assert list(np.flatnonzero(~made.labelled)) == [11, 12, 13]
    np.testing.assert_allclose(made.joints[4:11], person.joints[4:11] + 40, atol=1e-4)


def test_where_few_joints_are_sure_labels_stay(person, tmp_path):
    sure = at(*range(5), value=0.9, otherwise=0.1)
    labelled = np.arange(14) != 4
    made = known_by(person, tmp_path, 40.0, sure, labelled=labelled, visible=labelled)
    np.testing.assert_array_equal(made.joints, person.joints)
    np.testing.assert_array_equal(made.labelled, labelled)


def test_a_spread_says_that_a_joint_is_not_sure(person, tmp_path):
    spread = at(3, value=0.2, otherwise=0.01)[None]
    found = person.joints[:LIMBS] + at(3, value=15.0, otherwise=0.0)[:, None]
    made = write(tmp_path, found, spread=spread).corrected(person, LSP, MARGIN)
    np.testing.assert_array_equal(made.joints, person.joints)


def test_people_who_only_have_a_box_get_sure_joints(person, tmp_path):
    box = dataclasses.replace(
        person, id="31/7", joints=None, labelled=None, visible=None, box=(0, 0, 100, 100)
    )
    for count in (3, 4):
        scores = at(*range(count), value=0.9, otherwise=0.4)
        made = write(tmp_path, person.joints[:LIMBS], scores).corrected(box, COCO, MARGIN)
        if count == 3:
            assert made.joints is None
    names = {COCO.joints[i] for i in np.flatnonzero(made.labelled)}
    assert names == set(LSP.joints[:4]) and (made.visible == made.labelled).all()
    np.testing.assert_allclose(made.joints[COCO.index("left_hip")], person.joints[3], atol=1e-4)
    assert made.size == box.size and made.box == box.box


def test_the_box_goes_around_the_mended_joints(person, tmp_path):
    made = known_by(person, tmp_path, shift=at(0, value=30.0, otherwise=0.0))
    assert made.size < person.size
    boxed = known_by(person, tmp_path, at(0, value=30.0, otherwise=0.0), box=(0, 0, 100, 100))
    assert boxed.size == person.size


def test_others_are_left_as_they_are(person, tmp_path):
    for fields in ({"id": "lspet/im00008.jpg"}, {"id": "nobody"}, {"crowd": True}):
        other = dataclasses.replace(person, **fields)
        assert write(tmp_path, person.joints[:LIMBS] + 40).corrected(other, LSP, MARGIN) is other


def test_joints_may_have_names(person, tmp_path):
    order = [COCO.index(name) for name in ("nose", "left_hip", "right_hip", "left_knee")]
    names = np.array(["nose", "left_hip", "right_hip", "left_knee"])
    box = dataclasses.replace(person, joints=None, labelled=None, visible=None, box=(0, 0, 9, 9))
    made = write(tmp_path, person.joints[:4], names=names).corrected(box, COCO, MARGIN)
    np.testing.assert_allclose(made.joints[order], person.joints[:4], atol=1e-4)
    assert made.labelled.sum() == 4


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"joints": np.zeros((1, 12, 3))}, r"joints has the shape \(1, 12, 3\), scores \(1, 12\)"),
        ({"ids": np.arange(2)}, "there are 2 ids and 12 names"),
        ({"names": np.array(["nose"])}, "12.*1 ids and 1 names"),
    ],
)
def test_files_of_another_form_are_named(person, tmp_path, arrays, words):
    with pytest.raises(UserError, match=words):
        write(tmp_path, person.joints[:LIMBS], **arrays)


def test_files_that_are_none_are_named(tmp_path):
    for content in (None, b"PK\3\4 no archive", b"text"):
        path = tmp_path / "teacher.npz"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as a teacher's file"):
            Teacher.read(path)
    np.savez(tmp_path / "teacher.npz", joints=np.zeros((1, 2, 2)))
    with pytest.raises(UserError, match=r"it must be an .npz with joints, scores and ids"):
        Teacher.read(tmp_path / "teacher.npz")


@pytest.mark.parametrize(
    ("folder", "left_out", "kept", "moved", "dropped", "filled"),
    [
        ("lsp", 2, 13753, 135, 84, 0),
        ("lspet", 112, 71747, 2315, 1086, 390),
        ("lspet_partial", 11, 29181, 623, 249, 1294),
    ],
)
def test_real_labels(shared_data, folder, left_out, kept, moved, dropped, filled):
    """As docs/notebook.md says; labels that are exchanged are kept."""
    teacher = Teacher.read(shared_data / folder / "teacher.npz")
    people = [image.annotations[0] for image in lsp._read(shared_data / folder)]
    people = people[:1000] if folder == "lsp" else people
    pairs = [(a, teacher.corrected(a, LSP, lsp.BOX_MARGIN)) for a in people]
    rest = [(a, made) for a, made in pairs if made.joints is not None]
    assert len(pairs) - len(rest) == left_out
    counts = np.zeros(4, int)
    for a, made in rest:
        flip = LSP.flip_order
        alike = [
            (a.labelled[order] & made.labelled & (a.joints[order] == made.joints).all(-1), order)
            for order in (np.arange(14), flip)
        ]
        same, order = max(alike, key=lambda one: one[0].sum())
        before = a.labelled[order]
        counts += [
            same.sum(),
            (before & made.labelled & ~same).sum(),
            (before & ~made.labelled).sum(),
            (~before & made.labelled).sum(),
        ]
    assert counts.tolist() == [kept, moved, dropped, filled]
