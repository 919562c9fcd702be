"""The real-video benchmark: people, four calibrated cameras, pseudo ground truth in metres.

The videos are the two demos of Pose2Sim (BSD-3-Clause): one person who balances on one leg, and two
people, the same adult and a child, who walk past and behind one another. Ground truth is the
weighted triangulation of the front-end's own keypoints over the four views, or a body fitted to
them (fitted_truth.py). So it checks the recovery from one view (depth, hidden limbs, metric place),
not the keypoints. A "hidden" keypoint is removed from the motion model's input, while the truth
still has it from the other cameras.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from moro_ros.assets import fetch
from moro_ros.evaluation.association import Track, associate, only
from moro_ros.evaluation.body_fit import FittedBody
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.multiview import Truth, observations, triangulate
from moro_ros.evaluation.video_score import NUM_ROWS, RATE_HZ, Score, score
from moro_ros.evaluation.video_sources import JointSource, Tracks
from moro_ros.geometry.lens import rectified_camera
from moro_ros.geometry.views import View
from moro_ros.io.video import open_video
from moro_ros.recover.fusion.extrinsics import refine_extrinsics
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

LOGGER = logging.getLogger(__name__)
TRIALS = ("single", "multi")
# The world's origin of Qualisys is on the floor, z up.
FLOOR = GroundPlane(np.array([0.0, 0.0, 1.0]), 0.0)
TellFloor = Callable[[GroundPlane | None], None]
# Hip to ankle along the leg; the trials' adult has 0.74 m, the child 0.6 m.
CHILD_LEG_M = 0.67


class Frontend(Protocol):
    """A detector of people and their keypoints in images (frontend.KeypointFrontend)."""

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]: ...

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
    # 9 of 30 consecutive frames: nearly a third of every second.
    "30 % of frames blank": lambda frame, name: frame % 30 >= 21,
}
PLAIN: Mapping[str, Condition] = {"plain": CONDITIONS["plain"]}


def observe_video(frontend: Frontend, path: Path, camera: Camera) -> list[Frame]:
    """All people that the front-end tracks in a video, at about 30 images a second.

    Missing parts of the video are logged.
    """
    frames: list[Frame] = []
    frontend.reset()
    with open_video(path) as reader:
        camera = replace(camera, width=reader.width, height=reader.height)
        stride = max(1, round(reader.rate_hz / RATE_HZ))
        for number, frame in enumerate(reader):
            if number % stride:
                continue
            people = frontend.observe(frame.rgb, frame.stamp_ns)
            frames.append(Frame(frame.stamp_ns, camera, people))
        if missing := reader.report():
            LOGGER.warning(missing)
    return frames


def hide(frame: Frame, number: int, condition: Condition) -> Frame:
    """A frame without the keypoints that a condition hides; blind if it hides all."""
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


@dataclass(frozen=True, slots=True)
class TruePerson:
    """One person's truth and tracks, each a view and an id in it.

    name: "adult" or "child"; fit: the body fit that the truth is of, or None.
    """

    truth: Truth
    tracks: frozenset[Track]
    name: str = "adult"
    fit: FittedBody | None = None

    def points(self, tracks: Tracks, view: int, count: int) -> np.ndarray:
        """Return this person's rows of one view, (F, NUM_ROWS, 3), of all the view's tracks."""
        return joined(tracks, self.tracks, view, count)


def joined(tracks: Tracks, mine: frozenset[Track], view: int, count: int) -> np.ndarray:
    """Return the combined rows of a person's tracks in one view, (F, NUM_ROWS, 3), or NaN."""
    points = np.full((count, NUM_ROWS, 3), np.nan)
    for track_id in sorted(track_id for number, track_id in mine if number == view):
        if track_id in tracks:
            points = np.where(np.isfinite(points), points, tracks[track_id])
    return points


@dataclass(frozen=True, slots=True)
class Trial:
    """The observed videos and truths of one trial; evaluates any number of sources."""

    name: str
    views: tuple[View, ...]
    frames: tuple[tuple[Frame, ...], ...]
    people: tuple[TruePerson, ...]

    def evaluate(
        self,
        source: JointSource,
        conditions: Mapping[str, Condition] = CONDITIONS,
        tell_floor: TellFloor | None = None,
    ) -> list[Score]:
        """Score a source on every person in every view under every condition.

        tell_floor: called with the floor in the frame of each view before the source runs, and with
        None at the end.
        """
        scores = []
        for name, condition in conditions.items():
            for number, (view, frames) in enumerate(zip(self.views, self.frames, strict=True)):
                if tell_floor is not None:
                    tell_floor(FLOOR.moved(view.rotation, view.translation))
                shown = [hide(frame, i, condition) for i, frame in enumerate(frames)]
                tracks = source.recover(shown)
                count = len(frames)
                hidden = np.array([[condition(i, k) for k in KEYPOINTS] for i in range(count)])
                for person in self.people:
                    if any(of_view == number for of_view, _ in person.tracks):
                        points = person.points(tracks, number, count)
                        found = score(points, view, person.truth, hidden, name)
                        scores.append(replace(found, person=person.name))
        if tell_floor is not None:
            tell_floor(None)
        return scores

    def with_true_keypoints(self) -> Trial:
        """Return the trial for a perfect detector: the truth projected into every view.

        Points without a truth are unseen. It separates the network's error from the keypoints'. A
        fitted truth must have the keypoints that the network was trained on (fit_trial).
        """
        truths = [(person.tracks, [person.truth] * len(self.views)) for person in self.people]
        return replace(self, frames=true_frames(self.views, self.frames, truths))


def true_frames(
    views: Sequence[View],
    frames: Sequence[Sequence[Frame]],
    people: Sequence[tuple[frozenset[Track], Sequence[Truth]]],
) -> tuple[tuple[Frame, ...], ...]:
    """Return the frames of all views with the projected truth; people: tracks, truth per view."""
    result = []
    for number, (view, of_view) in enumerate(zip(views, frames, strict=True)):
        truth_of = {
            track_id: truths[number]
            for tracks, truths in people
            for of_number, track_id in tracks
            if of_number == number
        }
        result.append(tuple(redrawn(frame, i, view, truth_of) for i, frame in enumerate(of_view)))
    return tuple(result)


def redrawn(frame: Frame, index: int, view: View, truth_of: Mapping[int, Truth]) -> Frame:
    """Return a frame whose keypoints are the projected truth, in an undistorted image."""
    people = []
    for person in frame.people:
        if person.track_id not in truth_of or person.keypoints is None:
            continue
        points = truth_of[person.track_id].points[index] @ view.rotation.T + view.translation
        known = np.isfinite(points[:, 0]) & (points[:, 2] > 0)
        points = np.where(known[:, None], points, 1.0)
        pixels = points @ view.camera.matrix.T
        people.append(
            replace(
                person,
                keypoints=Keypoints(
                    (pixels[:, :2] / pixels[:, 2:]).astype(np.float32),
                    known.astype(np.float32),
                    known.astype(np.float32),
                ),
            )
        )
    return replace(frame, camera=rectified_camera(frame.camera), people=tuple(people))


def build_trial(name: str, views: Sequence[View], frames: Sequence[Sequence[Frame]]) -> Trial:
    """Cut the views to one length, associate people and triangulate them."""
    count = min(len(of_view) for of_view in frames)
    cut = tuple(tuple(of_view[:count]) for of_view in frames)
    people = []
    for tracks in associate(views, cut):
        truth = triangulate(views, only(cut, tracks))
        people.append(TruePerson(truth, tracks, size_name(truth)))
    return Trial(name, tuple(views), cut, tuple(people))


def with_refined_extrinsics(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials of the same cameras with extrinsics refined from their people's keypoints.

    As `moro calibrate` does. The people are triangulated again. Raises: DataError if too few
    keypoints are shared.
    """
    seen = [
        observations(trial.views, only(trial.frames, person.tracks))
        for trial in trials
        for person in trial.people
    ]
    points = [point.reshape(len(point), -1, 2) for point, _ in seen]
    weights = [weight.reshape(len(weight), -1) for _, weight in seen]
    refined = refine_extrinsics(
        trials[0].views, np.concatenate(points, 1), np.concatenate(weights, 1)
    )
    return [build_trial(trial.name, refined.views, trial.frames) for trial in trials]


def size_name(truth: Truth) -> str:
    """Return "child" for a person with short legs, else "adult"."""
    legs = []
    for side in ("left", "right"):
        rows = [list(KEYPOINTS).index(f"{side}_{part}") for part in ("hip", "knee", "ankle")]
        hip, knee, ankle = truth.points[:, rows].swapaxes(0, 1)
        legs.append(np.linalg.norm(hip - knee, axis=-1) + np.linalg.norm(knee - ankle, axis=-1))
    known = np.concatenate(legs)
    known = known[np.isfinite(known)]
    return "child" if known.size and float(np.median(known)) < CHILD_LEG_M else "adult"


def video_of(name: str, view: str) -> Path:
    """Download the video of one camera of "single" or "multi". Raises: AssetError."""
    return fetch(f"pose2sim_{name}_{view}.mp4")


def observe_trial(name: str, frontend: Frontend) -> tuple[tuple[View, ...], list[list[Frame]]]:
    """Download the videos of "single" or "multi" and run a front-end on them.

    Raises: AssetError if the videos are not available; VideoError if they do not open.
    """
    views = load_calibration(fetch("pose2sim_calibration.qca.txt"))
    frames = [observe_video(frontend, video_of(name, view.name), view.camera) for view in views]
    return views, frames


def load_trial(name: str, frontend: Frontend) -> Trial:
    """Observe a trial and triangulate all people. Raises: see observe_trial."""
    return build_trial(name, *observe_trial(name, frontend))
