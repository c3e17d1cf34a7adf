"""Left and right in the names of joints, in the languages where they are certain.

Two joints are a pair if their names differ by the two words of a side alone. That both names exist
is what makes a reading certain: "bright" has no partner.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Words for left and right, without the endings that both share ("linke", "rechter"). Their order is
# that of preference.
_WORDS = (
    ("left", "right"),
    ("link", "recht"),  # German, Dutch
    ("gauche", "droite"),
    ("gauche", "droit"),
    ("izquierd", "derech"),
    ("sinistr", "destr"),
    ("esquerd", "direit"),
    ("vänster", "höger"),
    ("vanster", "hoger"),
    ("venstre", "højre"),  # Danish
    ("venstre", "hojre"),
    ("venstre", "høyre"),  # Norwegian
    ("venstre", "hoyre"),
    ("vasen", "oikea"),  # Finnish
    ("lew", "praw"),  # Polish
    ("lev", "prav"),  # Czech, Slovene
    ("лев", "прав"),  # Russian
    ("лів", "прав"),  # Ukrainian
    ("bal", "jobb"),  # Hungarian
    ("sol", "sağ"),  # Turkish
    ("stâng", "drept"),  # Romanian
    ("stang", "drept"),
    ("αριστερ", "δεξι"),
    ("sinist", "dext"),  # Latin
    ("hidari", "migi"),
    ("kiri", "kanan"),  # Malay, Indonesian
    ("左", "右"),
    ("왼", "오른"),
)
# Shortened words are certain as a whole part of a name alone.
_SHORT = (("izq", "der"), ("esq", "dir"), ("sx", "dx"), ("lt", "rt"), ("lft", "rgt"), ("li", "re"))


def _part(word: str) -> str:
    return rf"(?:^|(?<=[\W_])){word}(?=[\W_\d]|$)"


def _letter(letter: str) -> str:
    """Returns a pattern of a letter that begins or ends a part: "lwrist", "FL_paw", "EarL"."""
    capital = letter.upper()
    either = f"[{letter}{capital}]"
    return (
        rf"(?:^|(?<=[\W_])){either}|{either}(?=[\W_]|$)|(?<=[a-z]){capital}(?=[A-Z0-9])"
        rf"|(?<=\d){either}(?=[\W_]|$)"
    )


_PATTERNS = (
    *(tuple(re.compile(word, re.IGNORECASE) for word in pair) for pair in _WORDS),
    *(tuple(re.compile(_part(word), re.IGNORECASE) for word in pair) for pair in _SHORT),
    tuple(re.compile(_letter(letter)) for letter in "lr"),
)
# A side that a lone name shows: the beginning of it or of a part, or a word in camel case.
_ALONE = re.compile(r"(?:^|(?<=[\W_\d]))(?i:left|right)|(?<=[a-z])(?:Left|Right)")


def pairs_by_name(joints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns the (left, right) pairs among joints whose names differ by their side alone.

    A side is a word for left or right anywhere ("leftear", "Ohr links"), or "l"/"r" that begins or
    ends the name or a part of it ("lwrist", "ear-l", "EarL"). A name with two partners is left
    alone.
    """
    forms: dict[tuple[int, int, str], list[str]] = {}
    readings = {joint: list(_sides_in(joint)) for joint in joints}
    for joint in joints:
        for reading in readings[joint]:
            forms.setdefault(reading, []).append(joint)
    pairs, taken = [], set()
    for joint in joints:
        for words, side, rest in readings[joint]:
            partners = forms.get((words, 1, rest), [])
            if side != 0 or len(forms[words, 0, rest]) != 1 or len(partners) != 1:
                continue
            if joint not in taken and partners[0] not in taken and partners[0] != joint:
                pairs.append((joint, partners[0]))
                taken |= {joint, partners[0]}
    return tuple(pairs)


def without_partner(joints: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the joints whose names tell a side, in English, and that no pair includes."""
    paired = {joint for pair in pairs for joint in pair}
    return [joint for joint in joints if joint not in paired and _ALONE.search(joint)]


def _sides_in(joint: str) -> Iterator[tuple[int, int, str]]:
    """Yields every reading of a name: the pair of words, the side (0, 1) and the rest."""
    name = unicodedata.normalize("NFC", joint)
    for words, pair in enumerate(_PATTERNS):
        for side, pattern in enumerate(pair):
            for match in pattern.finditer(name):
                yield words, side, f"{name[: match.start()]}<{name[match.end() :]}".casefold()
