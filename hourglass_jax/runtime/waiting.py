"""Progress of a long job: a line now and then."""

import logging
import time

logger = logging.getLogger(__name__)


class Waiting:
    """Logs now and then how much of a job is done, and how long the rest takes."""

    EVERY = 10.0  # seconds

    def __init__(self, total: int, unit: str = "files"):
        self._total, self._unit, self._done = total, unit, 0
        self._start = self._logged = time.perf_counter()

    def advance(self) -> None:
        self._done += 1
        now = time.perf_counter()
        if now - self._logged > self.EVERY:
            self._logged = now
            if not self._total:  # nobody knows
                logger.info("%d %s", self._done, self._unit)
                return
            left = round((now - self._start) / self._done * max(self._total - self._done, 0))
            logger.info(
                "%d of %d %s, %d:%02d left", self._done, self._total, self._unit, *divmod(left, 60)
            )
