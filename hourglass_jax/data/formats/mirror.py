"""Which joints of a category change places in a mirror image, as files of several kinds say it."""

from collections.abc import Mapping, Sequence
from typing import Any

from hourglass_jax.data.formats.values import whole
from hourglass_jax.data.sides import pairs_by_name

# Names of the field: this project's, others' pairs, and a place for each joint (YOLO's, MMPose's).
_FIELDS = ("pairs", "flip_pairs", "flip_idx", "flip_indices")

Pairs = tuple[tuple[str, str], ...]


def pairs_of(category: Mapping[str, Any], joints: Sequence[str]) -> tuple[Pairs, bool]:
    """Returns the (left, right) pairs of a category, and whether the file gives them.

    Pairs are of names or numbers, or the field lists for each joint the one that takes its place.
    Numbers count from 0, unless they can only count from 1. Without such a field, pairs are found
    in the names.

    Raises:
      ValueError: the field says something else.
    """
    by_name = pairs_by_name(joints)
    field = next((name for name in _FIELDS if category.get(name) is not None), None)
    if field is None:
        return by_name, False
    value = category[field]
    value = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise ValueError(f"{field}={value!r} is not a list of pairs")
    if value and not any(isinstance(pair, (list, tuple, str)) for pair in value):
        found = [(joints[a], joints[b]) for a, b in _of_permutation(field, value, len(joints))]
    else:
        pairs = [_two(field, pair, joints) for pair in value]
        first = _counts_from(pairs, joints, by_name)
        found = [(_name(field, a, joints, first), _name(field, b, joints, first)) for a, b in pairs]
    # Left comes first where the names say which is left.
    return tuple((b, a) if (b, a) in by_name else (a, b) for a, b in found), True


def _of_permutation(field: str, value: list, num_joints: int) -> list[tuple[int, int]]:
    """Returns the pairs of a list that names for each joint the one that takes its place."""
    places = [whole(place) for place in value]
    first = min(places)
    order = [place - first for place in places]
    if first not in (0, 1) or sorted(order) != list(range(num_joints)):
        raise ValueError(f"{field}={value!r} does not name each joint once")
    if any(order[place] != i for i, place in enumerate(order)):
        raise ValueError(f"{field}={value!r} does not lead back when it is applied twice")
    return [(i, place) for i, place in enumerate(order) if i < place]


def _two(field: str, pair: Any, joints: Sequence[str]) -> tuple[Any, Any]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"{field}: {pair!r} is not two joints")
    a, b = (joint if joint in joints else _number(joint) for joint in pair)
    return a, b


def _number(joint: Any) -> Any:
    try:
        return whole(joint)
    except ValueError:
        return joint  # a name, maybe of no joint


def _counts_from(pairs: Sequence[tuple[Any, Any]], joints: Sequence[str], by_name: Pairs) -> int:
    """Returns whether numbers count from 0 or from 1."""
    numbers = {joint for pair in pairs for joint in pair if isinstance(joint, int)}
    if 0 in numbers or not numbers:
        return 0
    if len(joints) in numbers:
        return 1

    def named(first: int) -> int:
        wanted = {frozenset(pair) for pair in by_name}
        inside = [p for p in pairs if all(0 <= i - first < len(joints) for i in p)]
        return sum(frozenset(joints[i - first] for i in pair) in wanted for pair in inside)

    numbered = all(isinstance(joint, int) for pair in pairs for joint in pair)
    return int(numbered and named(1) > named(0))


def _name(field: str, joint: Any, joints: Sequence[str], first: int) -> str:
    if joint in joints:
        return joint
    if isinstance(joint, int) and 0 <= joint - first < len(joints):
        return joints[joint - first]
    raise ValueError(
        f"{field}: there is no joint {joint!r}; it takes pairs of names of {', '.join(joints)}, or "
        f"of numbers that count from 0"
    )
