"""From decoded tokens and heads to a BodyMotion: mesh, joints, SMPL-X parameters, confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel, Skeleton
from moro_ros.body.fitting import SmplxFitter
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.config import MotionConfig
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.build import LoadedModel
from moro_ros.recover.outlier_gate import OutlierGate
from moro_ros.recover.place import Placer, Unplaced
from moro_ros.recover.refinement import Refiner, Seen, align_sideways, smplx_of
from moro_ros.recover.sight import Sight, joint_visibility
from moro_ros.recover.steady_pose import BodyPose, JointVelocity, SteadyPose, blend
from moro_ros.recover.uncertainty import UncertaintyTable
from moro_ros.types import BodyMotion


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One decoded frame of one person.

    rotation: (3, 3) and translation: (3,) m, camera optical frame; contact: (4,) logits;
    confidence, ids: (T,) of the mesh tokens; body_rotations: (21, 3, 3), or None without a
    rotation head; codes: (n, T, code width) of this frame, codes[at], and of those around it.
    """

    rotation: np.ndarray
    translation: np.ndarray
    contact: np.ndarray
    confidence: np.ndarray
    ids: np.ndarray
    body_rotations: np.ndarray | None
    codes: np.ndarray
    at: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoding of one person around the described time and the one described before it.

    frames: in the order of time; marks: for the earlier time (omitted if it is forgotten) and the
    later one, the indices of the frames on either side and the share of the second; betas: (10,),
    the mean over the window, or None without a rotation head.
    """

    frames: tuple[DecodedFrame, ...]
    marks: tuple[tuple[int, int, float], ...]
    betas: np.ndarray | None

    @property
    def translation(self) -> Tensor:
        """The network's own pelvis at the described time, (3,) m."""
        low, high, share = self.marks[-1]
        first, second = self.frames[low].translation, self.frames[high].translation
        return torch.from_numpy(first + np.float32(share) * (second - first))

    @property
    def nearest(self) -> DecodedFrame:
        """The frame nearest to the described time."""
        low, high, share = self.marks[-1]
        return self.frames[high if share > 0.5 else low]


def seen_of(sight: Sight, threshold: float) -> Seen:
    """Return an observation for the refiner (N = 1); threshold: minimum visibility."""
    weight = np.where(sight.visibility > threshold, sight.visibility, 0.0)
    return Seen(
        torch.from_numpy(sight.points)[None],
        torch.from_numpy(weight)[None].float(),
        torch.tensor([sight.box_size]),
    )


class MotionRecovery:
    """Converts the decoding of one person's window to the motion of its last frames."""

    def __init__(
        self, model: LoadedModel, body: BodyModel, uncertainty: UncertaintyTable | None = None
    ) -> None:
        self.uncertainty = uncertainty
        self.model = model
        self.body = body
        self.refiner = Refiner(body)
        self.token_of_joint = token_shares(model, body)
        tokenizer, numbers = model.tokenizer, model.config.moro
        self.device = tokenizer.codebook.device
        coarse = torch.zeros(1, tokenizer.num_vertices, 3, device=self.device)
        self.mesh_vertices = tokenizer.full_mesh(coarse).shape[1]
        self.seen_by_keypoints = numbers.image == "keypoints"
        self.fitter: SmplxFitter | None = None
        if not numbers.rotation_head:
            regressor = body.joint_regressor.numpy()
            self.fitter = SmplxFitter(body, self.mesh_vertices, regressor, beta_regularizer=1.0)

    def recover(
        self,
        track_id: int,
        decoded: Decoded,
        sight: Sight,
        options: MotionConfig,
        steady: SteadyPose,
        stride: float = 1.0,
        mesh: bool = False,
        placer: Placer | None = None,
    ) -> BodyMotion:
        """Return the motion of one person at one time (F = 1).

        sight: of the person in the image of that time; steady: the person's running pose, which is
        advanced; stride: frames since it was last advanced; mesh: also recover the vertices;
        placer: moves the pose to the distance from other sources. A network of keypoints is refined
        (options.refine_steps) in place of the steady pose's own gain.
        """
        threshold, window = options.visibility, self.pose(decoded)
        if steady.gate.holding:
            window = steady.restarted(window)
        seen = seen_of(sight, threshold)
        refines = options.refine_steps > 0 and self.seen_by_keypoints
        if refines:
            pose = self.refine(window, seen, steady, stride, options.refine_steps)
        else:
            aligned = self.place(window.frames(slice(-1, None)), seen)
            pose = steady.update(window, aligned, stride)
        skeleton, chain, joints = self.kinematics(pose)
        nearest = decoded.nearest
        contact = 1.0 / (1.0 + np.exp(-nearest.contact[None]))
        visible = sight.visibility > threshold
        shown = joint_visibility(sight.visibility[None])
        observed = shown > threshold
        place, growth, network = None, 1.0, pose.translation
        marked = self.body.keypoints(chain, joints, skeleton.keypoint_offsets)[0] + network[0]
        steady.uncertainty.compare(marked.numpy(), sight.points, visible, sight.box_size)
        if placer is not None:
            unplaced = Unplaced(
                pose,
                (joints[0] + network[0]).numpy(),
                contact[0],
                observed[0],
                steady.shape is not None,
                sight.stamp_ns,
                seen if refines and nearest.body_rotations is not None else None,
            )
            if (placed_pose := placer(unplaced)) is not None:
                pose, place = placed_pose.pose, placed_pose.place
                if placed_pose.jumped:  # neither an outlier nor motion
                    steady.gate, steady.velocity = OutlierGate(), JointVelocity()
                skeleton, chain, joints = self.kinematics(pose)
                growth = float(pose.translation[0, 2] / network[0, 2])
        vertices = None
        if mesh and nearest.body_rotations is not None:
            # The body of the published joints, whatever their source.
            vertices = self.skinned(pose)
        elif mesh:
            # A fitted pelvis is slightly off the mesh's own: both move by the same amount.
            shift = decoded.translation - window.translation[-1]
            vertices = self.mesh([nearest], pose.rotations[:, 0], network + shift) * growth
        token_confidence = nearest.confidence[None] @ self.token_of_joint.numpy().T  # (F, 22)
        confidence = np.where(observed, shown, threshold * token_confidence)
        placed = (joints + pose.translation[:, None]).numpy()
        motion = BodyMotion(
            track_id=track_id,
            stamps_ns=np.array([sight.stamp_ns], np.int64),
            joints=placed,
            joint_rotations=chain.numpy(),
            velocity=np.zeros_like(placed),
            covariance=np.zeros((*placed.shape, 3), np.float32),
            confidence=confidence.astype(np.float32),
            observed=observed,
            contact=contact,
            smplx=smplx_of(pose, pose.betas, skeleton.joints[0, 0]),
            vertices=None if vertices is None else vertices.numpy(),
            token_ids=nearest.ids[None],
            keypoints_seen=np.array([visible.any()]),
            held=np.zeros(1, bool),
            shape_locked=steady.shape is not None,
            place=place,
        )
        return self.publish(motion, steady, options.max_speed_mps)

    def publish(self, motion: BodyMotion, steady: SteadyPose, max_speed_mps: float) -> BodyMotion:
        """Pass a motion (F = 1) through the person's gate and add the derived fields."""
        if steady.gate.refuses(motion, max_speed_mps):
            motion = steady.gate.hold(motion)
        else:
            if not steady.gate.accept(motion):
                steady.velocity = JointVelocity()
            seen = bool(motion.keypoints_seen[-1])
            velocity = steady.velocity.update(motion.joints[0], int(motion.stamps_ns[-1]), seen)
            motion = replace(motion, velocity=velocity[None])
        covariance = steady.uncertainty.covariance(self.uncertainty, motion)
        return steady.gate.publish(replace(motion, covariance=covariance))

    def pose(self, decoded: Decoded) -> BodyPose:
        """Return the pose at the marks: the rotation head's, or fitted to the mesh."""
        return at_marks(self._pose_of_frames(decoded), decoded.marks)

    def _pose_of_frames(self, decoded: Decoded) -> BodyPose:
        frames = decoded.frames
        rotation = torch.from_numpy(np.stack([frame.rotation for frame in frames]))
        translation = torch.from_numpy(np.stack([frame.translation for frame in frames]))
        heads = [frame.body_rotations for frame in frames if frame.body_rotations is not None]
        if heads and decoded.betas is not None:
            body_rotations = torch.from_numpy(np.stack(heads))
            rotations = torch.cat([rotation[:, None], body_rotations], 1)
            return BodyPose(rotations, translation, torch.from_numpy(decoded.betas))
        if self.fitter is None:
            raise ValueError("the decoder gave no rotations though its description promises them")
        mesh = self.mesh(frames, rotation, translation)
        fitted = self.fitter.fit(mesh.numpy())
        betas = torch.from_numpy(fitted.betas)
        pelvis = self.body.skeleton(betas[None]).joints[0, 0]
        turns = torch.from_numpy(np.concatenate([fitted.global_orient, fitted.body_pose], 1))
        return BodyPose(
            rotvec_to_matrix(turns.unflatten(-1, (NUM_JOINTS, 3))),
            torch.from_numpy(fitted.transl) + pelvis,
            betas,
        )

    def kinematics(self, pose: BodyPose) -> tuple[Skeleton, Tensor, Tensor]:
        """Return the skeleton, joint rotations (F, 22, 3, 3) and positions, the pelvis at zero."""
        skeleton = self.body.skeleton(pose.betas[None])
        rest = skeleton.joints[:, :NUM_JOINTS]
        chain, joints = self.body.forward_kinematics(pose.rotations, rest)
        return skeleton, chain, joints

    def place(self, newest: BodyPose, seen: Seen) -> Tensor:
        """Move the newest pose onto the seen keypoints; returns the pelvis (1, 3) m.

        The result of a network that uses pixels is not changed.
        """
        if not self.seen_by_keypoints:
            return newest.translation
        skeleton, chain, joints = self.kinematics(newest)
        keypoints = self.body.keypoints(chain, joints, skeleton.keypoint_offsets)
        return align_sideways(keypoints, seen, newest.translation)

    def refine(
        self, window: BodyPose, seen: Seen, steady: SteadyPose, stride: float, steps: int
    ) -> BodyPose:
        """Fit the newest pose to the seen keypoints and store it as the steady one; see recover."""
        expected = steady.expected(window)
        newest = window.frames(slice(-1, None))
        betas = newest.betas if expected is None else expected.betas
        skeleton = self.body.skeleton(betas[None])
        body = self.refiner.refine(newest, skeleton, seen, steps, expected, stride)
        return steady.take(BodyPose(body.rotations, body.translation, betas))

    def skinned(self, pose: BodyPose) -> Tensor:
        """Return the mesh of a pose (F = 1), (1, V, 3) m camera frame, by linear blend skinning."""
        mesh = self.body.skin(pose.rotations, pose.betas[None]).vertices
        return mesh[:, : self.mesh_vertices] + pose.translation[:, None]

    def mesh(self, frames: Sequence[DecodedFrame], rotation: Tensor, translation: Tensor) -> Tensor:
        """Decode the mesh of some frames and pose it, (F, V, 3) m camera frame.

        rotation: (F, 3, 3); translation: (F, 3) m.
        """
        smooth = []
        for frame in frames:
            around = torch.from_numpy(frame.codes)[None].to(self.device)
            smooth.append(self.model.moro.smoother(around)[0, frame.at])
        local = self.model.tokenizer.decode_codes(torch.stack(smooth))
        return self.model.tokenizer.full_mesh(local).cpu() @ rotation.mT + translation[:, None]


def at_marks(pose: BodyPose, marks: Sequence[tuple[int, int, float]]) -> BodyPose:
    """Return a pose between its frames; marks: see Decoded."""
    low, high = [mark[0] for mark in marks], [mark[1] for mark in marks]
    first = BodyPose(pose.rotations[low], pose.translation[low], pose.betas)
    if low == high:
        return first
    share = torch.tensor([mark[2] for mark in marks])
    return BodyPose(
        blend(first.rotations, pose.rotations[high], share[:, None, None, None]),
        torch.lerp(first.translation, pose.translation[high], share[:, None]),
        pose.betas,
    )


def token_shares(model: LoadedModel, body: BodyModel) -> Tensor:
    """Return the weight of each mesh token for each joint, (22, T), rows sum to one.

    A token's patch moves with the joints that its vertices are skinned to.
    """
    patches = model.tokenizer.patch_vertices  # (T, n) vertex ids of the full mesh
    weights = body.weights[patches.flatten().long()].unflatten(0, patches.shape)
    shares = weights.mean(1)[:, :NUM_JOINTS].mT + 1e-6  # (22, T)
    return shares / shares.sum(-1, keepdim=True)
