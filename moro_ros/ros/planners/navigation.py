"""Outputs for navigation: people_msgs/People and vision_msgs/Detection3DArray."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.node import Node

from moro_ros.body.extent import box_around, facing_axes
from moro_ros.msg import Human
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.outputs.tf import quaternions
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.shapes import Shape, Shaper
from moro_ros.ros.rep155.options import body_id
from moro_ros.types import BodyMotion

try:
    from people_msgs.msg import People, Person
except ModuleNotFoundError:
    People = Person = None
try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ModuleNotFoundError:
    Detection3D = Detection3DArray = ObjectHypothesisWithPose = None

CLASS_ID = "person"
PELVIS = Human.PELVIS
_POSTURES = {
    Human.POSTURE_OTHER: "other",
    Human.POSTURE_STANDING: "standing",
    Human.POSTURE_SITTING: "sitting",
    Human.POSTURE_CROUCHING: "crouching",
    Human.POSTURE_LAYING: "laying",
}


def reliability(motion: BodyMotion) -> float:
    """Mean confidence of the joints of the newest frame, [0, 1]."""
    return float(motion.confidence[-1].mean())


class PeopleOutput(TopicOutput):
    """~/people: positions and velocities of all people on the ground."""

    prompt = True
    needs_postures = True

    def __init__(self, node: Node, shaper: Shaper) -> None:
        super().__init__(node, People, "~/people")
        self._shaper = shaper

    def messages(self, scene: Scene, options: NodeConfig) -> list[People]:
        """One list, which may be empty."""
        up, ground = self._shaper.up(scene, options), self._shaper.ground(scene, options)
        message = People(header=self._shaper.header(scene, options))
        for shape in self._shaper.shapes(scene, options):
            motion = shape.motion
            place = motion.joints[-1, PELVIS].astype(np.float64)
            speed = motion.velocity[-1, PELVIS].astype(np.float64)
            if ground is not None and motion.track_id not in scene.groundless:
                place = place - ground.heights(place) * ground.normal
            speed = speed - (speed @ up) * up
            tags = {
                "tracking": "observed" if motion.keypoints_seen[-1] else "extrapolated",
                "posture": _POSTURES[scene.postures.get(motion.track_id, Human.POSTURE_OTHER)],
                "sigma_m": f"{shape.sigma_m[PELVIS]:.3f}",
                "ttl_s": f"{options.planners.ttl_s:g}",
            }
            person = Person(
                name=body_id(motion.track_id, options.humans.id_prefix),
                reliability=reliability(motion),
                tagnames=list(tags),
                tags=list(tags.values()),
            )
            person.position, person.velocity = (
                Point(x=x, y=y, z=z) for x, y, z in (place.tolist(), speed.tolist())
            )
            message.people.append(person)
        return [message]


class DetectionsOutput(TopicOutput):
    """~/detections: an upright, oriented box around each person."""

    prompt = True

    def __init__(self, node: Node, shaper: Shaper) -> None:
        super().__init__(node, Detection3DArray, "~/detections")
        self._shaper = shaper

    def messages(self, scene: Scene, options: NodeConfig) -> list[Detection3DArray]:
        """One array, which may be empty."""
        up = self._shaper.up(scene, options)
        shapes = self._shaper.shapes(scene, options)
        message = Detection3DArray(header=self._shaper.header(scene, options))
        prefix = options.humans.id_prefix
        message.detections = [detection(shape, up, prefix) for shape in shapes]
        return [message]


def detection(shape: Shape, up: np.ndarray, id_prefix: str) -> Detection3D:
    """One person as a box; its pose has x front, y left, z up."""
    motion = shape.motion
    axes = facing_axes(motion.joint_rotations[-1, PELVIS].astype(np.float64), up)
    center, size = box_around(shape.body, axes)
    message = Detection3D(header=shape.header, id=body_id(motion.track_id, id_prefix))
    place, turn = message.bbox.center.position, message.bbox.center.orientation
    place.x, place.y, place.z = center.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternions(axes).tolist()
    message.bbox.size = Vector3(x=float(size[0]), y=float(size[1]), z=float(size[2]))
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = CLASS_ID, reliability(motion)
    result.pose.pose = message.bbox.center
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = motion.covariance[-1, PELVIS]
    result.pose.covariance = covariance.ravel()
    message.results = [result]
    return message
