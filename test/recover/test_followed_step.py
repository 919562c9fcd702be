"""A correction of the posture that follows its target over images."""

from __future__ import annotations

import pytest
import torch

from moro_ros.recover.followed_step import UNKNOWNS, FollowedStep
from moro_ros.recover.place import PLACES_KEPT
from moro_ros.recover.steady_pose import BodyPose

MS = 1_000_000
POSE = BodyPose(torch.eye(3).expand(1, 22, 3, 3), torch.tensor([[0, 0, 3.0]]), torch.zeros(10))


@pytest.fixture
def followed() -> FollowedStep:
    """The target is 0.4 m farther away."""
    step = FollowedStep(0.1)
    step.target = torch.zeros(1, UNKNOWNS)
    step.target[0, -1] = 0.4
    return step


def away(followed: FollowedStep, at_ms: int) -> float:
    return float(followed.corrected(POSE, at_ms * MS).translation[0, 2]) - 3.0


def test_the_target_is_approached_with_the_time_constant(followed):
    assert away(followed, 0) == 0.0
    assert away(followed, 100) == pytest.approx(0.4 * (1 - 0.3679), abs=1e-4)
    # A gap counts as 0.1 s.
    assert away(followed, 5000) == pytest.approx(0.4 * (1 - 0.3679**2), abs=1e-4)
    assert [away(followed, at) for at in range(5000, 7000, 33)][-1] == pytest.approx(0.4, abs=1e-4)


def test_an_image_described_again_has_the_same_step(followed):
    first = [away(followed, at) for at in range(0, 330, 33)]
    followed.target = torch.zeros(1, UNKNOWNS)
    assert [away(followed, at) for at in range(0, 330, 33)] == first


def test_an_earlier_image_that_was_left_out_has_the_step_of_the_nearest(followed):
    first, second, third = (away(followed, at) for at in (100, 200, 300))
    assert away(followed, 50) == first == 0.0
    assert away(followed, 240) == second > 0.0 and away(followed, 260) == third > second
    assert away(followed, 300) == third and away(followed, 333) > third


def test_it_does_not_grow_without_limit(followed):
    for image in range(PLACES_KEPT + 10):
        away(followed, 33 * image)
    assert len(followed._made) <= PLACES_KEPT
