"""Files of one JSON object per line, such as metrics.jsonl."""

import contextlib
import json
import pathlib


def read(path: pathlib.Path) -> list[dict]:
    """Returns the objects of a file; a line that a crash cut off is left out."""
    objects = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            objects.append(json.loads(line))
    return objects
