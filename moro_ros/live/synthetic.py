"""Simulated people in place of a camera's; the rest of the pipeline works as with real ones.

For planners, RViz and continuous integration without a camera. synthetic_scenes.py defines their
motion.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.anatomy import measure_anatomy
from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.synthetic_scenes import SCENES, Moment
from moro_ros.perception.search import Notices
from moro_ros.types import DETAILS, Camera, Keypoints, PersonObservation

MARGIN = 0.1  # of the box's sides, around the visible keypoints


class SyntheticFrontend:
    """Reports simulated people in the form of the keypoint front-end, without using the image.

    camera: the camera that sees them; set it before each image. ignored_people, carried_people,
    notices, timings: as in KeypointFrontend. scene: one of SCENES.
    """

    def __init__(self, body: BodyModel, max_people: int, scene: str = "room") -> None:
        self._body, self._actors = body, SCENES[scene]
        self._details = _details_at_rest(body)
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
        """Return the simulated people as the camera sees them at a time.

        image_rgb: not used; stamp_ns: the time, relative to the first image.
        """
        start = time.perf_counter()
        if self.camera is None:
            raise ValueError("set camera before the first image")
        if self._start_ns is None or stamp_ns < self._start_ns:
            self._start_ns = stamp_ns
        if not self._ids:
            self._ids = [next(self._numbers) for _ in self._actors]
        seconds = (stamp_ns - self._start_ns) * 1e-9
        pairs = list(zip(self._ids, self._actors, strict=True))[: self._max_people]
        people = tuple(
            seen
            for track_id, actor in pairs
            if (seen := self._look(track_id, actor(seconds), self.camera)) is not None
        )
        self.timings["landmark_s"] = time.perf_counter() - start
        return people

    def offer(self, boxes_xyxy: np.ndarray) -> None:
        """Ignore another detector's boxes, which are not of simulated people."""

    def number_from(self, ids: Iterator[int]) -> None:
        """Use ids from an iterator that several cameras share."""
        self._numbers = ids

    def correct(self, track_id: int, points_px: np.ndarray, stamp_ns: int) -> None:
        """Nothing: simulated people are never lost."""

    def configure(
        self, _detector: DetectorConfig, _tracker: TrackerConfig, max_people: int, _realtime: bool
    ) -> None:
        """Apply the maximum number of people; nothing is detected or tracked."""
        self._max_people = max_people

    def renumber(self) -> None:
        """Continue the scene with new ids."""
        self._ids = []

    def reset(self) -> None:
        """Restart the scene with new ids."""
        self._start_ns = None
        self._ids = []

    def _look(self, track_id: int, moment: Moment, camera: Camera) -> PersonObservation | None:
        pose, pelvis, unseen = moment
        points, details = self._points(torch.from_numpy(pose).float())
        keypoints = _seen(points + pelvis, camera, unseen)
        visible = keypoints.visibility > 0.5
        if not visible.any():
            return None
        shown = keypoints.points_px[visible]
        low, high = shown.min(0), shown.max(0)
        margin = MARGIN * (high - low)
        box = np.concatenate([low - margin, high + margin]).astype(np.float32)
        seen = None if details is None else _seen(details + pelvis, camera)
        return PersonObservation(track_id, box, 1.0, keypoints, seen)

    def _points(self, pose: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Keypoints (K, 3) m and details (10, 3) m of a pose (22, 3), from the pelvis."""
        skeleton = self._body.skeleton(torch.zeros(1, 10))
        rest = skeleton.joints[:, :NUM_JOINTS]
        chain, joints = self._body.forward_kinematics(rotvec_to_matrix(pose)[None], rest)
        points = self._body.keypoints(chain, joints, skeleton.keypoint_offsets)[0].numpy()
        if self._details is None:
            return points, None
        carriers, offsets = self._details
        turns, places = chain[0].numpy()[carriers], joints[0].numpy()[carriers]
        return points, places + (turns @ offsets[..., None])[..., 0]


def _seen(points: np.ndarray, camera: Camera, hidden: tuple[int, ...] = ()) -> Keypoints:
    """Points (N, 3) m in front of a camera as it sees them; some are hidden."""
    points_px = image_points(points.astype(np.float64), camera)
    inside = ((points_px >= 0) & (points_px < (camera.width, camera.height))).all(-1)
    visible: np.ndarray = np.array(inside)
    visible[list(hidden)] = False
    return Keypoints(
        points_px.astype(np.float32),
        np.where(visible, 0.98, 0.1).astype(np.float32),
        np.where(inside, 0.98, 0.05).astype(np.float32),
    )


def _details_at_rest(body: BodyModel) -> tuple[np.ndarray, np.ndarray] | None:
    """The joint that carries each of DETAILS, and its offset from it (10, 3) m at rest.

    None for a body without eyes and fingers.
    """
    betas = torch.zeros(1, 10)
    joints = body.skeleton(betas).joints[0].numpy()
    vertices = body.rest_vertices(betas)[0].numpy()
    anatomy = measure_anatomy(joints, vertices, body.vertex_parts())
    if anatomy.face is None or anatomy.hands is None:
        return None
    aside = np.array([0.03, 0.0, 0.0])
    places = {}
    for number, side in enumerate(("left", "right")):
        for part, place in (("eye", anatomy.face.eyes), ("mouth", anatomy.face.mouth)):
            places[f"{side}_{part}"] = "head", place + (1, -1)[number] * aside
        fingers = zip(("pinky", "index", "thumb"), anatomy.hands[number].knuckles, strict=True)
        for finger, place in fingers:
            places[f"{side}_{finger}"] = f"{side}_wrist", place
    carriers = np.array([JOINT_NAMES.index(places[name][0]) for name in DETAILS])
    return carriers, np.array([places[name][1] for name in DETAILS])
