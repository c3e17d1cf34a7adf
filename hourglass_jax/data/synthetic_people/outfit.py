"""A person's looks: skin, hair and clothes.

Nothing here distinguishes left from right: both sides of a person look the same.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

WHITE, BLACK = np.array([245.0, 245.0, 245.0]), np.array([25.0, 22.0, 25.0])
SKINS = np.array([(255, 220, 192), (236, 190, 152), (200, 138, 98), (142, 88, 58), (92, 58, 40)])
HAIRS = np.array([(24, 20, 20), (70, 45, 28), (120, 78, 45), (214, 178, 112), (150, 68, 32)])
HAIR_STYLES = {"short": 0.4, "medium": 0.2, "long": 0.17, "bun": 0.1, "cap": 0.13}
PATTERNS = {"plain": 0.6, "hoops": 0.16, "stripes": 0.1, "checks": 0.14}
FRONTS = {"buttons": 0.2, "print": 0.2, "jacket": 0.2, "tie": 0.2, "collar": 0.2}
SLEEVES = {0.25: 0.12, 0.6: 0.4, 1.3: 0.08, 1.95: 0.4}
LEGS = {0.55: 0.12, 0.9: 0.15, 1.5: 0.08, 1.97: 0.65}


class Outfit(NamedTuple):
    """One person's looks; colours are RGB from 0 to 255."""

    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    hair_style: str
    beard: bool
    top: Float[np.ndarray, "3"]
    top_second: Float[np.ndarray, "3"]  # of the pattern
    pattern: str
    front: str  # detail on the front of the top
    sleeve: float  # how far down the arm the top goes: 1 to the elbow, 2 to the wrist
    bottom: Float[np.ndarray, "3"]
    leg: float  # how far down the leg the bottom goes: 1 to the knee, 2 to the ankle
    skirt: bool
    shoe: Float[np.ndarray, "3"]
    backpack: bool
    accent: Float[np.ndarray, "3"]  # cap, tie, print, backpack


def _choose(rng: np.random.Generator, shares: dict):
    return list(shares)[rng.choice(len(shares), p=list(shares.values()))]


def _cloth_colour(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Draws a colour: sometimes grey, mostly muted, sometimes bright."""
    return rng.uniform(30, 240) * (1 - rng.choice([0.1, 0.35, 0.8]) * rng.random(3))


def _hair_colour(rng: np.random.Generator, skin: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    grey = rng.random() < 0.15
    hair = np.full(3, rng.uniform(120, 210)) if grey else HAIRS[rng.integers(len(HAIRS))]
    hair = hair * rng.uniform(0.8, 1.15)
    if np.abs(hair - skin).mean() < 45:  # the back of a head must not look like a face
        return HAIRS[0] if skin.mean() > 110 else HAIRS[3]
    return hair


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draws one person's looks."""
    tone = rng.uniform(0, len(SKINS) - 1)
    skin = np.array([np.interp(tone, np.arange(len(SKINS)), channel) for channel in SKINS.T])
    hair_style = _choose(rng, HAIR_STYLES)
    return Outfit(
        skin=skin,
        hair=_hair_colour(rng, skin),
        hair_style=hair_style,
        beard=hair_style == "short" and rng.random() < 0.25,
        top=_cloth_colour(rng),
        top_second=_cloth_colour(rng),
        pattern=_choose(rng, PATTERNS),
        front=_choose(rng, FRONTS),
        sleeve=_choose(rng, SLEEVES),
        bottom=_cloth_colour(rng),
        leg=_choose(rng, LEGS),
        skirt=rng.random() < 0.15,
        shoe=rng.choice([BLACK, WHITE, _cloth_colour(rng)]),
        backpack=rng.random() < 0.08,
        accent=_cloth_colour(rng),
    )
