"""The open benchmark: held-out motion seen by random static cameras, without and with occlusion.

Protocol: subjects not in the training set, windows of 48 frames at 30 Hz, BlazePose-like
keypoint noise (data/occlusion.py), fixed seed; joints relative to the pelvis, millimetres. Plots
show the same errors per joint, by the share of hidden joints, and over the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.mocap import MotionSet
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.draw.plots import bar_chart, line_chart
from moro_ros.evaluation.evaluator import error_by_level
from moro_ros.evaluation.metrics import accelerations, jitter, means, procrustes_errors
from moro_ros.evaluation.open_decoding import (
    Decoding,
    OpenModel,
    Recovered,
    mesh_of,
    recover,
)
from moro_ros.recover.sight import joint_visibility

LIMB_JOINTS = tuple(
    JOINT_NAMES.index(f"{side}_{part}")
    for part in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")
    for side in ("left", "right")
)
STANDARD_SUBJECTS = ("02", "03")
RATE_HZ = 30.0
# Every n-th vertex is measured; they are distributed over the body.
VERTEX_STRIDE = 20


@dataclass(frozen=True, slots=True)
class OpenProtocol:
    """windows of `frames` frames, in batches of `batch`; seed of cameras, noise and occluders.

    passes: of the masked decoding; meshes: number of windows whose mesh is also measured.
    """

    windows: int = 256
    frames: int = 48
    batch: int = 32
    seed: int = 5
    passes: int = 1
    meshes: int = 0


# Samples of every metric, any shape, collected batch by batch.
Rows = dict[str, list[np.ndarray]]


def observed_windows(
    motion: MotionSet, body: BodyModel, occlusion: float, protocol: OpenProtocol
) -> Iterator[ObservedMotion]:
    """Yield the benchmark's windows in batches; the same for every model.

    occlusion: share of windows with an occluder.
    """
    rng = np.random.default_rng(protocol.seed)
    noise = replace(ObservationNoise(), occlusion=occlusion)
    done = 0
    while done < protocol.windows:
        count = min(protocol.batch, protocol.windows - done)
        windows = motion.draw(count, protocol.frames, rng, warp=False)
        betas = torch.from_numpy(rng.normal(size=(count, 10))).float()
        yield look(place_cameras(windows, betas, body, rng), body, noise, rng)
        done += count


def evaluate_open(
    model: OpenModel,
    motion: MotionSet,
    occlusion: float,
    protocol: OpenProtocol,
    decoding: Decoding | None = None,
) -> dict[str, float]:
    """Return the benchmark's metrics of one condition.

    decoding: None for the default one with the protocol's passes.

    Keys: mpjpe_mm, pa_mpjpe_mm, visible_mm and hidden_mm (14 limb joints), live_mm (last frame of
    the window), root_mm (metric pelvis position), acceleration_error (m/s2, camera frame), jitter
    and jitter_truth (10 m/s3), hidden_share; with meshes pve_mm and mesh_jitter.
    """
    windows = observed_windows(motion, model.body, occlusion, protocol)
    return evaluate_windows(model, windows, protocol, decoding)


def evaluate_windows(
    model: OpenModel,
    windows: Iterable[ObservedMotion],
    protocol: OpenProtocol,
    decoding: Decoding | None = None,
) -> dict[str, float]:
    """Return the metrics of observed windows, given in batches; see evaluate_open."""
    rows: Rows = {}
    done = 0
    decoding = decoding or Decoding(passes=protocol.passes)
    for observed in windows:
        found = recover(model, observed, decoding)
        score(rows, found.joints.numpy(), found.translation.numpy(), observed)
        if done < protocol.meshes:
            score_mesh(rows, model, found, observed, decoding)
        done += len(observed.joints)
    return means(rows)


def score(
    rows: Rows, joints: np.ndarray, translation: np.ndarray, observed: ObservedMotion
) -> None:
    """Append every metric's samples of one batch to rows.

    joints: (B, F, 22, 3) m, camera axes, the pelvis at 0; translation: (B, F, 3) m, the pelvis.
    """
    pelvis = observed.truth.translation.numpy()
    truth = observed.joints.numpy()
    local_truth = truth - pelvis[:, :, None]
    error = 1e3 * np.linalg.norm(joints - local_truth, axis=-1)  # (B, F, 22)
    placed = joints + translation[:, :, None]
    shown = shown_joints(observed)
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
        add("acceleration_error", accelerations(placed[window] - truth[window], RATE_HZ))
        add("jitter", jitter(placed[window], RATE_HZ))
        add("jitter_truth", jitter(truth[window], RATE_HZ))


def shown_joints(observed: ObservedMotion) -> np.ndarray:
    """Return which joints the keypoints show, (B, F, 22) bool."""
    seen = observed.seen.numpy().astype(np.float32)
    return np.stack([joint_visibility(window) for window in seen]) > 0.5


def score_mesh(
    rows: Rows,
    model: OpenModel,
    found: Recovered,
    observed: ObservedMotion,
    decoding: Decoding,
) -> None:
    """Append the vertex error [mm], relative to the pelvis, and the jitter of the decoded mesh."""
    ids = torch.arange(0, model.body.num_vertices, VERTEX_STRIDE)
    mesh = mesh_of(model, found, decoding, ids)  # (B, F, V, 3) pelvis at the origin
    truth = observed.truth
    rotations = torch.cat([truth.rotation[:, :, None], truth.body_rotations], 2)
    frames = mesh.shape[1]
    expected = model.body.subset(ids).skin(
        rotations.flatten(0, 1), truth.betas.repeat_interleave(frames, 0)
    )
    error = 1e3 * (mesh - expected.vertices.unflatten(0, (-1, frames))).norm(dim=-1)
    rows.setdefault("pve_mm", []).append(error.numpy())
    for window in (mesh + found.translation[:, :, None]).numpy():
        rows.setdefault("mesh_jitter", []).append(jitter(window, RATE_HZ))


@dataclass(frozen=True, slots=True)
class JointErrors:
    """error: (W, F, 22) mm relative to the pelvis; seen: (W, F, 22) bool, from keypoints."""

    error: np.ndarray
    seen: np.ndarray


def joint_errors(
    model: OpenModel,
    motion: MotionSet,
    occlusion: float,
    protocol: OpenProtocol,
    decoding: Decoding,
) -> JointErrors:
    """Return every joint's error in the benchmark's windows; see evaluate_open."""
    errors, seen = [], []
    for observed in observed_windows(motion, model.body, occlusion, protocol):
        found = recover(model, observed, decoding)
        truth = observed.joints - observed.truth.translation[:, :, None]
        errors.append(1e3 * (found.joints - truth).norm(dim=-1).numpy())
        seen.append(shown_joints(observed))
    return JointErrors(np.concatenate(errors), np.concatenate(seen))


def charts(by_condition: Mapping[str, JointErrors]) -> dict[str, np.ndarray]:
    """Return images (H, W, 3) uint8 BGR by name; by_condition: errors by the condition's name.

    per_joint: seen and hidden joints separately; per_level: the limbs, by the share of them that is
    hidden; over_time: by the frame of the window.
    """
    limbs = list(LIMB_JOINTS)
    joints, levels, times = {}, {}, {}
    for name, found in by_condition.items():
        for part, chosen in (("seen", found.seen), ("hidden", ~found.seen)):
            count = chosen.sum((0, 1))
            total = (found.error * chosen).sum((0, 1))
            mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
            joints[f"{name}, {part}"] = mean.tolist()
        hidden, of_limbs = ~found.seen[..., limbs], found.error[..., limbs]
        share = hidden.mean(-1).ravel()
        levels[name] = error_by_level(of_limbs.mean(-1).ravel(), share)
        times[name] = found.error.mean((0, 2))
    names = list(next(iter(levels.values())))
    by_level = {name: [level[n] for n in names] for name, level in levels.items()}
    return {
        "per_joint": bar_chart("MPJPE per joint [mm]", JOINT_NAMES, joints),
        "per_level": bar_chart("limbs: MPJPE by share of hidden joints [mm]", names, by_level),
        "over_time": line_chart("MPJPE over the window [mm]", "frame", times),
    }
