"""Markers for RViz: skeleton and joints coloured by state, translucent mesh, id, deletions."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.types import BodyMotion

SKELETON, JOINTS, LABEL, MESH = "skeleton", "joints", "label", "mesh"
OBSERVED_COLOR = (0.20, 0.85, 0.35, 1.0)
INFERRED_COLOR = (1.00, 0.55, 0.10, 1.0)
LABEL_COLOR = (1.0, 1.0, 1.0, 1.0)
# One per person in turn; apart in hue, and from the two colours of the states.
MESH_COLORS = (
    (0.35, 0.60, 0.95, 0.55),
    (0.85, 0.45, 0.80, 0.55),
    (0.40, 0.80, 0.85, 0.55),
    (0.75, 0.75, 0.35, 0.55),
    (0.90, 0.50, 0.50, 0.55),
    (0.60, 0.60, 0.75, 0.55),
)
BONE_WIDTH_M, JOINT_DIAMETER_M, LABEL_HEIGHT_M = 0.025, 0.05, 0.15
# The camera's y axis points down.
LABEL_OFFSET_M = np.array([0.0, -0.35, 0.0])
# RViz forgets what is no longer renewed, as when the images stop.
LIFETIME = Duration(sec=1)
_HEAD = JOINT_NAMES.index("head")
_BONES = [(child, parent) for child, parent in enumerate(PARENTS) if parent >= 0]


class MarkerBuilder:
    """Makes the markers of successive images; remembers whose markers RViz still shows."""

    def __init__(self) -> None:
        self._shown: dict[int, tuple[str, ...]] = {}

    def build(self, motions: tuple[BodyMotion, ...], header: Header) -> list[Marker]:
        """All markers but the meshes' triangles: those of mesh_marker() are still empty."""
        markers = []
        shown: dict[int, tuple[str, ...]] = {}
        for motion in motions:
            own = person_markers(motion, header)
            if motion.vertices is not None:
                own.append(mesh_marker(motion, header))
            shown[motion.track_id] = tuple(marker.ns for marker in own)
            markers += own
        gone = [
            Marker(header=header, ns=ns, id=track_id, action=Marker.DELETE)
            for track_id, spaces in self._shown.items()
            for ns in spaces
            if ns not in shown.get(track_id, ())
        ]
        self._shown = shown
        return gone + markers


def person_markers(motion: BodyMotion, header: Header) -> list[Marker]:
    """Bones, joints and id of one person's newest frame, camera optical frame."""
    joints, observed = motion.joints[-1].astype(np.float64), motion.observed[-1]
    points = [Point(x=x, y=y, z=z) for x, y, z in joints.tolist()]
    seen, hidden = _color(OBSERVED_COLOR), _color(INFERRED_COLOR)
    colors = [seen if flag else hidden for flag in observed]

    bones = _marker(motion, header, SKELETON, Marker.LINE_LIST)
    bones.scale.x = BONE_WIDTH_M
    for child, parent in _BONES:
        bones.points += [points[parent], points[child]]
        bones.colors += [colors[parent], colors[child]]

    spheres = _marker(motion, header, JOINTS, Marker.SPHERE_LIST)
    spheres.scale.x = spheres.scale.y = spheres.scale.z = JOINT_DIAMETER_M
    spheres.points, spheres.colors = points, colors

    label = _marker(motion, header, LABEL, Marker.TEXT_VIEW_FACING)
    label.text = str(motion.track_id)
    label.scale.z = LABEL_HEIGHT_M
    label.color = _color(LABEL_COLOR)
    place = label.pose.position
    place.x, place.y, place.z = (joints[_HEAD] + LABEL_OFFSET_M).tolist()
    return [bones, spheres, label]


def mesh_marker(motion: BodyMotion, header: Header) -> Marker:
    """The mesh's marker without its triangles, which marker_wire puts in."""
    mesh = _marker(motion, header, MESH, Marker.TRIANGLE_LIST)
    mesh.scale.x = mesh.scale.y = mesh.scale.z = 1.0
    mesh.color = _color(MESH_COLORS[motion.track_id % len(MESH_COLORS)])
    return mesh


def _marker(motion: BodyMotion, header: Header, namespace: str, kind: int) -> Marker:
    marker = Marker(header=header, ns=namespace, id=motion.track_id, type=kind, lifetime=LIFETIME)
    marker.pose.orientation.w = 1.0
    return marker


def _color(rgba: tuple[float, float, float, float]) -> ColorRGBA:
    return ColorRGBA(r=rgba[0], g=rgba[1], b=rgba[2], a=rgba[3])
