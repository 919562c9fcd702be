"""Imagined people in place of a camera's: everything behind the front-end works as with real ones.

For planners, RViz and continuous integration where there is nobody to look at. One person walks
round behind a table that hides the legs half of the time; another sits and reaches out.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.perception.search import Notices
from moro_ros.types import KEYPOINTS, Camera, Keypoints, PersonObservation

CAMERA_HEIGHT = 1.0  # m above the floor, looking level
TABLE_PERIOD_S = 8.0  # of which the table hides the walker's legs for one half
LEGS = tuple(i for i, name in enumerate(KEYPOINTS) if "knee" in name or "ankle" in name)
FEET = tuple(i for i, name in enumerate(KEYPOINTS) if "heel" in name or "foot" in name)
MARGIN = 0.1  # of the box's sides, around the visible keypoints

# Rotation vectors (22, 3) of the joints, pelvis (3,) m in the camera frame, hidden keypoints.
Scene = tuple[np.ndarray, np.ndarray, tuple[int, ...]]


def bend(pose: np.ndarray, joint: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    """Set one joint's rotation vector in a pose (22, 3)."""
    pose[JOINT_NAMES.index(joint)] = (x, y, z)


def facing(heading: float) -> np.ndarray:
    """Rotation vector of an upright body in the camera frame; heading 0 looks at the camera."""
    upright = np.diag([1.0, -1.0, -1.0])
    turn, _ = cv2.Rodrigues(np.array([0.0, heading, 0.0]))
    vector, _ = cv2.Rodrigues(upright @ turn)
    return vector.ravel()


def walker(seconds: float) -> Scene:
    """Somebody who walks on a circle 3.6 m away, 0.5 m/s, behind a table now and then."""
    pose, radius = np.zeros((NUM_JOINTS, 3)), 0.6
    angle = seconds * 0.5 / radius
    step = math.sin(2 * math.pi * 0.9 * seconds)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        bend(pose, f"{side}_hip", x=-0.4 * sign * step)
        bend(pose, f"{side}_knee", x=0.15 + 0.5 * max(0.0, sign * step))
        bend(pose, f"{side}_shoulder", x=0.35 * sign * step, z=-1.25 * sign)
        bend(pose, f"{side}_elbow", y=-0.35 * sign)
    # The camera's x and z axes span the floor; a body with heading h walks along (sin h, -cos h).
    pelvis = np.array([0.3 + radius * math.cos(angle), CAMERA_HEIGHT - 0.93, 3.6])
    pelvis[2] += radius * math.sin(angle)
    pose[0] = facing(math.pi - angle)
    hidden = LEGS + FEET if seconds % TABLE_PERIOD_S < TABLE_PERIOD_S / 2 else ()
    return pose, pelvis, hidden


def sitter(seconds: float) -> Scene:
    """Somebody who sits 3 m away and reaches out with the right arm; a tray hides the feet."""
    pose = np.zeros((NUM_JOINTS, 3))
    reach = 0.5 - 0.5 * math.cos(2 * math.pi * seconds / 5.0)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        bend(pose, f"{side}_hip", x=-1.5)
        bend(pose, f"{side}_knee", x=1.5)
        bend(pose, f"{side}_shoulder", z=-1.2 * sign)
        bend(pose, f"{side}_elbow", y=-0.9 * sign)
    bend(pose, "right_shoulder", y=1.3 * reach, z=1.2 - 1.0 * reach)
    bend(pose, "right_elbow", y=0.9 - 0.8 * reach)
    bend(pose, "spine2", x=0.2 * reach)
    pose[0] = facing(0.35)
    return pose, np.array([-0.9, CAMERA_HEIGHT - 0.55, 3.0]), FEET


SCENES: tuple[Callable[[float], Scene], ...] = (walker, sitter)


class SyntheticFrontend:
    """Reports imagined people as the keypoint front-end would, without looking at the image.

    camera: the one that sees them, to be set before each image. ignored_people, carried_people,
    notices, timings: as in KeypointFrontend.
    """

    def __init__(self, body: BodyModel, max_people: int) -> None:
        self._body = body
        self._max_people = max_people
        self._start_ns: int | None = None
        self._ids: list[int] = []
        self._numbers: Iterator[int] = itertools.count(1)
        self.camera: Camera | None = None
        self.ignored_people = self.carried_people = 0
        self.notices = Notices()
        self.timings = {"detect_s": 0.0, "landmark_s": 0.0}

    def observe(
        self, image_rgb: np.ndarray, stamp_ns: int, late: bool = False
    ) -> tuple[PersonObservation, ...]:
        """Return the imagined people as the camera sees them at a time.

        image_rgb: not looked at; stamp_ns: the time, which the first image sets to zero.
        """
        start = time.perf_counter()
        if self.camera is None:
            raise ValueError("set camera before the first image")
        if self._start_ns is None or stamp_ns < self._start_ns:
            self._start_ns = stamp_ns
        if not self._ids:
            self._ids = [next(self._numbers) for _ in SCENES]
        seconds = (stamp_ns - self._start_ns) * 1e-9
        pairs = list(zip(self._ids, SCENES, strict=True))[: self._max_people]
        people = tuple(
            seen
            for track_id, scene in pairs
            if (seen := self._look(track_id, scene(seconds), self.camera)) is not None
        )
        self.timings["landmark_s"] = time.perf_counter() - start
        return people

    def offer(self, boxes_xyxy: np.ndarray) -> None:
        """Another detector's boxes are of people who are not imagined."""

    def number_from(self, ids: Iterator[int]) -> None:
        """Take ids from an iterator that several cameras share."""
        self._numbers = ids

    def correct(self, track_id: int, points_px: np.ndarray, stamp_ns: int) -> None:
        """Nobody is ever lost here."""

    def configure(
        self, _detector: DetectorConfig, _tracker: TrackerConfig, max_people: int, _realtime: bool
    ) -> None:
        """Take over how many people there may be; nothing is detected or tracked."""
        self._max_people = max_people

    def renumber(self) -> None:
        """Let the play go on with people of other ids."""
        self._ids = []

    def reset(self) -> None:
        """Begin the play anew, with people of other ids."""
        self._start_ns = None
        self._ids = []

    def _look(self, track_id: int, scene: Scene, camera: Camera) -> PersonObservation | None:
        pose, pelvis, unseen = scene
        points = self._keypoints(torch.from_numpy(pose).float(), torch.from_numpy(pelvis).float())
        points_px = image_points(points.numpy().astype(np.float64), camera)
        size = np.array([camera.width, camera.height])
        inside = ((points_px >= 0) & (points_px < size)).all(-1)
        visible: np.ndarray = np.array(inside)
        visible[list(unseen)] = False
        if not visible.any():
            return None
        low, high = points_px[visible].min(0), points_px[visible].max(0)
        margin = MARGIN * (high - low)
        keypoints = Keypoints(
            points_px.astype(np.float32),
            np.where(visible, 0.98, 0.1).astype(np.float32),
            np.where(inside, 0.98, 0.05).astype(np.float32),
        )
        box = np.concatenate([low - margin, high + margin]).astype(np.float32)
        return PersonObservation(track_id, box, 1.0, keypoints)

    def _keypoints(self, pose: Tensor, pelvis: Tensor) -> Tensor:
        """Return the keypoints (K, 3) m in the camera frame of a pose (22, 3)."""
        skeleton = self._body.skeleton(torch.zeros(1, 10))
        rest = skeleton.joints[:, :NUM_JOINTS]
        chain, joints = self._body.forward_kinematics(rotvec_to_matrix(pose)[None], rest)
        return self._body.keypoints(chain, joints, skeleton.keypoint_offsets)[0] + pelvis
