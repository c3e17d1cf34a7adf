"""Records which fields of a config's dataclasses are read."""

import contextlib
import dataclasses
import sys

from conftest import ROOT

OURS = (str(ROOT / "hourglass_jax"), str(ROOT / "tests"))


@contextlib.contextmanager
def recorded_reads(*kinds):
    """Collects (section, field) for every field of these dataclasses that is read in the block.

    Only what the project's own lines read counts: `asdict`, `replace` and comparisons read all
    fields and use none. Nor does writing a config out again, by `to_dict`.
    """
    read = set()
    with contextlib.ExitStack() as undo:
        for kind in kinds:
            fields = {field.name for field in dataclasses.fields(kind)}

            def getattribute(self, name, kind=kind, fields=fields):
                if name in fields and sys._getframe(1).f_code.co_filename.startswith(OURS):
                    read.add((kind, name))
                return object.__getattribute__(self, name)

            kind.__getattribute__ = getattribute
            undo.callback(delattr, kind, "__getattribute__")
        yield read
