"""Live answers at lower rates: which images are answered, what stands and what is carried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from moro_ros.evaluation.live_rates import answered, live_against_offline
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.video_score import NUM_POINTS, NUM_ROWS
from moro_ros.geometry.views import View
from moro_ros.perception.track import carried_points
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

COUNT = 45
CAMERA = Camera(np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]), 1000, 1000)


def test_a_rate_answers_images_at_even_times() -> None:
    assert answered(6, 30).tolist() == [0, 1, 2, 3, 4, 5]
    assert answered(7, 15).tolist() == [0, 2, 4, 6]
    assert answered(10, 10).tolist() == [0, 3, 6, 9]
    assert answered(18, 7).tolist() == [0, 4, 9, 13, 17]
    assert answered(3, 60).tolist() == [0, 1, 2]


class Mover:
    """Answers with joints all at x = keypoint / 1000 m: whoever moves 10 px moves 1 cm."""

    def recover(self, frames: Sequence[Frame]) -> dict[int, np.ndarray]:
        x = [float(frame.people[0].keypoints.points_px[0, 0]) / 1000 for frame in frames]
        points = np.zeros((len(frames), NUM_ROWS, 3))
        points[:, NUM_POINTS:] = np.nan  # the sigma is unknown
        points[:, 1:NUM_POINTS, 0] = np.array(x)[:, None]  # the pelvis stays
        return {1: points}


def trial_of(x: np.ndarray) -> Trial:
    full = np.ones(NUM_KEYPOINTS, np.float32)
    frames = []
    for number, place in enumerate(x):
        keypoints = Keypoints(np.full((NUM_KEYPOINTS, 2), place, np.float32), full, full)
        person = PersonObservation(1, np.zeros(4, np.float32), 1.0, keypoints)
        frames.append(Frame(round(number * 1e9 / 30), CAMERA, (person,)))
    points = np.zeros((len(x), NUM_KEYPOINTS, 3))
    points[..., 2] = 4
    truth = Truth(points, np.ones(points.shape[:2]))
    view = View("cam", CAMERA, np.eye(3), np.zeros(3))
    return Trial("t", (view,), (tuple(frames),), (TruePerson(truth, frozenset({(0, 1)})),))


def rows_of(x: np.ndarray) -> dict[tuple[float, int], dict[str, float]]:
    rows = live_against_offline(trial_of(x), Mover(), carried_points)
    return {(row["rate_hz"], int(row["looked_at"])): row for row in rows}


def test_between_two_answers_the_last_one_stands() -> None:
    rows = rows_of(10.0 * np.arange(COUNT))  # 10 px, 1 cm from image to image
    assert len(rows) == 12
    share = 21 / 22  # of the joints move
    for rate, behind in ((30, 0.0), (15, 0.5), (10, 1.0)):
        row = rows[rate, 1]
        assert row["offline_mm"] == pytest.approx(0, abs=1e-3) and row["carried"] == 0
        assert row["shown_mm"] == pytest.approx(10 * behind * share, abs=0.4)
        assert row["shown_wrists_mm"] == pytest.approx(10 * behind, abs=0.4)
    assert rows[7, 1]["shown_wrists_mm"] > rows[10, 1]["shown_wrists_mm"]
    assert rows[10, 1]["mpjpe_mm"] == pytest.approx(rows[10, 1]["offline_mpjpe_mm"])


def test_what_is_carried_on_goes_straight_ahead() -> None:
    straight, turning = (
        rows_of(x) for x in (4.0 * np.arange(COUNT), 2.0 * np.arange(COUNT) ** 1.8)
    )
    for rate in (30, 15):
        assert straight[rate, 2]["carried"] > 0.15
        assert straight[rate, 2]["offline_mm"] == pytest.approx(0, abs=0.01)
        assert turning[rate, 3]["offline_mm"] > turning[rate, 2]["offline_mm"] > 0.1
    assert straight[7, 3]["carried"] == 0  # looks that are too far apart are not carried on
