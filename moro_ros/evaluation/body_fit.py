"""One person's body fitted to the keypoints of several calibrated views, as a truth.

Triangulated keypoints have bones of changing length, and lie where the detector marks a point and
not where the body model has it. The fit has one shape and one size for all frames, moves smoothly,
and learns where each detector marks its points: an offset for each keypoint in the frame of the
joint that carries it, the same for left and right but mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from moro_ros.body.body_model import NUM_BETAS, BodyModel
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.occlusion import MIRRORED_KEYPOINTS
from moro_ros.evaluation.multiview import Truth
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.geometry.views import View
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS

STEPS = 1500
# Adam's steps: of rotations, places, shape and size; of the offsets.
STEP, OFFSET_STEP = 0.02, 0.003
# An error of so many pixels counts half (Geman-McClure); first the wide one, so that a limb which
# begins on the wrong side comes back.
WIDE_PX, NARROW_PX, WIDE_SHARE = 80.0, 20.0, 0.4
# Standard deviation of a small error of a detector.
ERROR_PX = 8.0
# Standard deviations of what is not seen: rotations rad, betas, log size, offsets m, m/s2.
POSE, SHAPE, SIZE, OFFSET, ACCELERATION = 0.8, 1.0, 0.2, 0.02, 40.0
MIRROR = torch.tensor([-1.0, 1.0, 1.0])
# A frame has a truth if two views or more see so many keypoints in it.
MIN_KNOWN = 8
_NAMES = list(KEYPOINTS)
TORSO = [
    _NAMES.index(f"{side}_{part}") for part in ("hip", "shoulder") for side in ("left", "right")
]


@dataclass(frozen=True, slots=True)
class Marks:
    """What one detector saw of a person: keypoints (C, F, K, 2) on the normalised plane of C views.

    weight: (C, F, K), 0 where unseen (multiview.observations).
    """

    points: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, slots=True)
class FittedBody:
    """A fitted body in the world frame, metres.

    joints: (F, 22, 3); rotations: (F, 22, 3, 3) of the joints; known: (F,) bool, frames that are
    seen well enough; betas: (10,); size: of the body beside the model's; offsets: (D, K, 3) of D
    detectors, in the frame of the carrying joint; residual_px: (D, C, F, K) of what was seen, NaN
    elsewhere.
    """

    joints: np.ndarray
    rotations: np.ndarray
    known: np.ndarray
    betas: np.ndarray
    size: np.ndarray
    offsets: np.ndarray
    residual_px: np.ndarray

    def keypoints(self, body: BodyModel) -> np.ndarray:
        """Return the keypoints (F, K, 3) m of `body` in this pose, without the fitted offsets.

        body: the fitted one, or the same with other keypoints (load_body_model, detector_points).
        """
        offsets = body.skeleton(torch.from_numpy(self.betas)[None]).keypoint_offsets
        own = torch.from_numpy(self.size) * offsets
        joints = torch.from_numpy(self.joints).float()
        return body.keypoints(torch.from_numpy(self.rotations), joints, own).numpy()

    def truth(self, body: BodyModel) -> Truth:
        """Return the fit as a truth with the keypoints of `body` (see keypoints).

        It is unknown where too little was seen.
        """
        hidden = ~self.known[:, None, None]
        points = np.where(hidden, np.nan, self.keypoints(body).astype(np.float64))
        worst = np.nan_to_num(self.residual_px, nan=0.0).max((0, 1))
        error_px = np.where(hidden[..., 0], np.nan, worst)
        return Truth(points, error_px, np.where(hidden, np.nan, self.joints))


@dataclass(slots=True)
class _Body:
    """The variables of the fit; rotations are rotation vectors."""

    betas: Tensor
    log_size: Tensor
    root: Tensor
    pose: Tensor
    place: Tensor
    offsets: Tensor

    def posed(self, body: BodyModel) -> tuple[Tensor, Tensor, Tensor]:
        """Return joint rotations (F, 22, 3, 3), joints (F, 22, 3) m, marks (D, F, K, 3) m."""
        size = self.log_size.exp()
        skeleton = body.skeleton(self.betas[None])
        turns = rotvec_to_matrix(torch.cat([self.root[:, None], self.pose], 1))
        chain, joints = body.forward_kinematics(turns, size * skeleton.joints[:, :NUM_JOINTS])
        own = size * skeleton.keypoint_offsets
        shift = self.place[:, None]
        marked = [body.keypoints(chain, joints, own + offset) + shift for offset in self.mirrored()]
        return chain, joints + shift, torch.stack(marked)

    def mirrored(self) -> Tensor:
        """Return the offsets (D, K, 3), the right side's mirrored from the left's."""
        return (self.offsets + self.offsets[:, list(MIRRORED_KEYPOINTS)] * MIRROR) / 2


def fit_body(
    views: Sequence[View], marks: Sequence[Marks], start: Truth, body: BodyModel, rate_hz: float
) -> FittedBody:
    """Fit a body to what one detector or several saw of a person.

    start: the person's triangulated keypoints. The result is the same on every run.
    """
    rotation = torch.tensor(np.stack([view.rotation for view in views])).float()
    translation = torch.tensor(np.stack([view.translation for view in views])).float()
    focal = torch.tensor([view.camera.matrix[0, 0] for view in views]).float()
    seen = torch.tensor(np.stack([mark.points for mark in marks])).float()  # (D, C, F, K, 2)
    weight = torch.tensor(np.stack([mark.weight for mark in marks])).float()
    state = _beginning(start, len(marks))
    slow, fast = [state.offsets], [getattr(state, f.name) for f in fields(_Body)][:-1]
    for value in (*slow, *fast):
        value.requires_grad_(True)
    optimiser = torch.optim.Adam(
        [{"params": fast, "lr": STEP}, {"params": slow, "lr": OFFSET_STEP}]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)

    def errors_px(marked: Tensor) -> Tensor:
        inside = (rotation[:, None, None] @ marked[:, None, ..., None])[..., 0]
        inside = inside + translation[:, None, None]
        planar = inside[..., :2] / inside[..., 2:].clamp_min(0.1)
        return (planar - seen).norm(dim=-1) * focal[:, None, None]

    for step in range(STEPS):
        _, joints, marked = state.posed(body)
        squared = errors_px(marked).square()
        scale = (WIDE_PX if step < WIDE_SHARE * STEPS else NARROW_PX) ** 2
        robust = weight * squared * scale / (squared + scale)
        loss = robust.sum() / (2 * ERROR_PX**2) + _unlikely(state, joints, rate_hz)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        rotations, joints, marked = state.posed(body)
        residual = torch.where(weight > 0, errors_px(marked), torch.nan)
    views_of = (weight > 0).any(0).sum(0)  # (F, K)
    return FittedBody(
        joints=joints.numpy().astype(np.float64),
        rotations=rotations.numpy(),
        known=((views_of >= 2).sum(1) >= MIN_KNOWN).numpy(),
        betas=state.betas.detach().numpy(),
        size=state.log_size.detach().exp().numpy(),
        offsets=state.mirrored().detach().numpy(),
        residual_px=residual.numpy(),
    )


def _unlikely(state: _Body, joints: Tensor, rate_hz: float) -> Tensor:
    """Half the squares of what is unlikely, in standard deviations."""
    # Of what is constant every frame says so: else shape and offsets would stand in for rotations.
    every = len(joints) ** 0.5
    terms = [
        state.pose / POSE,
        state.betas * (every / SHAPE),
        state.log_size * (every / SIZE),
        state.offsets * (every / OFFSET),
        (joints[2:] - 2 * joints[1:-1] + joints[:-2]) * (rate_hz**2 / ACCELERATION),
    ]
    return torch.stack([term.square().sum() / 2 for term in terms]).sum()


def _beginning(start: Truth, detectors: int) -> _Body:
    """Stand a body of the mean shape where the triangulated torso is, in every frame."""
    points = torch.tensor(start.points).float()
    known = torch.isfinite(points[:, TORSO]).all(-1).all(-1).nonzero()[:, 0]
    frames = len(points)
    if not len(known):
        raise ValueError("the torso of the person is unknown in all frames")
    nearest = known[(torch.arange(frames)[:, None] - known).abs().argmin(1)]
    left_hip, right_hip, left_shoulder, right_shoulder = points[nearest][:, TORSO].unbind(1)
    middle = (left_hip + right_hip) / 2
    up = normalize((left_shoulder + right_shoulder) / 2 - middle, dim=-1)
    across = left_hip - right_hip + left_shoulder - right_shoulder
    left = normalize(across - (across * up).sum(-1, keepdim=True) * up, dim=-1)
    root = torch.stack([left, up, torch.linalg.cross(left, up)], -1)
    return _Body(
        betas=torch.zeros(NUM_BETAS),
        log_size=torch.zeros(1),
        root=matrix_to_rotvec(root),
        pose=torch.zeros(frames, NUM_JOINTS - 1, 3),
        place=middle.clone(),
        offsets=torch.zeros(detectors, NUM_KEYPOINTS, 3),
    )
