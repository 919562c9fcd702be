"""The bodies of exported people: skeleton, surface and markers of a person's mean shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.errors import DataError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.io.recording import MotionRecording

# A recorded joint farther from that of the body model [m] is from another body.
SAME_BODY_M = 0.005
# The joints at the ends of the tree: feet, head, wrists.
LEAVES = tuple(joint for joint in range(NUM_JOINTS) if joint not in PARENTS)


@dataclass(frozen=True, slots=True)
class BodyShape:
    """A person's body in the T-pose: x to the left hand, y up, z to the front; metres.

    joints: (22, 3). vertices: (V, 3). ends: for each of LEAVES, where the line of its bone leaves
    the surface that it moves, (3,): toes, top of the head, finger tips.
    """

    joints: np.ndarray
    vertices: np.ndarray
    ends: dict[int, np.ndarray]

    def offsets(self) -> np.ndarray:
        """Return the joints relative to their parents, (22, 3) m; the pelvis at the origin."""
        offsets = self.joints - self.joints[list(PARENTS)]
        offsets[0] = 0.0
        return offsets


def body_shape(body: BodyModel, betas: np.ndarray) -> BodyShape:
    """Return the body of shape coefficients betas (10,)."""
    coefficients = torch.as_tensor(betas, dtype=torch.float32)
    joints = body.skeleton(coefficients[None]).joints[0, :NUM_JOINTS].double().numpy()
    vertices = (body.template + body.shapedirs @ coefficients).double().numpy()
    owner = body.vertex_parts()
    ends = {}
    for joint in LEAVES:
        points = vertices[owner == joint] - joints[joint]
        bone = joints[joint] - joints[PARENTS[joint]]
        direction = bone / np.linalg.norm(bone)
        ends[joint] = joints[joint] + direction * (points @ direction).max()
    return BodyShape(joints, vertices, ends)


def check_body(recording: MotionRecording, ids: Sequence[int], body: BodyModel) -> None:
    """Check that the people of these ids were recorded with this body; raises DataError."""
    people = recording.people()
    for number in ids:
        row = people[number][:1]
        vectors = np.concatenate([row["global_orient"], row["body_pose"]], 1)
        turns = rotvec_to_matrix(torch.from_numpy(vectors.reshape(1, NUM_JOINTS, 3)))
        rest = body.skeleton(torch.from_numpy(row["betas"].copy())).joints[:, :NUM_JOINTS]
        joints = body.forward_kinematics(turns, rest)[1].numpy()
        error = np.linalg.norm(joints - (row["joints"] - row["joints"][:, :1]), axis=-1).max()
        if not error < SAME_BODY_M:
            raise DataError(
                f"The recorded joints of person {number} are up to {error * 1000:.0f} mm from "
                "those of this body, expected less than "
                f"{SAME_BODY_M * 1000:.0f} mm: the motion was recorded with another body. Name "
                "its file with --body FILE."
            )


def joint_weights(body: BodyModel) -> np.ndarray:
    """Return the skinning weights (V, 22); those of hands and face are added to wrist and head."""
    weights = body.weights.double().numpy().copy()
    # The hands and the face are not animated, so they move as their parents do.
    for joint in range(len(body.parents) - 1, NUM_JOINTS - 1, -1):
        weights[:, body.parents[joint]] += weights[:, joint]
    return weights[:, :NUM_JOINTS]
