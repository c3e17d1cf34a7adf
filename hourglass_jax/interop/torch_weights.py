"""Converts published PyTorch networks to checkpoints.

`python -m hourglass_jax.interop.torch_weights hg8.pth --output=checkpoints/hg8`

Two families publish the paper's network in the paper's form; `torch_names` has both.
`torch_detection` has CornerNet and CenterNet, `torch_grouped` associative embedding. Stacks,
widths, order and so on are read from the names and shapes of the tensors. Every parameter is then
looked up by its name in the family, so that a tensor that is missing, unknown or of another shape
is an error and not a network that predicts nonsense.
"""

import dataclasses
import logging
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax import nn
from hourglass_jax.checkpoint.metadata import Inference, describe
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.data import sides
from hourglass_jax.data import skeleton as skeletons
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.interop import torch_detection, torch_file, torch_grouped, torch_tensors
from hourglass_jax.interop.torch_names import Bearpaw, Princeton
from hourglass_jax.nn import Normalisation
from hourglass_jax.nn.hourglass104 import Hourglass104
from hourglass_jax.nn.pose_ae import PoseAE
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import disk, preemption
from hourglass_jax.tasks.single_pose.task import SinglePose

logger = logging.getLogger("hourglass_jax.interop.torch_weights")  # also if run as __main__
# Input of the published networks, px.
INPUT_SIZE = 256
# Only these networks have hourglasses: "hgs.<stack>..." or "hg.<stack>...". DataParallel
# puts "module." in front of every name, and the Princeton trainer "model." in front of that.
_HOURGLASS = re.compile(r"((?:model\.|module\.)*)(hgs?)\.\d+\.")


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
) -> tuple[StackedHourglass | Hourglass104 | PoseAE, dict, Normalisation]:
    """Converts the tensors of a published network.

    Args:
      state_dict: name to array, as PyTorch saves them: convolutions [out, in, height, width]. The
        prefixes "model." and "module." are stripped, and `num_batches_tracked` is dropped.

    Returns:
      The model, its `variables` = {"params", "batch_stats"} as float32 NumPy arrays, convolutions
      [height, width, in, out], and the normalisation that they expect.

    Raises:
      UserError: the tensors are those of another network. Names the first one that is missing, has
        another shape than the rest implies, or is unexpected.
    """
    if torch_detection.recognises(state_dict):
        return torch_detection.from_state_dict(state_dict)
    if torch_grouped.recognises(state_dict):
        return torch_grouped.from_state_dict(state_dict)
    prefix, family = _recognise(state_dict)
    model = StackedHourglass(
        num_stacks=family.num_stacks,
        num_joints=torch_tensors.channels(state_dict, f"{prefix}{family.first_heatmaps}.bias"),
        features=torch_tensors.channels(state_dict, f"{prefix}{family.first_features}.bias"),
        order=family.order,
        num_residuals=family.num_residuals,
        stem=family.stem,
        stem_features=torch_tensors.channels(state_dict, f"{prefix}{family.stem_conv}.bias"),
    )
    needed = flatten_dict(nn.variable_shapes(model))

    names, known = {}, set()
    for collection, *path, leaf in needed:
        module = prefix + family.name(*path)
        names[collection, *path, leaf] = f"{module}.{torch_tensors.LEAVES[leaf]}"
        known |= {prefix + unused for unused in family.unused(*path)}
        if collection == "batch_stats":
            known.add(f"{module}.num_batches_tracked")
    known.update(names.values())
    for name in state_dict:
        if name not in known:
            raise UserError(
                f"Tensor {name!r} has no place in this network, which by the other names has "
                f"{model.num_stacks} stacks of order {model.order} and {model.features} features."
            )
    variables = {
        path: torch_tensors.convert(state_dict, names[path], like) for path, like in needed.items()
    }
    model = model.clone(normalisation=family.normalisation)
    return model, unflatten_dict(variables), family.normalisation


def _recognise(state_dict):
    for name in state_dict:
        if found := _HOURGLASS.match(name):
            prefix, hourglass = found.groups()
            family = {"hgs": Princeton, "hg": Bearpaw}[hourglass]
            return prefix, family([n.removeprefix(prefix) for n in state_dict])
    first = f"it starts with {next(iter(state_dict))!r}" if state_dict else "it is empty"
    raise UserError(
        "The state dict is neither of princeton-vl/pytorch_stacked_hourglass nor of "
        "bearpaw/pytorch-pose, CornerNet, CornerNet-Lite, CenterNet, pose-ae-train or mmpose's "
        "HourglassAENet, whose hourglasses are called 'hgs.0...', 'hg.0...', 'kps.0...', "
        f"'hg.hgs.0...', 'features.0...' and 'hourglass_modules.0...': {first}."
    )


def convert(path: pathlib.Path, output: pathlib.Path, names: Sequence[str] | None = None) -> str:
    """Writes a published network as a checkpoint, and returns a description of it.

    Args:
      path: file as published.
      output: new workdir.
      names: names of the joints, or of a detector's categories, in the order of the heatmaps; None:
        the joints of MPII, if there are 16 (with tags: those of COCO, if there are 17), or the
        categories of COCO.

    Raises:
      UserError: the file is not of a known network, or the output holds a checkpoint already.
    """
    model, variables, normalisation = from_state_dict(torch_file.read(path))
    if isinstance(model, Hourglass104):
        name, (task, side) = "hourglass104", torch_detection.task(model, names)
    elif isinstance(model, PoseAE):
        skeleton = _skeleton(model.heads["heatmaps"], names, skeletons.COCO)
        name, task, side = "pose_ae", torch_grouped.task(model, skeleton), torch_grouped.INPUT_SIZE
    else:
        name, task = (
            "stacked_hourglass",
            SinglePose(_skeleton(model.num_joints, names, skeletons.MPII), stride=model.stride),
        )
        side = max(INPUT_SIZE, model.stride * 2**model.order)
    options = {f.name: getattr(model, f.name) for f in dataclasses.fields(model.Options)}
    network = {"name": name, "options": options, "input_size": side, "dtype": "float32"}
    metadata = describe(
        config={},
        task=task,
        network=network,
        normalisation=normalisation,
        inference=Inference(),
        records=None,  # it was trained elsewhere
        averaged=False,
    )
    disk.make_folder(output, f"--output={output}")
    with Checkpoints(output, None) as checkpoints:
        if checkpoints.latest is not None:
            raise UserError(f"--output={output} holds a checkpoint already; choose another folder")
        state = TrainState(step=jnp.zeros((), jnp.int32), opt_state=(), **jax.device_put(variables))
        checkpoints.save(state, metadata, None)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    shape = ", ".join(f"{name}={value!r}" for name, value in options.items())
    heads = ", ".join(f"{len(head.channels)} {name}" for name, head in task.heads.items())
    return f"{shape}, mean={normalisation.mean}, {heads}: {count:,} parameters"


def _skeleton(num_joints: int, joints: Sequence[str] | None, usual: Skeleton) -> Skeleton:
    known = (skeletons.MPII, skeletons.LSP, skeletons.COCO, skeletons.FLIC)
    if joints is None:
        if num_joints == usual.num_joints:
            return usual
        raise UserError(
            f"the network has {num_joints} joints, and not {usual.name.upper()}'s "
            f"{usual.num_joints}; name them in the order of its heatmaps, as "
            f"--joints=nose,left_eye,right_eye"
        )
    if len(joints) != num_joints:
        raise UserError(f"--joints names {len(joints)} joints, and the network has {num_joints}")
    for skeleton in known:
        if tuple(joints) == skeleton.joints:
            return skeleton
    return Skeleton("published", tuple(joints), sides.pairs_by_name(joints), ())


def main(argv: list[str]) -> None:
    parser = command.Arguments(
        prog="python -m hourglass_jax.interop.torch_weights",
        description="Converts a published PyTorch network to a checkpoint for predict, evaluation "
        "and fine-tuning.",
    )
    add = parser.add_argument
    add(
        "file",
        type=command.path_on_disk,
        help="as published: .pth, .pth.tar, .pt, .pkl or .safetensors",
    )
    add("--output", type=command.path_on_disk, required=True, help="folder for the checkpoint")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--joints", help="names in the order of the heatmaps, if not MPII's")
    group.add_argument("--categories", help="a detector's, in this order, if not COCO's 80")
    flags = parser.parse_args(argv)
    names = flags.joints or flags.categories
    names = names.split(",") if names else None
    description = convert(pathlib.Path(flags.file), pathlib.Path(flags.output), names)
    logger.info(
        "%s: %s\n%s is a checkpoint for predict, for evaluation and for fine-tuning",
        *(flags.file, description, flags.output),
    )


def run() -> None:
    """Runs the command; exit status 0, 2 for a user's mistake, else 1."""
    preemption.end_at_once(resumes=lambda: False)
    with command.reporting_errors():
        main(sys.argv[1:])


if __name__ == "__main__":
    run()
