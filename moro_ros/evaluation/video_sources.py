"""Sources of joints from observed images: live stream, single frames, BlazePose itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.occlusion import MIRRORED_KEYPOINTS
from moro_ros.evaluation.sigma import axis_sigma
from moro_ros.evaluation.video_score import LIMB_JOINTS, NUM_POINTS, NUM_ROWS
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.two_sided import TwoSided
from moro_ros.types import KEYPOINTS, BodyMotion, Frame

# Rows (F, NUM_ROWS, 3) m in the camera frame (video_score.py), by track id; NaN if there are none.
Tracks = dict[int, np.ndarray]
Carry = Callable[[Sequence[tuple[int, np.ndarray]], int], np.ndarray | None]


class JointSource(Protocol):
    """Joints of all people in a sequence of observed images."""

    def recover(self, frames: Sequence[Frame]) -> Tracks: ...


class MotionStream(Protocol):
    """A source of motion from observations, image by image (motion_stream.MoRoStream)."""

    @property
    def body(self) -> BodyModel: ...

    def push(self, frame: Frame) -> tuple[BodyMotion, ...]: ...

    def reset(self) -> None: ...


class StreamJoints:
    """The live stream, image by image; a later result of an image replaces an earlier one."""

    def __init__(self, stream: MotionStream) -> None:
        self.stream = stream

    def recover(self, frames: Sequence[Frame]) -> Tracks:
        """Return the stream's final result for each image."""
        self.stream.reset()
        motions = (motion for frame in frames for motion in self.stream.push(frame))
        return tracks_of(motions, frames, self.stream.body)


class TwoSidedJoints:
    """The same network with the frames before and after each image, as `moro predict --refined`.

    The stream must be configured for it (live/two_sided.py).
    """

    def __init__(self, stream: MoRoStream) -> None:
        self.stream = stream

    def recover(self, frames: Sequence[Frame]) -> Tracks:
        """Return the motion in each image, decoded with later frames."""
        self.stream.reset()
        described, motions = TwoSided(self.stream), list[BodyMotion]()
        for frame in frames:
            motions += described.before(frame)
            self.stream.push(frame)
            motions += described.after()
        return tracks_of(motions + described.before(None), frames, self.stream.body)


class FrameJoints:
    """The same network without time: each image is a separate window."""

    def __init__(self, stream: MotionStream) -> None:
        self.stream = stream

    def recover(self, frames: Sequence[Frame]) -> Tracks:
        """Return the stream's result for each image without any other."""
        motions = list[BodyMotion]()
        for frame in frames:
            self.stream.reset()
            motions += self.stream.push(frame)
        return tracks_of(motions, frames, self.stream.body)


class InTurns:
    """A source whose front-end looks at each person only in every `turn`-th image.

    carry: extrapolates the keypoints (K, 2) to a time, ns, from two looks, (time, keypoints) each;
    None if it cannot, and then the front-end looks.
    """

    def __init__(self, source: JointSource, turn: int, carry: Carry) -> None:
        self.source, self.turn, self.carry = source, turn, carry

    def recover(self, frames: Sequence[Frame]) -> Tracks:
        """Return the source's result for such observations."""
        looks: dict[int, tuple[tuple[int, np.ndarray], ...]] = {}
        shown = []
        for number, frame in enumerate(frames):
            people = []
            for person in frame.people:
                before = looks.get(person.track_id, ())
                carried = None
                if number % self.turn and len(before) == 2:
                    carried = self.carry(before, frame.stamp_ns)
                if person.keypoints is not None and carried is not None:
                    keypoints = replace(person.keypoints, points_px=carried)
                    person = replace(person, keypoints=keypoints)
                elif person.keypoints is not None:
                    look = frame.stamp_ns, person.keypoints.points_px
                    looks[person.track_id] = (*before[-1:], look)
                people.append(person)
            shown.append(replace(frame, people=tuple(people)))
        return self.source.recover(shown)


class Region(Protocol):
    """The region of a landmark network: its rotation in the image (frontend.Region)."""

    @property
    def angle(self) -> float: ...


class Landmarks(Protocol):
    """The output of a landmark network (frontend.Landmarks)."""

    @property
    def points_px(self) -> np.ndarray: ...

    @property
    def world(self) -> np.ndarray: ...


class WorldMemory:
    """Wraps a landmark network and stores the metric estimate of each output."""

    def __init__(self, landmarker: object) -> None:
        self._landmarker = landmarker
        self._worlds: dict[bytes, np.ndarray] = {}

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks:
        """Run the network (frontend.BlazePoseLandmarker.locate)."""
        landmarks: Landmarks = self._landmarker.locate(image_rgb, region)  # type: ignore[attr-defined]
        rows = list(KEYPOINTS.values())
        points = landmarks.points_px[rows]
        # The network's axes are those of its rotated crop.
        cos, sin = np.cos(region.angle), np.sin(region.angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        world = landmarks.world[rows] @ turn.T
        mirrored = list(MIRRORED_KEYPOINTS)
        # The tracker may have swapped left and right deliberately.
        self._worlds[points[mirrored].tobytes()] = world[mirrored]
        self._worlds[points.tobytes()] = world
        return landmarks

    def of(self, points_px: np.ndarray) -> np.ndarray | None:
        """Return the estimate (K, 3) m, from mid-hip, camera axes, for some keypoints (K, 2)."""
        return self._worlds.get(points_px.tobytes())


class WorldJoints:
    """BlazePose's own world landmarks: relative to mid-hip, without a position in space."""

    def __init__(self, memory: WorldMemory) -> None:
        self.memory = memory

    def recover(self, frames: Sequence[Frame]) -> Tracks:
        """Return the 12 limb joints and all keypoints of seen people, NaN for other joints."""
        rows = [JOINT_NAMES.index(name) for name in LIMB_JOINTS]
        points = [list(KEYPOINTS).index(name) for name in LIMB_JOINTS]
        tracks: Tracks = {}
        for number, frame in enumerate(frames):
            for person in frame.people:
                if person.keypoints is None:
                    continue
                world = self.memory.of(person.keypoints.points_px)
                if world is not None:
                    places = np.full((NUM_ROWS, 3), np.nan)
                    places[rows], places[NUM_JOINTS:NUM_POINTS] = world[points], world
                    _place(tracks, person.track_id, number, places, len(frames))
        return tracks


def tracks_of(motions: Iterable[BodyMotion], frames: Sequence[Frame], body: BodyModel) -> Tracks:
    """Return the rows of motions, each at the images of its stamps."""
    tracks: Tracks = {}
    index = {frame.stamp_ns: number for number, frame in enumerate(frames)}
    for motion in motions:
        for stamp_ns, place in zip(motion.stamps_ns, body_rows(motion, body), strict=True):
            _place(tracks, motion.track_id, index[int(stamp_ns)], place, len(frames))
    return tracks


def body_rows(motion: BodyMotion, body: BodyModel) -> np.ndarray:
    """Return the rows (F, NUM_ROWS, 3) m of a motion: joints, own keypoints, sigma of both."""
    offsets = body.skeleton(torch.from_numpy(motion.smplx.betas)[None]).keypoint_offsets
    rotations, joints = torch.from_numpy(motion.joint_rotations), torch.from_numpy(motion.joints)
    keypoints = body.keypoints(rotations, joints, offsets)
    sigma = axis_sigma(motion.covariance, motion.joints)
    sigma = np.where(sigma > 0, sigma, np.nan)  # zero stands for unknown
    carried = sigma[:, list(body.keypoint_joints)]
    return np.concatenate([motion.joints, keypoints.numpy(), sigma, carried], 1)


def _place(tracks: Tracks, track_id: int, number: int, rows: np.ndarray, count: int) -> None:
    empty = np.full((count, NUM_ROWS, 3), np.nan)
    tracks.setdefault(track_id, empty)[number] = rows
