"""Data sets by name. Each is a `Source` in a folder; a new data set adds a line here."""

import importlib
from typing import TYPE_CHECKING

from hourglass_jax.errors import UserError

if TYPE_CHECKING:
    from hourglass_jax.data.base import Source

# "module:class", imported when it is asked for, or the class itself.
SOURCES: dict[str, "str | type[Source]"] = {
    "coco": "hourglass_jax.data.coco.source:CocoSource",
    "coco_detection": "hourglass_jax.data.coco_detection.source:CocoDetectionSource",
    "custom": "hourglass_jax.data.custom.source:CustomSource",
    "custom_boxes": "hourglass_jax.data.custom_boxes.source:CustomBoxesSource",
    "flic": "hourglass_jax.data.flic.source:FlicSource",
    "lsp": "hourglass_jax.data.lsp.source:LspSource",
    "mixture": "hourglass_jax.data.mixture.source:MixtureSource",
    "mpii": "hourglass_jax.data.mpii.source:MpiiSource",
    "synthetic_people": "hourglass_jax.data.synthetic_people.source:SyntheticPeopleSource",
    "synthetic_scenes": "hourglass_jax.data.synthetic_scenes.source:SyntheticScenesSource",
}


def source_class(name: str) -> "type[Source]":
    """Returns the class of a data set.

    Raises:
      UserError: there is no data set of that name.
    """
    if name not in SOURCES:
        raise UserError(
            f"unknown data set config.data.dataset={name!r}; choose from "
            f"{', '.join(sorted(SOURCES))}"
        )
    source = SOURCES[name]
    if isinstance(source, str):
        module, _, attribute = source.partition(":")
        return getattr(importlib.import_module(module), attribute)
    return source
