"""The motion decoder: from motion and image features to tokens and a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moro_ros.geometry.camera import weak_to_full_camera
from moro_ros.geometry.precision import full_precision
from moro_ros.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from moro_ros.geometry.trajectory import smooth_over_time
from moro_ros.network.estimate import BODY_JOINTS, EstimateUpdate
from moro_ros.network.image_encoders import UPRIGHT_FACING
from moro_ros.network.layers import DSTFormer, FirstLook, Time, initialise
from moro_ros.network.motion_encoder import LogitHead, MotionFeatures

NUM_BETAS = 10
BOX_SPREAD = 6.0  # frames


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """The decoder's output for B clips of F frames; metres, camera optical frame.

    logits: (B, F, T, C) of the mesh tokens; T = 0 if they were not requested.
    contact: (B, F, 4) logits: left ankle, left toe, right ankle, right toe.
    rotation, translation: (B, F, 3, 3) global orientation and (B, F, 3) pelvis.
    clean_trajectory: (B, F, 9) normalised canonical form, as the motion encoder's input.
    body_rotations: (B, F, 21, 3, 3) of joints 1 to 21 relative to their parents, or None.
    betas: (B, F, 10) body shape, or None.
    """

    logits: torch.Tensor
    contact: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    clean_trajectory: torch.Tensor
    body_rotations: torch.Tensor | None = None
    betas: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class ImageContext:
    """The decoder's image inputs for B clips; the same in every pass.

    tokens: (B, F, S, D), camera and image tokens; first: the first layer's output for them alone,
    or None in the frame layout; box: (B, F, 3), the person box smoothed over the clip; ahead:
    frames of the future that each frame may see, None for all; rotation, translation: the coarse
    pose, (B, F, 3, 3) and (B, F, 3) m, if the decoder updates the frames' own estimates.
    """

    tokens: torch.Tensor
    first: FirstLook | None
    box: torch.Tensor
    ahead: int | None = None
    rotation: torch.Tensor | None = None
    translation: torch.Tensor | None = None


class MotionDecoder(nn.Module):
    """T_D of the paper (Sec. 3.3).

    layout, trunk: as in MotionEncoder. trajectory: "absolute", the head outputs the camera-frame
    pose (paper), or "box", a weak camera in the smoothed box, which keeps the person on their
    pixels. rotation_head: also regress joint rotations and shape. estimated: the image encoder
    estimates every frame's body separately, and the heads update it (EstimateUpdate).
    """

    def __init__(
        self,
        *,
        layout: str,
        trajectory: str,
        rotation_head: bool,
        trunk: DSTFormer,
        num_tokens: int,
        num_codes: int,
        image_tokens: int,
        logit_rank: int,
        estimated: bool = False,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.num_tokens = num_tokens
        self.box_trajectory = trajectory == "box"
        frame = layout == "frame"
        self.trunk, dim = trunk, trunk.dim
        self.camera_embedding = nn.Linear(9, dim)
        if frame:
            self.fusion = nn.Linear((2 + image_tokens) * dim, dim)
            self.norm = nn.LayerNorm(dim)
        else:
            # One row per mesh token, one for all image tokens, one each for the two trajectories.
            self.position = nn.Parameter(torch.empty(1, 1, num_tokens + 3, dim))
            nn.init.trunc_normal_(self.position, std=0.02)
        self.logit_head = LogitHead(dim, num_tokens, num_codes, logit_rank if frame else None)
        # Keep this order: the ONNX files of a model are identified by the order of its weights.
        self.trajectory_head = None if estimated else nn.Linear(dim, 9)
        self.contact_head = nn.Linear(dim, 4)
        self.rotation_head = (
            nn.Linear(dim, 6 * BODY_JOINTS) if rotation_head and not estimated else None
        )
        self.betas_head = nn.Linear(dim, NUM_BETAS) if rotation_head and not estimated else None
        self.update = EstimateUpdate(dim, trunk.head_width) if estimated else None
        initialise(self)
        if self.update is not None:
            self.update.reset()
        if self.box_trajectory and self.trajectory_head is not None:
            self.trajectory_head.bias.data = torch.tensor(UPRIGHT_FACING)
        if self.rotation_head is not None:
            identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            self.rotation_head.bias.data = identity.repeat(BODY_JOINTS)

    def look(
        self,
        image_tokens: torch.Tensor,
        box_condition: torch.Tensor,
        rotation: torch.Tensor,
        translation: torch.Tensor,
        ahead: int | None = None,
        *,
        box: torch.Tensor | None = None,
        time: Time | None = None,
    ) -> ImageContext:
        """Prepare the images of B clips of F frames, once for all passes over them.

        image_tokens: (B, F, T_img, D); box_condition: (B, F, 3); rotation (B, F, 3, 3) and
        translation (B, F, 3) m: the coarse pose of the image encoder, camera frame; ahead: frames
        of the future that each frame may see, None for the whole attention span; box: (B, F, 3) if
        it was smoothed elsewhere; time: see DSTFormer.
        """
        if box is None:
            box = steady_box(box_condition, ahead) if self.box_trajectory else box_condition
        camera = self.camera_embedding(trajectory_vector(rotation, translation))[:, :, None]
        image_tokens = image_tokens.to(camera.dtype)
        if self.layout == "frame":
            tokens = torch.cat((image_tokens, camera), dim=2)
            return ImageContext(tokens, None, box, ahead, rotation, translation)
        _, image_row, _, camera_row = self._positions(camera.dtype)
        tokens = torch.cat((camera + camera_row, image_tokens + image_row), dim=2)
        return ImageContext(tokens, self.trunk.first_look(tokens, ahead, time), box, ahead)

    def forward(
        self,
        motion: MotionFeatures,
        context: ImageContext,
        *,
        drop_motion: bool = False,
        time: Time | None = None,
        tokens: bool = True,
    ) -> DecoderOutput:
        """Decode B clips of F frames.

        drop_motion: only use the image, as in the paper's image stages; time: see DSTFormer;
        tokens: also output the logits of the mesh tokens.
        """
        pose_in, motion_in = motion.pose, motion.trajectory
        if drop_motion:
            pose_in, motion_in = torch.zeros_like(pose_in), torch.zeros_like(motion_in)
        if self.layout == "frame":
            together = torch.cat((pose_in, context.tokens.to(pose_in.dtype)), dim=2)
            x = self.fusion(together.flatten(2))[:, :, None]
            if self.update is not None:  # it mixes over the same time
                time = time or self.trunk.time_axis(x, context.ahead)
            x = self.norm(self.trunk(x, ahead=context.ahead, time=time))
            pose = motion_out = camera_out = x
        else:
            pose_row, _, motion_row, _ = self._positions(pose_in.dtype)
            moving = (pose_in + pose_row, motion_in + motion_row)
            # Attention identifies tokens by position codes, not by order: those that are read
            # afterwards are first.
            x = torch.cat((*moving, context.tokens.to(pose_in.dtype)), dim=2)
            sizes = (self.num_tokens, 1, 1)
            x = self.trunk(
                x, known=context.first, queries=sum(sizes), ahead=context.ahead, time=time
            )
            pose, motion_out, camera_out = x.split(sizes, dim=2)
        if self.update is not None:
            assert time is not None and context.rotation is not None
            assert context.translation is not None
            coarse = context.rotation, context.translation
            body = self.update(x.squeeze(2), context.tokens[:, :, -2], *coarse, time)
            out_rotation, out_translation = body.rotation, body.translation
            body_rotations, betas = body.body_rotations, body.betas
        else:
            out_rotation, out_translation = self._trajectory(camera_out.squeeze(2), context.box)
            body_rotations, betas = self._body(pose)
        return DecoderOutput(
            logits=self.logit_head(pose) if tokens else pose[:, :, :0],
            contact=self.contact_head(motion_out.squeeze(2)).float(),
            rotation=out_rotation,
            translation=out_translation,
            clean_trajectory=motion.clean_trajectory,
            body_rotations=body_rotations,
            betas=betas,
        )

    def _body(self, pose: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Joint rotations and shape of the pose tokens (B, F, P, D), None without the heads."""
        if self.rotation_head is None or self.betas_head is None:
            return None, None
        body = pose.mean(dim=2)
        body_6d = self.rotation_head(body).unflatten(-1, (BODY_JOINTS, 6))
        return rotation_6d_to_matrix(body_6d), self.betas_head(body).float()

    def _positions(self, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Position codes of the mesh tokens, image tokens, canonical and camera trajectory."""
        return self.position.to(dtype).split((self.num_tokens, 1, 1, 1), dim=2)

    def _trajectory(
        self, camera: torch.Tensor, box: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.trajectory_head is not None
        vector = self.trajectory_head(camera).float()
        if self.box_trajectory:
            return weak_to_full_camera(vector, box)
        return rotation_6d_to_matrix(vector[..., :6]), vector[..., 6:]


@full_precision
def steady_box(box_condition: torch.Tensor, ahead: int | None = None) -> torch.Tensor:
    """The person box smoothed over the clip, (B, F, 3) -> the same; see geometry.camera.

    The trajectory is relative to this box: the frame's own box jitters with its keypoints, and so
    would the body. ahead: frames of the future that are used, None for all.
    """
    logarithm = torch.cat((box_condition[..., :2], box_condition[..., 2:].log()), dim=-1)
    smooth = smooth_over_time(logarithm, BOX_SPREAD, ahead)
    return torch.cat((smooth[..., :2], smooth[..., 2:].exp()), dim=-1)


@full_precision
def trajectory_vector(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """Camera-frame pose (..., 3, 3), (..., 3) m as the 9 input numbers of the network."""
    return torch.cat((matrix_to_rotation_6d(rotation), translation), dim=-1)


class TemporalSmoother(nn.Module):
    """The "smoothing MLP" of arXiv 2601.16079, a gated residual shared by all tokens of the body.

    It has three temporal convolutions.

    dim: width of a code. hidden: channels inside. kernel: frames seen by each of the first two.
    A frame sees kernel - 1 frames to either side; the ends are repeated, so one frame works too.
    """

    def __init__(self, dim: int = 9, hidden: int = 64, kernel: int = 5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.1))
        self.conv1 = nn.Conv1d(dim, hidden, kernel, bias=False)
        self.conv2 = nn.Conv1d(hidden, hidden, kernel, bias=False)
        self.conv3 = nn.Conv1d(hidden, dim, 1, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Smooth codes (B, F, T, D) along F; same shape."""
        batch, frames, tokens, dim = codes.shape
        sequences = codes.permute(0, 2, 3, 1).reshape(batch * tokens, dim, frames)
        hidden = F.relu(self._same(self.conv1, sequences))
        hidden = F.relu(self._same(self.conv2, hidden))
        residual: Tensor = self.conv3(hidden).view(batch, tokens, dim, frames).permute(0, 3, 1, 2)
        smoothed: Tensor = codes + self.alpha * residual
        return smoothed

    @staticmethod
    def _same(conv: nn.Conv1d, sequences: Tensor) -> Tensor:
        """Convolve with the end frames repeated, which keeps the length."""
        side = conv.kernel_size[0] // 2
        same: Tensor = conv(F.pad(sequences, (side, side), mode="replicate"))
        return same
