"""The real-video benchmark: what is hidden, whose joints are whose, and the plug for a source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation import pose2sim
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import CONDITIONS, PLAIN, Trial, TruePerson
from moro_ros.evaluation.video_score import LIMB_JOINTS, NUM_POINTS, NUM_ROWS, mean_scores
from moro_ros.evaluation.video_sources import Tracks
from moro_ros.geometry.views import View
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

FRAMES = 40
NAMES = list(KEYPOINTS)
CAMERA = Camera(np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]), 1000, 1000)
VIEW = View("cam01", CAMERA, np.eye(3), np.array([0.1, -0.2, 4.0]))
OTHER = View("cam02", CAMERA, np.diag([-1.0, 1, -1]), np.array([0.0, 0.3, 3.5]))


@pytest.fixture(scope="module")
def truth() -> Truth:
    points = np.random.default_rng(3).uniform(-0.8, 0.8, (FRAMES, NUM_KEYPOINTS, 3))
    return Truth(points, np.ones(points.shape[:2]))


def seen(track_id: int) -> PersonObservation:
    full = np.ones(NUM_KEYPOINTS, np.float32)
    points = np.full((NUM_KEYPOINTS, 2), 250, np.float32)
    box = np.array([0, 0, 100, 400], np.float32)
    return PersonObservation(track_id, box, 0.9, Keypoints(points, full, full))


def frames_of(*track_ids: int) -> tuple[Frame, ...]:
    people = tuple(seen(i) for i in track_ids)
    return tuple(Frame(number * 33_333_333, CAMERA, people) for number in range(FRAMES))


@pytest.fixture(scope="module")
def frames() -> tuple[Frame, ...]:
    return frames_of(1)


def joints_in(view: View, truth: Truth) -> np.ndarray:
    """The rows, (F, NUM_ROWS, 3) in a view's camera, of somebody exactly like the truth."""
    joints = np.zeros((FRAMES, NUM_ROWS, 3))
    joints[:, NUM_POINTS:] = np.nan
    joints[:, len(JOINT_NAMES) : NUM_POINTS] = truth.points @ view.rotation.T + view.translation
    for name in LIMB_JOINTS:
        inside = truth.points[:, NAMES.index(name)] @ view.rotation.T + view.translation
        joints[:, JOINT_NAMES.index(name)] = inside
    return joints


def test_conditions_hide_what_they_say(frames) -> None:
    def shown(condition: str, number: int) -> set[str] | None:
        keypoints = pose2sim.hide(frames[number], number, CONDITIONS[condition]).people[0].keypoints
        if keypoints is None:
            return None
        hidden = keypoints.visibility == 0
        assert not keypoints.points_px[hidden].any()
        return {name for name, gone in zip(NAMES, hidden, strict=True) if not gone}

    assert shown("plain", 0) == set(NAMES)
    legs = set(NAMES) - (shown("legs hidden", 3) or set())
    assert legs == {f"{s}_{p}" for s in ("left", "right") for p in pose2sim.LEG_POINTS}
    left = set(NAMES) - (shown("left side hidden", 3) or set())
    assert left == {name for name in NAMES if name.startswith("left_")}
    blank = [shown("30 % of frames blank", number) is None for number in range(30)]
    assert sum(blank) == 9
    assert shown("30 % of frames blank", 0) == set(NAMES)


class PerfectSource:
    """A source that knows everybody's joints but says nothing of somebody it does not see."""

    def __init__(self, joints: Tracks) -> None:
        self.joints = joints
        self.seen_px: list[np.ndarray] = []

    def recover(self, frames: tuple[Frame, ...]) -> Tracks:
        found = {}
        for track_id, joints in self.joints.items():
            found[track_id] = joints.copy()
            for number, frame in enumerate(frames):
                mine = [p.keypoints for p in frame.people if p.track_id == track_id]
                if not mine or mine[0] is None:
                    found[track_id][number] = np.nan
                else:
                    self.seen_px.append(mine[0].points_px)
        return found


def test_a_source_is_scored_on_every_person_in_every_view_that_shows_them(truth) -> None:
    other = replace(truth, points=truth.points + 0.5)
    people = (
        TruePerson(truth, frozenset({(0, 1), (1, 5)})),
        TruePerson(other, frozenset({(0, 2)})),
    )
    trial = Trial("two", (VIEW, VIEW), (frames_of(1, 2), frames_of(5)), people)
    joints = joints_in(VIEW, truth)
    source = PerfectSource({1: joints, 2: joints_in(VIEW, other), 5: joints + 0.2})
    scores = trial.evaluate(source)
    assert len(scores) == 3 * len(CONDITIONS)
    assert all(item.mpjpe_mm == pytest.approx(0, abs=1e-6) for item in scores)
    plain = [item for item in scores if item.condition == "plain"]
    assert [item.root_m for item in plain] == pytest.approx([0, 0, 0.2 * 3**0.5])
    means = {item.condition: item for item in mean_scores(scores)}
    assert means["plain"].coverage == 1
    assert means["30 % of frames blank"].coverage == pytest.approx(1 - 9 / FRAMES)
    assert means["legs hidden"].hidden_mpjpe_mm == pytest.approx(0, abs=1e-6)


def test_the_floor_is_told_in_each_view_s_own_frame(truth, frames) -> None:
    people = (TruePerson(truth, frozenset({(0, 1), (1, 1)})),)
    trial = Trial("t", (VIEW, OTHER), (frames, frames), people)
    told: list[GroundPlane | None] = []
    trial.evaluate(PerfectSource({1: joints_in(VIEW, truth)}), PLAIN, told.append)
    assert len(told) == 3 and told[2] is None
    point = np.array([0.3, 1.2, 0.7])  # 0.7 m above the floor
    for plane, view in zip(told[:2], (VIEW, OTHER), strict=True):
        assert plane is not None
        assert plane.heights(view.rotation @ point + view.translation) == pytest.approx(0.7)


def test_a_person_whose_track_broke_is_joined(truth) -> None:
    person = TruePerson(truth, frozenset({(0, 1), (0, 7), (2, 8)}))
    first, second = (np.full((FRAMES, NUM_ROWS, 3), np.nan) for _ in range(2))
    first[:10], second[15:] = 1.0, 2.0
    joined = person.points({1: first, 7: second, 8: first + 5}, 0, FRAMES)
    assert (joined[:10] == 1).all() and np.isnan(joined[10:15]).all() and (joined[15:] == 2).all()


def test_true_keypoints_are_the_projected_truth(truth) -> None:
    points = truth.points.copy()
    points[4, 6] = np.nan
    known = replace(truth, points=points)
    bent = replace(CAMERA, distortion=(-0.1, 0.0, 0.0, 0.0))
    frames = tuple(replace(frame, camera=bent) for frame in frames_of(1, 9))
    trial = Trial("t", (OTHER,), (frames,), (TruePerson(known, frozenset({(0, 1)})),))
    (redrawn,) = trial.with_true_keypoints().frames
    assert all(len(frame.people) == 1 and not frame.camera.distortion for frame in redrawn)
    inside = points @ OTHER.rotation.T + OTHER.translation
    expected = 1000 * inside[..., :2] / inside[..., 2:] + 500
    for number, frame in enumerate(redrawn):
        keypoints = frame.people[0].keypoints
        assert keypoints is not None
        shown = keypoints.visibility > 0
        np.testing.assert_array_equal(shown, np.isfinite(points[number, :, 0]))
        np.testing.assert_allclose(keypoints.points_px[shown], expected[number][shown], rtol=1e-4)


class OneLook:
    """A front-end that sees two people in the second image and nobody afterwards."""

    def __init__(self) -> None:
        self.looks = 0
        self.stamps_ns: list[int] = []

    def reset(self) -> None:
        self.looks = 0

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        self.stamps_ns.append(stamp_ns)
        self.looks += 1
        return (seen(7), seen(9)) if self.looks == 2 else ()


def test_everybody_is_observed_at_30_images_a_second(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 60, (64, 48))
    for _ in range(12):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    frontend = OneLook()
    observed = pose2sim.observe_video(frontend, path, CAMERA)
    np.testing.assert_allclose(np.diff(frontend.stamps_ns), 1e9 / 30, rtol=1e-6)
    assert [[p.track_id for p in frame.people] for frame in observed] == [[], [7, 9], *[[]] * 4]
    assert (observed[0].camera.width, observed[0].camera.height) == (64, 48)


def test_what_is_missing_of_a_video_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for _ in range(30):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert len(pose2sim.observe_video(OneLook(), path, CAMERA)) == 30 and not caplog.messages
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 0 < len(pose2sim.observe_video(OneLook(), path, CAMERA)) < 30
    (said,) = caplog.messages
    assert f"{path} is damaged or cut off: it ends early" in said
