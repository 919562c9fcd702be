"""The URDF of one person: links and joints of REP-155 with the person's lengths."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np

from moro_ros.ros.rep155.model import JOINTS, PersonModel

# Limits that URDF requires, although the joints are not driven.
EFFORT, VELOCITY = 1000.0, 20.0
HEAD_RADIUS_M = 0.1
# Radius [m] of the capsule along each segment, and the link at whose origin it ends.
SEGMENTS: tuple[tuple[str, str, float], ...] = (
    *((f"{s}_shoulder", f"{s}_elbow", 0.05) for s in "lr"),
    *((f"{s}_elbow", f"{s}_wrist", 0.04) for s in "lr"),
    *((f"{s}_hip", f"{s}_knee", 0.08) for s in "lr"),
    *((f"{s}_knee", f"{s}_ankle", 0.055) for s in "lr"),
)
TRUNK_RADIUS_M, SHOULDER_RADIUS_M = 0.13, 0.06
COLOR = "0.35 0.55 0.75 0.7"


def urdf_text(model: PersonModel, body_id: str) -> str:
    """The URDF of a person; every link and joint is suffixed with _<body_id>.

    Each segment is a capsule, a cylinder with a sphere at each end, for display and collision.
    """
    robot = ElementTree.Element("robot", name=f"human_{body_id}")
    material = ElementTree.SubElement(robot, "material", name="human")
    ElementTree.SubElement(material, "color", rgba=COLOR)
    links = {name: _link(robot, f"{name}_{body_id}") for name in ("body", *_children())}
    for joint in JOINTS:
        kind = "fixed" if joint.axis is None else "revolute"
        element = ElementTree.SubElement(robot, "joint", name=f"{joint.name}_{body_id}", type=kind)
        ElementTree.SubElement(element, "parent", link=f"{joint.parent}_{body_id}")
        ElementTree.SubElement(element, "child", link=f"{joint.child}_{body_id}")
        ElementTree.SubElement(
            element, "origin", xyz=_text(model.origins[joint.child]), rpy="0 0 0"
        )
        if joint.axis is not None:
            ElementTree.SubElement(element, "axis", xyz=_text(np.array(joint.axis)))
            ElementTree.SubElement(
                element, "limit", lower=f"{joint.lower:g}", upper=f"{joint.upper:g}",
                effort=f"{EFFORT:g}", velocity=f"{VELOCITY:g}",
            )  # fmt: skip
    for link, end, radius in SEGMENTS:
        _capsule(links[link], np.zeros(3), model.origins[end], radius)
    down = -model.origins["torso"]
    _capsule(links["torso"], 0.15 * down, 0.95 * down, TRUNK_RADIUS_M)
    ends = (model.origins["l_y_shoulder"], model.origins["r_y_shoulder"])
    _capsule(links["torso"], *ends, SHOULDER_RADIUS_M)
    _sphere(links["head"], np.array([0.02, 0.0, 0.06]), HEAD_RADIUS_M)
    ElementTree.indent(robot)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(robot, encoding="unicode") + "\n"


def _children() -> tuple[str, ...]:
    return tuple(joint.child for joint in JOINTS)


def _link(robot: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(robot, "link", name=name)


def _capsule(link: ElementTree.Element, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    """Add a cylinder from start to end (3,) m of the link, and a sphere at both."""
    x, y, z = (end - start).tolist()
    length = math.sqrt(x * x + y * y + z * z)
    # A cylinder of URDF lies along z: Rz(yaw) Ry(pitch) turns it.
    turn = f"0 {math.atan2(math.hypot(x, y), z):.6f} {math.atan2(y, x):.6f}"
    shape = {"length": f"{length:.5f}", "radius": f"{radius:g}"}
    _shape(link, "cylinder", shape, (start + end) / 2, turn)
    _sphere(link, start, radius)
    _sphere(link, end, radius)


def _sphere(link: ElementTree.Element, center: np.ndarray, radius: float) -> None:
    _shape(link, "sphere", {"radius": f"{radius:g}"}, center, "0 0 0")


def _shape(
    link: ElementTree.Element, kind: str, shape: dict[str, str], center: np.ndarray, turn: str
) -> None:
    for use in ("visual", "collision"):
        element = ElementTree.SubElement(link, use)
        ElementTree.SubElement(element, "origin", xyz=_text(center), rpy=turn)
        geometry = ElementTree.SubElement(element, "geometry")
        ElementTree.SubElement(geometry, kind, shape)
        if use == "visual":
            ElementTree.SubElement(element, "material", name="human")


def _text(vector: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in vector)
