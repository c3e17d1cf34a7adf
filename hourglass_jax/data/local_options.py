"""Options of a data set whose files are in a bucket: its source reads copies of them on a disk."""

import dataclasses
from typing import Any

from hourglass_jax.rules import Path
from hourglass_jax.runtime import fetched


def local_options(options: Any) -> dict[str, Any]:
    """Returns the values of a source's options by name, with copies of what is in a bucket.

    Args:
      options: instance of the source's `Options`.

    Raises:
      UserError, RunError: see `fetched.fetched`.
    """
    values = dataclasses.asdict(options)
    for f in dataclasses.fields(options):
        if isinstance(f.metadata["rule"], Path):
            # A file of annotations may name images near it, unless their folder is given.
            beside = f.name.endswith("_json") and not values.get("image_dir")
            where = f"config.data.{f.name}"
            values[f.name] = fetched.fetched(values[f.name], where, beside=beside)
    return values
