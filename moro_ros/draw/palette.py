"""Shared by RViz and the browser: the joints with an ellipsoid."""

from __future__ import annotations

from moro_ros.body.topology import JOINT_NAMES

# More would hide the person: the ends of the body and its middle.
ELLIPSOID_JOINTS = tuple(
    JOINT_NAMES.index(name)
    for name in ("pelvis", "head", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
)
