"""Detects contradictions between cameras: wrong or exchanged extrinsics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from moro_ros.geometry.lens import project_points
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.looks import FusedPerson

# Keypoints of correct cameras are this near to the fused body, relative to the person box; those of
# a wrong camera are farther than that and than this many times the others' median.
USUAL, BESIDE_OTHERS = 0.035, 1.7
# If no residual is far above the others', the wrong camera is among those over this share of USUAL.
DOUBTFUL = 0.5
# A camera that does not count has a residual of more than this many times USUAL: without a camera
# that is hardly wrong, the others know less than with it.
FAR = 2.0
# People are matched within this many times at which several cameras see people.
PATIENCE = 45
# Number of people and images in the running mean of a camera's residual, and the least for a
# verdict: a camera that does not count no longer pulls the body, so a hasty one confirms itself.
RESIDUAL_MEMORY, LEAST_RESIDUALS = 100, 30


class Judge:
    """Monitors the agreement of cameras.

    residual: camera -> running mean of FusedPerson.residual over people and images.
    """

    def __init__(self) -> None:
        self.residual: dict[str, float] = {}
        self._measured: dict[str, int] = {}  # number of people and images in the residual
        self._seeing: set[str] = set()
        self._unmatched = 0  # times at which several cameras saw people and none matched
        self._unmatched_cameras: set[str] = set()  # at the last of these times
        self._apart: dict[str, int] = {}  # times at which a camera contradicted those that match

    def look(self, views: Mapping[str, View], people: Sequence[FusedPerson]) -> None:
        """Update for one time. views: by name; people: then."""
        for one in people:
            for camera, share in one.residual.items():
                known = self.residual.setdefault(camera, share)
                count = self._measured[camera] = self._measured.get(camera, 0) + 1
                self.residual[camera] += (share - known) / min(count, RESIDUAL_MEMORY)
        self._seeing = cameras_of(people)
        joint = agreeing(people)
        if joint:
            self._unmatched = 0
        elif len(self._seeing) > 1:
            self._unmatched += 1
            self._unmatched_cameras = set(self._seeing)
        for camera in cameras_of(joint):
            self._apart.pop(camera, None)
        for camera in self._seeing - cameras_of(joint):
            own = [one for one in people if camera in cameras_of([one])]
            times = self._apart.get(camera, 0) + (
                1 if contradict(views, camera, own, joint) else -1
            )
            self._apart[camera] = min(max(times, 0), 2 * PATIENCE)

    def forget(self, camera: str) -> None:
        """Forget a camera."""
        self._unmatched = 0
        self.residual.pop(camera, None)
        self._measured.pop(camera, None)
        self._apart.pop(camera, None)

    @property
    def apart(self) -> set[str]:
        """Cameras whose people none of the other cameras see where these match; see contradict."""
        return {camera for camera, times in self._apart.items() if times >= PATIENCE}

    @property
    def off(self) -> str | None:
        """The one of three or more cameras that is far from the others, while all others agree."""
        wrong = [name for name, share in self.residual.items() if share > USUAL]
        measured = all(count >= LEAST_RESIDUALS for count in self._measured.values())
        if len(wrong) != 1 or wrong[0] not in outlying(self.residual) or not measured:
            return None
        return wrong[0] if self.residual[wrong[0]] > FAR * USUAL else None

    def problems(self) -> list[str]:
        """Return the current problems, one sentence each; usually empty."""
        if self._unmatched >= PATIENCE:
            names = ", ".join(sorted(self._unmatched_cameras))
            return [
                f"Cameras {names} see people, but no person matches in place and pose. Expected "
                "cameras that see the same people at the same time. Check whether two cameras are "
                "exchanged, their clocks or starts differ, or extrinsics are wrong."
            ]
        words = [
            f"Camera {name} sees none of the people whom the other cameras see together, although "
            "they would be in its image, and its own people are left out. Check whether it is "
            "exchanged with another one, its clock or start differs, or its extrinsics are wrong."
            for name in sorted(self.apart)
        ]
        found = {name: share for name, share in self.residual.items() if share > USUAL}
        known = outlying(self.residual) if len(self.residual) > 2 else found
        # Rays of three level cameras meet pairwise, whichever of them is turned sideways.
        again = "all three again, since another one may be off instead"
        again = again if len(self.residual) == 3 else "it again"
        words += [
            f"Camera {name} disagrees with the others: its keypoints are {share:.1%} of a person's "
            f"size from the body, expected less than {USUAL:.1%}. Refine the extrinsics with "
            f"'moro calibrate', or calibrate {again}."
            for name, share in known.items()
        ]
        if found and not known:
            names = ", ".join(
                f"{name} ({share:.1%})"
                for name, share in sorted(self.residual.items())
                if share > DOUBTFUL * USUAL
            )
            words.append(
                f"Cameras {names} disagree, and at least one of them is off: these are the "
                f"distances of keypoints from the body, expected less than {USUAL:.1%} of a "
                "person's size. Refine the extrinsics with 'moro calibrate', or calibrate again."
            )
        return words


def outlying(residual: Mapping[str, float]) -> dict[str, float]:
    """Return those of three or more cameras whose residuals are far above the others'."""
    if len(residual) < 3:
        return {}
    limit = max(USUAL, BESIDE_OTHERS * float(np.median(list(residual.values()))))
    return {name: share for name, share in residual.items() if share > limit}


def cameras_of(people: Sequence[FusedPerson]) -> set[str]:
    """Return the cameras that see people."""
    return {camera for one in people for camera, _ in one.tracks}


def agreeing(people: Sequence[FusedPerson]) -> list[FusedPerson]:
    """Return the people of cameras that match each other; of several such groups the largest.

    Of equal ones it is that with the smallest residual.
    """
    groups: list[list[FusedPerson]] = []
    for one in people:
        if len(one.tracks) > 1:
            linked = [g for g in groups if cameras_of(g) & cameras_of([one])]
            groups = [g for g in groups if g not in linked] + [[one, *chain(*linked)]]
    return max(groups, key=size_and_fit, default=[])


def size_and_fit(group: Sequence[FusedPerson]) -> tuple[int, float]:
    """Return the number of tracks of a group, and minus the sum of its residuals."""
    shares = [share for one in group for share in one.residual.values()]
    return sum(len(one.tracks) for one in group), -sum(shares)


def contradict(
    views: Mapping[str, View], camera: str, own: Sequence[FusedPerson], joint: Sequence[FusedPerson]
) -> bool:
    """Whether a camera and those that agree should see each other's people, and do not.

    own: people of the camera; joint: of those that agree. Of a camera that sees another place, no
    people are in their images.
    """
    return any(in_image(views[camera], one) for one in joint) and any(
        in_image(views[other], one) for other in cameras_of(joint) for one in own
    )


def in_image(view: View, one: FusedPerson) -> bool:
    """Whether a person's pelvis is in a camera's image, if nothing hides it."""
    place = view.inside(one.motion.joints[:1, 0].astype(np.float64))
    column, row = project_points(place, view.camera)[0]
    return bool(0 <= column < view.camera.width and 0 <= row < view.camera.height)
