"""The real-video benchmark: what is hidden, what a score measures, and the plug for a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation import pose2sim
from moro_ros.evaluation.multiview import Truth, View
from moro_ros.evaluation.pose2sim import CONDITIONS, LIMB_JOINTS, PERSON_ID, Benchmark
from moro_ros.types import (
    KEYPOINTS,
    NUM_KEYPOINTS,
    BodyMotion,
    Camera,
    Frame,
    Keypoints,
    PersonObservation,
    SmplxParams,
)

FRAMES = 40
NAMES = list(KEYPOINTS)
CAMERA = Camera(np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]), 1000, 1000)
ROTATION = Rotation.from_rotvec([0.2, 1.1, -0.3]).as_matrix()
VIEW = View("cam01", CAMERA, ROTATION, np.array([0.1, -0.2, 4.0]))


@pytest.fixture(scope="module")
def truth() -> Truth:
    points = np.random.default_rng(3).uniform(-0.8, 0.8, (FRAMES, NUM_KEYPOINTS, 3))
    return Truth(points, np.ones(points.shape[:2]))


@pytest.fixture(scope="module")
def frames() -> tuple[Frame, ...]:
    person = PersonObservation(
        PERSON_ID,
        np.array([0, 0, 100, 400], np.float32),
        0.9,
        Keypoints(
            np.full((NUM_KEYPOINTS, 2), 250, np.float32),
            np.ones(NUM_KEYPOINTS, np.float32),
            np.ones(NUM_KEYPOINTS, np.float32),
        ),
    )
    return tuple(Frame(number * 33_333_333, CAMERA, (person,)) for number in range(FRAMES))


def joints_of(truth: Truth) -> np.ndarray:
    """The joints, (F, 22, 3) in VIEW's camera, of somebody exactly like the truth."""
    joints = np.zeros((FRAMES, len(JOINT_NAMES), 3))
    for name in LIMB_JOINTS:
        inside = truth.points[:, NAMES.index(name)] @ VIEW.rotation.T + VIEW.translation
        joints[:, JOINT_NAMES.index(name)] = inside
    return joints


NOTHING_HIDDEN = np.zeros((FRAMES, NUM_KEYPOINTS), bool)


def test_the_truth_itself_scores_zero(truth) -> None:
    result = pose2sim.score(joints_of(truth), VIEW, truth, NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.root_mm == pytest.approx(0, abs=1e-6)
    assert result.coverage == 1
    assert np.isnan(result.hidden_mpjpe_mm)


def test_a_wrong_place_is_a_root_error_and_a_wrong_pose_is_not(truth) -> None:
    away = pose2sim.score(joints_of(truth) + np.array([0, 0, 0.3]), VIEW, truth, NOTHING_HIDDEN)
    assert away.root_mm == pytest.approx(300)
    assert away.mpjpe_mm == pytest.approx(0, abs=1e-6)

    bent = joints_of(truth)
    bent[:, JOINT_NAMES.index("left_wrist"), 1] += 0.12
    hidden = NOTHING_HIDDEN.copy()
    hidden[:, NAMES.index("left_wrist")] = True
    result = pose2sim.score(bent, VIEW, truth, hidden)
    assert result.root_mm == pytest.approx(0, abs=1e-6)
    assert result.mpjpe_mm == pytest.approx(10)  # one of twelve
    assert result.hidden_mpjpe_mm == pytest.approx(120)
    assert 0 < result.pa_mpjpe_mm < 20


def test_a_larger_turned_body_is_right_after_alignment(truth) -> None:
    turned = 1.1 * joints_of(truth) @ Rotation.from_rotvec([0, 0.5, 0]).as_matrix()
    result = pose2sim.score(turned, VIEW, truth, NOTHING_HIDDEN)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.mpjpe_mm > 100


def test_unknown_truth_and_missing_motion_are_left_out(truth) -> None:
    points = truth.points.copy()
    points[:5] = np.nan
    points[5:9, NAMES.index("right_knee")] = np.nan
    joints = joints_of(truth)
    joints[30:] = np.nan
    result = pose2sim.score(joints, VIEW, replace(truth, points=points), NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.coverage == pytest.approx(0.75)


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
    """A motion source that knows the truth but says nothing while it is blind."""

    def __init__(self, joints: np.ndarray, stamps_ns: list[int]) -> None:
        self.joints = dict(zip(stamps_ns, joints, strict=True))
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def push(self, frame: Frame) -> tuple[BodyMotion, ...]:
        if frame.people[0].keypoints is None:
            return ()
        one = self.joints[frame.stamp_ns][None]
        empty = np.zeros((1, 0))
        smplx = SmplxParams(np.zeros(10), np.zeros((1, 3)), np.zeros((1, 63)), np.zeros((1, 3)))
        stamps = np.array([frame.stamp_ns])
        return (
            BodyMotion(
                PERSON_ID,
                stamps,
                one,
                empty,
                empty,
                empty,
                empty,
                empty,
                empty,
                smplx,
                None,
                empty,
                empty,
            ),
        )


def test_a_model_is_plugged_in_as_a_motion_source(truth, frames) -> None:
    source = PerfectSource(joints_of(truth), [frame.stamp_ns for frame in frames])
    benchmark = Benchmark((VIEW, VIEW), (frames, frames), truth)
    scores = benchmark.evaluate(source)
    assert source.resets == len(scores) == 2 * len(CONDITIONS)
    means = {item.condition: item for item in pose2sim.mean_scores(scores)}
    assert list(means) == list(CONDITIONS)
    assert all(item.mpjpe_mm == pytest.approx(0, abs=1e-6) for item in scores)
    assert means["plain"].coverage == 1
    assert means["30 % of frames blank"].coverage == pytest.approx(1 - 9 / FRAMES)
    assert means["legs hidden"].hidden_mpjpe_mm == pytest.approx(0, abs=1e-6)


class OneLook:
    """A front-end that sees two people in the first image and nobody afterwards."""

    def __init__(self, frames: tuple[Frame, ...]) -> None:
        self.person = frames[0].people[0]
        self.looks = 0
        self.stamps_ns: list[int] = []

    def reset(self) -> None:
        self.looks = 0

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        self.stamps_ns.append(stamp_ns)
        self.looks += 1
        small = replace(self.person, track_id=7, box_xyxy=np.array([0, 0, 50, 90], np.float32))
        large = replace(self.person, track_id=9)
        return (small, large) if self.looks == 2 else ()


def test_follows_the_largest_person_at_30_images_a_second(tmp_path, frames) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 60, (64, 48))
    for _ in range(12):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    frontend = OneLook(frames)
    observed = pose2sim.observe_video(frontend, path, CAMERA)
    np.testing.assert_allclose(np.diff(frontend.stamps_ns), 1e9 / 30, rtol=1e-6)
    assert [len(frame.people) for frame in observed] == [0, 1, 1, 1, 1, 1]
    assert (observed[0].camera.width, observed[0].camera.height) == (64, 48)
    person = observed[1].people[0]
    assert person.track_id == PERSON_ID
    np.testing.assert_array_equal(person.box_xyxy, frames[0].people[0].box_xyxy)
    assert observed[1].people[0].keypoints is not None
    assert all(frame.people[0].keypoints is None for frame in observed[2:])
