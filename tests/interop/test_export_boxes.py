"""Exported detectors give the boxes of `Detection.export`, and those of `Detector`."""

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
import small_networks
from small_networks import SIDE

from hourglass_jax import Detector
from hourglass_jax.errors import UserError
from hourglass_jax.interop import export
from hourglass_jax.tasks.detection.options import CENTRES, CORNERS, JOINTS

IMAGES = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)
NAMES = ["boxes", "scores", "categories"]


def compare(found, expected, rows):
    """Compares the outputs in some rows: others are no boxes, and may be anything."""
    for array, values in zip(found, expected, strict=True):
        assert array.shape == values.shape and array.dtype == values.dtype
        np.testing.assert_allclose(array[rows], np.asarray(values)[rows], rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "kind, network, options",
    [
        (CENTRES, "stacked_hourglass", {}),
        pytest.param(JOINTS, "hourglass104", {}, marks=pytest.mark.slow),
        pytest.param(JOINTS, "hourglass104", {"published": True}, marks=pytest.mark.slow),
        pytest.param(
            JOINTS,
            "hourglass104",
            {"categories": ("person",), "ids": (7,)},
            marks=pytest.mark.slow,
        ),
        pytest.param(CORNERS, "hourglass104", {}, marks=pytest.mark.slow),
    ],
)
def test_boxes(kind, network, options, tmp_path):
    trained = small_networks.detector(kind, network, **options)
    expected = [np.asarray(x) for x in jax.jit(export.network(trained, "boxes"))(IMAGES)]
    rows = expected[1] > 0
    assert rows.sum() > 10
    for suffix in (".onnx", ".stablehlo"):
        path = tmp_path / f"boxes{suffix}"
        assert export.export(trained, "boxes", path) < 1e-3
        _, run = export.FORMATS[suffix]
        for count in (1, 3):
            compare(run(path, IMAGES[:count]), [x[:count] for x in expected], rows[:count])
    model = onnx.load(tmp_path / "boxes.onnx")
    joints = ["joints", "joint_scores"] if kind == JOINTS else []
    assert [output.name for output in model.graph.output] == [*NAMES, *joints]
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["task"] == "detection" and properties["categories"] == ",".join(
        trained.task.categories
    )
    assert properties["category_ids"] == ",".join(map(str, trained.task.category_ids))
    assert properties["joints"] == ("left_eye,right_eye" if joints else "")


def test_the_boxes_of_a_detector(tmp_path):
    """Of an image of the network's size, without a flip test; centres need no suppression."""
    trained = small_networks.detector(CENTRES)
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    detector = Detector(
        trained.model, trained.variables, trained.task, input_size=SIDE, flip_test=False
    )
    expected = detector(image)
    path = tmp_path / "boxes.onnx"
    export.write_onnx(trained, "boxes", path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(NAMES, {"images": image[None].astype(np.float32) / 255})
    boxes, scores, categories = (output[0] for output in outputs)
    corners = np.clip(np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), 0, SIDE)
    low, high = corners.min(0), corners.max(0)  # this network's sizes may be negative
    shown = (scores > 0) & ((high - low) > 0).all(1)
    np.testing.assert_allclose(scores[shown], expected.scores, atol=1e-4)
    np.testing.assert_allclose(low[shown], expected.boxes[:, :2], atol=2e-3)
    np.testing.assert_allclose((high - low)[shown], expected.boxes[:, 2:], atol=2e-3)
    assert categories[shown].tolist() == expected.categories.tolist()


@pytest.mark.parametrize("side", [SIDE, SIDE - 1])
def test_maps_of_fire_modules_and_transposed_convolutions(side, tmp_path):
    """The network of CornerNet-Squeeze, and an input whose side is no multiple of the stride."""
    trained = small_networks.detector(
        CORNERS, squeeze=True, stride=8, widths=(8, 12), blocks=(1, 2)
    )
    trained = trained.__class__(**{**vars(trained), "input_size": side})
    assert export.export(trained, "maps", tmp_path / "maps.onnx") < 1e-4


def test_the_command(tmp_path, caplog):
    caplog.set_level("INFO", "hourglass_jax")
    loaded = small_networks.detector(CENTRES, num_stacks=1, widths=(8, 12), blocks=(1, 1))
    workdir = small_networks.save(tmp_path / "run", loaded)
    path = tmp_path / "boxes.onnx"
    export.main([f"--checkpoint={workdir}", f"--output={path}", "--outputs=boxes"])
    assert f"{path}: images [B, {SIDE}, {SIDE}, 3] to boxes" in caplog.text
    with pytest.raises(UserError, match="--outputs=joints: this network gives maps or boxes"):
        export.main([f"--checkpoint={workdir}", f"--output={path}", "--outputs=joints"])
