"""Varied postures: bent and leant, smooth in time, on the ground as before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data import variation
from moro_ros.data.dice import Dice
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.geometry.rotation import rotvec_to_matrix

KNEES = [JOINT_NAMES.index(name) for name in ("left_knee", "right_knee")]


@pytest.fixture()
def windows(walking: MotionSet) -> MotionWindows:
    return walking.draw(24, 48, np.random.default_rng(0))


def positions(windows: MotionWindows, body: BodyModel) -> Tensor:
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :22]
    chain = body.forward_kinematics(rotvec_to_matrix(windows.rotations), rest)
    return chain[1] + windows.translation[:, :, None]


def varied(windows: MotionWindows, body: BodyModel, share: float = 1.0) -> MotionWindows:
    chosen = torch.arange(len(windows.translation)) < share * len(windows.translation)
    return variation.vary(windows, chosen, body, np.random.default_rng(1))


def test_windows_that_are_not_chosen_stay(windows: MotionWindows, open_body: BodyModel) -> None:
    after = varied(windows, open_body, share=0.5)
    assert torch.equal(after.rotations[12:], windows.rotations[12:])
    assert torch.equal(after.translation[12:], windows.translation[12:])
    assert not torch.allclose(after.rotations[:12], windows.rotations[:12], atol=0.1)


def test_postures_widen_while_motion_stays_smooth(
    windows: MotionWindows, open_body: BodyModel
) -> None:
    before, after = (positions(w, open_body) for w in (windows, varied(windows, open_body)))

    def upright(joints: Tensor) -> Tensor:
        trunk = joints[:, :, 12] - joints[:, :, 0]
        return trunk[..., 2] / trunk.norm(dim=-1)

    assert upright(before).min() > 0.9 and upright(after).min() < 0.7

    def acceleration(joints: Tensor) -> float:
        relative = joints - joints[:, :, :1]
        return float(
            (relative[:, 2:] - 2 * relative[:, 1:-1] + relative[:, :-2]).norm(dim=-1).mean()
        )

    assert acceleration(after) < 2 * acceleration(before)


def test_the_lowest_joint_keeps_its_height(windows: MotionWindows, open_body: BodyModel) -> None:
    before, after = (positions(w, open_body) for w in (windows, varied(windows, open_body)))
    difference = (before[..., 2].amin(-1) - after[..., 2].amin(-1)).abs()
    assert difference.median() < 0.02


def test_knees_bend_and_never_the_other_way() -> None:
    straight = torch.eye(3).expand(200, 2, 22, 3, 3)
    knees = variation.bend(straight, Dice(2))[:, :, KNEES]
    flexion = torch.atan2(knees[..., 2, 1], knees[..., 1, 1])
    assert flexion.max() > 0.5 and flexion.min() > -0.4


def test_a_leg_stays_or_follows_or_does_something_between() -> None:
    upright = torch.eye(3).expand(50, 4, 22, 3, 3)
    leant = variation.lean(upright, Dice(3))
    trunk = angle(leant[:, :, 0])
    assert trunk.max() > 0.6
    for hip in variation.HIPS:
        leg = angle(leant[:, :, 0] @ leant[:, :, hip])
        share = (leg / trunk)[trunk > 0.2]
        assert share.min() < 0.1 and share.max() > 0.9 and share.max() < 1 + 1e-3


def angle(rotation: Tensor) -> Tensor:
    """Return the angles of rotations, rad."""
    return ((rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos()


def test_seated_bodies_sit_with_their_feet_on_the_floor(windows, open_body):
    seated = variation.seat(
        windows, torch.ones(24, dtype=torch.bool), open_body, np.random.default_rng(4)
    )
    joints = positions(seated, open_body)
    pelvis, knee, ankle = (joints[:, :, index] for index in (0, 4, 7))
    lies = (joints[:, :, 12, 2] - pelvis[..., 2]).mean(1) < 0.25
    assert 0 < lies.sum() < 12
    sits = ~lies
    assert (pelvis[sits, :, 2].mean(1) - ankle[sits, :, 2].mean(1)).abs().max() < 0.65
    assert ((pelvis - knee)[sits][..., :2].norm(dim=-1).mean(1) > 0.25).all()
    feet = joints[:, :, [7, 8, 10, 11], 2].amin((1, 2))
    assert feet[sits].abs().max() < 0.35
    assert (joints[..., 2] > -0.3).all()
