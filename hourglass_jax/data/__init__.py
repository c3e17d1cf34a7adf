"""Data sets by name. Each is a TFDS builder in a folder of its own; adding one adds a line here."""

import importlib

from hourglass_jax.errors import UserError

BUILDERS = {
    "coco": "hourglass_jax.data.coco.source:CocoPose",
    "custom": "hourglass_jax.data.custom.source:CustomPose",
    "flic": "hourglass_jax.data.flic.source:FlicPose",
    "mpii": "hourglass_jax.data.mpii.source:MpiiPose",
    "lsp": "hourglass_jax.data.lsp.source:LspPose",
    "synthetic_people": ("hourglass_jax.data.synthetic_people.source:SyntheticPeoplePose"),
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
