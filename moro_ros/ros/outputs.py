"""Outputs: the publishers of moro_node, which make a message only when somebody subscribes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from moro_ros.msg import HumanArray
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.frames import body_transforms
from moro_ros.ros.humans import human_array
from moro_ros.ros.marker_wire import serialize_markers
from moro_ros.ros.markers import MESH, MarkerBuilder
from moro_ros.types import BodyMotion

DEPTH = 10
# TF listeners keep the last 10 s and subscribe with this depth.
TF_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which outputs somebody subscribes to (markers: and are due)."""

    humans: bool
    transforms: bool
    markers: bool
    idle: bool


class Outputs:
    """Publishes ~/humans, /tf and ~/markers."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._humans = node.create_publisher(HumanArray, "~/humans", DEPTH)
        self._transforms = node.create_publisher(TFMessage, "/tf", TF_DEPTH)
        self._markers = node.create_publisher(MarkerArray, "~/markers", DEPTH)
        self._builder = MarkerBuilder()
        self._markers_due_ns: int | None = None

    def wanted(self, stamp_ns: int, marker_rate_hz: float) -> Wanted:
        """What to publish for the image of a stamp; call it once for each image."""
        humans = self._humans.get_subscription_count() > 0
        transforms = self._transforms.get_subscription_count() > 0
        watched = self._markers.get_subscription_count() > 0
        due = watched and self._markers_are_due(stamp_ns, marker_rate_hz)
        return Wanted(humans, transforms, due, idle=not (humans or transforms or watched))

    def publish(
        self,
        motions: tuple[BodyMotion, ...],
        header: Header,
        wanted: Wanted,
        faces: np.ndarray,
        joint_frames: bool,
    ) -> float:
        """Publish one image's result; returns the latency: publication minus header.stamp, s.

        faces: (N, 3) triangles of the meshes; header: of the image described.
        """
        stamp_ns = stamp_to_ns(header.stamp)
        if wanted.transforms and motions:
            transforms = [t for m in motions for t in body_transforms(m, header, joint_frames)]
            self._transforms.publish(TFMessage(transforms=transforms))
        humans = human_array(motions, header) if wanted.humans else None
        latency_s = (self._clock.now().nanoseconds - stamp_ns) * 1e-9
        if humans is not None:
            humans.latency = latency_s
            self._humans.publish(humans)
        if wanted.markers:
            self._markers.publish(self._marker_array(motions, header, faces))
        return latency_s

    def _marker_array(
        self, motions: tuple[BodyMotion, ...], header: Header, faces: np.ndarray
    ) -> bytes:
        markers = self._builder.build(motions, header)
        vertices = {m.track_id: m.vertices[-1] for m in motions if m.vertices is not None}
        triangles = {
            index: vertices[marker.id][faces.ravel()]
            for index, marker in enumerate(markers)
            if marker.ns == MESH and marker.action == marker.ADD
        }
        return serialize_markers(markers, triangles)

    def _markers_are_due(self, stamp_ns: int, rate_hz: float) -> bool:
        period_ns = round(1e9 / rate_hz)
        due = self._markers_due_ns
        # After a pause, or a stamp of the past (bag loop), the rhythm starts anew.
        if due is None or not due - period_ns <= stamp_ns < due + period_ns:
            due = stamp_ns
        if stamp_ns < due:
            return False
        self._markers_due_ns = due + period_ns
        return True
