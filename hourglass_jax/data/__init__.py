"""Data sets by name. Each is a TFDS builder in a folder of its own; adding one adds a line here."""

import importlib

from hourglass_jax.errors import UserError

BUILDERS = {
    "coco": "hourglass_jax.data.coco.coco_pose_dataset_builder:CocoPose",
    "custom": "hourglass_jax.data.custom.custom_pose_dataset_builder:CustomPose",
    "flic": "hourglass_jax.data.flic.flic_pose_dataset_builder:FlicPose",
    "mpii": "hourglass_jax.data.mpii.mpii_pose_dataset_builder:MpiiPose",
    "lsp": "hourglass_jax.data.lsp.lsp_pose_dataset_builder:LspPose",
    "synthetic_people": (
        "hourglass_jax.data.synthetic_people.synthetic_people_pose_dataset_builder:"
        "SyntheticPeoplePose"
    ),
}


def builder_class(name: str):
    """Returns the builder class of a data set.

    Raises:
      UserError: no such data set.
    """
    if name not in BUILDERS:
        raise UserError(
            f"data.dataset={name!r} is unknown; there are {', '.join(sorted(BUILDERS))}"
        )
    module, _, attribute = BUILDERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
