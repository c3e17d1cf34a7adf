"""CenterNet's operations against the results of its published program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published_results import load

from hourglass_jax.data.skeleton import COCO
from hourglass_jax.image import geometry
from hourglass_jax.tasks.detection import boxes, centres, flip, heatmaps, losses, suppression
from hourglass_jax.tasks.detection.radius import gaussian_radius

# The image of centernet_targets.npz is 84 x 60 px; canvases of 84 px and 128 px become 32 cells.
FIXED = geometry.compose(
    np.array([[32 / 84, 0, 16], [0, 32 / 84, 16]]), np.array([[1.0, 0, -42], [0, 1, -30]])
)
KEPT = geometry.compose(
    np.array([[0.25, 0, 16], [0, 0.25, 16]]), np.array([[1.0, 0, -42], [0, 1, -30]])
)
SIDE = 32


def targets(arrays, affine):
    """Boxes in cells as the published program has them, their radii, and which are not empty."""
    corners = boxes.from_sizes(arrays["boxes"].astype(np.float64)).reshape(-1, 2)
    cells = np.clip(geometry.apply(affine, corners).reshape(-1, 4), 0, SIDE - 1)
    width, height = np.ceil(cells[:, 2:] - cells[:, :2]).T
    there = (cells[:, 2:] > cells[:, :2]).all(1)
    radii = np.where(there, gaussian_radius(height, width, "published"), 0).astype(int)
    return jnp.asarray(cells, jnp.float32)[None], jnp.asarray(radii)[None], jnp.asarray(there)[None]


@functools.partial(jax.jit, static_argnums=4)
def draw(positions, channels, mask, radii, count):
    cells, offsets = heatmaps.split(positions, SIDE, SIDE)
    drawn = heatmaps.draw(cells, channels, mask, radii, (SIDE, SIDE, count))
    return cells, offsets, drawn[0]


@pytest.mark.parametrize(("name", "affine"), [("ctdet", FIXED), ("keep", KEPT)])
def test_targets_of_boxes(name, affine):
    arrays = load("centernet_targets")
    cells, radii, there = targets(arrays, affine)
    middle = (cells[..., :2] + cells[..., 2:]) / 2
    at, offsets, drawn = draw(
        middle[:, :, None],
        jnp.asarray(arrays["classes"])[None, :, None],
        there[..., None],
        radii,
        3,
    )
    np.testing.assert_allclose(drawn, arrays[f"{name}_hm"], atol=2e-7)
    rows = np.flatnonzero(there[0])
    index = at[0, rows, 0, 1] * SIDE + at[0, rows, 0, 0]
    np.testing.assert_array_equal(index, arrays[f"{name}_ind"][rows])
    if name == "ctdet":
        np.testing.assert_array_equal(
            there[0], arrays["ctdet_reg_mask"][: there.shape[1]].astype(bool)
        )
        np.testing.assert_allclose(offsets[0, rows, 0], arrays["ctdet_reg"][rows], atol=1e-5)
        sizes = boxes.to_sizes(np.asarray(cells[0]))[rows, 2:]
        np.testing.assert_allclose(sizes, arrays["ctdet_wh"][rows], atol=1e-5)


def test_targets_of_people():
    arrays = load("centernet_targets")
    cells, radii, there = targets(arrays, FIXED)
    middle = (cells[..., :2] + cells[..., 2:]) / 2
    nothing = jnp.zeros((*there.shape, 1), int)
    at, _, drawn = draw(middle[:, :, None], nothing, there[..., None], radii, 1)
    np.testing.assert_allclose(drawn, arrays["pose_hm"], atol=2e-7)

    points = arrays["keypoints"].astype(np.float64)
    joints = jnp.asarray(geometry.apply(FIXED, points[..., :2]), jnp.float32)[None]
    inside = ((joints >= 0) & (joints < SIDE)).all(-1)
    labelled = jnp.asarray(points[..., 2] > 0)[None] & inside & there[..., None]
    channels = jnp.broadcast_to(jnp.arange(17)[None, None], labelled.shape)
    at_joints, offsets, drawn = draw(joints, channels, labelled, radii, 17)
    np.testing.assert_allclose(drawn, arrays["pose_hm_hp"], atol=2e-7)

    objects = there.shape[1]
    expected = arrays["pose_hps_mask"][:objects, ::2].astype(bool)
    np.testing.assert_array_equal(labelled[0], expected)
    ends = np.asarray(joints - at)[0]
    np.testing.assert_allclose(
        ends[expected], arrays["pose_hps"][:objects].reshape(-1, 17, 2)[expected], atol=1e-4
    )
    rows = np.asarray(labelled[0]).ravel()
    mask = arrays["pose_hp_mask"].astype(bool)
    np.testing.assert_array_equal(rows, mask[: len(rows)])
    index = np.asarray(at_joints[..., 1] * SIDE + at_joints[..., 0])[0].ravel()
    np.testing.assert_array_equal(index[rows], arrays["pose_hp_ind"][mask])
    np.testing.assert_allclose(
        np.asarray(offsets)[0].reshape(-1, 2)[rows], arrays["pose_hp_offset"][mask], atol=1e-4
    )
    # The published program trains sizes and offsets of people with a labelled joint alone.
    mask = there[0] & (points[..., 2] > 0).any(1)
    np.testing.assert_array_equal(mask, arrays["pose_reg_mask"][:objects].astype(bool))


def published_losses(predictions, arrays):
    """Returns the losses by their published names, means over the stacks, and their total."""
    width = predictions["hm"].shape[3]

    def focal(name):
        target = jnp.asarray(arrays[f"{name}_target"])
        total = losses.focal(predictions[name], target, clipped=True)
        return losses.mean_over(total, (target == 1).sum()).mean()

    def l1(name, index, mask):
        mask = jnp.asarray(arrays[mask]).astype(bool)
        index = jnp.asarray(arrays[index])
        cells = jnp.stack([index % width, index // width], axis=-1)[:, None]
        target = jnp.asarray(arrays[f"{name}_target"])
        total = losses.l1(heatmaps.gather(predictions[name], cells), target, mask)
        count = mask.sum() * (1 if mask.ndim == 3 else 2)
        return losses.mean_over(total, count, published=True).mean()

    terms = {
        "hm_loss": focal("hm"),
        "wh_loss": l1("wh", "ind", "reg_mask"),
        "off_loss": l1("reg", "ind", "reg_mask"),
    }
    if "hps" in predictions:
        terms["hp_loss"] = l1("hps", "ind", "hps_mask")
        terms["hm_hp_loss"] = focal("hm_hp")
        terms["hp_offset_loss"] = l1("hp_offset", "hp_ind", "hp_mask")
    weights = {"wh_loss": centres.WEIGHTS["wh"]}
    return sum(weights.get(name, 1.0) * term for name, term in terms.items()), terms


@pytest.mark.parametrize("case", ["ctdet", "pose", "none"])
def test_losses_and_gradients(case):
    arrays = {
        name.removeprefix(f"{case}_"): array
        for name, array in load("centernet_losses").items()
        if name.startswith(f"{case}_")
    }
    heads = ("hm", "wh", "reg") + ("hps", "hm_hp", "hp_offset") * (case == "pose")
    predictions = {name: jnp.asarray(arrays[name]) for name in heads}
    (total, terms), gradients = jax.jit(jax.value_and_grad(published_losses, has_aux=True))(
        predictions, arrays
    )
    for name, term in terms.items():
        np.testing.assert_allclose(term, arrays[name], rtol=2e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(total, arrays["total"], rtol=2e-6)
    for name, gradient in gradients.items():
        expected = arrays[f"gradient_{name}"]
        atol = 2e-6 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, atol=atol, err_msg=name)


decode = jax.jit(centres.decode, static_argnums=(1,))


def maps_of(arrays, *names):
    return {name: jnp.asarray(arrays[name]) for name in names}


def rows_of(found):
    """Rows as the published programs have them: box, score, joints if there are any, category."""
    joints = [x.reshape(*x.shape[:2], -1) for x in [found.get("joints")] if x is not None]
    parts = [found["boxes"], found["scores"][..., None], *joints, found["categories"][..., None]]
    return np.concatenate(parts, axis=-1)


def assert_same_rows(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_decoding_boxes():
    arrays = load("centernet_ctdet_decode")
    assert_same_rows(rows_of(decode(maps_of(arrays, "hm", "wh", "reg"), 100)), arrays["boxes"])
    found = rows_of(decode(maps_of(arrays, "hm", "wh"), 100))
    assert_same_rows(found, arrays["boxes_no_reg"])


@functools.partial(jax.jit, static_argnums=(1, 2))
def merged_and_decoded(maps, flip_order, top_k):
    """Takes the second image as the mirror image of the first."""
    plain, mirrored = ({name: x[i : i + 1] for name, x in maps.items()} for i in range(2))
    both = [(plain, False), (mirrored, True)]
    return centres.decode(flip.merge(both, np.array(flip_order), published=True), top_k)


def test_flip_test_of_boxes():
    arrays = load("centernet_ctdet_decode")
    found = merged_and_decoded(maps_of(arrays, "hm", "wh", "reg"), (), 100)
    assert_same_rows(rows_of(found), arrays["boxes_flip"])


@pytest.mark.parametrize(
    ("name", "canvas", "size"),
    [("keep", (768, 512), (192, 128)), ("fixed", (640, 640), (128, 128))],
)
def test_boxes_in_the_image(name, canvas, size):
    """A pure shift from a canvas of 768 x 512 px, or the scale of a square as wide as the image."""
    arrays = load("centernet_ctdet_decode")
    found = rows_of(decode(maps_of(arrays, "hm", "wh", "reg"), 100))
    height, width = arrays["image_size"]
    sides = np.array([width, height])
    middle = sides // 2 if name == "keep" else sides / 2
    scale = canvas[0] / size[0]
    expected = arrays[f"image_boxes_{name}"]
    for image in range(2):
        rows = found[image]
        rows[:, :4] = (rows[:, :4] - np.tile(size, 2) / 2) * scale + np.tile(middle, 2)
        wanted = expected[expected[:, 0] == image, 1:]
        order = np.lexsort((-rows[:, 4], rows[:, 5]))
        np.testing.assert_allclose(rows[order], wanted, rtol=1e-4, atol=2e-2)


HEADS = ("hm", "wh", "reg", "hps", "hm_hp", "hp_offset")


def test_decoding_people():
    arrays = load("centernet_pose_decode")
    assert_same_rows(rows_of(decode(maps_of(arrays, *HEADS), 30)), arrays["people"])
    found = rows_of(decode(maps_of(arrays, *HEADS[:4]), 30))
    assert_same_rows(found, arrays["people_no_hm_hp"])


def test_flip_test_of_people():
    arrays = load("centernet_pose_decode")
    found = merged_and_decoded(maps_of(arrays, *HEADS), tuple(COCO.flip_order.tolist()), 30)
    assert_same_rows(rows_of(found), arrays["people_flip"])


def test_people_in_the_image():
    """From a canvas of 768 x 512 px around an image of 640 x 427 px."""
    arrays = load("centernet_pose_decode")
    found = rows_of(decode(maps_of(arrays, *HEADS), 30))[..., :39]
    points = np.concatenate([found[..., :4], found[..., 5:]], axis=-1).reshape(2, 30, -1, 2)
    points = (points - (96, 64)) * 4 + (320, 213)
    expected = arrays["image_people_keep"]
    np.testing.assert_allclose(found[..., 4], expected[..., 4], rtol=1e-5)
    expected = np.delete(expected, 4, axis=-1).reshape(2, 30, -1, 2)
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_suppression_carries_joints_along():
    arrays = load("centernet_pose_decode")
    rows = arrays["nms_in"].astype(np.float64)
    found = suppression.suppress(rows[:, :4], rows[:, 4], np.zeros(len(rows)), border=1)
    expected = arrays["nms_out"][: int(arrays["nms_kept"])]
    np.testing.assert_allclose(
        np.c_[found.boxes, found.scores, rows[found.rows, 5:]], expected, atol=1e-4
    )
