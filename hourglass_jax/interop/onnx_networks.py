"""The networks as ONNX graphs, written from their variables, module by module."""

import functools

import numpy as np

from hourglass_jax.interop.onnx_graph import Graph, Path
from hourglass_jax.nn.hourglass104 import Hourglass104
from hourglass_jax.nn.network import Normalisation
from hourglass_jax.nn.stacked_hourglass import StackedHourglass


def _images(graph: Graph, normalisation: Normalisation) -> str:
    x = graph.add("Transpose", "images", perm=[0, 3, 1, 2])
    for operation, values in (("Sub", normalisation.mean), ("Div", normalisation.std)):
        x = graph.add(operation, x, graph.constant(np.array(values, float).reshape(1, 3, 1, 1)))
    return x


def stacked_hourglass(graph: Graph, model: StackedHourglass, side: int) -> list[str]:
    """Adds `StackedHourglass`; returns every stack's outputs [batch, channels, side, side]."""
    x = _images(graph, model.normalisation)
    x = graph.norm(("stem", "bn"), graph.conv(("stem", "conv"), x, stride=2), relu=True)
    x = _pool(graph, _bottleneck(graph, ("stem", "residual1"), x))
    x = _bottleneck(graph, ("stem", "residual2"), x)
    x = _bottleneck(graph, ("stem", "residual3"), x)
    outputs = []
    for i in range(model.num_stacks):
        path = (f"stack{i}",)
        y = _newell(graph, (*path, "hourglass"), x, model.order, model.num_residuals)
        y = _bottlenecks(graph, (*path, "out"), y, model.num_residuals)
        y = graph.norm((*path, "bn"), graph.conv((*path, "conv"), y), relu=True)
        outputs.append(graph.conv((*path, "heatmaps"), y))
        if i < model.num_stacks - 1:
            x = graph.add("Add", x, graph.conv((*path, "merge_features"), y))
            x = graph.add("Add", x, graph.conv((*path, "merge_heatmaps"), outputs[-1]))
    return outputs


def _pool(graph: Graph, x: str) -> str:
    return graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def _bottleneck(graph: Graph, path: Path, x: str) -> str:
    skip = graph.conv((*path, "skip"), x) if graph.has((*path, "skip")) else x
    for i in (1, 2, 3):
        x = graph.norm((*path, f"bn{i}"), x, relu=True)
        x = graph.conv((*path, f"conv{i}"), x)
    return graph.add("Add", skip, x)


def _bottlenecks(graph: Graph, path: Path, x: str, count: int) -> str:
    for i in range(count):
        x = _bottleneck(graph, (*path, f"residual{i}"), x)
    return x


def _newell(graph: Graph, path: Path, x: str, order: int, count: int) -> str:
    up = _bottlenecks(graph, (*path, "up"), x, count)
    low = _bottlenecks(graph, (*path, "low1"), _pool(graph, x), count)
    if order > 1:
        low = _newell(graph, (*path, "low2"), low, order - 1, count)
    else:
        low = _bottlenecks(graph, (*path, "low2"), low, count)
    low = _bottlenecks(graph, (*path, "low3"), low, count)
    return graph.add("Add", up, graph.upsample(low))


def hourglass104(graph: Graph, model: Hourglass104, side: int) -> list[str]:
    """Adds `Hourglass104`; returns every stack's outputs [batch, channels, side, side]."""
    x = _conv_norm(graph, ("stem", "conv"), _images(graph, model.normalisation), stride=2)
    for i in range(1, model.stride.bit_length() - 1):
        x = _residual(graph, ("stem", f"residual{i}"), x, 2)
    outputs = []
    for i in range(model.num_stacks):
        path = (f"stack{i}",)
        y = _growing(graph, (*path, "hourglass"), x, model.blocks, model.squeeze)
        features = _conv_norm(graph, (*path, "features"), y)
        outputs.append(_heads(graph, path, features, model, side))
        if i < model.num_stacks - 1:
            y = _conv_norm(graph, (*path, "merge_features"), features, relu=False)
            x = graph.add("Add", y, _conv_norm(graph, (*path, "merge_input"), x, relu=False))
            x = _residual(graph, (*path, "merge"), graph.add("Relu", x), 1)
    return outputs


def _conv_norm(graph: Graph, path: Path, x: str, stride: int = 1, *, relu: bool = True) -> str:
    x = graph.conv((*path, "conv"), x, stride)
    return graph.norm((*path, "bn"), x, relu=relu)


def _residual(graph: Graph, path: Path, x: str, stride: int) -> str:
    y = _conv_norm(graph, (*path, "conv1"), x, stride)
    y = _conv_norm(graph, (*path, "conv2"), y, relu=False)
    if graph.has((*path, "skip")):
        x = _conv_norm(graph, (*path, "skip"), x, stride, relu=False)
    return graph.add("Relu", graph.add("Add", x, y))


def _fire(graph: Graph, path: Path, x: str, stride: int) -> str:
    squeezed = graph.variable((*path, "squeeze", "conv"), "kernel")
    half, inputs = squeezed.shape[:2]
    y = _conv_norm(graph, (*path, "squeeze"), x, relu=False)
    expanded = [
        graph.conv((*path, "expand1"), y, stride),
        graph.conv((*path, "expand3"), y, stride, groups=half),
    ]
    y = graph.norm((*path, "bn"), graph.add("Concat", *expanded, axis=1))
    if (inputs, stride) == (2 * half, 1):
        y = graph.add("Add", x, y)
    return graph.add("Relu", y)


def _blocks(graph: Graph, path: Path, x: str, squeeze: bool, stride: int = 1) -> str:
    module, i = _fire if squeeze else _residual, 0
    while graph.has((*path, f"block{i}")):
        x = module(graph, (*path, f"block{i}"), x, stride if i == 0 else 1)
        i += 1
    return x


def _growing(graph: Graph, path: Path, x: str, blocks: tuple[int, ...], squeeze: bool) -> str:
    add = functools.partial(_blocks, graph, squeeze=squeeze)
    up = add((*path, "up"), x)
    low = add((*path, "low1"), x, stride=2)
    if len(blocks) > 2:
        low = _growing(graph, (*path, "low2"), low, blocks[1:], squeeze)
    else:
        low = add((*path, "low2"), low)
    low = add((*path, "low3"), low)
    low = _doubled(graph, (*path, "upsample"), low) if squeeze else graph.upsample(low)
    return graph.add("Add", up, low)


def _doubled(graph: Graph, path: Path, x: str) -> str:
    """Adds `layers.ConvTransposed`, whose kernel ONNX has the other way round."""
    kernel = graph.variable(path, "kernel")[:, :, ::-1, ::-1].swapaxes(0, 1)
    size = kernel.shape[-1]
    return graph.add(
        "ConvTranspose", x, graph.kernel(kernel), graph.constant(graph.variable(path, "bias")),
        kernel_shape=[size] * 2, strides=[2, 2], pads=[size // 2 - 1] * 4,
    )  # fmt: skip


def _heads(graph: Graph, path: Path, features: str, model: Hourglass104, side: int) -> str:
    read = {"": features}
    for corner in sorted(set(model.corners.values())):
        read[corner] = _corner(graph, (*path, corner), features, corner, side)
    kernel, bias = (graph.variable((*path, "outputs"), leaf) for leaf in ("kernel", "bias"))
    outputs, first = [], 0
    for name, count in model.heads.items():
        hidden = graph.conv((*path, f"head_{name}"), read[model.corners.get(name, "")])
        hidden = graph.add("Relu", hidden)
        part = slice(first, first + count)
        parameters = graph.kernel(kernel[part]), graph.constant(bias[part])
        outputs.append(graph.add("Conv", hidden, *parameters, kernel_shape=[1, 1]))
        first += count
    return graph.add("Concat", *outputs, axis=1)


def _corner(graph: Graph, path: Path, x: str, corner: str, side: int) -> str:
    """Adds `CornerModule`."""
    pooled = []
    for axis, name in enumerate(("vertical", "horizontal")):
        y = _conv_norm(graph, (*path, name), x)
        # A running maximum: the maximum of windows that reach from a pixel to the border.
        shape, pads = [1, 1], [0, 0, 0, 0]
        shape[axis], pads[axis + 2 * (corner == "top_left")] = side, side - 1
        pooled.append(graph.add("MaxPool", y, kernel_shape=shape, pads=pads))
    y = _conv_norm(graph, (*path, "pooled"), graph.add("Add", *pooled), relu=False)
    y = graph.add("Add", y, _conv_norm(graph, (*path, "skip"), x, relu=False))
    return _conv_norm(graph, (*path, "out"), graph.add("Relu", y))
