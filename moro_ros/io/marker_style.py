"""Style of people as markers, published by the node, in exported files and in the browser."""

from __future__ import annotations

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.io.recording import EXTRAPOLATED, HELD, INFERRED, OBSERVED

SKELETON, JOINTS, LABEL, TRAIL = "skeleton", "joints", "label", "trail"
STATE_COLORS = {
    OBSERVED: (0.20, 0.85, 0.35, 1.0),
    INFERRED: (1.00, 0.55, 0.10, 1.0),
    EXTRAPOLATED: (0.90, 0.20, 0.25, 1.0),
    HELD: (0.65, 0.25, 0.90, 1.0),
}
LABEL_COLOR = (1.0, 1.0, 1.0, 1.0)
# Colours of people in turn, with different hues, also from the colours of the states.
PERSON_COLORS = (
    (0.35, 0.60, 0.95),
    (0.85, 0.45, 0.80),
    (0.40, 0.80, 0.85),
    (0.75, 0.75, 0.35),
    (0.90, 0.50, 0.50),
    (0.60, 0.60, 0.75),
)
TRAIL_ALPHA = 0.9
BONE_WIDTH_M, JOINT_DIAMETER_M, LABEL_HEIGHT_M, TRAIL_WIDTH_M = 0.025, 0.05, 0.15, 0.02
# Height of the label above the head.
LABEL_OFFSET_M = 0.35
TRAIL_NS = 3_000_000_000
# Lifetime in RViz of markers that are not updated, for instance when the images stop [s].
LIFETIME_S = 1
# The joints at the ends of the bones: parent and child of each in turn.
BONE_ENDS = [end for child, parent in enumerate(PARENTS) if parent >= 0 for end in (parent, child)]
PELVIS, HEAD = JOINT_NAMES.index("pelvis"), JOINT_NAMES.index("head")
# The joints with an ellipsoid; more would hide the person: the ends of the body and its middle.
ELLIPSOID_JOINTS = tuple(
    JOINT_NAMES.index(name)
    for name in ("pelvis", "head", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
)
