"""Markers of one person, by the names of Pose2Sim's OpenSim models for HALPE_26 keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, SURFACE_VERTICES
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.io.export.bodies import body_shape
from moro_ros.io.export.tracks import Track

# Marker -> the joints whose mean it is.
OF_JOINTS = {
    "Hip": ("left_hip", "right_hip"),
    "Neck": ("neck",),
    **{
        f"{side[0].upper()}{marker}": (f"{side}_{joint}",)
        for side in ("right", "left")
        for marker, joint in (
            ("Hip", "hip"),
            ("Knee", "knee"),
            ("Ankle", "ankle"),
            ("Shoulder", "shoulder"),
            ("Elbow", "elbow"),
            ("Wrist", "wrist"),
        )
    },
}
# Marker -> the joint that carries it and its vertex; the end of what the joint moves for None.
ON_SURFACE: dict[str, tuple[str, str | None]] = {
    "Nose": ("head", "nose"),
    "Head": ("head", None),
    **{
        f"{side[0].upper()}{marker}": (f"{side}_{joint}", f"{side}_{vertex}")
        for side in ("right", "left")
        for marker, joint, vertex in (
            ("BigToe", "foot", "big_toe"),
            ("SmallToe", "foot", "small_toe"),
            ("Heel", "ankle", "heel"),
        )
    },
}
MARKERS = (*OF_JOINTS, *ON_SURFACE)


def marker_table(
    parts: Sequence[Track], body: BodyModel, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (F,) s of all frames of a person, and MARKERS (F, M, 3) m, NaN in holes.

    parts: the person's track without its holes, each at the constant rate `rate_hz`.
    """
    first, last = np.round([parts[0].times_s[0] * rate_hz, parts[-1].times_s[-1] * rate_hz])
    times = np.arange(int(first), int(last) + 1) / rate_hz
    table = np.full((len(times), len(MARKERS), 3), np.nan)
    for part in parts:
        start = round(part.times_s[0] * rate_hz - first)
        table[start : start + len(part.times_s)] = markers(part, body)
    return times, table


def markers(track: Track, body: BodyModel) -> np.ndarray:
    """Return MARKERS (F, M, 3) m in the frame of the track."""
    shape = body_shape(body, track.betas)
    rotations, _ = body.forward_kinematics(
        rotvec_to_matrix(torch.from_numpy(track.pose)), torch.from_numpy(shape.joints)
    )
    columns = [
        track.joints[:, [JOINT_NAMES.index(name) for name in names]].mean(1)
        for names in OF_JOINTS.values()
    ]
    for carrier, vertex in ON_SURFACE.values():
        joint = JOINT_NAMES.index(carrier)
        place = shape.ends[joint] if vertex is None else shape.vertices[SURFACE_VERTICES[vertex]]
        turned = rotations[:, joint].numpy() @ (place - shape.joints[joint])
        columns.append(track.joints[:, joint] + turned)
    return np.stack(columns, 1)
