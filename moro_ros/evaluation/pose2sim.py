"""The real-video benchmark: one person, four calibrated cameras, pseudo ground truth in metres.

The videos are the single-person demo of Pose2Sim (BSD-3-Clause). Ground truth is the weighted
triangulation of the front-end's own keypoints over the four views, so it checks what one view alone
makes of them (depth, hidden limbs, metric place), not the keypoints. A "hidden" keypoint is taken
from the motion model's input, while the truth still knows it from the other cameras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from moro_ros.assets import fetch
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation.metrics import MM_PER_M, aligned
from moro_ros.evaluation.multiview import Truth, View, load_calibration, triangulate
from moro_ros.inference.video import open_video
from moro_ros.types import KEYPOINTS, BodyMotion, Camera, Frame, Keypoints, PersonObservation

RATE_HZ = 30.0
PERSON_ID = 1
# Fewer true joints than this cannot hold a similarity transform in place.
MIN_JOINTS = 6

# The joints that BlazePose and the body model both have: the twelve of the limbs.
LIMB_JOINTS: tuple[str, ...] = tuple(
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
_BODY_ROWS = [JOINT_NAMES.index(name) for name in LIMB_JOINTS]
_KEYPOINT_NAMES = list(KEYPOINTS)
_KEYPOINT_ROWS = [_KEYPOINT_NAMES.index(name) for name in LIMB_JOINTS]
_HIPS = [LIMB_JOINTS.index("left_hip"), LIMB_JOINTS.index("right_hip")]


@dataclass(frozen=True, slots=True)
class Score:
    """How one view did under one condition; NaN where nothing could be measured.

    mpjpe_mm, pa_mpjpe_mm: 12 limb joints, relative to mid-hip and after a similarity transform.
    hidden_mpjpe_mm: as mpjpe_mm, only the joints whose keypoint was hidden from the model.
    root_mm: distance of mid-hip in the camera frame. coverage: share of frames with a motion.
    """

    view: str
    condition: str
    mpjpe_mm: float
    pa_mpjpe_mm: float
    hidden_mpjpe_mm: float
    root_mm: float
    coverage: float


class Frontend(Protocol):
    """What finds people and their keypoints in images (frontend.KeypointFrontend)."""

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]: ...

    def reset(self) -> None: ...


class MotionSource(Protocol):
    """What makes motion of observations, image by image (inference.MoRoStream)."""

    def push(self, frame: Frame) -> tuple[BodyMotion, ...]: ...

    def reset(self) -> None: ...


LEG_POINTS = ("knee", "ankle", "heel", "foot_index")

# Frame number and keypoint name -> whether the model may not see it.
Condition = Callable[[int, str], bool]


def _is_leg(name: str) -> bool:
    return name.endswith(LEG_POINTS)


CONDITIONS: Mapping[str, Condition] = {
    "plain": lambda frame, name: False,
    "legs hidden": lambda frame, name: _is_leg(name),
    "left side hidden": lambda frame, name: name.startswith("left_"),
    # 9 of 30 frames in a row: nearly a third of every second.
    "30 % of frames blank": lambda frame, name: frame % 30 >= 21,
}


def observe_video(frontend: Frontend, path: Path, camera: Camera) -> list[Frame]:
    """The largest person in each image of a video at about 30 images a second.

    The person keeps one id throughout; an image without anybody repeats the last box, blind.
    Images before the person's first sight give frames without people.
    """
    frames: list[Frame] = []
    last: PersonObservation | None = None
    frontend.reset()
    with closing(open_video(path)) as reader:
        camera = replace(camera, width=reader.width, height=reader.height)
        stride = max(1, round(reader.rate_hz / RATE_HZ))
        for number, image_bgr in enumerate(reader):
            if number % stride:
                continue
            stamp_ns = round(number * 1e9 / reader.rate_hz)
            image_rgb = np.ascontiguousarray(image_bgr[..., ::-1])
            seen = [p for p in frontend.observe(image_rgb, stamp_ns) if p.keypoints is not None]
            if seen:
                last = replace(max(seen, key=_height_px), track_id=PERSON_ID)
            elif last is not None:
                last = replace(last, keypoints=None)
            frames.append(Frame(stamp_ns, camera, () if last is None else (last,)))
    return frames


def _height_px(person: PersonObservation) -> float:
    return float(person.box_xyxy[3] - person.box_xyxy[1])


def hide(frame: Frame, number: int, condition: Condition) -> Frame:
    """A frame without the keypoints that a condition hides; blind where it hides all."""
    hidden = np.array([condition(number, name) for name in KEYPOINTS])
    people = tuple(_without(person, hidden) for person in frame.people)
    return replace(frame, people=people)


def _without(person: PersonObservation, hidden: np.ndarray) -> PersonObservation:
    if person.keypoints is None or not hidden.any():
        return person
    if hidden.all():
        return replace(person, keypoints=None)
    shown = person.keypoints
    return replace(
        person,
        keypoints=Keypoints(
            points_px=np.where(hidden[:, None], 0, shown.points_px).astype(np.float32),
            visibility=np.where(hidden, 0, shown.visibility).astype(np.float32),
            presence=shown.presence,
        ),
    )


def recover_joints(source: MotionSource, frames: Iterable[Frame]) -> np.ndarray:
    """The newest joints after each frame, (F, 22, 3) m, camera frame; NaN without a motion."""
    source.reset()
    joints = []
    for frame in frames:
        found = {motion.track_id: motion.joints[-1] for motion in source.push(frame)}
        joints.append(found.get(PERSON_ID, np.full((len(JOINT_NAMES), 3), np.nan)))
    return np.array(joints)


def score(
    joints: np.ndarray, view: View, truth: Truth, hidden: np.ndarray, condition: str = "plain"
) -> Score:
    """Compare recovered joints with the triangulation in one camera.

    joints: (F, 22, 3) m, camera frame, NaN where there is no motion.
    hidden: (F, K) bool, which keypoints the model did not see.
    """
    expected = truth.points[:, _KEYPOINT_ROWS] @ view.rotation.T + view.translation
    found = joints[:, _BODY_ROWS]
    found_root, expected_root = found[:, _HIPS].mean(1), expected[:, _HIPS].mean(1)
    error = (found - found_root[:, None]) - (expected - expected_root[:, None])
    distance = MM_PER_M * np.linalg.norm(error, axis=-1)  # (F, 12)
    similar = np.full(distance.shape, np.nan)
    known = np.isfinite(expected[..., 0]) & np.isfinite(found[..., 0])
    for number in np.flatnonzero(known.sum(1) >= MIN_JOINTS):
        row = known[number]
        moved = aligned(found[number, row], expected[number, row], scale=True)
        similar[number, row] = MM_PER_M * np.linalg.norm(moved - expected[number, row], axis=-1)
    return Score(
        view=view.name,
        condition=condition,
        mpjpe_mm=_mean(distance),
        pa_mpjpe_mm=_mean(similar),
        hidden_mpjpe_mm=_mean(distance[hidden[:, _KEYPOINT_ROWS]]),
        root_mm=_mean(MM_PER_M * np.linalg.norm(found_root - expected_root, axis=-1)),
        coverage=float(np.isfinite(found[:, 0, 0]).mean()),
    )


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The observed videos and their truth; build once, evaluate any number of models."""

    views: tuple[View, ...]
    frames: tuple[tuple[Frame, ...], ...]
    truth: Truth

    def evaluate(
        self, source: MotionSource, conditions: Mapping[str, Condition] = CONDITIONS
    ) -> list[Score]:
        """Score a motion source on every view under every condition."""
        scores = []
        for name, condition in conditions.items():
            for view, frames in zip(self.views, self.frames, strict=True):
                shown = [hide(frame, i, condition) for i, frame in enumerate(frames)]
                hidden = np.array(
                    [[condition(i, key) for key in KEYPOINTS] for i in range(len(frames))]
                )
                joints = recover_joints(source, shown)
                scores.append(score(joints, view, self.truth, hidden, name))
        return scores


def load_benchmark(frontend: Frontend) -> Benchmark:
    """Fetch the videos, run the front-end over them and triangulate (about a minute).

    Raises: AssetError when the videos can't be had; VideoError when they do not open.
    """
    views = load_calibration(fetch("pose2sim_calibration.qca.txt"))
    frames = [
        tuple(observe_video(frontend, fetch(f"pose2sim_single_{view.name}.mp4"), view.camera))
        for view in views
    ]
    count = min(len(of_view) for of_view in frames)
    cut = tuple(of_view[:count] for of_view in frames)
    return Benchmark(views, cut, triangulate(views, cut))


def mean_scores(scores: Sequence[Score]) -> list[Score]:
    """The mean over the views of each condition, in the order of the conditions."""
    result = []
    for condition in dict.fromkeys(item.condition for item in scores):
        group = [item for item in scores if item.condition == condition]
        names = ("mpjpe_mm", "pa_mpjpe_mm", "hidden_mpjpe_mm", "root_mm", "coverage")
        means = {name: _mean(np.array([getattr(i, name) for i in group])) for name in names}
        result.append(Score(view="mean", condition=condition, **means))
    return result
