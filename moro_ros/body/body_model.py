"""BodyModel: linear blend skinning of a body in the SMPL-X file format, and its loader.

The method is that of SMPL (Loper et al. 2015, Sec. 3) and SMPL-X (Pavlakos et al. 2019, Sec. 3.1).
The same class is used for the included open body and a licensed SMPL-X file of the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from moro_ros.body.topology import JOINT_NAMES as NAMES
from moro_ros.body.topology import (
    KEYPOINT_ANCHORS,
    KEYPOINT_SHIFTS_M,
    NUM_JOINTS,
    SURFACE_VERTICES,
)
from moro_ros.errors import NPZ_ERRORS, BodyModelError
from moro_ros.geometry.rotation import rotvec_to_matrix

NUM_BETAS = 10
REQUIRED_ARRAYS = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")


@dataclass(frozen=True, slots=True)
class BodyOutput:
    """A posed body: vertices (B, V, 3) m, joints (B, N, 3) m, joint_rotations (B, N, 3, 3)."""

    vertices: Tensor
    joints: Tensor
    joint_rotations: Tensor


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Rest positions of one or more bodies.

    joints: (B, N, 3) m, the pelvis at its own rest position.
    keypoint_offsets: (B, K, 3) m, keypoints of types.KEYPOINTS relative to their carrying joint.
    """

    joints: Tensor
    keypoint_offsets: Tensor


@dataclass(frozen=True, slots=True)
class _ChainPlan:
    """The chaining of joints, level by level down the tree.

    parents: of each joint; levels: per level the joints and the indices of their parents in the
    level above; back: the index of each joint after that.
    """

    parents: Tensor
    levels: tuple[tuple[Tensor, Tensor], ...]
    back: Tensor


def chain_plan(parents: tuple[int, ...], count: int, device: torch.device) -> _ChainPlan:
    """Plan the chain of the first `count` joints of a tree, whose parents come before them."""
    above, order, levels = [0], [0], []
    for level in tree_levels(parents):
        ids = [joint for joint in level if joint < count]
        if not ids:
            break
        # The parents of a level are all in the level above.
        places = [above.index(parents[joint]) for joint in ids]
        levels.append((torch.tensor(ids, device=device), torch.tensor(places, device=device)))
        above = ids
        order += ids
    roots = torch.tensor((0, *parents[1:count]), device=device)
    return _ChainPlan(roots, tuple(levels), torch.tensor(order, device=device).argsort())


class BodyModel(nn.Module):
    """A skinned body. Body axes in the T-pose: x to the left hand, y up, z to the front; metres.

    template: (V, 3); shapedirs: (V, 3, 10); joint_template: (N, 3); joint_shapedirs: (N, 3, 10);
    weights: (V, N) skinning weights; parents: N ints, -1 for the root; faces: (T, 3) int;
    posedirs: (V, 3, 9 (N - 1)) or None where the file has none or only zeros;
    keypoint_template: (K, 3) and keypoint_shapedirs: (K, 3, 10), the 2D keypoints' places.
    """

    def __init__(
        self,
        template: Tensor,
        shapedirs: Tensor,
        joint_template: Tensor,
        joint_shapedirs: Tensor,
        weights: Tensor,
        parents: tuple[int, ...],
        faces: Tensor,
        posedirs: Tensor | None,
        keypoint_template: Tensor,
        keypoint_shapedirs: Tensor,
        joint_regressor: Tensor,
    ) -> None:
        super().__init__()
        self.parents = parents
        self._plans: dict[tuple[int, torch.device], _ChainPlan] = {}
        for name, value in (
            ("template", template),
            ("shapedirs", shapedirs),
            ("joint_template", joint_template),
            ("joint_shapedirs", joint_shapedirs),
            ("weights", weights),
            ("faces", faces),
            ("posedirs", posedirs),
            ("keypoint_template", keypoint_template),
            ("keypoint_shapedirs", keypoint_shapedirs),
            ("joint_regressor", joint_regressor),
        ):
            self.register_buffer(name, value, persistent=False)
        self.keypoint_joints = tuple(NAMES.index(a[0]) for a in KEYPOINT_ANCHORS.values())
        index = torch.tensor(self.keypoint_joints)
        self.register_buffer("keypoint_index", index, persistent=False)

    template: Tensor
    shapedirs: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    weights: Tensor
    faces: Tensor
    posedirs: Tensor | None
    keypoint_template: Tensor
    keypoint_shapedirs: Tensor
    joint_regressor: Tensor
    keypoint_index: Tensor

    @property
    def num_vertices(self) -> int:
        """Number of mesh vertices."""
        return self.template.shape[0]

    def vertex_parts(self) -> np.ndarray:
        """Return the body joint that moves each vertex most, (V,) uint8 below 22.

        What hands and face move counts as wrist and head.
        """
        owner = np.arange(len(self.parents))
        for joint in range(NUM_JOINTS, len(self.parents)):
            owner[joint] = owner[self.parents[joint]]
        return owner[self.weights.argmax(1).numpy()].astype(np.uint8)

    def subset(self, vertex_ids: Tensor) -> BodyModel:
        """Return the same body with only some of its vertices, (M,) ids; the faces are dropped."""
        return BodyModel(
            self.template[vertex_ids],
            self.shapedirs[vertex_ids],
            self.joint_template,
            self.joint_shapedirs,
            self.weights[vertex_ids],
            self.parents,
            self.faces[:0],
            None if self.posedirs is None else self.posedirs[vertex_ids],
            self.keypoint_template,
            self.keypoint_shapedirs,
            self.joint_regressor[:, vertex_ids],
        )

    def skeleton(self, betas: Tensor) -> Skeleton:
        """Return the rest skeletons of betas (B, 10)."""
        joints = self.joint_template + (betas @ self.joint_shapedirs.flatten(0, 1).mT).unflatten(
            -1, (-1, 3)
        )
        points = self.keypoint_template + (
            betas @ self.keypoint_shapedirs.flatten(0, 1).mT
        ).unflatten(-1, (-1, 3))
        return Skeleton(joints, points - joints[:, list(self.keypoint_joints)])

    def rest_vertices(self, betas: Tensor) -> Tensor:
        """Return the mesh of betas (B, 10) in the T-pose, (B, V, 3) m, like Skeleton.joints."""
        return self.template + (self.shapedirs.flatten(0, 1) @ betas.mT).mT.unflatten(1, (-1, 3))

    def forward_kinematics(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Chain local rotations down the tree.

        rotations: (..., N', 3, 3) of the first N' joints relative to their parents.
        rest: (..., N', 3) rest positions [m]; leading dimensions broadcast.
        Returns joint rotations (..., N', 3, 3) and positions (..., N', 3) [m] relative to the
        pelvis (which is therefore at the origin).
        """
        plan = self._plan(rotations.shape[-3], rest.device)
        offsets = rest[..., : rotations.shape[-3], :] - rest.index_select(-2, plan.parents)
        chain = [rotations[..., :1, :, :]]
        places = [torch.zeros_like(chain[0][..., 0])]
        for own, parent in plan.levels:
            rotation = chain[-1].index_select(-3, parent)
            offset = offsets.index_select(-2, own)[..., None]
            places.append(places[-1].index_select(-2, parent) + (rotation @ offset)[..., 0])
            chain.append(rotation @ rotations.index_select(-3, own))
        return (
            torch.cat(chain, -3).index_select(-3, plan.back),
            torch.cat(places, -2).index_select(-2, plan.back),
        )

    def _plan(self, count: int, device: torch.device) -> _ChainPlan:
        """The order in which the first `count` joints are chained; made once for each device."""
        if (count, device) not in self._plans:
            # Tensors created in inference mode could not be used for training later.
            with torch.inference_mode(False):
                self._plans[count, device] = chain_plan(self.parents, count, device)
        return self._plans[count, device]

    def keypoints(
        self, joint_rotations: Tensor, joint_positions: Tensor, skeleton_offsets: Tensor
    ) -> Tensor:
        """Return the keypoints (..., K, 3) [m] of posed joints, in the frame of the joints.

        joint_rotations: (..., 22, 3, 3); joint_positions: (..., 22, 3);
        skeleton_offsets: (..., K, 3), Skeleton.keypoint_offsets broadcast to the leading shape.
        """
        rotation = joint_rotations.index_select(-3, self.keypoint_index)
        position = joint_positions.index_select(-2, self.keypoint_index)
        return position + (rotation @ skeleton_offsets[..., None])[..., 0]

    def skin(self, rotations: Tensor, betas: Tensor) -> BodyOutput:
        """Pose the mesh with the pelvis at the origin.

        rotations: (B, N', 3, 3) local rotations of the first N' joints, the rest straight.
        betas: (B, 10).
        """
        batch, given = rotations.shape[0], rotations.shape[1]
        missing = len(self.parents) - given
        if missing:
            straight = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            rotations = torch.cat([rotations, straight.expand(batch, missing, 3, 3)], 1)
        rest_joints = self.skeleton(betas).joints
        shaped = self.rest_vertices(betas)
        if self.posedirs is not None:
            pose = rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            bent = pose.flatten(1) @ self.posedirs.flatten(0, 1).mT  # (B, V * 3)
            shaped = shaped + bent.unflatten(1, (-1, 3))
        chain, positions = self.forward_kinematics(rotations, rest_joints)
        moved = positions - (chain @ rest_joints[..., None])[..., 0]
        transforms = torch.cat([chain, moved[..., None]], -1)  # (B, N, 3, 4)
        blended = (self.weights @ transforms.flatten(2)).unflatten(2, (3, 4))  # (B, V, 3, 4)
        vertices = (blended[..., :3] @ shaped[..., None])[..., 0] + blended[..., 3]
        return BodyOutput(vertices, positions, chain)

    def local_mesh(self, body_rotations: Tensor, betas: Tensor) -> Tensor:
        """Return the tokenizer's mesh: no global rotation, pelvis at the origin.

        body_rotations: (B, 21, 3, 3) of joints 1..21; betas: (B, 10). Returns (B, V, 3) m.
        """
        straight = torch.eye(3, dtype=betas.dtype, device=betas.device)
        root = straight.expand(body_rotations.shape[0], 1, 3, 3)
        return self.skin(torch.cat([root, body_rotations], 1), betas).vertices

    def forward(
        self, betas: Tensor, global_orient: Tensor, body_pose: Tensor, transl: Tensor
    ) -> BodyOutput:
        """Pose the body from SMPL-X parameters.

        betas: (B, 10); global_orient: (B, 3) and body_pose: (B, 63) rotation vectors [rad];
        transl: (B, 3) m. As in SMPL-X the pelvis is at transl + its rest position.
        """
        pose = torch.cat([global_orient, body_pose], 1).unflatten(1, (-1, 3))
        posed = self.skin(rotvec_to_matrix(pose), betas)
        shift = (transl + self.skeleton(betas).joints[:, 0])[:, None]
        return BodyOutput(posed.vertices + shift, posed.joints + shift, posed.joint_rotations)


def tree_levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Group the joints below the root by their depth in the tree."""
    depth = [0] * len(parents)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    return tuple(
        tuple(j for j, d in enumerate(depth) if d == level) for level in range(1, max(depth) + 1)
    )


def load_body_model(path: str | Path, detector_points: bool = False) -> BodyModel:
    """Load a body in the SMPL-X npz format: the open body, or a licensed SMPL-X file.

    detector_points: its keypoints are where BlazePose marks them (topology.KEYPOINT_SHIFTS_M), not
    at the joints.
    Raises: BodyModelError if the file is missing or damaged, lacks an array or has another shape.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in REQUIRED_ARRAYS if key not in archive.files]
            if missing:
                raise BodyModelError(
                    f"{path}: the arrays {', '.join(missing)} are missing; expected a body in the "
                    "SMPL-X npz format (SMPLX_NEUTRAL.npz or models/open_body/OPEN_NEUTRAL.npz)."
                )
            wanted = (*REQUIRED_ARRAYS, "posedirs")
            arrays = {key: archive[key] for key in wanted if key in archive.files}
    except NPZ_ERRORS as error:
        raise BodyModelError(
            f"{path}: cannot be read as a body model ({error}). Give an SMPL-X npz file, or "
            "omit the option to use the included open body."
        ) from error
    check_shapes(path, arrays)
    return body_from_arrays(arrays, detector_points)


def check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Check that the arrays of one body model belong together; raises BodyModelError."""
    vertices = arrays["v_template"].shape[0]
    joints = arrays["kintree_table"].shape[-1]
    expected = {
        "v_template": (vertices, 3),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
        "kintree_table": (2, joints),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise BodyModelError(f"{path}: {key} has shape {arrays[key].shape}, expected {shape}.")
    if arrays["shapedirs"].shape[:2] != (vertices, 3) or arrays["shapedirs"].shape[2] < NUM_BETAS:
        raise BodyModelError(
            f"{path}: shapedirs has shape {arrays['shapedirs'].shape}, "
            f"expected ({vertices}, 3, at least {NUM_BETAS})."
        )
    needed = max(SURFACE_VERTICES.values())
    if joints < NUM_JOINTS or vertices <= needed:
        raise BodyModelError(
            f"{path}: {joints} joints and {vertices} vertices; expected at least {NUM_JOINTS} "
            f"joints and {needed + 1} vertices (SMPL-X has 55 and 10475)."
        )


def keypoint_shift(name: str) -> Tensor:
    """Return the offset of the detector's keypoint from its place on the body, (3,) m, T-pose."""
    shift = torch.tensor(KEYPOINT_SHIFTS_M.get(name.replace("right", "left"), (0.0, 0.0, 0.0)))
    return shift * torch.tensor([-1.0, 1.0, 1.0]) if name.startswith("right") else shift


def body_from_arrays(arrays: dict[str, np.ndarray], detector_points: bool = False) -> BodyModel:
    """Build a BodyModel from the arrays of an SMPL-X npz file; see load_body_model."""
    as_tensor = {key: torch.as_tensor(np.asarray(a, np.float64)) for key, a in arrays.items()}
    template, shapedirs = as_tensor["v_template"], as_tensor["shapedirs"][..., :NUM_BETAS]
    regressor = as_tensor["J_regressor"]
    joint_template = regressor @ template
    joint_shapedirs = torch.einsum("jv,vcs->jcs", regressor, shapedirs)
    points, dirs = [], []
    for name, (carrier, surface) in KEYPOINT_ANCHORS.items():
        ids = [SURFACE_VERTICES[name] for name in surface]
        joint = NAMES.index(carrier)
        place = template[ids].mean(0) if ids else joint_template[joint]
        points.append(place + keypoint_shift(name).to(place.dtype) * detector_points)
        dirs.append(shapedirs[ids].mean(0) if ids else joint_shapedirs[joint])
    posedirs = as_tensor.get("posedirs")
    if posedirs is not None and not bool(posedirs.any()):
        posedirs = None
    parents = (-1, *(int(p) for p in arrays["kintree_table"][0][1:]))
    return BodyModel(
        template.float(),
        shapedirs.float(),
        joint_template.float(),
        joint_shapedirs.float(),
        as_tensor["weights"].float(),
        parents,
        torch.as_tensor(arrays["f"].astype(np.int64)),
        None if posedirs is None else posedirs.float(),
        torch.stack(points).float(),
        torch.stack(dirs).float(),
        regressor.float(),
    )
