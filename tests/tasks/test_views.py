"""Several views of one input, merged by the task or pooled once they are decoded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.data.skeleton import LSP
from hourglass_jax.image import geometry
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Instance
from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.tasks.single_pose.task import SinglePose

pytestmark = pytest.mark.core

BATCH, STACKS, SIZE = 2, 3, (32, 48)
PLAIN = np.eye(2, 3)


def inputs():
    return jnp.asarray(np.random.default_rng(0).random((BATCH, *SIZE, 3)), jnp.float32)


def predict(x):
    """Three stacks of two channels, 4 times smaller, which a mirrored input does not mirror."""
    small = x[:, ::4, ::4, :2]
    return jnp.stack([(s + 1) * small for s in range(STACKS)], axis=1)


class Brightest:
    """The brightest pixel of each view, all of which are kept."""

    stride = 4

    def merge(self, views_of):
        return None

    def decode(self, outputs):
        flat = outputs[..., 0].reshape(len(outputs), -1)
        y, x = jnp.divmod(flat.argmax(-1), outputs.shape[2])
        return {"peak": jnp.stack([x, y], -1).astype(outputs.dtype), "score": flat.max(-1)}

    def finish(self, views_of):
        return [
            Instance(
                score=float(found["score"]),
                joints=geometry.apply(
                    to_frame, geometry.heatmap_to_crop(found["peak"][None].astype(float), 4)
                ),
            )
            for found, to_frame in views_of
        ]


class Mean(Brightest):
    """The same of the mean of all views."""

    def merge(self, views_of):
        (batch,) = {len(outputs) for outputs, _ in views_of}
        assert batch == BATCH * STACKS
        plain = [jnp.flip(x, axis=2) if geometry.mirrors(a) else x for x, a in views_of]
        return sum(plain) / len(plain)


def test_plain_views_are_the_networks_outputs():
    ((outputs, affine),) = views.plain(predict, inputs())
    np.testing.assert_array_equal(outputs, predict(inputs()))
    np.testing.assert_array_equal(affine, PLAIN)
    scale = geometry.scaling(1.5, SIZE)
    assert views.plain(predict, inputs(), scale=scale)[0][1] is scale


def test_the_flip_test_asks_the_network_once():
    calls = []

    def counted(x):
        calls.append(x.shape)
        return predict(x)

    (plain, first), (mirrored, second) = views.flip_test(counted, inputs())
    assert calls == [(2 * BATCH, *SIZE, 3)]
    np.testing.assert_array_equal(plain, predict(inputs()))
    np.testing.assert_array_equal(mirrored, predict(inputs()[:, :, ::-1]))
    np.testing.assert_array_equal(first, PLAIN)
    np.testing.assert_array_equal(second, geometry.mirror(SIZE[1]))


@pytest.mark.parametrize("scale", [PLAIN, geometry.scaling(0.75, SIZE)])
def test_maps_are_those_of_the_views(scale):
    for flip, look in ((False, views.plain), (True, views.flip_test)):
        found = [affine for _, affine in look(predict, inputs(), scale=scale)]
        np.testing.assert_array_equal(views.maps_of(SIZE, flip, scale), found)
    # To the scaled input first, which is then mirrored.
    _, mirrored = views.maps_of(SIZE, True, scale)
    points = np.random.default_rng(0).uniform(0, 30, (4, 2))
    expected = geometry.apply(scale, points)
    expected[:, 0] = SIZE[1] - 1 - expected[:, 0]
    np.testing.assert_allclose(geometry.apply(mirrored, points), expected)


def test_one_plain_view_needs_no_merging():
    class Refuses(Brightest):
        def merge(self, views_of):
            raise AssertionError("there is one view")

    looked = views.plain(predict, inputs())
    assert views.merge(Refuses(), looked) == looked


def test_a_single_scaled_view_is_mapped_back():
    task, scale = Brightest(), geometry.scaling(0.75, SIZE)
    looked = views.plain(predict, inputs(), scale=scale)
    candidates = jax.device_get(views.decode(task, views.merge(task, looked)))
    first = jax.tree.map(lambda x: x[0, 0], candidates)
    ((plain,), (scaled,)) = (views.finish(task, first, [v], PLAIN) for v in (PLAIN, scale))
    expected = geometry.apply(geometry.invert(scale), plain.joints)
    np.testing.assert_allclose(scaled.joints, expected)
    assert abs(scaled.joints - plain.joints).max() > 1


def test_merged_views_of_every_stack():
    ((merged, affine),) = views.merge(Mean(), views.flip_test(predict, inputs()))
    expected = (predict(inputs()) + jnp.flip(predict(inputs()[:, :, ::-1]), axis=3)) / 2
    np.testing.assert_allclose(merged, expected)
    np.testing.assert_array_equal(affine, PLAIN)
    assert merged.shape == (BATCH, STACKS, 8, 12, 2)


def found_by(task, looked, flip, to_frame=PLAIN):
    """Instances of every record after every stack, as evaluation makes them."""
    candidates = jax.device_get(views.decode(task, views.merge(task, looked)))
    maps = views.maps_of(SIZE, flip)
    return [
        [
            views.finish(
                task, jax.tree.map(lambda x, i=i, s=s: x[i, s], candidates), maps, to_frame
            )
            for s in range(STACKS)
        ]
        for i in range(BATCH)
    ]


def test_candidates_keep_the_axes_of_batch_and_stacks():
    task = Brightest()
    (found,) = views.decode(task, views.plain(predict, inputs()))
    assert found["peak"].shape == (BATCH, STACKS, 2) and found["score"].shape == (BATCH, STACKS)
    for i in range(BATCH):
        for s in range(STACKS):
            alone = task.decode(predict(inputs())[i : i + 1, s])
            jax.tree.map(
                lambda a, b, i=i, s=s: np.testing.assert_array_equal(a[i, s], b[0]), found, alone
            )


def test_pooled_views_come_together_in_the_frame_that_is_wanted():
    """Each view's candidates are brought from its own input to the frame, none is lost."""
    to_frame = geometry.crop_map(np.array([20.0, 15.0]), 40.0, 100, rotation=0.2)
    found = found_by(Brightest(), views.flip_test(predict, inputs()), True, to_frame)
    x = np.asarray(inputs())
    for i in range(BATCH):
        for s in range(STACKS):
            assert len(found[i][s]) == 2
            for one, image, flip in zip(
                found[i][s], (x[i], x[i, :, ::-1]), (False, True), strict=True
            ):
                small = image[::4, ::4, 0]
                row, column = np.unravel_index(small.argmax(), small.shape)
                assert one.score == pytest.approx((s + 1) * small.max())
                place = geometry.heatmap_to_crop(np.array([[column, row]], float), 4)
                place[:, 0] = SIZE[1] - 1 - place[:, 0] if flip else place[:, 0]
                np.testing.assert_allclose(one.joints, geometry.apply(to_frame, place))


@pytest.mark.parametrize(("task", "count"), [(Brightest(), 2), (Mean(), 1)])
def test_a_view_is_finished_alone_where_it_was_merged(task, count):
    found = found_by(task, views.flip_test(predict, inputs()), True)
    assert {len(instances) for record in found for instances in record} == {count}
    single = found_by(task, views.plain(predict, inputs()), False)
    assert {len(instances) for record in single for instances in record} == {1}


def test_the_flip_test_of_a_network_that_mirrors_changes_nothing():
    """A network that gives a mirrored input the mirrored answer is unanimous, at every scale."""
    task = SinglePose(LSP)
    joints = np.random.default_rng(1).uniform(16, 48, (14, 2))
    maps, weights = heatmap.encode(geometry.crop_to_heatmap(joints, 4), np.ones(14, bool), 16, 1.0)
    assert weights.all()
    plain = jnp.asarray(maps)[None, None]
    mirrored = heatmap.flip_heatmaps(plain, LSP.flip_order)

    def unanimous(x):
        return jnp.concatenate([plain, mirrored])

    looked = views.flip_test(unanimous, jnp.zeros((1, 64, 64, 3)))
    ((merged, _),) = views.merge(task, looked)
    np.testing.assert_allclose(merged, plain, atol=1e-7)


def test_scales_are_merged_about_the_middle():
    """People shown at 0.75 of their size are read where they are, to a fifth of a pixel."""
    task = SinglePose(LSP, decoder="refined")
    joints = np.random.default_rng(1).uniform(16, 48, (14, 2))
    looked = []
    for scale in (0.75, 1.0):
        affine = geometry.scaling(scale, (64, 64))
        for view in (affine, geometry.compose(geometry.mirror(64), affine)):
            targets = task.targets(
                {"joints_record": joints, "labelled": np.ones(14, bool)}, view, (64, 64)
            )
            looked.append((jnp.asarray(targets["heatmaps"])[None, None], view))
    ((merged, _),) = views.merge(task, looked)
    (candidates,) = jax.device_get(views.decode(task, [(merged, PLAIN)]))
    (person,) = views.finish(task, [jax.tree.map(lambda x: x[0, 0], candidates)], [PLAIN], PLAIN)
    np.testing.assert_allclose(person.joints, joints, atol=0.2)
