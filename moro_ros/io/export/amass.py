"""AMASS: SMPL-X parameters of one person as an npz file of the keys of AMASS's SMPL-X release."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.io.export.bodies import BodyShape
from moro_ros.io.export.tracks import Track

# SMPL-X has 55 joints; AMASS's files have 16 shape coefficients.
JOINTS, BETAS = 55, 16
# Positions of the joints in `poses`: jaw, eyes, hands.
JAW, EYES, HANDS = slice(66, 69), slice(69, 75), slice(75, 165)


def write_amass(path: Path, track: Track, shape: BodyShape, rate_hz: float) -> None:
    """Write one person's motion; raises OSError.

    The pelvis is at trans + its rest position, as in SMPL-X. Face and hands are at rest.

    track: at the constant rate `rate_hz`.
    """
    frames = len(track.times_s)
    poses = np.zeros((frames, JOINTS * 3), np.float32)
    poses[:, : NUM_JOINTS * 3] = track.pose.reshape(frames, -1)
    betas = np.zeros(BETAS, np.float32)
    betas[: len(track.betas)] = track.betas
    np.savez(
        path,
        surface_model_type=np.array("smplx"),
        gender=np.array("neutral"),
        mocap_frame_rate=np.array(rate_hz),
        mocap_time_length=np.array(frames / rate_hz),
        betas=betas,
        num_betas=np.array(BETAS),
        trans=track.joints[:, 0] - shape.joints[0],
        poses=poses,
        root_orient=poses[:, :3],
        pose_body=poses[:, 3 : NUM_JOINTS * 3],
        pose_jaw=poses[:, JAW],
        pose_eye=poses[:, EYES],
        pose_hand=poses[:, HANDS],
    )
