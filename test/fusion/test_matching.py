"""Matching: children and adults are joined alike, different people at one place are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from moro_ros.body.size import BodySize
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.estimate import look_of
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.looks import Look
from moro_ros.recover.fusion.matching import JOIN, mismatch


def of_size(stage, factor: float):
    """The stage with people of another size, whom every network takes for adults farther away."""
    betas = tuple(BodySize(stage.body).resized(torch.zeros(10), factor).numpy())
    return replace(stage, betas=(betas, betas), network=1.0 / factor)


def look_at(stage, view: View) -> Look:
    """One camera's look at the walking person."""
    frame, motions = stage.look(view, 0.3)
    return look_of(frame.people[0], frame, motions[0])


def test_a_child_half_as_tall_whom_networks_place_twice_as_far_is_joined(stage) -> None:
    children = of_size(stage, 0.5)
    fusion = Fusion(stage.body, stage.views[:2])
    for number in range(10):
        for view in stage.views[:2]:
            fusion.add(view.name, *children.look(view, number / 30.0))
        people = fusion.at(round(number / 30.0 * 1e9))
    assert [one.tracks for one in people] == [
        (("left", 1), ("middle", 1)),
        (("left", 2), ("middle", 2)),
    ]


def test_a_child_is_joined_if_one_network_knows_their_size(stage) -> None:
    """As with a floor, a depth image or a stature for one of the cameras."""
    first, second = stage.views[:2]
    children = of_size(stage, 0.6)
    one, two = (look_at(children, view) for view in (first, second))
    known = replace(children, network=1.0)
    truth = first.inside(known.person(0, 0.3).joints[0].astype(np.float64))
    joints = truth[None].astype(np.float32)
    told = replace(one, motion=replace(one.motion, joints=joints))
    cost, plain = mismatch(first, told, second, two), mismatch(first, one, second, two)
    assert cost is not None and plain is not None
    assert plain < 1.0 and cost < JOIN


def test_an_adult_and_a_child_at_one_place_are_not_joined(stage) -> None:
    """Their pose is the same, and either network takes them for an adult."""
    first, second = stage.views[:2]
    adult, child = of_size(stage, 1.0), of_size(stage, 0.7)
    for one, two in ((adult, child), (child, adult)):
        cost = mismatch(first, look_at(one, first), second, look_at(two, second))
        assert cost is not None and cost > JOIN
    for same in (adult, child):
        cost = mismatch(first, look_at(same, first), second, look_at(same, second))
        assert cost is not None and cost < 0.5


def test_nobody_is_a_giant(stage) -> None:
    """Rays of two people that meet far behind both, with the same pose."""
    first, second = stage.views[:2]
    giant = replace(stage, network=0.5)
    cost = mismatch(first, look_at(giant, first), second, look_at(giant, second))
    assert cost is not None and cost > JOIN
