"""Detects contradictions between cameras: wrong or exchanged extrinsics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from moro_ros.recover.fusion.fusion import Fusion

# Keypoints of correct cameras are this near to the fused body, relative to the person box; those of
# a wrong camera are farther than that and than this many times the others' median.
USUAL, BESIDE_OTHERS = 0.035, 1.7
# People are matched within this many times at which several cameras see people.
PATIENCE = 45


class Judge:
    """Monitors a fusion; words: the current problems, one sentence each; usually empty."""

    def __init__(self) -> None:
        self._unmatched = 0

    def look(self, fusion: Fusion) -> None:
        """Update for the newest time."""
        seeing = {camera for tracks in fusion.matcher.members.values() for camera, _ in tracks}
        if fusion.matcher.matched:
            self._unmatched = 0
        elif len(seeing) > 1:
            self._unmatched += 1

    def problems(self, fusion: Fusion) -> list[str]:
        """Return the sentences."""
        if self._unmatched >= PATIENCE:
            names = ", ".join(sorted(fusion.views))
            return [
                f"Cameras {names} see people, but no person matches in place and pose. Expected "
                "cameras that see the same people at the same time. Check whether two cameras are "
                "exchanged, their clocks or starts differ, or extrinsics are wrong."
            ]
        return [
            f"Camera {name} disagrees with the others: its keypoints are {share:.1%} of a person's "
            f"size from the body, expected less than {USUAL:.1%}. Refine its extrinsics with "
            "'moro calibrate', or calibrate it again."
            for name, share in suspects(fusion.residual).items()
        ]


def suspects(residual: Mapping[str, float]) -> dict[str, float]:
    """Return the cameras with outlying residuals; of two cameras both or none."""
    found = {name: share for name, share in residual.items() if share > USUAL}
    if len(residual) < 3:
        return found
    middle = float(np.median(list(residual.values())))
    return {name: share for name, share in found.items() if share > BESIDE_OTHERS * middle}
