"""Objective of the open model's first stage: the error of single-frame estimates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moro_ros.body.body_model import BodyModel
from moro_ros.errors import ConfigError
from moro_ros.network.moro import MoRo
from moro_ros.training.clips import Draw, TrainingClips
from moro_ros.training.head_terms import coarse_pose_terms, frame_estimate_terms
from moro_ros.training.mesh_terms import Pose
from moro_ros.training.stage import Stage


class FrameObjective(nn.Module):
    """The loss terms of a stage with task "estimate", which trains only the image encoder.

    body: on the device of the clips.
    """

    def __init__(
        self, moro: MoRo, body: BodyModel, stage: Stage, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.moro, self.dtype = moro, dtype
        self.used = stage.weights.used()
        self._fixed = (body,)  # not a part of the network
        if moro.decoder.update is None:
            raise ConfigError('task: "estimate" needs moro.keypoints.estimate: true.')

    def forward(self, clips: TrainingClips, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Return the terms that count, by name."""
        view, update = clips.view, self.moro.decoder.update
        assert view is not None and update is not None
        with torch.autocast(clips.device.type, self.dtype, enabled=self.dtype is not None):
            features = self.moro.encode_frames(view.observation, view.box)
        terms = coarse_pose_terms(features, Pose(clips.rotation, clips.translation), view)
        body = self._fixed[0]
        terms.update(frame_estimate_terms(features, update.scale_betas, clips, view, body))
        return {name: value for name, value in terms.items() if name in self.used}
