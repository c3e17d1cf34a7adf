"""Damage to files: flipped bits, lost and overwritten parts, and wrong values in JSON."""

import copy

import numpy as np

_FLIPS_PER_CUT = 4


def damages(folder, count, seed=0):
    """Damages one file in a folder at a time, `count` times, and mends it after each yield."""
    rng = np.random.default_rng(seed)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for i in range(count):
        # Each file as often as any other, or small ones would be left alone.
        path = files[rng.integers(len(files))]
        content = path.read_bytes()
        place = int(rng.integers(len(content)))
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        cut = i % (_FLIPS_PER_CUT + 1) == _FLIPS_PER_CUT
        path.write_bytes(content[:place] if cut else damaged)
        yield f"{path} at {place}"
        path.write_bytes(content)


WEIRD = [None, "", "x", [], {}, -1, 0, 1e300, float("nan"), float("inf"), True, [[]], [1, [2]]]


def damage_bytes(rng, content: bytes) -> bytes:
    """Cuts off, empties, overwrites, repeats or zeroes a part of a file."""
    kind = rng.integers(6)
    start, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    if kind == 0:
        return content[:start]
    if kind == 1:
        return b""
    if kind == 2:
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 40)):
            changed[place] = rng.integers(256)
        return bytes(changed)
    if kind == 3:
        return content[:end] + content[start:]
    if kind == 4:
        return content[:start] + bytes(end - start) + content[end:]
    return rng.bytes(int(rng.integers(1, 5000)))


def damage_tree(rng, tree):
    """Replaces, removes or repeats one node of a JSON tree."""
    tree = copy.deepcopy(tree)
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(tree)
    # As likely near the root as in one of the many leaves.
    node, key = places[int(len(places) ** rng.random()) - 1 if rng.random() < 0.5
                       else rng.integers(len(places))]  # fmt: skip
    kind = rng.integers(4)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
    else:
        node[key] = copy.deepcopy(WEIRD[rng.integers(len(WEIRD))])
    return tree
