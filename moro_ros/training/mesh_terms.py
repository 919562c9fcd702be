"""The paper's loss terms: a differentiable mesh from token logits, posed and compared.

Joints are regressed from the mesh by a matrix (22, V); a body at rotation R and pelvis t has them
at J R^T + t.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gumbel_softmax

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import CONTACT_JOINTS
from moro_ros.geometry.camera import project
from moro_ros.geometry.trajectory import integrate_trajectory
from moro_ros.training.clips import View

SLIDING_SPEED = 0.15  # m/s, below which a standing foot may move


@dataclass(frozen=True, slots=True)
class Bodies:
    """Models that compute meshes and joints from motion.

    whole: the body model; tokens: the same with the tokenizer's vertices alone; joints: (22, V)
    regressor on the mesh that the tokenizer gives in full; points: (17, V) of Human3.6M's points,
    or None.
    """

    whole: BodyModel
    tokens: BodyModel
    joints: Tensor
    points: Tensor | None = None

    def to(self, device: torch.device) -> Bodies:
        """Return copies on another device; sources keep using these."""
        if device == self.joints.device:
            return self
        whole, tokens = (copy.deepcopy(body).to(device) for body in (self.whole, self.tokens))
        points = None if self.points is None else self.points.to(device)
        return Bodies(whole, tokens, self.joints.to(device), points)


@dataclass(frozen=True, slots=True)
class Pose:
    """A global orientation (B, F, 3, 3) and a pelvis (B, F, 3) m."""

    rotation: Tensor
    translation: Tensor

    def detach(self) -> Pose:
        """Return the same pose without gradient."""
        return Pose(self.rotation.detach(), self.translation.detach())


@dataclass(frozen=True, slots=True)
class MeshJoints:
    """Joints of local meshes: places (B, F, 22, 3) m; mass (22,), the regressor's row sums.

    The rows of a real body's regressor sum to one, so moving the mesh moves the joints equally.
    """

    places: Tensor
    mass: Tensor

    @staticmethod
    def of(regressor: Tensor, mesh: Tensor) -> MeshJoints:
        """Joints of meshes (B, F, V, 3) m by a regressor (22, V)."""
        return MeshJoints(torch.einsum("jv,bfvc->bfjc", regressor, mesh), regressor.sum(1))

    def posed(self, pose: Pose) -> Tensor:
        """Return the joints (B, F, 22, 3) m of the posed meshes."""
        shift = self.mass[:, None] * pose.translation[:, :, None]
        return self.places @ pose.rotation.mT + shift


def sampled_codes(logits: Tensor, codebook: Tensor, temperature: float | None) -> Tensor:
    """Return codes (B, F, T, D) that pass gradients to logits (B, F, T, C).

    temperature: of a hard Gumbel-softmax sample with straight-through gradient; None takes the
    probability-weighted mean of the codes.
    """
    logits = logits.float()
    if temperature is None:
        return logits.softmax(-1) @ codebook
    return gumbel_softmax(logits, tau=temperature, hard=True) @ codebook


def integrated_pose(clean: Tensor, mean: Tensor, std: Tensor, truth: Pose) -> Pose:
    """Return the trajectory of a canonical form (B, F, 9), integrated from the true first frame.

    mean, std: (9,) statistics of the canonical form.
    """
    start = (truth.rotation[:, 0], truth.translation[:, 0])
    return Pose(*integrate_trajectory(clean, mean, std, *start))


def length_error(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean Euclidean distance of points (..., 3)."""
    return (first - second).norm(dim=-1).mean()


def box_units(points: Tensor, view: View) -> Tensor:
    """Project camera-frame points (B, F, N, 3) m into halves of the person box, (B, F, N, 2)."""
    pixels = project(points, view.matrix[:, None])
    return (pixels - view.box_center[:, :, None]) / (view.box_side[:, :, None, None] / 2)


def skating(joints: Tensor, contact: Tensor, fps: float) -> Tensor:
    """Return the sliding speed of standing feet, m/s beyond 0.15: joints (B, F, 22, 3) m.

    contact: (B, F - 1, 4) 0 or 1 of the true motion.
    """
    speed = joints[:, :, list(CONTACT_JOINTS)].diff(dim=1).norm(dim=-1) * fps
    excess = (speed - SLIDING_SPEED).clamp_min(0.0)
    return (excess * contact).sum() / (contact.sum() + 1e-6)


def squared_pose_terms(kind: str, pose: Pose, truth: Pose) -> dict[str, Tensor]:
    """Return the squared errors of a trajectory; kind: "coarse" or "final"."""
    return {
        f"{kind}_rotation_squared": (pose.rotation - truth.rotation).square().mean(),
        f"{kind}_translation_squared": (pose.translation - truth.translation).square().mean(),
    }


def joint_terms(
    kind: str, joints: Tensor, truth: Tensor, contact: Tensor, fps: float
) -> dict[str, Tensor]:
    """Return the terms on posed joints (B, F, 22, 3) m against the true ones.

    kind: "rel", "coarse" or "final"; contact: (B, F - 1, 4). Differences in time need two frames.
    """
    terms = {f"mesh_joints_{kind}": length_error(joints, truth)}
    if joints.shape[1] < 2:
        return terms
    steps = joints.diff(dim=1) - truth.diff(dim=1)
    terms[f"mesh_steps_{kind}"] = steps.norm(dim=-1).mean()
    terms[f"mesh_skating_{kind}"] = skating(joints, contact, fps)
    if joints.shape[1] > 2:
        terms[f"mesh_acceleration_{kind}"] = steps.diff(dim=1).square().mean()
    return terms


def plane_term(joints: Tensor, truth: Tensor, view: View) -> Tensor:
    """Return the mean distance per image axis of projected joints, in half boxes.

    joints, truth: (B, F, 22, 3) m, camera frame.
    """
    return (box_units(joints, view) - box_units(truth, view)).abs().mean()


def weak_plane_term(mesh: Tensor, regressor: Tensor, pose: Pose, view: View) -> Tensor:
    """Return the distance per image axis to labelled points, by the weak camera of a pose.

    mesh: (B, F, V, 3) local; regressor: (17, V) of Human3.6M's points; the weak camera is that
    whose full form (geometry.camera.weak_to_full_camera) the pose is.
    """
    if view.points_2d is None:
        return mesh.new_zeros(())
    points = torch.einsum("jv,bfvc->bfjc", regressor, mesh) @ pose.rotation.mT
    depth = pose.translation[..., 2:]
    scale = 2 / (depth * view.box[..., 2:])
    offset = pose.translation[..., :2] - depth * view.box[..., :2]
    seen_at = scale[:, :, None] * (points[..., :2] + offset[:, :, None])
    off = (seen_at - view.points_2d[..., :2]).abs()
    return (off * view.points_2d[..., 2:]).mean()
