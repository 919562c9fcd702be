"""Track: the recorded motion of one person, in the axes and at the frame rate of an export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from moro_ros.errors import DataError
from moro_ros.io.export.axes import Axes
from moro_ros.io.frames import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from moro_ros.io.recording import MotionRecording

# Longer gaps in a track are not interpolated [s].
MAX_GAP_S = 0.5
# Rate of recordings of a single image, which have none [Hz].
DEFAULT_RATE_HZ = 30.0


@dataclass(frozen=True, slots=True)
class Track:
    """The motion of one person over F frames.

    times_s: (F,) s since the recording's first image, increasing.
    pose: (F, 22, 3) rotation vectors [rad]: the pelvis in the export frame, the other joints
        relative to their parents.
    joints: (F, 22, 3) m, export frame, as recorded.
    betas: (10,), the person's mean shape over the recording.
    confidence: (F, 22) in [0, 1]; state: (F, 22) uint8, both as in motion.npz.
    """

    track_id: int
    times_s: np.ndarray
    pose: np.ndarray
    joints: np.ndarray
    betas: np.ndarray
    confidence: np.ndarray
    state: np.ndarray

    def part(self, start: int, stop: int) -> Track:
        """Return the frames from start to stop, which is not included."""
        frames = slice(start, stop)
        return replace(
            self,
            times_s=self.times_s[frames],
            pose=self.pose[frames],
            joints=self.joints[frames],
            confidence=self.confidence[frames],
            state=self.state[frames],
        )


def read_tracks(
    recording: MotionRecording, path: Path, people: tuple[int, ...], frame: Axes
) -> list[Track]:
    """Return the tracks of some people, or of all if `people` is empty, one per person.

    path: for error messages. Raises: DataError if there are no people, an id is unknown or the
    values are damaged.
    """
    recorded = recording.people()
    if not recorded:
        raise DataError(f"{path} contains no people: there is nothing to export.")
    unknown = [number for number in people if number not in recorded]
    if unknown:
        raise DataError(
            f"{path} has no person {', '.join(map(str, unknown))}; --people accepts: "
            f"{', '.join(map(str, recorded))}."
        )
    first_ns = min(recording.stamps_ns, default=min(r["stamps_ns"][0] for r in recorded.values()))
    return [
        _track(number, rows, first_ns, path, frame)
        for number, rows in recorded.items()
        if not people or number in people
    ]


def _track(number: int, rows: np.ndarray, first_ns: int, path: Path, frame: Axes) -> Track:
    numbers = ("betas", "global_orient", "body_pose", "transl", "joints", "confidence")
    if (np.diff(rows["stamps_ns"]) <= 0).any():
        raise DataError(f"{path} is damaged: the stamps of person {number} do not increase.")
    if not all(np.isfinite(rows[name]).all() for name in numbers):
        raise DataError(f"{path} is damaged: person {number} has values that are not finite.")
    local = np.concatenate([rows["global_orient"], rows["body_pose"]], 1).reshape(-1, 22, 3)
    pose = local.astype(np.float64)
    turn = Rotation.from_matrix(frame.rotation)
    pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return Track(
        track_id=number,
        times_s=(rows["stamps_ns"] - first_ns) / 1e9,
        pose=pose,
        joints=frame.points(rows["joints"].astype(np.float64)),
        betas=rows["betas"].mean(0, dtype=np.float64),
        confidence=rows["confidence"].astype(np.float64),
        state=rows["state"].copy(),
    )


def rate_of(recording: MotionRecording, path: Path) -> float:
    """Return the frame rate [Hz] of a recording: the median over its images.

    Raises: DataError if a camera cannot have that rate.
    """
    steps = np.diff(np.asarray(recording.stamps_ns, np.int64))
    if not len(steps):
        return DEFAULT_RATE_HZ
    median = float(np.median(steps))
    rate = float(f"{1e9 / median:.6g}") if median > 0 else np.inf
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        raise DataError(
            f"The images of {path} are {median / 1e9:g} s apart, expected "
            f"{1 / HIGHEST_RATE_HZ:g} to {1 / LOWEST_RATE_HZ:g} s: its stamps are not those of a "
            "camera."
        )
    return rate


def interpolated(track: Track, resampled: Track, rate_hz: float) -> int:
    """Return the number of frames of a resampled track that are between two recorded ones.

    A recorded frame is that of an image less than a hundredth of a frame away.
    """
    after = np.clip(np.searchsorted(track.times_s, resampled.times_s), 1, len(track.times_s) - 1)
    near = [np.abs(resampled.times_s - track.times_s[k]) for k in (after - 1, after)]
    return int((np.minimum(*near) * rate_hz > 0.01).sum())


def without_holes(track: Track, rate_hz: float, max_gap_s: float = MAX_GAP_S) -> list[Track]:
    """Split a track at gaps longer than max_gap_s; rate_hz: of the recording."""
    # At a low rate, the time between two images is not a gap.
    longest = max(max_gap_s, 1.5 / rate_hz)
    holes = (np.flatnonzero(np.diff(track.times_s) > longest) + 1).tolist()
    ends = [0, *holes, len(track.times_s)]
    return [track.part(start, stop) for start, stop in pairwise(ends)]


def resample(track: Track, rate_hz: float) -> Track:
    """Return a track at a constant rate, on frames that all tracks of a recording share.

    Frame k of the recording is at k / rate. Positions are interpolated linearly, rotations along
    the shortest arc; states are those of the nearest recorded frame.
    """
    times = track.times_s
    first, last = np.round(times[[0, -1]] * rate_hz).astype(int)
    grid = np.arange(first, last + 1) / rate_hz
    if len(times) == 1:
        return replace(track, times_s=grid)
    # The first and last frame of the grid may be outside the track by less than a frame.
    at = np.clip(grid, times[0], times[-1])
    after = np.clip(np.searchsorted(times, at, side="right"), 1, len(times) - 1)
    weight = (at - times[after - 1]) / (times[after] - times[after - 1])
    nearest = np.where(weight < 0.5, after - 1, after)

    def linear(values: np.ndarray) -> np.ndarray:
        share = weight.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(values[after - 1] * (1 - share) + values[after] * share)

    turns = [Slerp(times, Rotation.from_rotvec(one))(at).as_rotvec() for one in
             np.moveaxis(track.pose, 1, 0)]  # fmt: skip
    return replace(
        track,
        times_s=grid,
        pose=np.stack(turns, 1),
        joints=linear(track.joints),
        confidence=linear(track.confidence),
        state=track.state[nearest],
    )
