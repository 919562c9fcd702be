"""Result: the motion of all people in front of one camera, recorded or live, for display."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES, NUM_JOINTS
from moro_ros.errors import DataError
from moro_ros.io.export.axes import LEVEL, Axes, axes
from moro_ros.io.motion_bag import BagMotion
from moro_ros.io.pictures import Pictures
from moro_ros.io.recording import OBSERVED, MotionRecording
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundEstimator, GroundPlane
from moro_ros.types import Camera

# Maximum distance of a moment from the requested stamp [ns].
NEAR_NS = 500_000_000
# Sources of the ground, the best one first.
SOURCES = ("from the node", "from standing feet", "assumed to be level")
RECORDED, ESTIMATED, ASSUMED = SOURCES
# Maximum mean lean of people on a valid ground [rad].
LEANING = 0.2
# Without a known ground: percentage of the lowest joints below it, steps of its height [m], and
# number of joints that are kept.
BELOW, STEP_M, MOST_LOWEST = 5.0, 0.1, 1000
UPWARDS = (0.0, 0.0, 1.0)
NECK, FEET = JOINT_NAMES.index("neck"), list(CONTACT_JOINTS)


class Pose(NamedTuple):
    """One person at one moment; row: () of dtype ROW; covariance: (22, 3, 3) m^2 or None."""

    row: np.ndarray
    covariance: np.ndarray | None


class Moment(NamedTuple):
    """All people in one image, by id."""

    stamp_ns: int
    people: dict[int, Pose]


class Result:
    """Moments in the order of their stamps.

    name: displayed name. limit: number of moments that are kept, 0: all. ground: in the camera
    optical frame, None while unknown; ground_from: text of its source. shift_ns: from its stamps
    to those of the result that it is compared with.
    """

    def __init__(
        self,
        name: str,
        camera: Camera | None = None,
        pictures: Pictures | None = None,
        limit: int = 0,
    ) -> None:
        self.name, self.camera, self.pictures = name, camera, pictures
        self.ground: GroundPlane | None = None
        self.ground_from = ASSUMED
        self.shift_ns = 0
        self._limit = limit
        self._lowest: list[float] = []
        self._axis, self._up = np.zeros(3), LEVEL
        # Only appended to or replaced, because another thread may be reading it.
        self.moments: list[Moment] = []

    def add(self, moment: Moment) -> None:
        """Add a moment; one that is not newer than the last restarts the motion."""
        if self.moments and moment.stamp_ns <= self.moments[-1].stamp_ns:
            self.moments = []
        self.moments.append(moment)
        if self.ground_from == ASSUMED:
            self._assume_ground(moment)
        if self._limit and len(self.moments) > 1.1 * self._limit:
            self.moments = self.moments[-self._limit :]

    def near(self, stamp_ns: int) -> tuple[list[Moment], int | None]:
        """Return the moments, and the index of the one nearest to a stamp; None: none is near."""
        moments = self.moments
        after = bisect_left(moments, stamp_ns, key=lambda moment: moment.stamp_ns)
        places = [k for k in (after - 1, after) if 0 <= k < len(moments)]
        if not places:
            return moments, None
        best = min(places, key=lambda k: abs(moments[k].stamp_ns - stamp_ns))
        near = abs(moments[best].stamp_ns - stamp_ns) <= NEAR_NS
        return moments, best if near else None

    def _assume_ground(self, moment: Moment) -> None:
        """Place the ground below the lowest feet so far while no better one is known."""
        joints = [pose.row["joints"] for pose in moment.people.values()]
        self._axis += sum((body[NECK] - body[FEET].mean(0) for body in joints), np.zeros(3))
        # People in the frame of the world, such as those of several cameras, stand along its z.
        upwards = self.camera is None and self._axis[2] > abs(self._axis[1])
        up = UPWARDS if upwards else LEVEL
        if up != self._up:
            self._up, self._lowest = up, []
        lowest = [float((body @ up).min()) for body in joints]
        self._lowest = [*self._lowest, *lowest][-MOST_LOWEST:]
        if not self._lowest:
            return
        ground = level_ground(float(np.percentile(self._lowest, BELOW)), up)
        known = self.ground
        same = known is not None and bool(known.normal @ ground.normal > 0.0)
        if known is None or not same or abs(ground.offset - known.offset) > STEP_M:
            self.ground = ground

    def ids(self) -> list[int]:
        """Return the ids of all people in it."""
        return sorted(set().union(*(moment.people for moment in self.moments)))

    def axes(self) -> Axes:
        """Return the frame in which it is shown: x right, y away from the camera, z up, m."""
        if self.ground is None:
            return axes("z")
        return axes("z", tuple(self.ground.normal), self.ground.offset)


def recorded_result(
    name: str,
    recording: MotionRecording,
    path: Path,
    pictures: Pictures | None = None,
    bag: BagMotion | None = None,
) -> Result:
    """Return a recording as a result; bag: the covariances and the ground, if they are known.

    path: for error messages. Raises: DataError if it has no people, is not in a camera's frame or
    its values are damaged.
    """
    recording.check_camera_frame(path)
    people = recording.people()
    if not people:
        raise DataError(f"{path} contains no people: there is nothing to show.")
    stamps = set(recording.stamps_ns)
    stamps.update(*(rows["stamps_ns"].tolist() for rows in people.values()))
    moments = {stamp: Moment(stamp, {}) for stamp in sorted(stamps)}
    covariances = bag.covariances if bag else {}
    for track_id, rows in people.items():
        for name_of in ("betas", "global_orient", "body_pose", "transl", "joints", "contacts"):
            if not np.isfinite(rows[name_of]).all():
                raise DataError(
                    f"{path} is damaged: person {track_id} has values that are not finite."
                )
        for row in rows:
            stamp = int(row["stamps_ns"])
            covariance = covariances.get((stamp, track_id))
            moments[stamp].people[track_id] = Pose(row, covariance)
    result = Result(name, recording.camera, pictures)
    result.moments = list(moments.values())
    if bag is not None and bag.ground_plane is not None:
        result.ground = GroundPlane(bag.ground_plane[:3], float(bag.ground_plane[3]))
        result.ground_from = RECORDED
    else:
        result.ground, result.ground_from = ground_of(people)
    return result


def ground_of(people: dict[int, np.ndarray]) -> tuple[GroundPlane, str]:
    """Return the ground below recorded people, and its source.

    people: (F,) of dtype ROW by id. If feet stand at two heights, it is the lower one. Without
    enough standing feet, the camera is assumed to be level and the ground is below the lowest feet.
    """
    estimator, axis = GroundEstimator(), np.zeros(3)
    for rows in people.values():
        seconds = np.diff(rows["stamps_ns"]) * 1e-9
        steps = np.diff(rows["joints"], axis=0)
        velocity = np.zeros((len(rows), NUM_JOINTS, 3))
        velocity[1:] = steps / np.maximum(seconds, 1e-3)[:, None, None]
        seen = rows["state"] == OBSERVED
        axis += (rows["joints"][:, NECK] - rows["joints"][:, FEET].mean(1)).sum(0)
        for k in range(1, len(rows)):
            estimator.add_pose(rows["joints"][k], velocity[k], rows["contacts"][k], seen[k])
    plane = estimator.plane
    if plane is not None and plane.normal @ axis > np.cos(LEANING) * np.linalg.norm(axis):
        return GroundPlane(plane.normal, plane.offset - min(estimator.step_m, 0.0)), ESTIMATED
    lowest = np.concatenate([(rows["joints"] @ LEVEL).min(1) for rows in people.values()])
    return level_ground(float(np.percentile(lowest, BELOW))), ASSUMED


def level_ground(lowest_m: float, up: Sequence[float] = LEVEL) -> GroundPlane:
    """Return the level ground; lowest_m: height of the lowest foot along up, a level camera's."""
    return GroundPlane(np.array(up), JOINT_HEIGHT_M[1] - lowest_m)
