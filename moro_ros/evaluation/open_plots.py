"""Plots of the open benchmark: error per joint, by share of hidden joints, and over the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.mocap import MotionSet
from moro_ros.draw.plots import bar_chart, line_chart
from moro_ros.evaluation.evaluator import error_by_level
from moro_ros.evaluation.open_benchmark import (
    LIMB_JOINTS,
    OpenProtocol,
    observed_windows,
    shown_joints,
)
from moro_ros.evaluation.open_decoding import Decoding, OpenModel, recover


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
