"""~/intents: cues of what people are about to do."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from rclpy.node import Node

from moro_ros.body.intent import Intent, IntentTracker, Palms
from moro_ros.body.posture import CAMERA_UP
from moro_ros.body.targets import Grade, Kind, Target
from moro_ros.msg import HumanIntent, HumanIntents
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.shapes import LostIds, Shaper
from moro_ros.ros.planners.targets import TargetFinder
from moro_ros.ros.transforms import Placement
from moro_ros.types import BodyMotion, PipelineResult


class IntentsOutput(TopicOutput):
    """~/intents: those of all people, in the camera's frame, and the ids of lost people."""

    prompt = True

    def __init__(
        self, node: Node, shaper: Shaper, placement: Placement, finder: TargetFinder
    ) -> None:
        super().__init__(node, HumanIntents, "~/intents")
        self._shaper, self._placement, self._lost = shaper, placement, LostIds()
        self._finder = finder
        self._trackers: dict[int, IntentTracker] = {}

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanIntents]:
        """One array."""
        self.skip(scene.result)
        planners, camera = options.planners, scene.header.frame_id
        robot_frame = planners.robot_frame or camera
        reach_frame = planners.reach_frame or robot_frame
        robot, target = (self._origin(f, camera, options) for f in (robot_frame, reach_frame))
        message = HumanIntents(header=scene.header, ttl=scene.ttl_s(options))
        message.robot_frame = "" if robot is None else robot_frame
        message.reach_frame = "" if target is None else reach_frame
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        for motion in scene.result.motions:
            item = HumanIntent(id=motion.track_id)
            item.observed = bool(motion.keypoints_seen[-1] and not motion.held[-1])
            intent = Intent()
            if item.observed:
                tracker = self._trackers.setdefault(motion.track_id, IntentTracker())
                palms = palms_of(self._finder.find(motion, scene))
                intent = tracker.update(motion, robot, target, up, palms)
            fill(item, intent)
            self._add_distance(item, motion, scene, robot)
            message.intents.append(item)
        message.lost = self._lost.report([item.id for item in message.intents])
        return [message]

    def skip(self, result: PipelineResult) -> None:
        """Store the lost people, who are reported with the next message."""
        self._lost.note(result.lost)
        self._forget(result.lost)

    def _forget(self, lost: Collection[int]) -> None:
        for track_id in lost:
            self._trackers.pop(track_id, None)

    def _origin(self, frame: str, camera: str, options: NodeConfig) -> np.ndarray | None:
        """The origin of a TF frame (3,) m in the camera's frame."""
        if frame == camera:
            return np.zeros(3)
        matrix = self._placement.between(frame, camera, options.planners.ttl_s)
        return None if matrix is None else -matrix[:3, :3].T @ matrix[:3, 3]

    def _add_distance(
        self,
        item: HumanIntent,
        motion: BodyMotion,
        scene: Scene,
        robot: np.ndarray | None,
    ) -> None:
        item.distance = item.time_to_contact = math.nan
        if robot is None:
            return
        body, sigma_m = self._shaper.in_camera(motion, scene)
        distances = np.where(body.radii > 0.0, body.distances(robot[None])[0], np.inf)
        nearest = int(distances.argmin())
        item.distance = max(0.0, float(distances[nearest]))
        item.distance_sigma = float(sigma_m[nearest])
        if item.observed:
            closing = item.closing_speed
            item.time_to_contact = item.distance / closing if closing > 0.0 else math.inf


def palms_of(targets: Collection[Target]) -> Palms:
    """The palm normals of hands that were seen."""
    seen = {t.kind: t.rotation[:, 0] for t in targets if t.grade == Grade.OBSERVED}
    return seen.get(Kind.LEFT_PALM), seen.get(Kind.RIGHT_PALM)


def fill(item: HumanIntent, intent: Intent) -> None:
    """Write the cues of one person into their message."""
    item.closing_speed, item.approaching = intent.closing_mps, intent.approaching
    item.reaching, item.reach_distance = int(intent.reaching), intent.reach_m
    item.attention_angle, item.attention = intent.attention_rad, intent.attention
    item.handover, item.transition = int(intent.handover), int(intent.transition)
