"""Markers for RViz: skeleton coloured by state, mesh, ellipsoids, trail, id, deletions."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from rclpy.duration import Duration as RclpyDuration
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.io import marker_style as style
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.outputs.base import Scene, TopicOutput, header_of
from moro_ros.ros.outputs.humans import joint_states
from moro_ros.ros.outputs.tf import quaternions
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import BodyMotion

# rclpy converts point by point: 60 ms for the 63,000 corners of one mesh, holding the interpreter's
# lock. In CDR, points are a length followed by doubles, so numpy inserts the block instead.

# CDR: a 4-byte header, then aligned data; byte 1 of the header is the byte order.
_HEADER_BYTES = 4
_LITTLE_ENDIAN = 1
_LENGTH_BYTES = 4
_POINT_BYTES = 24
# A position that no body has, which is searched for in the serialised message.
_SENTINEL = (-1.7e301, 2.3e301)


def serialize_markers(markers: list[Marker], triangles: Mapping[int, np.ndarray]) -> bytes:
    """Serialise a MarkerArray and insert the corners of triangles into some of its markers.

    triangles: index in markers -> corners (N, 3), N > 0, m; those markers' own points are replaced.
    """
    for index in triangles:
        markers[index].points = [Point(x=_SENTINEL[0], y=_SENTINEL[1], z=float(index))]
    wire = bytes(serialize_message(MarkerArray(markers=markers)))
    if wire[1] != _LITTLE_ENDIAN:
        raise ValueError(f"unknown serialisation {wire[:_HEADER_BYTES].hex()}; expected CDR")
    parts, end = [], 0
    for index in sorted(triangles):
        place = wire.index(struct.pack("<3d", *_SENTINEL, index), end)
        # From the marker's pose on every offset is fixed: no padding follows the length.
        length_at = place - _LENGTH_BYTES
        parts += [
            wire[end:length_at],
            struct.pack("<I", len(triangles[index])),
            np.ascontiguousarray(triangles[index], dtype="<f8").tobytes(),
        ]
        end = place + _POINT_BYTES
    # A point is a multiple of the largest alignment, so the following data stays aligned.
    return b"".join([*parts, wire[end:]])


MESH, ELLIPSOIDS = "mesh", "covariance"
MESH_ALPHA, ELLIPSOID_ALPHA = 0.55, 0.2
# A marker's id if a person has several in a namespace.
IDS_PER_PERSON = 100
LIFETIME = Duration(sec=style.LIFETIME_S)


class MarkerBuilder:
    """Creates the markers of successive images; keeps trails and the list of what RViz shows."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()
        self._trails: dict[int, deque[tuple[int, Point]]] = {}

    def build(self, motions: tuple[BodyMotion, ...], header: Header) -> list[Marker]:
        """All markers, without triangles: those of mesh_marker() are still empty."""
        markers = []
        for motion in motions:
            own = header_of(motion, header)
            markers += person_markers(motion, own)
            markers += ellipsoid_markers(motion, own)
            markers += self._trail(motion, own)
            if motion.vertices is not None:
                markers.append(mesh_marker(motion, own))
        present = {motion.track_id for motion in motions}
        self._trails = {i: trail for i, trail in self._trails.items() if i in present}
        shown = {(marker.ns, marker.id) for marker in markers}
        gone = [
            Marker(header=header, ns=space, id=number, action=Marker.DELETE)
            for space, number in sorted(self._shown - shown)
        ]
        self._shown = shown
        return gone + markers

    def _trail(self, motion: BodyMotion, header: Header) -> list[Marker]:
        trail = self._trails.setdefault(motion.track_id, deque())
        stamp_ns = stamp_to_ns(header.stamp)
        x, y, z = motion.joints[-1, style.PELVIS].tolist()
        trail.append((stamp_ns, Point(x=x, y=y, z=z)))
        # Points later than now are from before a jump back in time.
        while not 0 <= stamp_ns - trail[0][0] <= style.TRAIL_NS:
            trail.popleft()
        if len(trail) < 2:
            return []
        marker = _marker(motion, header, style.TRAIL, Marker.LINE_STRIP)
        marker.scale.x = style.TRAIL_WIDTH_M
        marker.color = _color((*_person_color(motion), style.TRAIL_ALPHA))
        marker.points = [point for _, point in trail]
        return [marker]


def person_markers(motion: BodyMotion, header: Header) -> list[Marker]:
    """Bones, joints and id of one person's newest frame, camera optical frame."""
    joints = motion.joints[-1].astype(np.float64)
    points = [Point(x=x, y=y, z=z) for x, y, z in joints.tolist()]
    palette = {state: _color(color) for state, color in style.STATE_COLORS.items()}
    colors = [palette[state] for state in joint_states(motion).tolist()]

    bones = _marker(motion, header, style.SKELETON, Marker.LINE_LIST)
    bones.scale.x = style.BONE_WIDTH_M
    bones.points = [points[end] for end in style.BONE_ENDS]
    bones.colors = [colors[end] for end in style.BONE_ENDS]

    spheres = _marker(motion, header, style.JOINTS, Marker.SPHERE_LIST)
    spheres.scale.x = spheres.scale.y = spheres.scale.z = style.JOINT_DIAMETER_M
    spheres.points, spheres.colors = points, colors

    label = _marker(motion, header, style.LABEL, Marker.TEXT_VIEW_FACING)
    label.text = str(motion.track_id)
    label.scale.z = style.LABEL_HEIGHT_M
    label.color = _color(style.LABEL_COLOR)
    place = label.pose.position
    # The camera's y axis points down.
    place.x, place.y, place.z = (joints[style.HEAD] - [0.0, style.LABEL_OFFSET_M, 0.0]).tolist()
    return [bones, spheres, label]


def ellipsoid_markers(motion: BodyMotion, header: Header) -> list[Marker]:
    """One standard deviation of some joints as ellipsoids; none if it is unknown (zero)."""
    states, markers = joint_states(motion), []
    for joint in style.ELLIPSOID_JOINTS:
        variances, axes = np.linalg.eigh(motion.covariance[-1, joint].astype(np.float64))
        if variances[-1] <= 0.0:
            continue
        if np.linalg.det(axes) < 0.0:
            axes[:, 0] *= -1.0
        marker = _marker(motion, header, ELLIPSOIDS, Marker.SPHERE)
        marker.id = motion.track_id * IDS_PER_PERSON + joint
        place, turn, scale = marker.pose.position, marker.pose.orientation, marker.scale
        place.x, place.y, place.z = motion.joints[-1, joint].tolist()
        turn.x, turn.y, turn.z, turn.w = quaternions(axes).tolist()
        scale.x, scale.y, scale.z = (2.0 * np.sqrt(np.maximum(variances, 1e-8))).tolist()
        marker.color = _color((*style.STATE_COLORS[int(states[joint])][:3], ELLIPSOID_ALPHA))
        markers.append(marker)
    return markers


def mesh_marker(motion: BodyMotion, header: Header) -> Marker:
    """The mesh's marker without its triangles, which marker_wire inserts."""
    mesh = _marker(motion, header, MESH, Marker.TRIANGLE_LIST)
    mesh.scale.x = mesh.scale.y = mesh.scale.z = 1.0
    mesh.color = _color((*_person_color(motion), MESH_ALPHA))
    return mesh


def _person_color(motion: BodyMotion) -> tuple[float, float, float]:
    return style.PERSON_COLORS[motion.track_id % len(style.PERSON_COLORS)]


def _marker(motion: BodyMotion, header: Header, namespace: str, kind: int) -> Marker:
    marker = Marker(header=header, ns=namespace, id=motion.track_id, type=kind, lifetime=LIFETIME)
    marker.pose.orientation.w = 1.0
    return marker


def _color(rgba: tuple[float, ...]) -> ColorRGBA:
    return ColorRGBA(r=rgba[0], g=rgba[1], b=rgba[2], a=rgba[3])


def lifetime(rate_hz: float, least_s: float) -> Duration:
    """The lifetime of markers: two periods of their rate, so that they do not blink, or least_s."""
    return RclpyDuration(seconds=max(least_s, 2.0 / rate_hz)).to_msg()


class MarkersOutput(TopicOutput):
    """~/markers: all people for RViz, at most at marker_rate_hz."""

    needs_mesh = True

    def __init__(self, node: Node) -> None:
        super().__init__(node, MarkerArray, "~/markers", rate_hz=lambda o: o.marker_rate_hz)
        self._builder = MarkerBuilder()

    def messages(self, scene: Scene, options: NodeConfig) -> list[bytes]:
        """One serialised MarkerArray."""
        markers = self._builder.build(scene.result.motions, scene.header)
        for marker in markers:
            marker.lifetime = lifetime(options.marker_rate_hz, style.LIFETIME_S)
        vertices = {
            m.track_id: m.vertices[-1] for m in scene.result.motions if m.vertices is not None
        }
        triangles = {
            index: vertices[marker.id][scene.body.faces.ravel()]
            for index, marker in enumerate(markers)
            if marker.ns == MESH and marker.action == marker.ADD
        }
        return [serialize_markers(markers, triangles)]
