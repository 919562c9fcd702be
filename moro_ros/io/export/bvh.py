"""BVH: the skeleton of one person with constant bones, and its rotations."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.io.export.axes import Axes
from moro_ros.io.export.bodies import BodyShape
from moro_ros.io.export.tracks import Track

# Lengths in one metre.
UNITS = {"cm": 100.0, "m": 1.0, "mm": 1000.0}
ROTATIONS = "Zrotation Xrotation Yrotation"
EULER = "ZXY"


def write_bvh(
    path: Path, track: Track, shape: BodyShape, frame: Axes, rate_hz: float, units: str
) -> None:
    """Write one person's motion; raises OSError.

    The rest pose is the T-pose of the person's mean shape, upright in the axes of the file and
    with the front towards the camera. Joints have the names of SMPL-X; the root has channels for
    its position, the others for rotations only.

    track: at the constant rate `rate_hz`. units: one of UNITS.
    """
    scale = UNITS[units]
    offsets = shape.offsets() @ frame.from_body.T * scale
    lines = ["HIERARCHY"]
    order: list[int] = []

    def add(joint: int, indent: str) -> None:
        order.append(joint)
        word = "JOINT" if joint else "ROOT"
        channels = f"3 {ROTATIONS}" if joint else f"6 Xposition Yposition Zposition {ROTATIONS}"
        lines.extend(
            [
                f"{indent}{word} {JOINT_NAMES[joint]}",
                f"{indent}{{",
                f"{indent}  OFFSET {_numbers(offsets[joint])}",
                f"{indent}  CHANNELS {channels}",
            ]
        )
        for child in range(len(PARENTS)):
            if PARENTS[child] == joint:
                add(child, indent + "  ")
        if joint in shape.ends:
            end = (shape.ends[joint] - shape.joints[joint]) @ frame.from_body.T * scale
            lines.extend(
                [
                    f"{indent}  End Site",
                    f"{indent}  {{",
                    f"{indent}    OFFSET {_numbers(end)}",
                    f"{indent}  }}",
                ]
            )
        lines.append(f"{indent}}}")

    add(0, "")
    lines += ["MOTION", f"Frames: {len(track.times_s)}", f"Frame Time: {1 / rate_hz:.9f}"]
    angles = local_angles(track.pose, frame)[:, order]
    values = np.concatenate([track.joints[:, 0] * scale, angles.reshape(len(angles), -1)], 1)
    with path.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, values, fmt="%.6f")


def local_angles(pose: np.ndarray, frame: Axes) -> np.ndarray:
    """Return the angles (F, 22, 3) deg about the axes of EULER, without jumps of a whole turn.

    pose: (F, 22, 3) rotation vectors as in Track, about the axes of a body, in which y is up.
    """
    # The file's rest pose stands upright in the file's axes.
    turns = pose @ frame.from_body.T
    upright = Rotation.from_matrix(frame.from_body)
    turns[:, 0] = (Rotation.from_rotvec(pose[:, 0]) * upright.inv()).as_rotvec()
    with warnings.catch_warnings():
        # Where x is a right angle, z and y are not unique: any of them gives the rotation.
        warnings.simplefilter("ignore", UserWarning)
        angles = Rotation.from_rotvec(turns.reshape(-1, 3)).as_euler(EULER, degrees=True)
    return np.unwrap(angles.reshape(pose.shape), period=360.0, axis=0)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)
