"""An ONNX graph under construction: nodes, constants and layers.

Images and maps are [batch, channels, height, width], as ONNX expects them.
"""

from typing import Any

import numpy as np

from hourglass_jax.nn.kernels.batch_norm import EPSILON

Path = tuple[str, ...]


class Graph:
    """A graph to add nodes and constants to. Methods take names of values and return a new one."""

    def __init__(self, variables: dict, *, half: bool = False):
        """Makes an empty graph.

        Args:
          variables: variables of the network.
          half: whether to store the kernels of convolutions in half precision where that holds them
            exactly; the graph computes in single precision in any case.
        """
        self.variables, self.nodes, self.initializers = variables, [], []
        self._half = half

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        """Adds a node with one output."""
        return self.add_several(kind, *inputs, outputs=[output] if output else 1, **attributes)[0]

    def add_several(
        self, kind: str, *inputs: str, outputs: int | list[str], **attributes
    ) -> list[str]:
        """Adds a node with a number of outputs, or with outputs of given names."""
        from onnx import helper

        name = f"{kind.lower()}_{len(self.nodes)}"
        if isinstance(outputs, int):
            outputs = [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def constant(self, value: Any, name: str | None = None) -> str:
        """Adds a constant array; numbers become int64 or float32."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value) if np.ndim(value) else np.array(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def kernel(self, value: np.ndarray, name: str | None = None) -> str:
        """Adds the kernel of a convolution."""
        from onnx import TensorProto, numpy_helper

        with np.errstate(over="ignore"):  # numbers beyond its range are found to differ
            small = value.astype(np.float16)
        if not self._half or not np.array_equal(small, value):
            return self.constant(value, name)
        stored = f"{name or f'constant_{len(self.initializers)}'}/half"
        self.initializers.append(numpy_helper.from_array(small, stored))
        return self.add("Cast", stored, to=TensorProto.FLOAT)

    def variable(self, path: Path, leaf: str, collection: str = "params") -> np.ndarray:
        """Returns a variable of the network, kernels as [out, in, height, width]."""
        tree = self.variables[collection]
        for part in path:
            tree = tree[part]
        value = np.asarray(tree[leaf], np.float32)
        return value.transpose(3, 2, 0, 1) if leaf == "kernel" else value

    def has(self, path: Path) -> bool:
        """Returns whether the network has a parameter or module of this path."""
        tree = self.variables["params"]
        for part in path:
            if part not in tree:
                return False
            tree = tree[part]
        return True

    def conv(self, path: Path, x: str, stride: int = 1, groups: int = 1) -> str:
        """Adds `layers.Conv`."""
        kernel = self.variable(path, "kernel")
        inputs = [self.kernel(kernel, "/".join((*path, "kernel")))]
        if self.has((*path, "bias")):
            inputs.append(self.constant(self.variable(path, "bias"), "/".join((*path, "bias"))))
        size = kernel.shape[-1]
        return self.add(
            "Conv", x, *inputs,
            kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4, group=groups,
        )  # fmt: skip

    def norm(self, path: Path, x: str, *, relu: bool = False) -> str:
        """Adds `layers.Norm`."""
        values = [self.variable(path, leaf) for leaf in ("scale", "bias")]
        values += [self.variable(path, leaf, "batch_stats") for leaf in ("mean", "var")]
        names = [
            self.constant(value, "/".join((*path, leaf)))
            for leaf, value in zip(("scale", "bias", "mean", "var"), values, strict=True)
        ]
        x = self.add("BatchNormalization", x, *names, epsilon=EPSILON)
        return self.add("Relu", x) if relu else x

    def upsample(self, x: str) -> str:
        """Adds `kernels.upsample`."""
        return self.add(
            "Resize", x, "", self.constant([1.0, 1.0, 2.0, 2.0]),
            mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
        )  # fmt: skip

    def slice(self, x: str, axis: int, begin: int, end: int) -> str:
        """Adds x[begin:end] along an axis."""
        return self.add("Slice", x, *(self.constant([i]) for i in (begin, end, axis)))

    def reshape(self, x: str, *shape: int) -> str:
        """Adds a reshape; a side of 0 is that of `x`, and -1 is what is left."""
        return self.add("Reshape", x, self.constant(list(shape)))

    def as_float(self, x: str) -> str:
        from onnx import TensorProto

        return self.add("Cast", x, to=TensorProto.FLOAT)

    def divided(self, x: str, by: int) -> tuple[str, str]:
        """Adds quotient and remainder of an integer that is not negative."""
        return self.add("Div", x, self.constant(by)), self.add("Mod", x, self.constant(by))
