"""People of different sizes on one floor, before one camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.data.mocap import MotionWindows
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.errors import DataError
from moro_ros.evaluation.open_worlds import CLEAN, resized
from moro_ros.evaluation.shared_floor import WHERE, before_one_camera, standing

SIZE = torch.tensor([1.0, 0.6, 0.8])
FEET = [10, 11]


def windows(count, frames=6, height_m=0.95) -> MotionWindows:
    place = torch.zeros(count, frames, 3)
    place[..., 2] = height_m
    turns = torch.zeros(count, frames, 22, 3)
    turns[:, :, 0] = torch.tensor([np.pi / 2, 0.0, 0.0])  # y up onto z up
    return MotionWindows(turns, place)


class Motion:
    """A file of people who stand, lie or are on an object, by the height of the pelvis."""

    def __init__(self, *heights_m: float) -> None:
        self._heights_m = heights_m

    def draw(self, count, frames, rng, warp) -> MotionWindows:
        parts = [
            windows(1, frames, self._heights_m[i % len(self._heights_m)]) for i in range(count)
        ]
        return MotionWindows(
            torch.cat([part.rotations for part in parts]),
            torch.cat([part.translation for part in parts]),
        )


def test_people_are_before_one_camera_on_one_floor(open_body):
    rng = np.random.default_rng(3)
    drawn = place_cameras(windows(3), torch.zeros(3, 10), open_body, rng, WHERE)
    before = look(drawn, open_body, CLEAN, rng)
    truth = before_one_camera(drawn, SIZE)
    seen = resized(look(truth, open_body, CLEAN, rng), SIZE)
    for height in seen.truth.height:
        assert float(height) == pytest.approx(float(drawn.height[0]), rel=1e-4)
    for person, size in enumerate(SIZE):
        up, height = seen.truth.up[person], seen.truth.height[person]
        assert torch.equal(up, drawn.up[0])
        above = seen.joints[person] @ up + height
        expected = size * (before.joints[person] @ drawn.up[person] + drawn.height[person])
        torch.testing.assert_close(above, expected, atol=1e-4, rtol=1e-4)
        assert seen.joints[person, ..., 2].min() > 0.3, "in front of the camera"


def test_only_who_stands_on_the_floor_is_drawn(open_body):
    rng = np.random.default_rng(0)
    found = standing(Motion(0.95, 0.3, 1.15), open_body, 4, 6, rng)  # type: ignore[arg-type]
    assert len(found.translation) == 4 and (found.translation[..., 2] == 0.95).all()
    with pytest.raises(DataError, match="standing person, expected 4"):
        standing(Motion(0.3), open_body, 4, 6, rng)  # type: ignore[arg-type]
