"""Decoding of heatmaps and tags to peaks in an ONNX graph; grouping them is left to the host."""

from hourglass_jax.interop.onnx_graph import Graph
from hourglass_jax.tasks.grouped_pose.task import GroupedPose


def add(graph: Graph, maps: str, task: GroupedPose, side: int) -> dict[str, list[int]]:
    """Adds `GroupedPose.export`, that is `heatmaps.peaks` by quarter steps in px of the input.

    Args:
      graph: graph to add to.
      maps: outputs [batch, channels, side, side] of the network.
      task: task of the network.
      side: side of the outputs.

    Returns:
      The shapes of the graph's outputs, without their batch.
    """
    const, joints, window = graph.constant, len(task.joints), task.options.window
    peaks = min(task.options.max_people, side**2)
    sizes = [len(head.channels) for head in task.heads.values()]
    parts = graph.add_several("Split", maps, const(sizes), outputs=len(sizes), axis=1)
    heatmaps, tags = graph.add("Min", parts[0], const(1.0)), parts[1]
    highest = graph.add("MaxPool", heatmaps, kernel_shape=[window] * 2, pads=[window // 2] * 4)
    maxima = graph.add("Equal", heatmaps, highest)
    maxima = graph.add("Where", maxima, heatmaps, const(0.0))
    heatmaps, maxima, tags = (
        graph.reshape(x, 0, joints, side**2) for x in (heatmaps, maxima, tags)
    )
    values, index = graph.add_several("TopK", maxima, const([peaks]), outputs=2, axis=2)
    y, x = graph.divided(index, side)
    axes = []
    for stride, place in ((1, x), (side, y)):
        neighbours = []
        for step in (-1, 1):
            there = graph.add(
                "Clip", graph.add("Add", place, const(step)), *map(const, (0, side - 1))
            )
            apart = graph.add("Mul", graph.add("Sub", there, place), const(stride))
            there = graph.add("Add", index, apart)
            neighbours.append(graph.add("GatherElements", heatmaps, there, axis=2))
        before, after = neighbours
        higher = graph.as_float(graph.add("Greater", after, before))
        place = graph.add("Add", graph.as_float(place), graph.add("Mul", higher, const(0.5)))
        axes.append(graph.add("Unsqueeze", place, const([-1])))
    position = graph.add("Concat", *axes, axis=-1)
    position = graph.add("Mul", position, const(float(task.stride)))
    # The middle of a pixel of the heatmap, less the quarter step toward lower neighbours.
    graph.add("Add", position, const((task.stride - 1) / 2 - task.stride / 4), output="joints")
    graph.add("Max", values, const(0.0), output="scores")
    tags = graph.add("GatherElements", tags, index, axis=2)
    graph.add("Unsqueeze", tags, const([-1]), output="tags")
    return {"joints": [joints, peaks, 2], "scores": [joints, peaks], "tags": [joints, peaks, 1]}
