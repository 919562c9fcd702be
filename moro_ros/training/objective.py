"""Objective of a stage of MoRo: from clips to named loss terms, one pass at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from moro_ros.errors import ConfigError
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.tokenizer import MeshTokenizer
from moro_ros.training.clips import MASKS, Draw, TrainingClips, View
from moro_ros.training.head_terms import (
    box_trajectory_terms,
    frame_estimate_terms,
    near_codes,
    rotation_head_terms,
    token_loss,
)
from moro_ros.training.masking import (
    MaskedTokens,
    least_confident_mask,
    mask_tokens,
    noise_at,
    shaken,
)
from moro_ros.training.mesh_terms import (
    Bodies,
    MeshJoints,
    Pose,
    integrated_pose,
    joint_terms,
    plane_term,
    sampled_codes,
    squared_pose_terms,
    weak_plane_term,
)
from moro_ros.training.stage import SCHEMES, Stage

LARGEST_DEVIATION = 5.0
ESTIMATE_TERMS = frozenset(
    f"coarse_{name}" for name in ("joints", "keypoints", "body_rotation", "reprojection", "betas")
)
HEAD_TERMS = frozenset(
    ("joints", "keypoints", "betas", "body_rotation", "reprojection", "velocity", "acceleration")
)
BOX_TERMS = frozenset(
    ("root_rotation", "coarse_rotation", "depth", "coarse_depth", "coarse_center")
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The result of a pass for B clips of F frames.

    logits: (B, F, T, C); masked: (B, F, T) bool; contact: (B, F, 4) logits; clean, true_clean:
    (B, F, 9) normalised canonical trajectory; coarse, final: poses in the camera frame, None for
    motion alone; output, features: of the decoder and the image encoder, None for motion alone.
    """

    logits: Tensor
    masked: Tensor
    contact: Tensor
    clean: Tensor
    true_clean: Tensor
    coarse: Pose | None = None
    final: Pose | None = None
    output: DecoderOutput | None = None
    features: FrameFeatures | None = None


class Objective(nn.Module):
    """The loss terms of a stage, as a module so that DistributedDataParallel can wrap it.

    Only the network is a submodule: tokenizer and bodies are fixed. fps: of the clips, Hz.
    """

    def __init__(
        self,
        moro: MoRo,
        tokenizer: MeshTokenizer,
        bodies: Bodies,
        stage: Stage,
        fps: float = 30.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.moro = moro
        self.stage = stage
        self.fps = fps
        self.dtype = dtype
        self.used = stage.weights.used()
        self._fixed = (tokenizer, bodies)
        self.near = near_codes(moro.codebook, stage.near_codes) if stage.near_codes > 0 else None
        if self.used & ESTIMATE_TERMS and moro.decoder.update is None:
            raise ConfigError(
                f"weights: {', '.join(sorted(self.used & ESTIMATE_TERMS))} need "
                "moro.keypoints.estimate: true."
            )
        heads = moro.decoder.rotation_head is not None or moro.decoder.update is not None
        if self.used & HEAD_TERMS and not heads:
            raise ConfigError(
                f"weights: {', '.join(sorted(self.used & HEAD_TERMS))} need moro.rotation_head: "
                "true; expected that, or the weights of terms that start with mesh_."
            )

    @property
    def tokenizer(self) -> MeshTokenizer:
        """The frozen mesh tokenizer."""
        return self._fixed[0]

    @property
    def bodies(self) -> Bodies:
        """The body models."""
        return self._fixed[1]

    def forward(self, clips: TrainingClips, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Return the weighted terms by name; progress: in [0, 1], of the stage's schedules."""
        torch.manual_seed(draw.torch_seed())
        rng = draw.rng(MASKS)
        device = clips.device
        with torch.autocast(device.type, self.dtype, enabled=self.dtype is not None):
            ids = self.true_ids(clips)
            tokens = rng.random() < self.stage.token_share
            if self.stage.task == "motion":
                estimate = self.motion_estimate(clips, ids, rng, progress)
            else:
                estimate = self.image_estimate(clips, ids, rng, tokens)
            terms = self.token_terms(estimate, ids, clips)
            if tokens and any(name.startswith("mesh") for name in self.used):
                terms.update(self.mesh_terms(estimate, clips, rng, progress))
        if estimate.coarse is not None and estimate.final is not None:
            truth = Pose(clips.rotation, clips.translation)
            terms.update(squared_pose_terms("coarse", estimate.coarse, truth))
            terms.update(squared_pose_terms("final", estimate.final, truth))
            terms.update(self.head_terms(estimate, clips))
        return {name: value for name, value in terms.items() if name in self.used}

    def estimate_terms(self, features: FrameFeatures, clips: TrainingClips) -> dict[str, Tensor]:
        """Return the terms on the body that the image encoder estimates from each frame."""
        update = self.moro.decoder.update
        assert update is not None  # see __init__
        body = self.bodies.whole
        return frame_estimate_terms(features, update.scale_betas, clips, self.view(clips), body)

    @torch.no_grad()
    def true_ids(self, clips: TrainingClips) -> Tensor:
        """Return the tokens (B, F, T) of the true meshes."""
        if clips.ids is not None:
            return clips.ids
        return self.tokenizer.encode(self.true_mesh(clips).flatten(0, 1)).unflatten(0, clips.shape)

    @torch.no_grad()
    def true_mesh(self, clips: TrainingClips, frames: Tensor | None = None) -> Tensor:
        """Return the local meshes (B, F, M, 3) m of all or some frames (their numbers)."""
        if frames is None:
            frames = torch.arange(clips.shape[1], device=clips.device)
        if clips.mesh is not None:
            return clips.mesh.index_select(1, frames)
        rotations = clips.body_rotations.index_select(1, frames)
        shape = clips.betas if clips.mesh_betas is None else clips.mesh_betas
        betas = shape[:, None].expand(-1, len(frames), -1)
        with torch.autocast(clips.device.type, enabled=False):
            mesh = self.bodies.tokens.local_mesh(rotations.flatten(0, 1), betas.flatten(0, 1))
        return mesh.unflatten(0, rotations.shape[:2])

    def hide(
        self, ids: Tensor, rng: np.random.Generator, guided: bool = True
    ) -> MaskedTokens | None:
        """Mask true tokens by a scheme drawn from the stage's shares; None for "guided".

        guided: whether that is allowed; else everything is masked instead.
        """
        scheme = str(rng.choice(SCHEMES, p=self.stage.mask_probabilities()))
        if scheme == "guided":
            if guided:
                return None
            scheme = "full"
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return mask_tokens(ids, scheme, num_codes=self.moro.num_codes, generator=generator)

    def future(self, rng: np.random.Generator) -> int | None:
        """Draw how many frames of the future this pass's frames see, None for all."""
        if rng.random() >= self.stage.live:
            return None
        return 0 if rng.random() < self.stage.causal else int(rng.integers(1, 11))

    def canonical(self, pose: Pose, ahead: int | None) -> Tensor:
        """Return the normalised canonical form (B, F, 9) of a trajectory."""
        mean, std = self.moro.trajectory_mean, self.moro.trajectory_std
        return canonical_trajectory(pose.rotation, pose.translation, mean, std, causal=ahead == 0)

    def motion_estimate(
        self, clips: TrainingClips, ids: Tensor, rng: np.random.Generator, progress: float
    ) -> Estimate:
        """Run only the motion encoder, on masked tokens and a noisy trajectory."""
        ahead = self.future(rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = noise_at(self.stage.noise, progress)
        noisy = Pose(*shaken(clips.rotation, clips.translation, *noise, generator))
        hidden = self.hide(ids, rng)
        assert hidden is not None  # Stage.check: no confidence without an image
        encoder = self.moro.motion_encoder
        motion = encoder(self.moro.embed(hidden.ids), self.canonical(noisy, ahead), ahead)
        return Estimate(
            logits=encoder.logits(motion),
            masked=hidden.masked,
            contact=encoder.contact(motion),
            clean=motion.clean_trajectory.float(),
            true_clean=self.canonical(Pose(clips.rotation, clips.translation), ahead),
        )

    def image_estimate(
        self, clips: TrainingClips, ids: Tensor, rng: np.random.Generator, tokens: bool
    ) -> Estimate:
        """Run the whole network, or, in an image stage, without the motion encoder's output.

        tokens: use tokens as input and return their logits.
        """
        view = self.view(clips)
        features = self.moro.encode_frames(view.observation, view.box)
        coarse = Pose(features.rotation, features.translation)
        carried = self.moro.carry_estimates(features, view.observation)
        ahead = self.future(rng)
        hidden = self.hide(ids, rng, tokens)
        if hidden is None:
            codes, masked, given = self.guided_input(carried, rng, ahead)
        else:
            codes, masked = self.moro.embed(hidden.ids), hidden.masked
            given = Pose(carried.rotation, carried.translation)
        output = self.moro.decode_window(
            codes,
            carried,
            given.rotation,
            given.translation,
            drop_motion=self.stage.task == "image",
            ahead=ahead,
            tokens=tokens,
        )
        return Estimate(
            logits=output.logits,
            masked=masked,
            contact=output.contact,
            clean=output.clean_trajectory.float(),
            true_clean=self.canonical(Pose(clips.rotation, clips.translation), ahead),
            coarse=coarse,
            final=Pose(output.rotation, output.translation),
            output=output,
            features=features,
        )

    @torch.no_grad()
    def guided_input(
        self, features: FrameFeatures, rng: np.random.Generator, ahead: int | None
    ) -> tuple[Tensor, Tensor, Pose]:
        """Keep a first pass's most certain tokens and mask the rest again.

        Returns codes (B, F, T, code width), masked (B, F, T) and the first pass's trajectory.
        """
        shape = (*features.box_condition.shape[:2], self.moro.num_tokens)
        unknown = torch.full(shape, self.moro.mask_id, device=features.box_condition.device)
        first = self.moro.decode_window(
            self.moro.embed(unknown),
            features,
            features.rotation,
            features.translation,
            drop_motion=self.stage.task == "image",
            ahead=ahead,
        )
        probability = first.logits.float().softmax(-1)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        masked = least_confident_mask(probability.amax(-1), generator)
        if self.stage.temperature:
            codes = self.moro.embed(first.logits.argmax(-1))
        else:
            codes = probability @ self.moro.codebook
        codes = torch.where(masked[..., None], torch.zeros_like(codes), codes)
        return codes, masked, Pose(first.rotation, first.translation)

    def token_terms(
        self, estimate: Estimate, ids: Tensor, clips: TrainingClips
    ) -> dict[str, Tensor]:
        """Return the terms on tokens, contact and the clean trajectory."""
        terms: dict[str, Tensor] = {}
        if estimate.logits.shape[2]:
            near = None if self.near is None else self.near.to(ids.device)
            terms["tokens"] = token_loss(estimate.logits, ids, estimate.masked, near)
        if clips.shape[1] < 2:
            return terms
        terms["contact"] = nn.functional.binary_cross_entropy_with_logits(
            estimate.contact[:, :-1].float(), clips.contact
        )
        # The last frame has no motion of its own, but counts in the mean, as in the published loss.
        error = (estimate.clean - estimate.true_clean)[:, :-1]
        share = (clips.shape[1] - 1) / clips.shape[1]
        terms["clean_trajectory"] = share * error.square().mean()
        cut = error.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION)
        terms["clean_trajectory_cut"] = cut.square().mean()
        return terms

    def mesh_terms(
        self, estimate: Estimate, clips: TrainingClips, rng: np.random.Generator, progress: float
    ) -> dict[str, Tensor]:
        """Return the terms on the mesh decoded from the logits, local and posed."""
        frames = clips.shape[1]
        keep = max(1, round(self.stage.mesh_share * frames))
        chosen = torch.from_numpy(np.sort(rng.choice(frames, keep, replace=False)))
        chosen = chosen.to(clips.device)
        codes = sampled_codes(estimate.logits, self.moro.codebook, self.temperature(progress))
        if self.stage.smooth:
            codes = self.moro.smoother(codes)
        shown = codes.index_select(1, chosen).flatten(0, 1)
        mesh = self.tokenizer.decode_codes(shown).float().unflatten(0, (clips.shape[0], keep))
        true_mesh = self.true_mesh(clips, chosen)
        terms = {"mesh": (mesh - true_mesh).norm(dim=-1).mean()}
        if any(name.startswith("mesh_") for name in self.used):
            with torch.autocast(clips.device.type, enabled=False):
                terms.update(self.posed_terms(estimate, clips, mesh, true_mesh))
        return terms

    def posed_terms(
        self, estimate: Estimate, clips: TrainingClips, mesh: Tensor, true_mesh: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms on joints of meshes (B, F, M, 3) m posed by each known trajectory."""
        bodies, tokenizer = self.bodies, self.tokenizer
        whole = tokenizer.full_mesh(mesh)
        joints = MeshJoints.of(bodies.joints, whole)
        true_joints = MeshJoints.of(bodies.joints, tokenizer.full_mesh(true_mesh))
        truth = Pose(clips.rotation, clips.translation)
        placed_truth = true_joints.posed(truth)
        mean, std = self.moro.trajectory_mean, self.moro.trajectory_std
        poses = {"rel": integrated_pose(estimate.clean, mean, std, truth)}
        if estimate.coarse is not None and estimate.final is not None:
            poses |= {"coarse": estimate.coarse, "final": estimate.final}
        terms: dict[str, Tensor] = {}
        for kind, pose in poses.items():
            if not any(name.startswith("mesh_") and name.endswith(kind) for name in self.used):
                continue
            seen = joints.posed(self.at_known_place(pose, clips))
            terms.update(joint_terms(kind, seen, placed_truth, clips.contact, self.fps))
            if clips.view is not None and kind != "rel":
                terms[f"mesh_plane_{kind}"] = plane_term(seen, placed_truth, clips.view)
        if "mesh_plane_weak" in self.used and clips.view is not None:
            if bodies.points is None or estimate.coarse is None:
                raise ConfigError(
                    "weights.mesh_plane_weak: needs data.points_regressor, the (17, V) matrix of "
                    "Human3.6M's points (J_regressor_h36m.npy), in an image stage."
                )
            terms["mesh_plane_weak"] = weak_plane_term(
                whole, bodies.points, estimate.coarse, clips.view
            )
        return terms

    def at_known_place(self, pose: Pose, clips: TrainingClips) -> Pose:
        """Use the true place if no other is known or if the stage requires it."""
        if clips.view is None:
            return pose
        own = clips.view.placed[:, None, None]
        if self.stage.true_translation:
            own = torch.zeros_like(own)
        return Pose(pose.rotation, torch.where(own, pose.translation, clips.translation))

    def head_terms(self, estimate: Estimate, clips: TrainingClips) -> dict[str, Tensor]:
        """Return the open model's own terms, if any of them has a weight."""
        output, features, terms = estimate.output, estimate.features, {}
        assert output is not None and features is not None
        if self.used & BOX_TERMS:
            terms.update(box_trajectory_terms(output, features, clips, self.view(clips)))
        if self.used & ESTIMATE_TERMS:
            terms.update(self.estimate_terms(features, clips))
        if self.used & HEAD_TERMS:
            terms.update(rotation_head_terms(output, clips, self.view(clips), self.bodies.whole))
        return terms

    def temperature(self, progress: float) -> float | None:
        """Return the Gumbel-softmax's temperature, a cosine between the stage's two; or None."""
        if not self.stage.temperature:
            return None
        start, end = self.stage.temperature
        return end + (start - end) * 0.5 * (1 + float(np.cos(np.pi * min(1.0, progress))))

    @staticmethod
    def view(clips: TrainingClips) -> View:
        """Return the camera's observation of the clips."""
        if clips.view is None:
            raise ConfigError(
                "data: these clips have no images; a stage of task 'image' or 'video' needs a set "
                "with images, or 'open'."
            )
        return clips.view
