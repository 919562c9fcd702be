"""Slows a mobile robot near people, and stops it close to them or without new messages.

cmd_vel_in -> cmd_vel, from the people of moro/humans. Distances are measured from the camera,
which is next to the robot. This is not a certified safety function.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.node import Node

from moro_ros.config import fixed
from moro_ros.errors import ConfigError
from moro_ros.msg import Human, HumanArray
from moro_ros.ros import parameters
from moro_ros.ros.serve import serve

BODY_M = 0.15  # from the joints to the skin, roughly
SIGMAS = 2.0


@dataclass(frozen=True, slots=True)
class StopOptions:
    """Distances of people for full speed and standstill, and the timeout of messages."""

    stop_m: float = fixed(1.0, "Robot stops below", unit="m", low=0.0, high=100.0)
    slow_m: float = fixed(3.0, "Full speed above", unit="m", low=0.0, high=100.0)
    timeout_s: float = fixed(0.5, "Message timeout", unit="s", low=0.01, high=10.0)


class StopWhenNear(Node):
    """Scales the speed from 1 at slow_m to 0 at stop_m; raises ConfigError if stop_m >= slow_m."""

    def __init__(self) -> None:
        super().__init__("stop_when_near")
        self._options = options = parameters.declare(self, StopOptions)
        if options.stop_m >= options.slow_m:
            raise ConfigError(f"stop_m: got {options.stop_m}, expected less than slow_m.")
        self._distance_m, self._received_s = 0.0, -math.inf
        self._commands = self.create_publisher(Twist, "cmd_vel", 1)
        self.create_subscription(HumanArray, "moro/humans", self._see, 1)
        self.create_subscription(Twist, "cmd_vel_in", self._command, 1)

    def _see(self, message: HumanArray) -> None:
        here = [h for h in message.humans if h.tracking_state != Human.TRACKING_LOST]
        if message.humans and not here:
            return  # images may have stopped, which ends all tracks
        gaps = [gap(joint) for human in here for joint in human.joints]
        self._distance_m, self._received_s = min(gaps, default=math.inf), time.monotonic()

    def _command(self, message: Twist) -> None:
        share = 0.0
        # Missing messages do not mean that the way is free.
        if time.monotonic() - self._received_s < self._options.timeout_s:
            span = self._options.slow_m - self._options.stop_m
            share = float(np.clip((self._distance_m - self._options.stop_m) / span, 0.0, 1.0))
        slower = Twist()
        slower.linear.x, slower.linear.y = share * message.linear.x, share * message.linear.y
        slower.angular.z = share * message.angular.z
        self._commands.publish(slower)


def gap(joint: object) -> float:
    """Distance from the camera to the skin at a joint, minus its uncertainty, m."""
    position = joint.pose.position  # type: ignore[attr-defined]
    place = np.array([position.x, position.y, position.z])
    distance = float(np.linalg.norm(place))
    along = place / max(distance, 1e-9)
    covariance = np.reshape(joint.covariance, (3, 3))  # type: ignore[attr-defined]
    return distance - BODY_M - SIGMAS * math.sqrt(max(0.0, along @ covariance @ along))


if __name__ == "__main__":
    serve(StopWhenNear, "stop_when_near")
