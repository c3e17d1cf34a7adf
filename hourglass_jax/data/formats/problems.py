"""What is wrong in a file of annotations, entry by entry: each is named and counted, said once."""

import logging
import pathlib

logger = logging.getLogger(__name__)

_NAMED = 3  # entries that are named of each kind
_KINDS = 20  # kinds that are logged


class Problems:
    """Entries of a file that are not taken as they are.

    An entry that is wrong costs neither the file nor its neighbours.
    """

    def __init__(self, path: pathlib.Path | str):
        self.path = str(path)
        self._counts: dict[str, int] = {}
        self._named: dict[str, list[str]] = {}

    def add(self, what: str, entry: str) -> None:
        """Notes what is wrong with an entry and what happens to it, such as "left out, as ..."."""
        named = self._named.setdefault(what, [])
        self._counts[what] = self._counts.get(what, 0) + 1
        if len(named) < _NAMED:
            named.append(entry)

    def absorb(self, other: "Problems") -> None:
        """Adds those of another file."""
        for what, count in other._counts.items():
            named = [f"{entry} of {other.path}" for entry in other._named[what]]
            self._named[what] = (self._named.get(what, []) + named)[:_NAMED]
            self._counts[what] = self._counts.get(what, 0) + count

    def __bool__(self) -> bool:
        """Returns whether anything is wrong."""
        return bool(self._counts)

    def say(self) -> None:
        """Logs a warning for each kind."""
        kinds = self._kinds()
        for what in kinds[:_KINDS]:
            logger.warning("%s, %s: %s", self.path, self._entries(what), what)
        if len(kinds) > _KINDS:
            rest = sum(self._counts[what] for what in kinds[_KINDS:])
            logger.warning("%s: %d more entries, each for its reason", self.path, rest)

    def __str__(self) -> str:
        """Returns the most frequent kinds, for the message that a file cannot be used."""
        return "; ".join(f"{self._entries(what)}: {what}" for what in self._kinds()[:3])

    def _kinds(self) -> list[str]:
        return sorted(self._counts, key=self._counts.__getitem__, reverse=True)

    def _entries(self, what: str) -> str:
        named, more = ", ".join(self._named[what]), self._counts[what] - len(self._named[what])
        return f"{named} and {more} more" if more else named


def text_of(error: BaseException) -> str:
    """Returns the message of an error as one line."""
    return " ".join(str(error).split())[:200]
