"""The focal length from people: the one that explains them, near the usual one where none does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moro_ros.config import PipelineConfig
from moro_ros.live import focal_estimate
from moro_ros.live.focal_estimate import LEAST_POSES, TRIED, USUAL, estimate_focal, lowest
from moro_ros.live.pipeline import load_pipeline
from moro_ros.types import Camera, Frame

SIZE = (1280, 720)
FRAMES = [Frame(n, Camera(np.eye(3), *SIZE), ()) for n in range(3)]


class Stream:
    def sibling(self, _motion: Any) -> Stream:
        return self


def estimate(
    monkeypatch: pytest.MonkeyPatch, true_px: float, bend: float, poses: int = LEAST_POSES
) -> float | None:
    """The estimate if residuals grow with the distance from a true focal length."""

    def residuals(_frames: Any, _stream: Any, focal_px: float) -> np.ndarray:
        return np.full(poses, 0.03 * (1.0 + bend * np.log(focal_px / true_px) ** 2))

    monkeypatch.setattr(focal_estimate, "residuals", residuals)
    found = estimate_focal(FRAMES, Stream())  # type: ignore[arg-type]
    return None if found is None else found.focal_px


def test_a_clear_optimum_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for true_px in (500.0, 1000.0, 1800.0):
        assert estimate(monkeypatch, true_px, 50.0) == pytest.approx(true_px, rel=0.03)


def test_people_who_tell_nothing_give_the_usual_focal_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert estimate(monkeypatch, 500.0, 0.0) == pytest.approx(USUAL * SIZE[0], rel=1e-3)
    weak = estimate(monkeypatch, 500.0, focal_estimate.PULL)
    assert weak is not None and 500.0 < weak < USUAL * SIZE[0]


def test_too_few_poses_give_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert estimate(monkeypatch, 1000.0, 1.0, poses=LEAST_POSES - 1) is None
    assert estimate_focal([], Stream()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.5, USUAL, 1.3])
def test_the_lowest_point_of_a_parabola_is_found(share: float) -> None:
    means = 1.0 + np.log(np.array(TRIED) / share) ** 2
    assert lowest(means) == pytest.approx(share, rel=1e-6)


def test_the_usual_focal_length_may_be_relative_to_another_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(focal_estimate, "residuals", lambda *_: np.full(LEAST_POSES, 0.03))
    found = estimate_focal(FRAMES, Stream(), 2000.0)  # type: ignore[arg-type]
    assert found is not None and found.focal_px == pytest.approx(USUAL * 2000.0, rel=1e-3)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("share", [0.6, USUAL])
def test_somebody_who_walks_by_gives_a_focal_length_within_45_percent(share: float) -> None:
    """By the real network; the usual focal length is 1.33 and 1 times the true one."""
    focal_px = share * SIZE[0]
    matrix = np.array([[focal_px, 0, SIZE[0] / 2], [0, focal_px, SIZE[1] / 2], [0, 0, 1.0]])
    camera = Camera(matrix, *SIZE)
    pipeline = load_pipeline(PipelineConfig(people="synthetic", synthetic_scene="walk_by"))
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    stamps_ns = [10**9 + round(n * 1e9 / 30) for n in range(30)]
    frames = [pipeline.observe(image, stamp_ns, camera).frame for stamp_ns in stamps_ns]
    found = estimate_focal(frames, pipeline.stream)
    assert found is not None and found.poses >= LEAST_POSES
    assert found.focal_px == pytest.approx(focal_px, rel=0.45)
