"""Live results at the rate of a slow machine against those of all images of the same video.

A slow machine processes some of the images and looks at people in some of these. Between two looks
keypoints are extrapolated (perception/track.py), between two results the last one is kept.
Keypoints of an image are those that the front-end reported when it processed every image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.video_score import RATE_HZ, mean, score
from moro_ros.evaluation.video_sources import Carry, InTurns, JointSource, Tracks
from moro_ros.geometry.views import View
from moro_ros.types import KEYPOINTS

RATES_HZ = (30.0, 15.0, 10.0, 7.0)
TURNS = (1, 2, 3)
# Results with hardly any past are not compared.
WARM_UP_S = 0.5
WRISTS = [JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]


def answered(count: int, rate_hz: float) -> np.ndarray:
    """Return the numbers of those of `count` images at 30 Hz that are processed at a lower rate."""
    times = np.arange(0, count / RATE_HZ, 1 / min(rate_hz, RATE_HZ))
    numbers = np.rint(times * RATE_HZ).astype(np.int64)
    return np.unique(numbers[numbers < count])


def live_against_offline(
    trial: Trial,
    source: JointSource,
    carry: Carry,
    rates_hz: Sequence[float] = RATES_HZ,
    turns: Sequence[int] = TURNS,
) -> Iterator[dict[str, float]]:
    """Yield a row for each rate and each scheme of turns.

    carry: see InTurns. looked_at: in every n-th processed image. carried: share of the people in
    processed images whose keypoints were extrapolated. offline_mm: 22 joints relative to the
    pelvis, live against offline result of the same image; shown_mm, shown_wrists_mm: the same for
    all images at 30 Hz with the last result kept, and its wrists in the camera frame. mpjpe_mm: of
    the live results against the truth, offline_mpjpe_mm of the offline ones in the same images
    (video_score.py).
    """
    offline = [source.recover(frames) for frames in trial.frames]
    for rate_hz in rates_hz:
        for turn in turns:
            rows: dict[str, list[float]] = {}
            for number, (view, frames) in enumerate(zip(trial.views, trial.frames, strict=True)):
                kept = answered(len(frames), rate_hz)
                counting = _Counting(carry)
                told = InTurns(source, turn, counting).recover([frames[i] for i in kept])
                looks = sum(len(frames[i].people) for i in kept)
                rows.setdefault("carried", []).append(counting.count / max(1, looks))
                for person in trial.people:
                    if any(of_view == number for of_view, _ in person.tracks):
                        found = _compare(person, view, number, kept, told, offline[number], frames)
                        for name, value in found.items():
                            rows.setdefault(name, []).append(value)
            yield {"rate_hz": rate_hz, "looked_at": turn} | {
                name: mean(np.array(values)) for name, values in rows.items()
            }


class _Counting:
    """Extrapolates keypoints and counts how often it succeeds."""

    def __init__(self, carry: Carry) -> None:
        self.carry = carry
        self.count = 0

    def __call__(self, looks: Sequence[tuple[int, np.ndarray]], now_ns: int) -> np.ndarray | None:
        points = self.carry(looks, now_ns)
        self.count += points is not None
        return points


def _compare(
    person: TruePerson,
    view: View,
    number: int,
    kept: np.ndarray,
    told: Tracks,
    offline: Tracks,
    frames: Sequence[object],
) -> dict[str, float]:
    """Return one person's numbers in one view, see live_against_offline."""
    live = person.points(told, number, len(kept))
    whole = person.points(offline, number, len(frames))
    late = kept >= WARM_UP_S * RATE_HZ
    images = np.arange(len(frames))[int(WARM_UP_S * RATE_HZ) :]
    standing = live[np.searchsorted(kept, images, side="right") - 1]
    wrists = standing[:, WRISTS] - whole[images][:, WRISTS]
    nothing = np.zeros((int(late.sum()), len(KEYPOINTS)), bool)
    truth = part_of(person.truth, kept[late])
    return {
        "offline_mm": _relative_mm(live[late], whole[kept[late]]),
        "shown_mm": _relative_mm(standing, whole[images]),
        "shown_wrists_mm": MM_PER_M * mean(np.linalg.norm(wrists, axis=-1)),
        "mpjpe_mm": score(live[late], view, truth, nothing).mpjpe_mm,
        "offline_mpjpe_mm": score(whole[kept[late]], view, truth, nothing).mpjpe_mm,
    }


def _relative_mm(first: np.ndarray, second: np.ndarray) -> float:
    joints = [points[:, :NUM_JOINTS] - points[:, :1] for points in (first, second)]
    return MM_PER_M * mean(np.linalg.norm(joints[0] - joints[1], axis=-1))


def part_of(truth: Truth, numbers: np.ndarray) -> Truth:
    """Return the truth of some frames."""
    joints = None if truth.joints is None else truth.joints[numbers]
    part = replace(truth, points=truth.points[numbers], error_px=truth.error_px[numbers])
    return replace(part, joints=joints)
