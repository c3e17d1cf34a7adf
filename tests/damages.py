"""Flips single bits of files, and cuts files short."""

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
