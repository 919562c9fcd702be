"""What the front-end notices beside the people it reports: counted, and named in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

LOGGER = logging.getLogger(__name__)
# At most one hint of a kind in so long.
PERIOD_NS = 10_000_000_000


class Notices:
    """Counts since the start, by the names they have in the diagnostics.

    small_people: how often somebody was found who is smaller than detector.smallest_person while
    nobody was reported; pictures: people who have not moved since they were first seen
    (tracker.picture_s).
    """

    def __init__(self) -> None:
        self.counts = {"small_people": 0, "pictures": 0}
        self._said_ns: int | None = None

    def too_small(self, share: float, least: float, now_ns: int) -> None:
        """Note that only somebody was found who is too small, in shares of the shorter side."""
        self.counts["small_people"] += 1
        if self._said_ns is not None and 0 <= now_ns - self._said_ns < PERIOD_NS:
            return
        self._said_ns = now_ns
        LOGGER.warning(
            "People are in view, but all are smaller than detector.smallest_person (%g of the "
            "shorter image side): one has %.2f. Lower it to track them, at the price of more "
            "time per image.",
            least,
            share,
        )

    def pictures(self, ids: Sequence[int], seconds: float, dropped: bool) -> None:
        """Note who has never moved so far."""
        for track_id in ids:
            self.counts["pictures"] += 1
            LOGGER.warning(
                "Person %d has not moved since they were first seen %g s ago and may be a "
                "picture or clothes. They are %s (tracker.drop_pictures).",
                track_id,
                seconds,
                "not published until they move" if dropped else "still reported",
            )
