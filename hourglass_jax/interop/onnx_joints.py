"""Decoding of heatmaps to joints in an ONNX graph."""

from hourglass_jax.interop.onnx_graph import Graph
from hourglass_jax.tasks.single_pose.task import SinglePose


def add(graph: Graph, heatmaps: str, task: SinglePose, side: int) -> dict[str, list[int]]:
    """Adds `heatmap.decode` by quarter steps, and `geometry.heatmap_to_crop`.

    Args:
      graph: graph to add to.
      heatmaps: heatmaps [batch, joints, side, side].
      task: task of the network.
      side: side of the heatmaps.

    Returns:
      The shapes of the graph's outputs, without their batch.
    """
    const, count = graph.constant, len(task.joints)
    flat = graph.reshape(heatmaps, -1, count, side * side)
    peak = graph.add("ArgMax", flat, axis=2, keepdims=1)
    score = graph.add("ReduceMax", flat, axes=[2], keepdims=1)
    zero = const(0.0)
    y, x = graph.divided(peak, side)
    axes = []
    for step, place in ((1, x), (side, y)):
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
        shift = graph.add("Mul", sign, graph.as_float(inside))
        shift = graph.add("Mul", shift, const(0.25))
        axes.append(graph.add("Add", graph.as_float(place), shift))
    position = graph.add("Concat", *axes, axis=2)
    position = graph.add("Add", position, const(0.5))
    position = graph.add("Mul", position, const(float(task.stride)))
    graph.add("Sub", position, const(0.5), output="joints")
    score = graph.add("Squeeze", score, const([2]))
    graph.add("Max", score, zero, output="scores")
    return {"joints": [count, 2], "scores": [count]}
