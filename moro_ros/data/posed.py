"""A clip's bodies in the camera frame: joints and global motion from a fit's parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.dataset import BodyFit, Clip
from moro_ros.errors import DataError
from moro_ros.geometry.camera import project
from moro_ros.geometry.rotation import rotvec_to_matrix


@dataclass(frozen=True, slots=True)
class PosedClip:
    """The bodies of F frames in the camera frame, or in the fit's frame without a camera.

    rotation: (F, 3, 3) global orientation; pelvis: (F, 3) m; body_rotations: (F, 21, 3, 3) local;
    betas: (10,); joints: (F, 22, 3) m. float32.
    """

    rotation: Tensor
    pelvis: Tensor
    body_rotations: Tensor
    betas: Tensor
    joints: Tensor


def pose_clip(clip: Clip, body: BodyModel) -> PosedClip:
    """Pose a body by a clip's fit.

    body: of the fit's model and gender; another one has its own limb lengths.
    Raises: DataError if the clip has no fit or one of SMPL.
    """
    fit = clip.fit
    if fit is None:
        raise DataError(f"Clip {clip.name} has no body parameters; choose another data set.")
    if fit.model != "smplx":
        raise DataError(
            f"Clip {clip.name} is fitted with {fit.model.upper()}, the body is SMPL-X; convert the "
            "fit first (smpl_as_smplx)."
        )
    params = fit.params
    betas = torch.as_tensor(np.asarray(params.betas[:10], np.float32))
    world = rotvec_to_matrix(torch.as_tensor(np.asarray(params.global_orient, np.float32)))
    pose = torch.as_tensor(np.asarray(params.body_pose, np.float32)).unflatten(-1, (-1, 3))
    local = rotvec_to_matrix(pose)
    rest = body.skeleton(betas[None]).joints[:, :NUM_JOINTS]  # (1, 22, 3)
    pelvis = torch.as_tensor(np.asarray(params.transl, np.float64))
    if not fit.about_pelvis:
        pelvis = pelvis + rest[0, 0].double()
    rotation = world.double()
    if fit.camera_from_fit is not None:
        camera = torch.as_tensor(np.asarray(fit.camera_from_fit, np.float64))
        rotation = camera[:3, :3] @ rotation
        pelvis = pelvis @ camera[:3, :3].T + camera[:3, 3]
    chain = torch.cat([rotation.float()[:, None], local], 1)  # (F, 22, 3, 3)
    _, joints = body.forward_kinematics(chain, rest.expand(len(clip), -1, -1))
    joints = joints - joints[:, :1] + pelvis.float()[:, None]
    return PosedClip(rotation.float(), pelvis.float(), local, betas, joints)


def project_clip(clip: Clip, points: Tensor) -> Tensor:
    """Pixels (F, N, 2) of points (F, N, 3) m in the camera; raises DataError without a camera."""
    if clip.camera is None:
        raise DataError(f"Clip {clip.name} has no camera; choose another data set.")
    return project(points, torch.as_tensor(clip.camera.matrix, dtype=points.dtype))


def smpl_as_smplx(fit: BodyFit) -> BodyFit:
    """Use SMPL's joint rotations as SMPL-X's, which has the same joints but other shapes.

    The shape becomes the mean one, because betas of SMPL are not valid in SMPL-X. The translation
    keeps the pelvis to a few centimetres, so it no longer counts as true.
    """
    if fit.model == "smplx":
        return fit
    betas = np.zeros_like(fit.params.betas)
    return replace(fit, params=replace(fit.params, betas=betas), model="smplx", placed=False)
