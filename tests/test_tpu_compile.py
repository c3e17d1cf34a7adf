"""What the benchmark of the TPU step counts; compiling for one takes libtpu, which is not here."""

import pytest
from conftest import load_benchmark

from hourglass_jax import PRESETS, Hourglass104, StackedHourglass


@pytest.fixture(scope="module")
def benchmark():
    return load_benchmark("tpu_compile")


@pytest.mark.parametrize(("stacks", "billions"), [(1, 5.15), (2, 8.33)])
def test_the_least_operations_are_those_of_the_convolutions(benchmark, stacks, billions):
    """The published networks' multiplications and additions for an image, forward."""
    model = StackedHourglass(**PRESETS[f"paper_{stacks}"])
    flops, moved = benchmark.least(model, 256)
    # Forward and two gradients, 2 FLOPs each; the image itself has none.
    image = 128 * 128 * 7 * 7 * 3 * 64
    assert flops == pytest.approx(6e9 * billions - 2 * image, rel=2e-3)
    # Float32: the first convolution alone reads an image and writes 64 channels, twice.
    assert moved > 2 * 4 * (256 * 256 * 3 + 128 * 128 * 64)


@pytest.mark.parametrize(
    ("preset", "side", "billions"), [("centernet_104", 512, 293), ("cornernet_squeeze", 511, 66)]
)
def test_the_least_operations_of_detectors(benchmark, preset, side, billions):
    """With grouped, transposed and joint convolutions; multiplications as published networks do."""
    heads = {"hm": 80, "wh": 2, "reg": 2}
    corners = {}
    if preset.startswith("cornernet"):
        sizes = {"heat": 80, "tag": 1, "offset": 2}
        heads = {f"{c}_{name}": n for c in ("tl", "br") for name, n in sizes.items()}
        corners = {name: "top_left" if name[0] == "t" else "bottom_right" for name in heads}
    model = Hourglass104(**PRESETS[preset], heads=heads, corners=corners)
    flops, _ = benchmark.least(model, side)
    image = 256 * 256 * 7 * 7 * 3 * 128
    assert flops == pytest.approx(6e9 * billions - 2 * image, rel=8e-3)


def test_collectives_are_counted_with_what_they_move(benchmark):
    text = """
  %all-reduce.1 = (f32[3,4]{1,0}, bf16[8]{0:T(256)}) all-reduce(%a, %b), to_apply=%add
  %all-reduce-start = f32[10]{0} all-reduce-start(%c), to_apply=%add
  %all-reduce-done = f32[10]{0} all-reduce-done(%all-reduce-start)
  %gather = f32[] all-gather(%d)
  %add = f32[100]{0} add(%e, %f)
"""
    assert benchmark.collectives(text) == (3, 4 * 12 + 2 * 8 + 4 * 10 + 4)
