"""Posture and falls against the true joints: what people do, and what a wrong body is told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.body.posture import Posture
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.occlusion import CLEAN
from moro_ros.data.synthesis import CameraRange, ObservedMotion, look, place_cameras
from moro_ros.evaluation.live_benchmark import images_of
from moro_ros.evaluation.open_worlds import Prepare, as_it_is
from moro_ros.evaluation.posture_benchmark import bowing, confusion, falling, joined, rates, run
from moro_ros.types import Frame

FRAMES, PEOPLE = 96, 2
# Cameras as high as what they look at: level, but for a roll of about 2 degrees.
LEVEL = CameraRange((3.0, 4.0), (0.9, 0.9), (0.9, 0.9))


class Oracle:
    """A stream that finds the given joints of everybody; floors: what it was told."""

    def __init__(self, posed, observed: ObservedMotion, joints: np.ndarray) -> None:
        self.motion, self.joints = posed(np.zeros((22, 3))), joints
        self.numbers = {image.stamp_ns: n for n, image in enumerate(images_of(observed))}
        self.floors: list[object] = []

    def reset(self) -> None: ...

    def set_floor(self, plane: object, sigma: float = 0.0) -> None:
        self.floors.append(plane)

    def push(self, frame: Frame) -> Iterator[object]:
        for person in frame.people:
            joints = self.joints[person.track_id - 1, self.numbers[frame.stamp_ns]][None]
            stamps = np.array([frame.stamp_ns])
            yield replace(self.motion, joints=joints, stamps_ns=stamps)


@pytest.fixture
def seen(open_body):
    """seen(prepare): two standing people after it, in front of level cameras."""

    def observed(prepare: Prepare) -> ObservedMotion:
        rotations = torch.zeros(PEOPLE, FRAMES, 22, 3)
        rotations[..., 0, 0] = np.pi / 2  # the body's y is up
        place = torch.tensor([0.0, 0.0, 0.9]).expand(PEOPLE, FRAMES, 3)
        for side, down in (("left", -1.3), ("right", 1.3)):
            rotations[..., JOINT_NAMES.index(f"{side}_shoulder"), 2] = down
        windows = MotionWindows(rotations, place)
        windows = prepare(windows, open_body, np.random.default_rng(1))
        rng = np.random.default_rng(0)  # of the cameras, the same for everybody
        truth = place_cameras(windows, torch.zeros(PEOPLE, 10), open_body, rng, LEVEL)
        return look(truth, open_body, CLEAN, rng)

    return observed


def found_of(posed, observed: ObservedMotion, joints: np.ndarray, floor: bool):
    oracle = Oracle(posed, observed, joints)
    return joined([run(oracle, observed, person, floor) for person in range(PEOPLE)])


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize(
    ("prepare", "postures", "lying"),
    [
        (as_it_is, {"standing"}, 0.0),
        (bowing, {"standing", "other"}, 0.0),
        (falling(-1.0), {"laying"}, 1.0),
    ],
)
def test_true_joints_are_right(seen, posed, prepare, postures, lying, floor) -> None:
    observed = seen(prepare)
    found = found_of(posed, observed, observed.joints.numpy(), floor)
    assert found[0].shape == (PEOPLE * (FRAMES - 20), 2)
    result = rates(found)
    assert result["right"] == pytest.approx(1, abs=0.05) and result["lying"] == lying
    assert result["false_falls"] == result["falls"] == 0
    table = confusion(found)
    assert set(table) == postures
    assert sum(row["images"] for row in table.values()) == len(found[0])


@pytest.mark.parametrize("floor", [True, False])
def test_a_fall_is_found_on_a_known_floor(seen, posed, floor) -> None:
    observed = seen(falling(1.2))
    found = found_of(posed, observed, observed.joints.numpy(), floor)
    result = rates(found)
    assert result["falls"] == PEOPLE and result["falls_found"] == PEOPLE * floor
    assert 0.2 < result["lying"] < 0.6 and result["lying_found"] > 0.9


def test_wrong_bodies_are_told_as_false(seen, posed) -> None:
    standing, fallen = seen(as_it_is), seen(falling(1.2))
    found = found_of(posed, standing, fallen.joints.numpy(), True)
    result = rates(found)
    assert result["falls"] == 0 and result["false_falls"] == PEOPLE
    assert 0.2 < result["false_lying"] < 0.6 and np.isnan(result["lying_found"])
    row = confusion(found)["standing"]
    assert row["laying"] == pytest.approx(result["false_lying"])
    assert sum(row[posture.name.lower()] for posture in Posture) == pytest.approx(1)
    reverse = rates(found_of(posed, fallen, fallen.joints.numpy()[:, :1].repeat(FRAMES, 1), True))
    assert reverse["falls"] == PEOPLE and reverse["falls_found"] == reverse["lying_found"] == 0
