"""Turns a pan-tilt head so that it looks at the eyes of the nearest person.

moro/targets -> head_command (sensor_msgs/JointState, pan and tilt in rad). The camera does not move
with the head and looks along its zero position. Without people it returns to zero slowly.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import JointState

from moro_ros.config import fixed
from moro_ros.msg import HumanTarget, HumanTargets
from moro_ros.ros import parameters
from moro_ros.ros.serve import serve

RATE_HZ = 20.0


@dataclass(frozen=True, slots=True)
class LookOptions:
    """The parameters."""

    max_speed: float = fixed(1.0, "Maximum speed of the head", unit="rad/s", low=0.0, high=100.0)


class LookAtFace(Node):
    """Commands the head at 20 Hz, never faster than max_speed."""

    def __init__(self) -> None:
        super().__init__("look_at_face")
        self._speed = parameters.declare(self, LookOptions).max_speed
        self._wanted, self._now = (0.0, 0.0), (0.0, 0.0)
        self._until_s = -math.inf
        self._head = self.create_publisher(JointState, "head_command", 1)
        self.create_subscription(HumanTargets, "moro/targets", self._see, 1)
        self.create_timer(1.0 / RATE_HZ, self._tick)

    def _see(self, message: HumanTargets) -> None:
        # The nearest person is listed first. The head does not follow a stale target.
        eyes = [t for t in message.targets if t.kind == HumanTarget.EYES]
        eyes = [t for t in eyes if t.grade != HumanTarget.GRADE_STALE]
        if not eyes:
            return
        place = eyes[0].pose.position
        # In the optical frame x is to the right, y down, z forward; pan is to the left, tilt down.
        level = math.hypot(place.x, place.z)
        self._wanted = math.atan2(-place.x, place.z), math.atan2(place.y, level)
        self._until_s = time.monotonic() + message.ttl

    def _tick(self) -> None:
        wanted = self._wanted if time.monotonic() < self._until_s else (0.0, 0.0)
        most = self._speed / RATE_HZ
        pairs = zip(self._now, wanted, strict=True)
        pan, tilt = (a + max(-most, min(most, b - a)) for a, b in pairs)
        self._now = pan, tilt
        command = JointState(name=["pan", "tilt"], position=[pan, tilt])
        command.header.stamp = self.get_clock().now().to_msg()
        self._head.publish(command)


if __name__ == "__main__":
    serve(LookAtFace, "look_at_face")
