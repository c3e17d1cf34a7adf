"""Images that cannot be read: how many a data set may lack, and which they are."""

import logging

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)


class Lost:
    """Images of a split that cannot be read: which, why, and with how many annotations."""

    def __init__(self):
        self._problems: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, image: AnnotatedImage, problem: str) -> None:
        self._problems[image.name] = problem
        # An image without annotations is an example of what is not there.
        count = max(len(image.annotations), 1)
        self._counts[image.name] = self._counts.get(image.name, 0) + count

    def check(self, allowed: int) -> None:
        """Raises UserError if that is more than `allowed`."""
        count = sum(self._counts.values())
        if count > allowed:
            raise UserError(
                f"{self._summary(5)}. Look for them where config.data says that images are, or go "
                f"on without them with config.data.allow_missing={count}"
            )

    def say(self) -> None:
        """Logs what is left out, each image once."""
        if self._problems:
            logger.warning("left out: %s", self._summary(100))

    def _summary(self, named: int) -> str:
        names = sorted(self._problems)
        problems = list(dict.fromkeys(self._problems[name] for name in names))  # once a video
        some, left = "; ".join(problems[:named]), len(problems) - named
        more = f"; and {left} more images" if left > 0 else ""
        count = sum(self._counts.values())
        return f"{count} annotations in {len(names)} images are without an image: {some}{more}"
