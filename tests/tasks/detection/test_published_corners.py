"""CornerNet's operations against the results of its published program."""

import jax
import jax.numpy as jnp
import numpy as np
import published_suppression
import pytest
from published_results import load

from hourglass_jax.tasks.detection import boxes, corners, heatmaps, losses, suppression
from hourglass_jax.tasks.detection.corners import Corners
from hourglass_jax.tasks.detection.radius import gaussian_radius

RATIO = 128 / 511


def test_radius():
    arrays = load("gaussian_radius")
    height, width = arrays["sizes"].T
    for name, iou in (("fixed_3", 0.3), ("fixed_5", 0.5), ("fixed_7", 0.7)):
        np.testing.assert_allclose(gaussian_radius(height, width, iou), arrays[name], rtol=1e-12)
    found = gaussian_radius(height, width, "published")
    np.testing.assert_allclose(found, arrays["published_7"], rtol=1e-12)


def kept(annotated):
    """Boxes in cells with categories, clipped and dropped as the published program does."""
    clip = boxes.clipped(annotated[:, :4].astype(np.float64), 510, 510)
    rows = (clip[:, 2:] > clip[:, :2]).all(1)
    return clip[rows] * RATIO, annotated[rows, 4].astype(int)


@jax.jit
def draw(positions, categories, mask, radii):
    cells, offsets = heatmaps.split(positions, 128, 128)
    shape = (128, 128, 4)
    drawn = heatmaps.draw(cells[:, :, None], categories[..., None], mask[..., None], radii, shape)
    return cells, offsets, drawn


@pytest.mark.parametrize("iou", [0.3, 0.7])
def test_targets(iou):
    arrays = load("cornernet_targets")
    mask = arrays["mask"].astype(bool)
    cells, categories = np.zeros((*mask.shape, 4), np.float32), np.zeros(mask.shape, int)
    for image in range(2):
        cells[image, mask[image]], categories[image, mask[image]] = kept(arrays[f"boxes_{image}"])
    width, height = np.moveaxis(np.ceil(cells[..., 2:] - cells[..., :2]), -1, 0)
    radii = gaussian_radius(height, width, iou).astype(int)
    for corner, positions in (("tl", cells[..., :2]), ("br", cells[..., 2:])):
        at, offsets, drawn = map(np.asarray, draw(positions, categories, mask, radii))
        index = at[..., 1] * 128 + at[..., 0]
        np.testing.assert_array_equal(index[mask], arrays[f"{corner}_index"][mask])
        np.testing.assert_allclose(offsets[mask], arrays[f"{corner}_offset"][mask], atol=1e-5)
        expected = arrays[f"{corner}_heat_{10 * iou:.0f}"]
        np.testing.assert_allclose(drawn, expected, atol=2e-7)
        np.testing.assert_array_equal(drawn == 1, expected == 1)


def published_losses(predictions, arrays):
    """Returns the four losses, means over the stacks, and their weighted total."""
    mask = jnp.asarray(arrays["mask"]).astype(bool)
    focal, offset, tags, count = 0, 0, [], mask.sum()
    for corner in ("tl", "br"):
        logits, target = predictions[f"{corner}_heat"], jnp.asarray(arrays[f"{corner}_heat_target"])
        total = losses.focal(logits, target, clipped=True)
        focal += losses.mean_over(total, (target == 1).sum())
        index = jnp.asarray(arrays[f"{corner}_index"])
        cells = jnp.stack([index % logits.shape[3], index // logits.shape[3]], axis=-1)[:, None]
        tags.append(heatmaps.gather(predictions[f"{corner}_tag"], cells)[..., 0])
        found = heatmaps.gather(predictions[f"{corner}_offset"], cells)
        target = jnp.asarray(arrays[f"{corner}_offset_target"])
        total = losses.l1(found, target, mask, smooth=True)
        offset += losses.mean_over(total, count, published=True)
    pull, push = losses.pull_push(*tags, mask, published=True)
    terms = {"focal": focal, "pull": pull, "push": push, "offset": offset}
    terms = {name: term.mean() for name, term in terms.items()}
    weights = {"pull": corners.TAG_WEIGHT, "push": corners.TAG_WEIGHT}
    weighted = [weights.get(name, 1.0) * term for name, term in terms.items()]
    return sum(weighted), terms


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_losses_and_gradients(case):
    arrays = {
        name[2:]: array for name, array in load("cornernet_losses").items() if name[0] == case
    }
    predictions = {
        f"{corner}_{head}": jnp.asarray(arrays[f"{corner}_{head}"])
        for corner in ("tl", "br")
        for head in ("heat", "tag", "offset")
    }
    (total, terms), gradients = jax.jit(jax.value_and_grad(published_losses, has_aux=True))(
        predictions, arrays
    )
    for name, term in terms.items():
        # One object alone: 1 - 1 / 1.0001 in float32.
        rtol = 3e-4 if (case, name) == ("b", "push") else 2e-6
        np.testing.assert_allclose(term, arrays[name], rtol=rtol, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(total, arrays["total"], rtol=1e-5)
    for name, gradient in gradients.items():
        expected = arrays[f"gradient_{name}"]
        atol = 2e-6 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, atol=atol, err_msg=name)


def test_a_corner_belongs_to_one_object():
    """A pair scores s1 s2 exp(-d), times its ratio to the best pair of either of its corners."""
    logits = {"tl": {(1, 1): 2.0, (4, 1): 1.0}, "br": {(6, 9): 1.5, (9, 9): 0.5}}
    tags = {"tl": {(1, 1): 0.0, (4, 1): 0.3}, "br": {(6, 9): 0.1, (9, 9): 0.45}}
    maps = {}
    for corner in ("tl", "br"):
        heat, tag = np.full((12, 12), -9.0, np.float32), np.zeros((12, 12), np.float32)
        for (x, y), logit in logits[corner].items():
            heat[y, x], tag[y, x] = logit, tags[corner][x, y]
        maps[f"{corner}_heat"] = jnp.asarray(heat)[None, :, :, None]
        maps[f"{corner}_tag"] = jnp.asarray(tag)[None, :, :, None]
        maps[f"{corner}_offset"] = jnp.zeros((1, 12, 12, 2))
    found = corners.decode(maps, 2, 4, product=True)
    p = {
        (*first, *second): np.exp(-abs(tags["tl"][first] - tags["br"][second]))
        / (1 + np.exp(-logits["tl"][first]))
        / (1 + np.exp(-logits["br"][second]))
        for first in logits["tl"]
        for second in logits["br"]
    }
    expected = {
        pair: value
        * (value / max(p[pair[:2] + second] for second in logits["br"]))
        * (value / max(p[first + pair[2:]] for first in logits["tl"]))
        for pair, value in p.items()
    }
    scores = dict(zip(map(tuple, np.asarray(found["boxes"][0])), found["scores"][0], strict=True))
    assert scores.keys() == expected.keys() and found["valid"].all()
    for pair, score in expected.items():
        np.testing.assert_allclose(scores[pair], score, rtol=1e-5)


def test_the_weight_of_embeddings():
    targets = {
        "boxes": jnp.array([[[2.0, 3.0, 9.0, 8.0], [1.0, 1.0, 5.0, 6.0]]]),
        "categories": jnp.zeros((1, 2), int),
        "radii": jnp.ones((1, 2), int),
        "mask": jnp.ones((1, 2), bool),
        "background": jnp.ones((1, 16, 16), bool),
    }
    terms = {}
    for weight in (0.1, 1.0):
        one, rng = Corners(("a",), tag_weight=weight), np.random.default_rng(0)
        maps = {
            name: jnp.asarray(rng.normal(0, 0.1, (1, 1, 16, 16, len(head.channels))), jnp.float32)
            for name, head in one.heads.items()
        }
        terms[weight] = one.losses(maps, targets, one.totals(targets))
    for name, term in terms[0.1].items():
        factor = 10 if name in ("pull", "push") else 1
        np.testing.assert_allclose(terms[1.0][name], factor * term, rtol=1e-6, err_msg=name)
        assert (term > 0).all()


@pytest.mark.parametrize(
    ("name", "top_k", "pairs", "border"),
    [("k100", 100, 1000, True), ("k20", 20, 100, True), ("no_border", 100, 1000, False)],
)
def test_decoding(name, top_k, pairs, border):
    arrays = load("cornernet_decode")
    maps = {name: jnp.asarray(x) for name, x in arrays.items() if not name.startswith("boxes")}
    decode = jax.jit(corners.decode, static_argnames=("top_k", "pairs", "border"))
    found = decode(maps, top_k=top_k, pairs=pairs, border=border)
    rows = np.concatenate(
        [
            found["boxes"],
            found["scores"][..., None],
            found["corner_scores"],
            found["categories"][..., None],
        ],
        axis=-1,
    )
    for image in range(2):
        expected = arrays[f"boxes_{name}"][image]
        valid = expected[:, 4] >= 0
        np.testing.assert_array_equal(found["valid"][image], valid)
        np.testing.assert_allclose(rows[image][valid], expected[valid], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", suppression.METHODS)
def test_suppression(method):
    """Against the rows that the published program counts as kept."""
    arrays = load("cornernet_post")
    rows = arrays["nms_in"].astype(np.float64)
    found = suppression.suppress(
        rows[:, :4], rows[:, 4], np.zeros(len(rows)), method=method, border=1
    )
    expected = arrays[f"nms_{method}"][: int(arrays[f"nms_{method}_kept"])]
    assert len(found.rows) == len(expected)
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-4)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-6)


@pytest.mark.parametrize("name", [*suppression.METHODS, "merge"])
def test_the_loop_with_faults_is_the_published_one(name):
    arrays = load("cornernet_post")
    method, votes = ("gaussian", True) if name == "merge" else (name, False)
    left, count = published_suppression.loop(arrays["nms_in"], method, votes=votes)
    assert count == int(arrays[f"nms_{name}_kept"])
    np.testing.assert_allclose(left, arrays[f"nms_{name}"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "method", "votes"),
    [
        ("single_scale", "gaussian", False),
        ("single_scale_linear", "linear", False),
        ("single_scale_hard_nms", "hard", False),
        ("multi_scale", "gaussian", False),
        ("multi_scale_merge", "gaussian", True),
    ],
)
def test_pooled_views(name, method, votes):
    """With its faults, the loop gives the published boxes; without them, it gives ours."""
    arrays = load("cornernet_post")
    multiple = name.startswith("multi")
    detections, scales = (
        (arrays["dets_5"], arrays["scales_5"]) if multiple else (arrays["dets_1"], [1.0])
    )
    rows = published_suppression.image_rows(detections, scales, arrays["image_size"])
    left = published_suppression.by_category(rows, method, votes=votes)
    assert len(left) == len(arrays[name])
    np.testing.assert_allclose(ordered(left), ordered(arrays[name]), atol=2e-3)

    expected = published_suppression.by_category(rows, method, votes=votes, faults=False)
    found = suppression.suppress(
        rows[:, :4],
        rows[:, 4],
        rows[:, 7],
        method=method,
        votes=rows[:, 5:7] if votes else None,
        border=1,
    )
    assert 0 <= len(expected) - len(found.rows) <= 1  # of equal scores, the loop keeps both
    ours = np.c_[found.boxes, found.scores, rows[found.rows, 7]]
    np.testing.assert_allclose(
        np.sort(ours[:, 4]), np.sort(expected[:, 4])[-len(ours) :], atol=1e-9
    )
    for row in ours:
        assert np.abs(expected - row).max(1).min() < 1e-6


def ordered(rows):
    return rows[np.lexsort(np.round(rows.T, 3))]
