"""The capsules of people for planners, and the frame that they are in."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from rclpy.clock import Clock
from std_msgs.msg import Header

from moro_ros.body.capsules import Capsules, PartUncertainty, keep_clear
from moro_ros.body.posture import CAMERA_UP
from moro_ros.recover.ground import GroundPlane, moved
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.outputs.base import Body, Scene, header_of
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.stamps import latency_s
from moro_ros.ros.transforms import Placement
from moro_ros.types import BodyMotion

# Betas that differ by less give the same capsules: body parts change by about a millimetre.
SAME_BETAS = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """One person's newest frame as capsules, in the frame of header.

    motion: in that frame; body: the capsules of the body alone; keep_clear: with uncertainty,
    motion until use and margin; sigma_m: (J,) standard deviation, 0 unknown.
    """

    header: Header
    motion: BodyMotion
    body: Capsules
    keep_clear: Capsules
    sigma_m: np.ndarray


class Shaper:
    """Computes the shapes of people for all outputs, each frame of a person once; one thread."""

    def __init__(self, placement: Placement, clock: Clock) -> None:
        self._placement, self._clock = placement, clock
        self._fits: dict[int, tuple[np.ndarray, Capsules]] = {}
        self._shapes: dict[int, tuple[int, Shape]] = {}
        # The pose of the camera for one image.
        self._posed: tuple[tuple[int, str, str], tuple[np.ndarray, np.ndarray] | None] | None = None
        self.shapes_made = 0

    def shapes(self, scene: Scene, options: NodeConfig) -> list[Shape]:
        """The shapes of all people in a scene, in planners.frame if TF connects it."""
        return [self._shape(motion, scene, options) for motion in scene.result.motions]

    def in_camera(self, motion: BodyMotion, scene: Scene) -> tuple[Capsules, np.ndarray]:
        """The capsules of the body alone in the camera's frame, and their sigma (J,) m."""
        posed = self._rest(motion, scene.body).posed(motion.joints[-1], motion.joint_rotations[-1])
        return posed, PartUncertainty.of(motion, np.zeros(3)).sigma_m

    def ground(self, scene: Scene, options: NodeConfig) -> GroundPlane | None:
        """The ground in the frame of the shapes; None while unknown."""
        pose = self._pose(scene, options)
        if scene.ground is None or pose is None:
            return scene.ground
        return scene.ground.moved(*pose)

    def up(self, scene: Scene, options: NodeConfig) -> np.ndarray:
        """The upward direction (3,) in the frame of the shapes, or its best estimate."""
        if (ground := self.ground(scene, options)) is not None:
            return ground.normal
        # TF frames of robots and maps have z up (REP-103).
        return CAMERA_UP if self._pose(scene, options) is None else np.array([0.0, 0.0, 1.0])

    def camera(self, scene: Scene, options: NodeConfig) -> np.ndarray:
        """The position of the camera (3,) m in the frame of the shapes."""
        pose = self._pose(scene, options)
        return np.zeros(3) if pose is None else pose[1]

    def header(self, scene: Scene, options: NodeConfig) -> Header:
        """The header of a scene in the frame of the shapes."""
        if self._pose(scene, options) is None:
            return scene.header
        return Header(stamp=scene.header.stamp, frame_id=options.planners.frame)

    def keep(self, track_ids: Collection[int]) -> None:
        """Forget all other people."""
        for known in (self._fits, self._shapes):
            for track_id in known.keys() - set(track_ids):
                known.pop(track_id)

    def _pose(self, scene: Scene, options: NodeConfig) -> tuple[np.ndarray, np.ndarray] | None:
        frame, camera = options.planners.frame, scene.header.frame_id
        if not frame or frame == camera:
            return None
        # One lookup for all outputs of an image: TF may come, change or expire meanwhile.
        image = stamp_to_ns(scene.header.stamp), frame, camera
        if self._posed is None or self._posed[0] != image:
            matrix = self._placement.between(frame, camera, options.planners.ttl_s)
            pose = None if matrix is None else (matrix[:3, :3], matrix[:3, 3])
            self._posed = image, pose
        return self._posed[1]

    def _shape(self, motion: BodyMotion, scene: Scene, options: NodeConfig) -> Shape:
        stamp_ns, known = int(motion.stamps_ns[-1]), self._shapes.get(motion.track_id)
        if known is not None and known[0] == stamp_ns:
            return known[1]
        planners, header = options.planners, header_of(motion, scene.header)
        rest = self._rest(motion, scene.body)
        if (pose := self._pose(scene, options)) is not None:
            motion = moved(motion, *pose)
            header = Header(stamp=header.stamp, frame_id=planners.frame)
        # A clock that jumps must not enlarge the capsules.
        late_s = latency_s(header.stamp, self._clock)
        age_s = 0.0 if math.isnan(late_s) else min(max(late_s, 0.0), planners.ttl_s)
        delay_s, margin_m = age_s + planners.latency_s, planners.margin_m
        body = rest.posed(motion.joints[-1], motion.joint_rotations[-1])
        camera = np.zeros(3) if pose is None else pose[1]
        uncertainty = PartUncertainty.of(motion, camera)
        clear = keep_clear(body, uncertainty, camera, planners.sigmas, delay_s, margin_m)
        shape = Shape(header, motion, body, clear, uncertainty.sigma_m)
        self._shapes[motion.track_id] = stamp_ns, shape
        self.shapes_made += 1
        return shape

    def _rest(self, motion: BodyMotion, body: Body) -> Capsules:
        betas, known = motion.smplx.betas, self._fits.get(motion.track_id)
        if known is None or np.abs(known[0] - betas).max() > SAME_BETAS:
            known = betas.copy(), body.capsules(betas)
            self._fits[motion.track_id] = known
        return known[1]


class LostIds:
    """The published people who were lost, each to be reported with the next message."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._gone: set[int] = set()

    def note(self, lost: Collection[int]) -> None:
        """Store the ids whose track has ended."""
        self._gone |= self._known & set(lost)
        self._known -= set(lost)

    def report(self, present: Collection[int]) -> list[int]:
        """Lost people who were not reported yet; present: the people in the message."""
        self._known |= set(present)
        gone, self._gone = sorted(self._gone), set()
        return gone
