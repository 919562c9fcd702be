"""Ablations: the open benchmark without each part of the decoding (Tab. 3)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from moro_ros.data.mocap import MotionSet
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.evaluation.metrics import means
from moro_ros.evaluation.open_benchmark import (
    LIMB_JOINTS,
    OpenProtocol,
    Rows,
    evaluate_open,
    observed_windows,
    shown_joints,
)
from moro_ros.evaluation.open_decoding import DECODING, Decoding, OpenModel, Recovered, recover
from moro_ros.network.inputs import PersonBoxes

PASSES = (1, 2, 3, 5, 10)
LOOK_AHEAD = (0, 2, 5, 10, 30)
WINDOW = 48  # frames decoded together, as live


def variants(passes: tuple[int, ...] = PASSES) -> dict[str, Decoding]:
    """Return the decodings that are compared, by name."""
    several = replace(DECODING, passes=5)
    return {
        **{f"passes {count}": replace(DECODING, passes=count) for count in passes},
        "without motion encoder": replace(DECODING, motion=False),
        "5 passes, random order": replace(several, guided=False),
        "5 passes, without motion encoder": replace(several, motion=False),
        "without smoother": replace(DECODING, smoother=False),
        "refined, 1 step": replace(DECODING, refine_steps=1),
        "refined, 2 steps": replace(DECODING, refine_steps=2),
        "refined, 5 steps": replace(DECODING, refine_steps=5),
    }


def compare(
    model: OpenModel,
    motion: MotionSet,
    protocol: OpenProtocol,
    decodings: Mapping[str, Decoding],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return variant -> condition ("noise", "occluded") -> metrics.

    ms_per_frame: processor time of recovery per frame, batched; without scoring and meshes.
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, decoding in decodings.items():
        result[name] = {
            condition: {
                **evaluate_open(model, motion, share, protocol, decoding),
                "ms_per_frame": cost_ms(model, motion, protocol, decoding),
            }
            for condition, share in (("noise", 0.0), ("occluded", 1.0))
        }
    return result


def cost_ms(
    model: OpenModel, motion: MotionSet, protocol: OpenProtocol, decoding: Decoding
) -> float:
    """Return the processor time [ms] of one frame of a single decoded window."""
    one = replace(protocol, windows=1, batch=1, meshes=0)
    observed = next(observed_windows(motion, model.body, 1.0, one))
    recover(model, observed, decoding)
    start = time.process_time()
    recover(model, observed, decoding)
    return 1e3 * (time.process_time() - start) / protocol.frames


def look_ahead(
    model: OpenModel,
    motion: MotionSet,
    protocol: OpenProtocol,
    ahead: tuple[int, ...] = LOOK_AHEAD,
    decoding: Decoding = DECODING,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return frames of look-ahead -> condition -> errors of the same frame of each window.

    One frame per window is scored. For each look-ahead a window of 48 frames is decoded that ends
    that many frames after it, like in a live stream with this delay.
    """
    long = replace(protocol, frames=WINDOW + max(ahead))
    result: dict[str, dict[str, dict[str, float]]] = {}
    for condition, share in (("noise", 0.0), ("occluded", 1.0)):
        rows: dict[int, Rows] = {count: {} for count in ahead}
        for observed in observed_windows(motion, model.body, share, long):
            for count in ahead:
                part = cut(observed, count, count + WINDOW)
                score_frame(rows[count], part, recover(model, part, decoding), WINDOW - 1 - count)
        for count in ahead:
            result.setdefault(str(count), {})[condition] = means(rows[count])
    return result


def cut(observed: ObservedMotion, start: int, stop: int) -> ObservedMotion:
    """Return some of the frames of observed windows."""
    part = slice(start, stop)
    truth = observed.truth
    return ObservedMotion(
        observed.observation[:, part],
        PersonBoxes(observed.boxes.center[:, part], observed.boxes.size[:, part]),
        observed.seen[:, part],
        replace(
            truth,
            rotation=truth.rotation[:, part],
            translation=truth.translation[:, part],
            body_rotations=truth.body_rotations[:, part],
        ),
        observed.joints[:, part],
        observed.keypoints[:, part],
    )


def score_frame(rows: Rows, observed: ObservedMotion, found: Recovered, at: int) -> None:
    """Append the errors of one frame of every window."""
    truth = observed.joints[:, at] - observed.truth.translation[:, at, None]
    error = 1e3 * (found.joints[:, at] - truth).norm(dim=-1).numpy()
    limbs = list(LIMB_JOINTS)
    shown = shown_joints(observed)[:, at, limbs]
    off = found.translation[:, at] - observed.truth.translation[:, at]
    samples = {
        "mpjpe_mm": error,
        "visible_mm": error[:, limbs][shown],
        "hidden_mm": error[:, limbs][~shown],
        "root_mm": 1e3 * off.norm(dim=-1).numpy(),
    }
    for name, values in samples.items():
        rows.setdefault(name, []).append(values)
