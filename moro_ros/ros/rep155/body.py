"""The topics of one body: <namespace>/bodies/<id>/..., which exist as long as the body."""

from __future__ import annotations

from typing import Any

import numpy as np
from hri_msgs.msg import BodyPosture, Gesture, NormalizedRegionOfInterest2D, Skeleton2D
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.lazy import LATCHED, STREAM, Topic
from moro_ros.ros.rep155.model import JOINT_ORDER, PersonModel
from moro_ros.ros.rep155.picture import cropped_message, region, region_message, skeleton_message
from moro_ros.ros.rep155.urdf import urdf_text
from moro_ros.types import BodyMotion, Camera, PersonObservation

# A person's URDF is published again if a length has changed by more than this [m].
LENGTH_TOLERANCE_M = 0.005
# The topics of a body and their types.
KINDS: dict[str, Any] = {
    "roi": NormalizedRegionOfInterest2D,
    "cropped": Image,
    "skeleton2d": Skeleton2D,
    "joint_states": JointState,
    "urdf": String,
    "posture": BodyPosture,
    "gesture": Gesture,
}


class BodyTopics:
    """The topics of one body.

    base: common part of the topic names; topics: by the last part of their names.
    """

    def __init__(self, node: Node, base: str, body_id: str, describer: Describer) -> None:
        self.body_id = body_id
        self._describer = describer
        self.topics = {
            name: Topic(node, kind, f"{base}/{name}", LATCHED if name == "urdf" else STREAM)
            for name, kind in KINDS.items()
        }
        self._sent_model: PersonModel | None = None

    def watched(self) -> bool:
        """Whether any of its topics has a subscriber."""
        return any(topic.watched() for topic in self.topics.values())

    def publish(
        self,
        motion: BodyMotion,
        seen: PersonObservation | None,
        camera: Camera,
        up: np.ndarray,
        image: np.ndarray | None,
        image_header: Header,
        header: Header,
    ) -> None:
        """Publish the topics that have subscribers.

        up: (3,) unit vector against gravity, camera frame; image: (H, W, 3) RGB, None if images
        must not be published; image_header: of the image; header: of the motion, may be older.
        """
        topics = self.topics
        if topics["roi"].watched() or topics["cropped"].watched():
            box, confidence = region(motion, seen, camera)
            topics["roi"].send(lambda: region_message(box, confidence, image_header))
            if image is not None:
                topics["cropped"].send(lambda: cropped_message(image, box, image_header))
        # Those of the newest image do not belong to the body of an earlier one.
        keypoints = None
        if seen is not None and header.stamp == image_header.stamp:
            keypoints = seen.keypoints
        topics["skeleton2d"].send(lambda: skeleton_message(motion, keypoints, camera, header))
        topics["joint_states"].send(lambda: self._joint_state(motion, header))
        if topics["urdf"].watched():
            self._send_urdf(motion)
        if topics["posture"].watched() or topics["gesture"].watched():
            posture, gesture = self._describer.behaviour(motion, up)
            topics["posture"].send(lambda: BodyPosture(header=header, posture=int(posture)))
            topics["gesture"].send(lambda: Gesture(header=header, gesture=int(gesture)))

    def close(self) -> None:
        """Remove its topics from the ROS graph."""
        for topic in self.topics.values():
            topic.close()

    def _joint_state(self, motion: BodyMotion, header: Header) -> JointState:
        message = JointState(header=header)
        message.name = [f"{name}_{self.body_id}" for name in JOINT_ORDER]
        message.position = self._describer.fit(motion).angles
        return message

    def _send_urdf(self, motion: BodyMotion) -> None:
        model = self._describer.fit(motion).model
        if self._sent_model is None or model.differs(self._sent_model, LENGTH_TOLERANCE_M):
            self.topics["urdf"].put(String(data=urdf_text(model, self.body_id)))
            self._sent_model = model
