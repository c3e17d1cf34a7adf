"""Decoding of a detector's maps to boxes in an ONNX graph, as `Detection.export` does it.

`centres.decode` and `corners.decode` are written here with ONNX's operators; see there for the
steps. Shapes in comments: B images, N boxes, K joints, P peaks of a joint.
"""

from hourglass_jax.interop.onnx_graph import Graph
from hourglass_jax.tasks.detection import corners, joints
from hourglass_jax.tasks.detection.options import CORNERS
from hourglass_jax.tasks.detection.task import Detection


def add(graph: Graph, maps: str, task: Detection, side: int) -> dict[str, list[int]]:
    """Adds the decoding of maps [batch, channels, side, side] to boxes.

    Returns:
      The shapes of the graph's outputs, without their batch.
    """
    decoder = _Decoder(graph, maps, task, side)
    if task.options.kind == CORNERS:
        return decoder.pair_corners()
    return decoder.read_centres()


class _Decoder:
    def __init__(self, graph: Graph, maps: str, task: Detection, side: int):
        self.graph, self.add, self.task, self.side = graph, graph.add, task, side
        sizes = [len(head.channels) for head in task.heads.values()]
        lengths = graph.constant(sizes)
        parts = graph.add_several("Split", maps, lengths, outputs=len(sizes), axis=1)
        self.maps = dict(zip(task.heads, parts, strict=True))

    def _count(self, channels: int = 1) -> int:
        return min(self.task.options.top_k, self.side**2 * channels)

    def _best(self, x: str, count: int) -> tuple[str, str]:
        """Returns the highest numbers of each row, in decreasing order, and their indices."""
        length = self.graph.constant([count])
        values, index = self.graph.add_several("TopK", x, length, outputs=2, axis=1)
        return values, index

    def _peaks(self, logits: str, channels: int) -> tuple[str, str, str]:
        """Adds `heatmaps.peaks`; returns scores, cells (as indices) and channels, [B, N]."""
        graph = self.graph
        highest = graph.add("MaxPool", logits, kernel_shape=[3, 3], pads=[1] * 4)
        same = graph.add("Equal", logits, highest)
        kept = graph.add("Where", same, logits, graph.constant(-float("inf")))
        flat = graph.reshape(graph.add("Transpose", kept, perm=[0, 2, 3, 1]), 0, -1)
        values, index = self._best(flat, self._count(channels))
        return graph.add("Sigmoid", values), *graph.divided(index, channels)

    def _gather(self, values: str, rows: str) -> str:
        """Returns rows [B, N] of values [B, rows, ...]."""
        index = self.graph.add("Unsqueeze", rows, self.graph.constant([-1]))
        return self.graph.add("GatherND", values, index, batch_dims=1)

    def _at(self, head: str, cells: str) -> str:
        """Adds `heatmaps.gather`; returns [B, N, channels]."""
        flat = self.graph.add("Transpose", self.maps[head], perm=[0, 2, 3, 1])
        count = len(self.task.heads[head].channels)
        return self._gather(self.graph.reshape(flat, 0, self.side**2, count), cells)

    def _places(self, cells: str) -> str:
        """Returns x and y of cells, [..., 2]."""
        y, x = self.graph.divided(cells, self.side)
        last = self.graph.constant([-1])
        pair = [self.graph.add("Unsqueeze", value, last) for value in (x, y)]
        return self.graph.as_float(self.graph.add("Concat", *pair, axis=-1))

    def _write_boxes(self, low: str, high: str, scores: str, categories: str, count: int) -> dict:
        """Adds the outputs that every detector has."""
        from onnx import TensorProto

        graph, stride = self.graph, self.graph.constant(float(self.task.stride))
        low, high = self.add("Mul", low, stride), self.add("Mul", high, stride)
        graph.add("Concat", low, self.add("Sub", high, low), axis=-1, output="boxes")
        graph.add("Max", scores, graph.constant(0.0), output="scores")
        graph.add("Cast", categories, to=TensorProto.INT32, output="categories")
        return {"boxes": [count, 4], "scores": [count], "categories": [count]}

    def read_centres(self) -> dict[str, list[int]]:
        """Adds `centres.decode`."""
        graph, names = self.graph, self.task.categories
        count = self._count(len(names))
        scores, cells, categories = self._peaks(self.maps["hm"], len(names))
        corner = self._places(cells)
        centre = self.add("Add", corner, self._at("reg", cells))
        half = self.add("Mul", self._at("wh", cells), graph.constant(0.5))
        low, high = self.add("Sub", centre, half), self.add("Add", centre, half)
        if not self.task.joints:
            return self._write_boxes(low, high, scores, categories, count)
        several = len(self.task.joints)
        offsets = graph.reshape(self._at("hps", cells), 0, 0, several, 2)
        ends = self.add("Add", graph.reshape(corner, 0, 0, 1, 2), offsets)
        place = self._snapped if self.task.options.published else self._blended
        places, joint_scores = place(ends, low, high, count)
        if not self.task.options.published and len(names) == 1:
            mean = graph.add("ReduceMean", joint_scores, axes=[-1], keepdims=0)
            scores, order = self._best(graph.add("Sqrt", self.add("Mul", scores, mean)), count)
            low, high, categories, places, joint_scores = (
                self._gather(x, order) for x in (low, high, categories, places, joint_scores)
            )
        places = self.add("Mul", places, graph.constant(float(self.task.stride)))
        graph.add("Sub", places, graph.constant(0.5), output="joints")
        graph.add("Identity", joint_scores, output="joint_scores")
        shapes = self._write_boxes(low, high, scores, categories, count)
        return shapes | {"joints": [count, several, 2], "joint_scores": [count, several]}

    def _joint_peaks(self) -> tuple[str, str]:
        """Adds `joints._peaks`; returns positions [B, 1, K, P, 2] and scores [B, 1, K, P]."""
        graph, several, peaks = self.graph, len(self.task.joints), self._count()
        alone = graph.reshape(self.maps["hm_hp"], -1, 1, self.side, self.side)
        scores, cells, _ = self._peaks(alone, 1)
        cells = graph.reshape(cells, -1, several * peaks)
        places = self.add("Add", self._places(cells), self._at("hp_offset", cells))
        places = graph.reshape(places, -1, 1, several, peaks, 2)
        return places, graph.reshape(scores, -1, 1, several, peaks)

    def _of_peak(self, values: str, peak: str, count: int) -> str:
        """Returns the values [B, 1, K, P] of the peaks [B, N, K, 1]."""
        values = self.graph.add("Expand", values, self.graph.constant([1, count, 1, 1]))
        return self.graph.add("GatherElements", values, peak, axis=-1)

    def _place_of_peak(self, places: str, peak: str, count: int) -> str:
        """Returns the positions [B, 1, K, P, 2] of the peaks [B, N, K, 1], [B, N, K, 2]."""
        graph, shape = self.graph, (0, 1, len(self.task.joints), self._count())
        axes = [graph.reshape(graph.slice(places, -1, i, i + 1), *shape) for i in (0, 1)]
        axes = [self._of_peak(value, peak, count) for value in axes]
        return graph.add("Concat", *axes, axis=-1)

    def _blended(self, ends: str, low: str, high: str, count: int) -> tuple[str, str]:
        """Adds `joints.blended`."""
        graph, const, several = self.graph, self.graph.constant, len(self.task.joints)
        places, scores = self._joint_peaks()
        apart = self.add("Sub", places, graph.reshape(ends, 0, 0, several, 1, 2))
        squares = graph.add("ReduceSumSquare", apart, axes=[-1], keepdims=0)  # [B, N, K, P]
        side = graph.add("ReduceMax", self.add("Sub", high, low), axes=[-1], keepdims=1)
        spread = self.add("Mul", graph.reshape(side, 0, 0, 1, 1), const(joints.SPREAD))
        width = self.add("Mul", self.add("Mul", spread, spread), const(-2.0))
        width = self.add("Sub", width, const(joints.SMALL))
        weights = self.add("Mul", scores, graph.add("Exp", self.add("Div", squares, width)))
        best = graph.add("ArgMax", weights, axis=-1, keepdims=1)  # [B, N, K, 1]
        weight = graph.add("GatherElements", weights, best, axis=-1)
        place = self.add("Mul", weight, self._place_of_peak(places, best, count))
        total = self.add("Add", place, self.add("Mul", ends, const(joints.END_SCORE)))
        mean = self.add("Div", total, self.add("Add", weight, const(joints.END_SCORE)))
        return mean, graph.reshape(weight, 0, 0, several)

    def _snapped(self, ends: str, low: str, high: str, count: int) -> tuple[str, str]:
        """Adds `joints.snapped`."""
        graph, const = self.graph, self.graph.constant
        several, peaks = len(self.task.joints), self._count()
        places, scores = self._joint_peaks()
        sure = const(joints.PEAK_SCORE)
        high_enough = graph.reshape(self.add("Greater", scores, sure), 0, 1, several, peaks, 1)
        places = graph.add("Where", high_enough, places, const(joints.FAR))
        apart = self.add("Sub", places, graph.reshape(ends, 0, 0, several, 1, 2))  # [B, N, K, P, 2]
        distances = graph.add("ReduceL2", apart, axes=[-1], keepdims=0)
        nearest = graph.add("ArgMin", distances, axis=-1, keepdims=1)  # [B, N, K, 1]
        distance = graph.add("GatherElements", distances, nearest, axis=-1)
        score = self._of_peak(scores, nearest, count)
        place = self._place_of_peak(places, nearest, count)
        low, high = (graph.reshape(corner, 0, 0, 1, 2) for corner in (low, high))
        inside = self.add(
            "And", self.add("GreaterOrEqual", place, low), self.add("LessOrEqual", place, high)
        )
        inside = graph.add("ReduceMin", graph.as_float(inside), axes=[-1], keepdims=1)
        longest = graph.add("ReduceMax", self.add("Sub", high, low), axes=[-1], keepdims=1)
        near = self.add("LessOrEqual", distance, self.add("Mul", longest, const(joints.NEAR)))
        moved = self.add(
            "And", self.add("Greater", inside, const(0.5)), self.add("Greater", score, sure)
        )
        moved = self.add("And", moved, near)
        # Otherwise the score is that of the joint's cell.
        cell = graph.add("Floor", ends)
        cell = graph.add("Clip", cell, const(0.0), const(self.side - 1.0))
        x, y = (graph.slice(cell, -1, i, i + 1) for i in (0, 1))
        index = self.add("Add", self.add("Mul", y, const(float(self.side))), x)
        index = graph.add("Transpose", graph.reshape(index, 0, 0, several), perm=[0, 2, 1])
        logits = graph.reshape(self.maps["hm_hp"], 0, several, self.side**2)
        there = graph.add("GatherElements", logits, self._integer(index), axis=2)
        there = graph.add("Sigmoid", graph.add("Transpose", there, perm=[0, 2, 1]))
        there = graph.add("Unsqueeze", there, const([-1]))
        score = graph.reshape(graph.add("Where", moved, score, there), 0, 0, several)
        return graph.add("Where", moved, place, ends), score

    def _integer(self, x: str) -> str:
        from onnx import TensorProto

        return self.graph.add("Cast", x, to=TensorProto.INT64)

    def pair_corners(self) -> dict[str, list[int]]:
        """Adds `corners.decode`."""
        graph, names = self.graph, len(self.task.categories)
        each = self._count(names)
        pairs = min(corners.PAIRS_PER_CORNER * self.task.options.top_k, each**2)
        places, ids, parts = [], [], []
        for corner, shape in (("tl", (0, each, 1)), ("br", (0, 1, each))):
            scores, cells, categories = self._peaks(self.maps[f"{corner}_heat"], names)
            place = self.add("Add", self._places(cells), self._at(f"{corner}_offset", cells))
            tags = self._at(f"{corner}_tag", cells)
            places.append(place)
            ids.append(categories)
            parts.append([graph.reshape(x, *shape) for x in (scores, categories, tags)])
            parts[-1].append(graph.reshape(place, *shape, 2))
        (scores1, categories1, tags1, xy1), (scores2, categories2, tags2, xy2) = parts
        apart = graph.add("Abs", self.add("Sub", tags1, tags2))
        valid = self.add("LessOrEqual", apart, graph.constant(corners.TAG_DISTANCE))
        valid = self.add("And", valid, graph.add("Equal", categories1, categories2))
        ordered = graph.as_float(self.add("GreaterOrEqual", xy2, xy1))
        ordered = graph.add("ReduceMin", ordered, axes=[-1], keepdims=0)
        valid = self.add("And", valid, self.add("Greater", ordered, graph.constant(0.5)))
        if self.task.options.published:
            scores = self.add("Mul", self.add("Add", scores1, scores2), graph.constant(0.5))
        else:
            near = graph.add("Exp", graph.add("Neg", apart))
            scores = self.add("Mul", self.add("Mul", scores1, scores2), near)
            scores = graph.add("Where", valid, scores, graph.constant(0.0))
            largest = [graph.add("ReduceMax", scores, axes=[axis], keepdims=1) for axis in (1, 2)]
            largest = self.add("Max", self.add("Mul", *largest), graph.constant(corners.TINY))
            squared = self.add("Mul", scores, scores)
            scores = self.add("Mul", scores, self.add("Div", squared, largest))
        scores = graph.add("Where", valid, scores, graph.constant(-1.0))
        best, index = self._best(graph.reshape(scores, 0, each**2), pairs)
        first, second = graph.divided(index, each)
        low, high = (self._gather(p, i) for p, i in zip(places, (first, second), strict=True))
        categories = self._gather(ids[0], first)
        return self._write_boxes(low, high, best, categories, pairs)
