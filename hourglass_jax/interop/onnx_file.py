"""A trained network as the content of an ONNX file."""

from collections.abc import Sequence

from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.errors import UserError
from hourglass_jax.interop import onnx_boxes, onnx_joints, onnx_networks, onnx_people
from hourglass_jax.interop.onnx_graph import Graph
from hourglass_jax.nn.hourglass104 import Hourglass104
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.tasks.base import Task
from hourglass_jax.tasks.detection.task import Detection
from hourglass_jax.tasks.grouped_pose.task import GroupedPose
from hourglass_jax.tasks.single_pose.task import SinglePose

# Supported by runtimes of 2022 and later.
OPSET, IR_VERSION = 17, 8
# Graphs are written module by module, and decode without the task.
_NETWORKS = {
    StackedHourglass: onnx_networks.stacked_hourglass,
    Hourglass104: onnx_networks.hourglass104,
}
_DECODERS = {
    (SinglePose, "joints"): onnx_joints.add,
    (Detection, "boxes"): onnx_boxes.add,
    (GroupedPose, "people"): onnx_people.add,
}


def serialize(
    trained: Trained, outputs: str, *, half: bool = False, sides: Sequence[int] = ()
) -> bytes:
    """Returns the content of an ONNX file; raises ImportError if the package is not installed.

    Args:
      trained: network to export.
      outputs: "maps", or one of the task's `exports`.
      half: whether to store kernels in half precision where that holds them exactly.
      sides: sides of the images that a file of maps takes, px, if not the checkpoint's input size;
        with several, the file's images have any height and width.

    Raises:
      UserError: there is no graph of the network, or of the task's outputs.
    """
    model, task = trained.model, trained.task
    write, decode = _NETWORKS.get(type(model)), _DECODERS.get((type(task), outputs))
    if write is None:
        raise UserError(
            f"there is no ONNX graph of the network {type(model).__name__}; write .stablehlo"
        )
    if outputs != "maps" and decode is None:
        raise UserError(
            f"an ONNX file of the task {task.name!r} can only return maps; write .stablehlo for "
            f"{outputs}"
        )
    import onnx
    from onnx import TensorProto, helper

    graph = Graph(trained.variables, half=half)
    sides = sides or (trained.input_size,)
    fixed = len(sides) == 1
    small = -(-max(sides) // model.stride)
    maps = write(graph, model, small)
    channels = sum(len(head.channels) for head in task.heads.values())
    if decode is None:
        graph.add("Concat", *(_stacked(graph, x) for x in maps), axis=1, output="maps")
        size = [small, small] if fixed else ["rows", "columns"]
        shapes = {"maps": [len(maps), *size, channels]}
    else:
        shapes = decode(graph, maps[-1], task, small)

    def described(name, shape):
        kind = TensorProto.INT32 if name == "categories" else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, ["batch", *shape])

    file = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "hourglass",
            [described("images", [*([sides[0]] * 2 if fixed else ["height", "width"]), 3])],
            [described(name, shape) for name, shape in shapes.items()],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hourglass_jax",
    )
    helper.set_model_props(file, _properties(task))
    onnx.checker.check_model(file, full_check=True)
    return file.SerializeToString()


def _properties(task: Task) -> dict[str, str]:
    properties = {"task": task.name, "joints": ",".join(task.joints)}
    if isinstance(task, Detection):
        properties["categories"] = ",".join(task.categories)
        properties["category_ids"] = ",".join(map(str, task.category_ids))
    return properties


def _stacked(graph: Graph, maps: str) -> str:
    x = graph.add("Transpose", maps, perm=[0, 2, 3, 1])
    return graph.add("Unsqueeze", x, graph.constant([1]))
