"""The open benchmark: held-out motion seen by random static cameras, without and with occlusion.

Protocol: subjects apart from the training set, windows of 48 frames at 30 Hz, BlazePose-like
keypoint noise (data/occlusion.py), fixed seed; joints relative to the pelvis, millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.mocap import MotionSet, load_motion
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.evaluation.metrics import accelerations, jitter, procrustes_errors
from moro_ros.inference.recover import joint_visibility
from moro_ros.inference.sampling import decode_masked
from moro_ros.network.moro import MoRo

LIMB_JOINTS = tuple(
    JOINT_NAMES.index(f"{side}_{part}")
    for part in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")
    for side in ("left", "right")
)
STANDARD_SUBJECTS = ("02", "03")


@dataclass(frozen=True, slots=True)
class OpenProtocol:
    """windows of `frames` frames, in batches of `batch`; seed of cameras, noise and occluders."""

    windows: int = 256
    frames: int = 48
    batch: int = 32
    seed: int = 5
    passes: int = 1


def evaluate_open(
    model: MoRo,
    body: BodyModel,
    motion: MotionSet,
    occlusion: float,
    protocol: OpenProtocol,
) -> dict[str, float]:
    """Return the benchmark's metrics of one condition.

    Keys: mpjpe_mm, pa_mpjpe_mm, visible_mm and hidden_mm (14 limb joints), live_mm (last frame of
    the window), root_mm (metric pelvis position), acceleration_error (m/s2, camera frame), jitter
    and jitter_truth (10 m/s3), hidden_share.
    """
    rng = np.random.default_rng(protocol.seed)
    noise = replace(ObservationNoise(), occlusion=occlusion)
    rows: dict[str, list[np.ndarray]] = {}
    model.eval()
    done = 0
    while done < protocol.windows:
        count = min(protocol.batch, protocol.windows - done)
        windows = motion.draw(count, protocol.frames, rng, warp=False)
        betas = torch.from_numpy(rng.normal(size=(count, 10))).float()
        observed = look(place_cameras(windows, betas, body, rng), body, noise, rng)
        joints, translation = run_model(model, body, observed, protocol.passes)
        score(rows, joints, translation, observed)
        done += count
    return {
        name: float(np.concatenate([v.ravel() for v in vs]).mean()) for name, vs in rows.items()
    }


@torch.no_grad()
def run_model(
    model: MoRo, body: BodyModel, observed: ObservedMotion, passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation head's joints (B, F, 22, 3), pelvis at 0, and pelvis (B, F, 3), m."""
    features = model.encode_frames(observed.observation, observed.boxes.condition())
    output = decode_masked(model, features, passes=passes, soft=True).output
    if output.body_rotations is None or output.betas is None:
        raise ValueError("this decoder has no rotation head")
    skeleton = body.skeleton(output.betas.mean(1))
    local = torch.cat([output.rotation[:, :, None], output.body_rotations], 2)
    _, joints = body.forward_kinematics(local, skeleton.joints[:, None, :NUM_JOINTS])
    return joints.numpy(), output.translation.numpy()


def score(
    rows: dict[str, list[np.ndarray]],
    joints: np.ndarray,
    translation: np.ndarray,
    observed: ObservedMotion,
) -> None:
    """Append every metric's samples of one batch to rows."""
    pelvis = observed.truth.translation.numpy()
    truth = observed.joints.numpy()
    local_truth = truth - pelvis[:, :, None]
    error = 1e3 * np.linalg.norm(joints - local_truth, axis=-1)  # (B, F, 22)
    placed = joints + translation[:, :, None]
    seen = observed.seen.numpy().astype(np.float32)
    shown = np.stack([joint_visibility(window) for window in seen]) > 0.5
    limbs = list(LIMB_JOINTS)

    def add(name: str, values: np.ndarray) -> None:
        rows.setdefault(name, []).append(np.asarray(values))

    add("mpjpe_mm", error)
    add("pa_mpjpe_mm", procrustes_errors(joints, local_truth))
    add("visible_mm", error[:, :, limbs][shown[:, :, limbs]])
    add("hidden_mm", error[:, :, limbs][~shown[:, :, limbs]])
    add("hidden_share", ~shown[:, :, limbs])
    add("live_mm", error[:, -1])
    add("root_mm", 1e3 * np.linalg.norm(translation - pelvis, axis=-1))
    for window in range(len(joints)):
        add("acceleration_error", accelerations(placed[window] - truth[window], 30.0))
        add("jitter", jitter(placed[window], 30.0))
        add("jitter_truth", jitter(truth[window], 30.0))


def run_open_benchmark(
    model: MoRo, body_path: Path, data: Path, protocol: OpenProtocol, subjects: tuple[str, ...] = ()
) -> dict[str, dict[str, float]]:
    """Return the metrics without ("noise") and with ("occluded") the standard occlusion."""
    body = load_body_model(body_path)
    motion = load_motion(data)
    if subjects:
        motion = motion.only_subjects(subjects)
    return {
        "noise": evaluate_open(model, body, motion, 0.0, protocol),
        "occluded": evaluate_open(model, body, motion, 1.0, protocol),
    }
