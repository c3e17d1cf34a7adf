"""Values of JSON files as programs write them: numbers in quotes, ids of any kind."""

import math
import re
from typing import Any

_WHOLE = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)


def whole(value: Any) -> int:
    """Returns a whole number, which may be in quotes; raises ValueError if it is not one."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(f"{_short(value)} is not a number")
    if int(value) != value:
        raise ValueError(f"{_short(value)} is not a whole number")
    return int(value)


def identity(value: Any, field: str) -> int | str:
    """Returns an id: a whole number, which may be in quotes, or a text.

    Raises:
      ValueError: it is neither.
    """
    if isinstance(value, str) and value.strip() and not _WHOLE.fullmatch(value):
        # Lone surrogates, which no file can hold, become escapes.
        return value.encode("utf-8", "backslashreplace").decode()
    try:
        return whole(value)
    except ValueError as error:
        problem = "there is no " + field if value is None else f"{field} {error}"
        raise ValueError(problem) from None


def in_order(id: str) -> tuple[int, int, str]:
    """Orders ids: numbers by their value, before texts."""
    return (0, int(id), "") if _WHOLE.fullmatch(id) else (1, 0, id)


def side(value: Any) -> int | None:
    """Returns an image's width or height in px; None where a file does not say it."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(number) if 0 < number < 1e6 else None


def flag(value: Any, field: str) -> bool:
    """Returns a yes or no, also as 0, 1 or a text; raises ValueError for anything else."""
    known = {"0": False, "1": True, "true": True, "false": False, "none": False, "": False}
    text = str(value).strip().lower().removesuffix(".0")
    if isinstance(value, (list, dict)) or text not in known:
        raise ValueError(f"{field} is {_short(value)}, not 0 or 1")
    return known[text]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
