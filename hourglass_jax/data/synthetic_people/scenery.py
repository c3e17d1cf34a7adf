"""What surrounds a person: cluttered textured backgrounds, occluders, light and the camera."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8

FRACTION_BITS = 4  # of the coordinates handed to OpenCV
SKIN_LIKE = np.array([(226, 178, 142), (150, 98, 66), (196, 140, 104)])


def random_colour(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Draws an RGB colour from 0 to 255, mostly muted."""
    return rng.uniform(40, 235) * (1 - rng.uniform(0, 0.5) * rng.random(3))


def cloud(
    rng: np.random.Generator, height: int, width: int, cell: int
) -> Float32[np.ndarray, "height width"]:
    """Draws smooth noise from -1 to 1 with features of about `cell` px."""
    coarse = rng.random((height // cell + 2, width // cell + 2), np.float32) * 2 - 1
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def texture(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width 3"]:
    """Draws a patterned surface: plain, stripes, bricks, checks, blotches or leaves, with grain."""
    base = random_colour(rng)
    step = (random_colour(rng) - base) * rng.uniform(0.2, 0.9)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    u, v = x * cos + y * sin, y * cos - x * sin
    period = rng.uniform(8, 44)
    kind = rng.choice(["plain", "stripes", "bricks", "checks", "blotches", "leaves"])
    if kind == "plain":
        mix = x * float(rng.uniform(0, 1) / width) + y * float(rng.uniform(0, 1) / height)
    elif kind == "stripes":
        mix = np.float32(u % period < period * rng.uniform(0.2, 0.6))
    elif kind == "bricks":
        row, within = np.divmod(v, period / 2)
        mix = np.float32(((u + row % 2 * (period / 2)) % period < 2) | (within < 2))
    elif kind == "checks":
        mix = (u // period + v // period) % 2
    elif kind == "blotches":
        mix = np.float32(cloud(rng, height, width, int(period)) > 0)
    else:
        mix = np.float32(cloud(rng, height, width, 7) + cloud(rng, height, width, 16) > 0.1)
    roughness = rng.uniform(0, 1) ** 2
    grain = sum(
        float(roughness * amplitude * rng.random()) * cloud(rng, height, width, cell)
        for cell, amplitude in ((2, 25), (6, 25), (20, 30))
    )
    grain += float(rng.uniform(0, 25)) * cloud(rng, height, width, 70)
    return cv2.merge([grain + mix * float(s) + float(b) for s, b in zip(step, base, strict=True)])


def _rotated_box(centre, size, degrees) -> Float[np.ndarray, "4 2"]:
    return cv2.boxPoints((tuple(map(float, centre)), tuple(map(float, size)), float(degrees)))


def _fixed(points) -> Int32[np.ndarray, "..."]:
    """Returns coordinates in px as OpenCV's fixed-point numbers."""
    return np.round(np.asarray(points) * 2**FRACTION_BITS).astype(np.int32)


def _fill(mask: UInt8[np.ndarray, "height width"], outline) -> None:
    cv2.fillPoly(mask, [_fixed(outline)], 255, cv2.LINE_AA, FRACTION_BITS)


def _blend(
    image: Float32[np.ndarray, "height width 3"], colour, mask: UInt8[np.ndarray, "height width"]
) -> None:
    """Lays `colour` (an image or one colour) over the image where the mask is 255, in place."""
    x, y, width, height = cv2.boundingRect(mask)
    window = np.s_[y : y + height, x : x + width]
    alpha = mask[window][..., None].astype(np.float32) / 255
    over = colour[window] if np.ndim(colour) == 3 else colour
    image[window] += alpha * (np.float32(over) - image[window])


def draw_background(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width 3"]:
    """Draws a wall or landscape and the ground, with clutter in front of them."""
    image = texture(rng, height, width)
    if rng.random() < 0.75:
        horizon = np.zeros((height, width), np.uint8)
        left, right = rng.uniform(0.45, 0.9) * height + rng.uniform(-0.06, 0.06, 2) * height
        _fill(horizon, [(-1, left), (width, right), (width, height), (-1, height)])
        _blend(image, texture(rng, height, width), horizon)
    for _ in range(rng.integers(2, 9)):
        mask = np.zeros((height, width), np.uint8)
        centre = rng.uniform(0, 1, 2) * (width, height)
        size = rng.uniform(0.06, 0.45, 2) * (width, height)
        kind = rng.choice(["furniture", "polygon", "limb", "foliage"], p=[0.35, 0.2, 0.25, 0.2])
        colour = random_colour(rng)
        if kind == "furniture":
            _fill(mask, _rotated_box(centre, size, rng.normal(0, 4)))
        elif kind == "polygon":
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
            ray = np.stack([np.cos(angles), np.sin(angles)], 1)
            _fill(mask, centre + ray * size / 2 * rng.uniform(0.5, 1, (len(angles), 1)))
        elif kind == "limb":
            _draw_limb_like(rng, mask, centre)
            colour = SKIN_LIKE[rng.integers(3)] if rng.random() < 0.5 else colour
        else:
            _draw_leaves(rng, mask, centre, size)
        _blend(image, colour, mask)
        if kind == "furniture":
            _blend(image, colour * 0.7, _edge(mask))
    return image


def _edge(mask: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    return cv2.subtract(mask, cv2.erode(mask, np.ones((3, 3), np.uint8)))


def _draw_limb_like(rng, mask, centre) -> None:
    """Draws a rounded bar of a limb's size, which only its surroundings distinguish from one."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3) * len(mask)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = _fixed([centre - reach, centre + reach]).tolist()
    thickness = int(rng.uniform(0.03, 0.07) * len(mask))
    cv2.line(mask, start, end, 255, thickness, cv2.LINE_AA, FRACTION_BITS)


def _draw_leaves(rng, mask, centre, size) -> None:
    places = _fixed(centre + rng.normal(0, 0.22, (24, 2)) * size).tolist()
    axes = _fixed(rng.uniform(0.04, 0.12, (24, 2)) * size.mean() + 1).tolist()
    for place, axis, angle in zip(places, axes, rng.uniform(0, 180, 24).tolist(), strict=True):
        cv2.ellipse(mask, place, axis, angle, 0, 360, 255, -1, cv2.LINE_AA, FRACTION_BITS)


def draw_occluder(
    rng: np.random.Generator,
    image: Float[np.ndarray, "height width 3"],
    joints: Float[np.ndarray, "joints 2"],
    avoid: Float[np.ndarray, "avoided 2"],
    scale: float,
) -> Bool[np.ndarray, " joints"]:
    """Lays an object over one to three of the joints, in place; returns which are hidden.

    `avoid` are points that stay visible, `scale` is the body's stature in px.
    """
    height, width = image.shape[:2]
    x, y = np.round(np.concatenate([joints, avoid])).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    targets = joints[inside[: len(joints)]]
    size = 0.24 * scale
    while True:
        centre = rng.choice(targets) + rng.normal(0, 0.1, 2) * size
        mask = draw_obstacle(rng, (height, width), centre, size)
        covered = inside & (mask[y, x] > 127)
        hidden, spoilt = covered[: len(joints)], covered[len(joints) :]
        if 1 <= hidden.sum() <= 3 and not spoilt.any():
            break
        size = max(0.95 * size, 0.1 * scale)  # a smaller object fits in the end
    cover(rng, image, mask)
    return hidden


def cover(
    rng: np.random.Generator,
    image: Float[np.ndarray, "height width 3"],
    mask: UInt8[np.ndarray, "height width"],
) -> None:
    """Draws a textured surface with an outline where the mask is 255, in place."""
    _blend(image, texture(rng, *mask.shape), mask)
    _blend(image, random_colour(rng) * 0.6, _edge(mask))


def draw_obstacle(
    rng: np.random.Generator, shape: tuple[int, int], centre: Float[np.ndarray, "2"], size: float
) -> UInt8[np.ndarray, "height width"]:
    """Draws a box, a bar across the image, a bush or a table that stands on the lower border."""
    mask = np.zeros(shape, np.uint8)
    longest = 3 * max(shape)
    kind = rng.choice(["box", "bar", "bush", "table"])
    if kind == "box":
        _fill(mask, _rotated_box(centre, rng.uniform(0.5, 1.2, 2) * size, rng.normal(0, 10)))
    elif kind == "bar":
        angle = rng.choice([0, 90]) + rng.normal(0, 12)
        _fill(mask, _rotated_box(centre, (longest, rng.uniform(0.2, 0.45) * size), angle))
    elif kind == "bush":
        _draw_leaves(rng, mask, centre, rng.uniform(0.7, 1.4, 2) * size)
    else:
        top = centre - [0, rng.uniform(0, 0.5) * size]
        box = (rng.uniform(0.8, 2.5) * size, longest)
        _fill(mask, _rotated_box(top + np.array([0, longest / 2]), box, 0))
    return mask


def expose(
    rng: np.random.Generator, image: Float[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Adds light that varies across the scene, and a camera's exposure, tint, blur and noise."""
    height, width = image.shape[:2]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    x, y = (np.linspace(-slope, slope, size, dtype=np.float32) for size in (width, height))
    light = 1 + x * float(np.cos(angle)) + y[:, None] * float(np.sin(angle))
    light += 0.08 * cloud(rng, height, width, 60)
    gain = rng.uniform(0.75, 1.25) * rng.normal(1, 0.05, 3)
    image = image * cv2.merge([light * float(channel) for channel in gain])
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.standard_normal((height, width), np.float32) * float(rng.uniform(0, 6))
    noise += float(rng.uniform(-12, 20))
    return (image + cv2.merge([noise] * 3)).clip(0, 255).astype(np.uint8)
