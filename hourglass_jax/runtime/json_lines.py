"""Files of one JSON object a line, such as metrics.jsonl."""

import contextlib
import json
import pathlib


def read(path: pathlib.Path) -> list[dict]:
    """Returns the objects of a file; a line that a crash cut off is left out."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
