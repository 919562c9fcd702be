"""What the front-end believes of the landmark network's answers."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.perception.blazepose import Landmarks, Region
from moro_ros.perception.sighting import (
    CROP_PX,
    LEAST_FIT,
    SURE_FIT,
    Sighting,
    believed,
    believed_details,
    fit,
    sure_of_newcomer,
)
from moro_ros.types import DETAILS, KEYPOINTS, NUM_KEYPOINTS, Keypoints

NAMES = list(KEYPOINTS)
SIZE = (640, 480)
# Somebody who stands upright, 300 px tall; left and right lie 20 px beside this.
HEIGHTS = {
    "nose": 30, "ear": 25, "shoulder": 60, "elbow": 110, "wrist": 150, "hip": 160, "knee": 225,
    "ankle": 285, "heel": 290, "foot_index": 297,
}  # fmt: skip
LEGS = ("knee", "ankle", "heel", "foot_index")
HIPS = [NAMES.index("left_hip"), NAMES.index("right_hip")]


class Answer:
    """An answer of the network about somebody whose head is at a height in the image, px."""

    def __init__(self, top: float = 100.0) -> None:
        self.points = np.zeros((NUM_KEYPOINTS, 2), np.float32)
        self.visibility = np.full(NUM_KEYPOINTS, 0.98, np.float32)
        self.peaks = np.full(NUM_KEYPOINTS, 0.8, np.float32)
        for row, name in enumerate(NAMES):
            side = {"left": 20, "right": -20}.get(name.split("_")[0], 0)
            part = name.split("_", 1)[1] if side else name
            self.points[row] = 320 + side, top + HEIGHTS[part]

    def of(self, *parts: str) -> list[int]:
        return [row for row, name in enumerate(NAMES) if name.endswith(parts)]

    def believed(self, side_px: float = 375.0) -> np.ndarray:
        return believed(self.points, self.visibility, self.peaks, side_px, SIZE)

    def seen(self, *parts: str) -> bool:
        """Whether all points of some parts are believed to be seen; else none may be."""
        shown = self.believed()[self.of(*parts)] >= 0.5
        assert shown.all() or not shown.any()
        return bool(shown.all())


def test_people_in_full_view_are_believed():
    answer = Answer()
    np.testing.assert_array_equal(answer.believed(), answer.visibility)


def test_legs_hidden_by_others_do_not_hide_sharp_hips():
    answer = Answer()
    answer.visibility[answer.of(*LEGS)] = 0.1
    assert answer.seen("hip")


def test_hips_guessed_behind_a_table_are_not_seen():
    answer = Answer()
    answer.visibility[answer.of(*LEGS)] = 0.1
    answer.peaks[HIPS] = 0.55
    assert not answer.seen("hip")
    assert answer.seen("shoulder", "elbow", "wrist", "nose", "ear")
    # A single knee in sight is reason enough to believe them.
    answer.visibility[NAMES.index("left_knee")] = 0.9
    assert answer.seen("hip")


@pytest.mark.parametrize("part", ["knee", "ankle"])
def test_a_point_of_a_leg_without_a_seen_neighbour_is_inferred(part: str):
    """The network took an arm above a table for a knee, and the legs were put above the head."""
    answer = Answer()
    answer.visibility[answer.of("hip", *LEGS)] = 0.1
    answer.visibility[answer.of(part)] = 0.98
    assert not answer.seen(part)


@pytest.mark.parametrize("parts", [("knee", "ankle"), ("ankle", "foot_index"), ("hip", "knee")])
def test_points_of_a_leg_that_are_seen_together_are_believed(parts: tuple[str, str]):
    answer = Answer()
    answer.visibility[answer.of("hip", *LEGS)] = 0.1
    answer.visibility[answer.of(*parts)] = 0.98
    assert answer.seen(*parts)


@pytest.mark.parametrize("hips_below_border", [-10, 30])
def test_hips_at_the_border_without_legs_are_guessed(hips_below_border: int):
    answer = Answer(top=SIZE[1] - HEIGHTS["hip"] + hips_below_border)
    # The network is sure of hips, and rightly unsure of the legs, which are outside.
    answer.visibility[answer.of(*LEGS)] = 0.2
    assert not answer.seen("hip")
    assert answer.seen("shoulder", "elbow")


def test_nothing_is_seen_outside_of_the_image():
    answer = Answer(top=200)  # knees inside, ankles and feet below the border
    answer.points[NAMES.index("left_wrist"), 0] = -3
    shown = answer.believed() >= 0.5
    assert not shown[answer.of("ankle", "heel", "foot_index")].any()
    assert shown[answer.of("knee", "hip")].all()
    assert not shown[NAMES.index("left_wrist")] and shown[NAMES.index("right_wrist")]


def test_dull_points_are_inferred_not_seen():
    answer = Answer()
    answer.peaks[answer.of("elbow")] = 0.42
    assert not answer.seen("elbow")
    assert answer.seen("wrist", "shoulder")
    # The crop of somebody far away is blurred, which is no reason to doubt everything.
    assert (answer.believed(side_px=CROP_PX / 3) >= 0.5).all()


def test_a_torso_that_nobody_has_hides_its_hips():
    answer = Answer()
    shoulders = answer.of("shoulder")
    answer.points[answer.of("shoulder", "nose", "ear")] = answer.points[shoulders].mean(axis=0)
    answer.points[shoulders, 0] += (5, -5)
    assert not answer.seen("hip")
    assert answer.seen("knee")


def test_visibility_is_never_raised():
    rng = np.random.default_rng(3)
    for _ in range(200):
        answer = Answer()
        answer.points += rng.normal(0, 120, answer.points.shape).astype(np.float32)
        answer.visibility = rng.random(NUM_KEYPOINTS).astype(np.float32)
        answer.peaks = rng.random(NUM_KEYPOINTS).astype(np.float32)
        result = answer.believed(float(rng.uniform(50, 900)))
        assert result.dtype == np.float32 and np.all(result <= answer.visibility)


def test_the_fit_of_a_body_comes_from_its_sharpest_points():
    peaks = np.full(NUM_KEYPOINTS, 0.2)
    assert fit(peaks, 400.0) < LEAST_FIT
    peaks[:6] = 0.8  # head and shoulders above a table
    assert fit(peaks, 400.0) == pytest.approx(0.8) and fit(peaks, 400.0) > SURE_FIT
    assert fit(peaks, 80.0) > fit(peaks, 400.0)


def test_a_newcomer_on_their_head_must_fit_better():
    assert sure_of_newcomer(0.65, 0.3) and sure_of_newcomer(0.65, 2 * np.pi - 0.3)
    assert not sure_of_newcomer(0.65, 2.8) and not sure_of_newcomer(0.65, -2.8)
    assert sure_of_newcomer(0.85, 2.8) and not sure_of_newcomer(0.5, 0.0)


def test_face_and_hands_are_doubted_by_their_own_peaks_and_outside_the_image():
    rows = np.arange(35.0)
    points = np.stack([rows * 10, rows], axis=1).astype(np.float32)
    shown, peaks = np.full(33, 0.9, np.float32), np.full(33, 0.9, np.float32)
    peaks[DETAILS["left_thumb"]] = 0.1
    points[DETAILS["right_pinky"], 1] = -5.0
    landmarks = Landmarks(points, shown, shown, 1.0, np.zeros((33, 3)), peaks)
    found = believed_details(landmarks, CROP_PX, SIZE)
    for row, (name, landmark) in enumerate(DETAILS.items()):
        np.testing.assert_array_equal(found.points_px[row], points[landmark])
        believed_of = found.visibility[row] >= 0.5
        assert believed_of == (name not in ("left_thumb", "right_pinky")), name
    sighting = Sighting.of(landmarks, CROP_PX, SIZE)
    np.testing.assert_array_equal(sighting.peaks, landmarks.keypoint_peaks)


def test_the_hand_of_a_doubted_wrist_is_doubted():
    ones = np.ones(NUM_KEYPOINTS, np.float32)
    hands = np.ones(len(DETAILS), np.float32)
    details = Keypoints(np.zeros((len(DETAILS), 2), np.float32), hands, hands)
    points = np.zeros((NUM_KEYPOINTS, 2), np.float32)
    seen = Sighting(points, ones, ones, Region(np.zeros(2), 300.0, 0.0), 1.0, details=details)
    wrist = np.arange(NUM_KEYPOINTS) == NAMES.index("left_wrist")
    doubting = seen.doubting(wrist)
    np.testing.assert_array_equal(doubting.visibility < 0.5, wrist)
    hand = [name in ("left_pinky", "left_index", "left_thumb") for name in DETAILS]
    assert doubting.details is not None
    np.testing.assert_array_equal(doubting.details.visibility < 0.5, hand)
    assert seen.doubting(np.zeros(NUM_KEYPOINTS, bool)) is seen


def test_a_mirrored_sighting_has_mirrored_peaks():
    ones, peaks = np.ones(NUM_KEYPOINTS, np.float32), np.linspace(0, 1, NUM_KEYPOINTS)
    points = np.zeros((NUM_KEYPOINTS, 2), np.float32)
    seen = Sighting(points, ones, ones, Region(np.zeros(2), 300.0, 0.0), 1.0, peaks=peaks)
    left, right = NAMES.index("left_wrist"), NAMES.index("right_wrist")
    assert seen.mirrored.peaks[left] == peaks[right] and seen.mirrored.peaks[0] == peaks[0]
