"""Rules for the values of config fields, and dataclasses that check their values by them.

A section of a config is a frozen dataclass whose fields carry a rule:

    @dataclasses.dataclass(frozen=True)
    class Heatmap:
        sigma: float = field(Number(0, above=True), default=1.0)

    section(Heatmap, {"sigma": 1.25}, "heatmap.")

Sections nest, and `others` collects the fields that are declared elsewhere.
"""

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from hourglass_jax.errors import UserError

Section = TypeVar("Section")


class Rule(Protocol):
    """A test of values; its `str` completes "must be ..."."""

    def accepts(self, value: Any) -> bool: ...


class OneOf(tuple):
    """One of the given values."""

    def accepts(self, value: Any) -> bool:
        return value in self

    def __str__(self) -> str:
        return "one of " + ", ".join(str(value) or "''" for value in self)


class Number:
    """A number between two bounds, which are themselves allowed unless `above`."""

    kind: type | tuple[type, ...] = (int, float)

    def __init__(self, low: float, high: float = math.inf, *, above: bool = False):
        self.low, self.high, self.above = low, high, above

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, self.kind) or isinstance(value, bool):
            return False
        try:
            if not math.isfinite(value):
                return False
        except OverflowError:  # a whole number beyond what float can hold
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        name = "a whole number" if self.kind is int else "a number"
        bound = f"{name} {'above' if self.above else 'of at least'} {self.low}"
        return bound if self.high == math.inf else f"{bound} and at most {self.high}"


class Whole(Number):
    """A whole number between two bounds."""

    kind = int


class Each:
    """A list of values that another rule accepts, of a length if there is one."""

    def __init__(self, rule: Rule, length: int | None = None):
        self.rule, self.length = rule, length

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, (list, tuple)) or self.length not in (None, len(value)):
            return False
        return all(self.rule.accepts(v) for v in value)

    def __str__(self) -> str:
        return f"a list of {self.length or 'any number of'} values, each {self.rule}"


class Scales(Each):
    """A list of factors, at least one."""

    def __init__(self):
        super().__init__(Number(0.1, 10))

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and len(value) > 0

    def __str__(self) -> str:
        return "a list of at least one value, each a number of at least 0.1 and at most 10"


class Shares:
    """An increasing list of numbers between 0 and 1."""

    def accepts(self, value: Any) -> bool:
        inside = isinstance(value, (list, tuple)) and all(Number(0, 1).accepts(v) for v in value)
        return inside and list(value) == sorted(value)

    def __str__(self) -> str:
        return "an increasing list of numbers between 0 and 1"


class Texts:
    """A list of texts."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)

    def __str__(self) -> str:
        return "a list of texts, such as ('stem/*',)"


class Text:
    """A text."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self) -> str:
        return "a text"


class Path(Text):
    """The path of a file or folder; moving the files does not change a run.

    In sections, `~` stands for the home folder.
    """

    def __str__(self) -> str:
        return "a path"


class Fields:
    """A section: values by name."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    def __str__(self) -> str:
        return "a section of fields"


class Anything:
    """Any value; it is checked elsewhere."""

    def accepts(self, value: Any) -> bool:
        return True

    def __str__(self) -> str:
        return "any value"


SWITCH = OneOf((False, True))


def field(rule: Rule, **options) -> Any:
    """Returns a dataclass field for values that `rule` accepts.

    Options are those of `dataclasses.field`.
    """
    return dataclasses.field(metadata={"rule": rule}, **options)


def others(rule: Rule) -> Any:
    """Returns a dataclass field for the values that belong to no other field, by name.

    They are declared elsewhere, such as by a data set, and checked there. A value that `rule`
    rejects counts as an unknown field.
    """
    return dataclasses.field(metadata={"others": rule}, default_factory=dict)


def names(kind: type, prefix: str = "") -> list[str]:
    """Returns the names of a section's fields, and of the sections in it: `data.dataset`."""
    found = []
    for f in _fields(kind).values():
        inner = names(f.type, f"{prefix}{f.name}.") if _is_section(f) else []  # type: ignore
        found += [f"{prefix}{f.name}", *inner]
    return found


def section(
    kind: type[Section],
    values: Mapping[str, Any],
    prefix: str = "",
    *,
    beside: type | None = None,
    root: str = "config",
) -> Section:
    """Makes a section of a config from its values.

    Args:
      kind: a dataclass whose fields are made by `field`, or are sections themselves; one of them
        may be made by `others`.
      values: values by field name, in plain form: sections are mappings.
      prefix: text before the field names in messages, such as "model.".
      beside: a section with the same prefix whose fields were taken out of `values`; an unknown
        field may be a misspelling of one of them.
      root: what the values are part of, for messages.

    Raises:
      UserError: names a field that is missing or unknown, or whose value is not allowed.
    """
    fields = _fields(kind)
    collects = next((f for f in dataclasses.fields(kind) if "others" in f.metadata), None)  # type: ignore
    made, other = {}, {}
    for name, value in values.items():
        if name not in fields:
            if collects is None or not collects.metadata["others"].accepts(value):
                known = [*fields, *(_fields(beside) if beside else ())]
                known = [f"{prefix}{each}" for each in known]
                raise unknown_field(f"{prefix}{name}", known, root)
            other[name] = value
            continue
        rule = _rule(fields[name])
        if not rule.accepts(value):
            raise UserError(f"{root}.{prefix}{name}={_short(value)} must be {rule}")
        if isinstance(rule, Path):
            value = expand(value, f"{root}.{prefix}{name}")
        elif _is_section(fields[name]):
            inner = fields[name].type
            value = section(inner, value, f"{prefix}{name}.", root=root)  # type: ignore
        made[name] = tuple(value) if isinstance(value, list) else value
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"the {root} lacks {prefix}{name}, {_rule(f)}")
    return kind(**made, **({collects.name: other} if collects else {}))


def defaults(kind: type) -> dict[str, Any]:
    """Returns the default values of a section's fields, without the fields that are required."""
    return {
        name: f.default for name, f in _fields(kind).items() if f.default is not dataclasses.MISSING
    }


def to_dict(section: Any) -> dict[str, Any]:
    """Returns a section in plain form: the inverse of `section`."""
    plain = {}
    # Not by getattr, so that writing a field out does not count as reading it.
    values = vars(section)
    for f in dataclasses.fields(section):
        value = values[f.name]
        if "others" in f.metadata:
            plain |= {k: dict(v) if isinstance(v, Mapping) else v for k, v in value.items()}
        else:
            plain[f.name] = to_dict(value) if _is_section(f) else value
    return plain


def expand(path: str, flag: str = "") -> str:
    """Returns a path with `~` replaced by the home folder, which shells do not do behind `=`.

    Paths in buckets of Google Cloud Storage, gs://, stay as they are.

    Args:
      path: path, as the user gave it.
      flag: flag or field that gave it, for messages that do not name it otherwise.

    Raises:
      UserError: there is no such home folder, or the path is of another kind of bucket.
    """
    where = f"{flag}={path}" if flag else path
    other = re.search(r"(?<![\w+.-])(?!gs:)[A-Za-z][\w+.-]*://", path)
    if other:
        raise UserError(
            f"{where}: {other[0]} is not supported; give a folder, or gs:// for a bucket of Google"
        )
    full = os.path.expanduser(path)
    if full.startswith("~") and not os.path.lexists(full.partition(os.sep)[0]):
        raise UserError(f"{where}: there is no such home folder; ./{path} is a path in this folder")
    return full


def unknown_field(name: str, known: Iterable[str], root: str = "config") -> UserError:
    """Returns the error for a field that does not exist, with the closest one that does."""
    return UserError(f"unknown {root} field {name[:100]}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean x?" with the known name closest to `name`, or "" if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _fields(kind: type) -> dict[str, dataclasses.Field]:
    return {f.name: f for f in dataclasses.fields(kind) if "others" not in f.metadata}


def _is_section(f: dataclasses.Field) -> bool:
    return dataclasses.is_dataclass(f.type)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _rule(f: dataclasses.Field) -> Rule:
    return Fields() if _is_section(f) else f.metadata["rule"]
