"""Exported networks for everybody's pose give the peaks that people are grouped from."""

import jax
import numpy as np
import onnx
import pytest
import small_networks
from small_networks import EYES, SIDE

from hourglass_jax import Detector
from hourglass_jax.interop import export
from hourglass_jax.tasks.grouped_pose import grouping
from hourglass_jax.tasks.grouped_pose.options import HIGHER

IMAGES = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".stablehlo", {}), (".onnx", {"variant": HIGHER, "unused": 3})],
)
def test_peaks(suffix, options, tmp_path):
    trained = small_networks.grouped(**options)
    path = tmp_path / f"people{suffix}"
    assert export.export(trained, "people", path) < 1e-4
    expected = [np.asarray(x) for x in jax.jit(export.network(trained, "people"))(IMAGES)]
    assert [x.shape for x in expected] == [(3, 2, 5, 2), (3, 2, 5), (3, 2, 5, 1)]
    _, run = export.FORMATS[suffix]
    for count in (1, 3):
        for array, values in zip(run(path, IMAGES[:count]), expected, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, values[:count], rtol=0, atol=2e-4)
    if suffix == ".onnx":
        model = onnx.load(path)
        assert [output.name for output in model.graph.output] == ["joints", "scores", "tags"]
        properties = {p.key: p.value for p in model.metadata_props}
        assert properties == {"task": "grouped_pose", "joints": "left_eye,right_eye"}


def test_they_are_grouped_to_the_people_of_a_detector():
    trained = small_networks.grouped(variant=HIGHER)
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    detector = Detector(
        trained.model, trained.variables, trained.task, input_size=SIDE, flip_test=False
    )
    expected = detector(image)
    images = image[None].astype(np.float32) / 255
    outputs = jax.jit(export.network(trained, "people"))(images)
    joints, scores, tags = (np.asarray(output)[0] for output in outputs)
    order = grouping.order_of(EYES.joints)
    members = grouping.group(scores, tags, order, limit=5, variant=HIGHER)
    chosen = np.arange(2)[None], members
    found, values = members >= 0, np.where(members >= 0, scores[chosen], 0)
    order = np.argsort(-values.mean(1), kind="stable")[:5]
    assert len(order) > 2 and found.all(1).any()
    np.testing.assert_allclose(expected.scores, values.mean(1)[order], atol=1e-5)
    shown = found[order]  # the detector has filled in the others
    np.testing.assert_allclose(
        expected.joints[shown], joints[chosen][order][shown], rtol=0, atol=1e-3
    )
