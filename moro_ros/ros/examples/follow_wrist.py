"""Publishes the pose for an arm that follows the right wrist of a person.

moro/humans -> goal. While the wrist is not seen, no goal is published, so the controller stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.config import fixed
from moro_ros.msg import Human, HumanArray, HumanJoint
from moro_ros.ros import parameters
from moro_ros.ros.serve import serve


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """The parameters."""

    offset_m: float = fixed(0.25, "Distance from the wrist", unit="m", low=0.0, high=10.0)
    max_sigma_m: float = fixed(
        0.5, "Maximum sigma of a wrist that is followed", unit="m", low=0.0, high=10.0
    )


class FollowWrist(Node):
    """The goal lies offset_m before the wrist, towards the camera, with the axes of the camera."""

    def __init__(self) -> None:
        super().__init__("follow_wrist")
        self._options = parameters.declare(self, FollowOptions)
        self._followed: int | None = None
        self._goals = self.create_publisher(PoseStamped, "goal", 1)
        self.create_subscription(HumanArray, "moro/humans", self._see, 1)

    def _see(self, message: HumanArray) -> None:
        people = {h.id: h for h in message.humans if h.tracking_state == Human.TRACKING_OBSERVED}
        if self._followed not in people:
            # The nearest person is listed first. Another is followed only after this one is lost.
            gone = self._followed not in {h.id for h in message.humans}
            lost = [h.id for h in message.humans if h.tracking_state == Human.TRACKING_LOST]
            if self._followed is None or gone or self._followed in lost:
                self._followed = next(iter(people), None)
        if (human := people.get(self._followed)) is None:  # type: ignore[arg-type]
            return
        wrist = human.joints[Human.RIGHT_WRIST]
        if wrist.state == HumanJoint.STATE_OBSERVED and sigma(wrist) <= self._options.max_sigma_m:
            self._goals.publish(self._goal(message.header, wrist))

    def _goal(self, header: Header, wrist: HumanJoint) -> PoseStamped:
        position = wrist.pose.position
        place = np.array([position.x, position.y, position.z])
        place -= self._options.offset_m * place / np.linalg.norm(place)
        goal = PoseStamped(header=header)
        goal.pose.position.x, goal.pose.position.y, goal.pose.position.z = place.tolist()
        goal.pose.orientation.w = 1.0
        return goal


def sigma(joint: HumanJoint) -> float:
    """Standard deviation of a joint in its least certain direction, m; infinite if unknown."""
    largest = float(np.linalg.eigvalsh(np.reshape(joint.covariance, (3, 3)))[-1])
    return float(np.sqrt(largest)) if largest > 0.0 else float("inf")


if __name__ == "__main__":
    serve(FollowWrist, "follow_wrist")
