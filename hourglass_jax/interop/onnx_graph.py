"""The stacked hourglass as an ONNX graph, written from its variables, module by module.

Between the first and the last transposition arrays are [batch, channels, height, width], as ONNX
expects them.
"""

import numpy as np

from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.nn.kernels.batch_norm import EPSILON
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.tasks.base import Task

# Supported by runtimes of 2022 and later.
OPSET, IR_VERSION = 17, 8


def serialize(trained: Trained, outputs: str) -> bytes:
    """Returns the content of an ONNX file; raises ImportError if the package is not installed.

    Args:
      trained: network to export.
      outputs: "maps" or "joints"; see `export`.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(trained.variables)
    model = trained.model
    side, stacks, channels = trained.input_size, model.num_stacks, model.num_joints
    small = side // model.stride
    maps = _network(graph, model)
    if outputs == "maps":
        graph.add("Concat", *(_stacked(graph, x) for x in maps), axis=1, output="maps")
        shapes = {"maps": ["batch", stacks, small, small, channels]}
    else:
        _joints(graph, maps[-1], side=small, stride=model.stride, count=channels)
        shapes = {"joints": ["batch", channels, 2], "scores": ["batch", channels]}

    def described(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    file = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "stacked_hourglass",
            [described("images", ["batch", side, side, 3])],
            [described(name, shape) for name, shape in shapes.items()],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hourglass_jax",
    )
    helper.set_model_props(file, _properties(trained.task))
    onnx.checker.check_model(file, full_check=True)
    return file.SerializeToString()


def _properties(task: Task) -> dict[str, str]:
    return {"task": task.name, "joints": ",".join(task.joints)}


class _Graph:
    """A graph to add nodes and constants to. Methods take names of values and return a new one."""

    def __init__(self, variables: dict):
        self.variables, self.nodes, self.initializers = variables, [], []

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        """Adds a node with one output."""
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value, name: str | None = None) -> str:
        """Adds a constant array."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def variable(self, path: tuple[str, ...], leaf: str, collection: str = "params") -> str:
        """Adds a variable of the network, kernels as [out, in, height, width]."""
        tree = self.variables[collection]
        for part in path:
            tree = tree[part]
        value = np.asarray(tree[leaf], np.float32)
        value = value.transpose(3, 2, 0, 1) if leaf == "kernel" else value
        return self.constant(value, "/".join((*path, leaf)))

    def has(self, path: tuple[str, ...]) -> bool:
        """Returns whether the network has a module of this path."""
        tree = self.variables["params"]
        for part in path:
            if part not in tree:
                return False
            tree = tree[part]
        return True

    def conv(self, path: tuple[str, ...], x: str, stride: int = 1) -> str:
        kernel = self.variable(path, "kernel")
        size = self.initializers[-1].dims[-1]
        bias = self.variable(path, "bias")
        return self.add(
            "Conv", x, kernel, bias,
            kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4,
        )  # fmt: skip

    def norm_relu(self, path: tuple[str, ...], x: str) -> str:
        scale, bias = self.variable(path, "scale"), self.variable(path, "bias")
        mean, var = (self.variable(path, leaf, "batch_stats") for leaf in ("mean", "var"))
        x = self.add("BatchNormalization", x, scale, bias, mean, var, epsilon=EPSILON)
        return self.add("Relu", x)

    def pool(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def upsample(self, x: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.add(
            "Resize", x, "", scales,
            mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
        )  # fmt: skip


def _network(graph: _Graph, model: StackedHourglass) -> list[str]:
    """Adds `StackedHourglass`; returns every stack's heatmaps [batch, joints, height, width]."""
    x = graph.add("Transpose", "images", perm=[0, 3, 1, 2])
    for operation, values in (("Sub", model.normalisation.mean), ("Div", model.normalisation.std)):
        x = graph.add(
            operation, x, graph.constant(np.array(values, np.float32).reshape(1, 3, 1, 1))
        )
    x = graph.norm_relu(("stem", "bn"), graph.conv(("stem", "conv"), x, stride=2))
    x = graph.pool(_residual(graph, ("stem", "residual1"), x))
    x = _residual(graph, ("stem", "residual2"), x)
    x = _residual(graph, ("stem", "residual3"), x)
    predictions = []
    for i in range(model.num_stacks):
        path = (f"stack{i}",)
        y = _hourglass(graph, (*path, "hourglass"), x, model.order, model.num_residuals)
        y = _residuals(graph, (*path, "out"), y, model.num_residuals)
        y = graph.norm_relu((*path, "bn"), graph.conv((*path, "conv"), y))
        heatmaps = graph.conv((*path, "heatmaps"), y)
        predictions.append(heatmaps)
        if i < model.num_stacks - 1:
            x = graph.add("Add", x, graph.conv((*path, "merge_features"), y))
            x = graph.add("Add", x, graph.conv((*path, "merge_heatmaps"), heatmaps))
    return predictions


def _residual(graph: _Graph, path: tuple[str, ...], x: str) -> str:
    skip = graph.conv((*path, "skip"), x) if graph.has((*path, "skip")) else x
    for i in (1, 2, 3):
        x = graph.norm_relu((*path, f"bn{i}"), x)
        x = graph.conv((*path, f"conv{i}"), x)
    return graph.add("Add", skip, x)


def _residuals(graph: _Graph, path: tuple[str, ...], x: str, count: int) -> str:
    for i in range(count):
        x = _residual(graph, (*path, f"residual{i}"), x)
    return x


def _hourglass(graph: _Graph, path: tuple[str, ...], x: str, order: int, count: int) -> str:
    up = _residuals(graph, (*path, "up"), x, count)
    low = _residuals(graph, (*path, "low1"), graph.pool(x), count)
    if order > 1:
        low = _hourglass(graph, (*path, "low2"), low, order - 1, count)
    else:
        low = _residuals(graph, (*path, "low2"), low, count)
    low = _residuals(graph, (*path, "low3"), low, count)
    return graph.add("Add", up, graph.upsample(low))


def _stacked(graph: _Graph, heatmaps: str) -> str:
    x = graph.add("Transpose", heatmaps, perm=[0, 2, 3, 1])
    return graph.add("Unsqueeze", x, graph.constant(np.array([1])))


def _joints(graph: _Graph, heatmaps: str, *, side: int, stride: float, count: int) -> None:
    """Adds `heatmap.decode` by quarter steps, and `geometry.heatmap_to_crop`."""

    def const(value, kind: type[np.generic] = np.int64) -> str:
        return graph.constant(np.array(value, kind))

    flat = graph.add("Reshape", heatmaps, const([-1, count, side * side]))
    peak = graph.add("ArgMax", flat, axis=2, keepdims=1)
    score = graph.add("ReduceMax", flat, axes=[2], keepdims=1)
    zero = const(0.0, np.float32)
    places = {
        1: graph.add("Mod", peak, const(side)),
        side: graph.add("Div", peak, const(side)),
    }
    axes = []
    for step, place in places.items():
        values = []
        for offset in (const(-step), const(step)):
            index = graph.add("Add", peak, offset)
            index = graph.add("Clip", index, const(0), const(side * side - 1))
            values.append(graph.add("GatherElements", flat, index, axis=2))
        before, after = values
        sign = graph.add("Sign", graph.add("Sub", after, before))
        inside = graph.add(
            "And",
            graph.add("Greater", place, const(0)),
            graph.add("Less", place, const(side - 1)),
        )
        inside = graph.add("And", inside, graph.add("Greater", score, zero))
        shift = graph.add("Mul", sign, graph.add("Cast", inside, to=1))
        shift = graph.add("Mul", shift, const(0.25, np.float32))
        axes.append(graph.add("Add", graph.add("Cast", place, to=1), shift))
    position = graph.add("Concat", *axes, axis=2)
    position = graph.add("Add", position, const(0.5, np.float32))
    position = graph.add("Mul", position, const(stride, np.float32))
    graph.add("Sub", position, const(0.5, np.float32), output="joints")
    score = graph.add("Squeeze", score, const([2]))
    graph.add("Max", score, zero, output="scores")
