"""Colours of the torso tell people apart, whatever their place and size."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.perception.appearance import LEVELS, likeness, torso_colours
from moro_ros.types import KEYPOINTS, Keypoints

NAMES = list(KEYPOINTS)


def standing(x: float, y: float, height: float) -> Keypoints:
    points = np.full((len(NAMES), 2), (x, y), np.float32)
    for name, place in {
        "left_shoulder": (0.1, -0.3), "right_shoulder": (-0.1, -0.3),
        "left_hip": (0.07, 0.0), "right_hip": (-0.07, 0.0),
    }.items():  # fmt: skip
        points[NAMES.index(name)] += np.array(place) * height
    ones = np.ones(len(NAMES), np.float32)
    return Keypoints(points, ones, ones)


def image_of(*people: tuple[float, float, float, tuple[int, int, int]]) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 8, (480, 640, 3))
    image = np.full((480, 640, 3), 120.0)
    for x, y, height, colour in people:
        rows = slice(int(y - 0.35 * height), int(y + 0.05 * height))
        image[rows, int(x - 0.12 * height) : int(x + 0.12 * height)] = colour
    return np.clip(image + noise, 0, 255).astype(np.uint8)


RED, BLUE = (200, 40, 30), (30, 40, 160)


def test_the_same_clothes_look_alike_and_others_do_not():
    first = image_of((150, 240, 300, RED), (450, 240, 200, BLUE))
    later = image_of((470, 220, 180, RED), (120, 260, 320, BLUE))
    red = torso_colours(first, standing(150, 240, 300))
    blue = torso_colours(first, standing(450, 240, 200))
    red_later = torso_colours(later, standing(470, 220, 180))
    blue_later = torso_colours(later, standing(120, 260, 320))
    assert red is not None and red.shape == (LEVELS**3,)
    assert red.sum() == pytest.approx(1.0, abs=1e-5)
    assert min(likeness(red, red_later), likeness(blue, blue_later)) > 0.9
    assert max(likeness(red, blue_later), likeness(blue, red_later)) < 0.5


def test_a_little_more_light_changes_little():
    image = image_of((150, 240, 300, RED))
    brighter = np.clip(image * 1.15, 0, 255).astype(np.uint8)
    person = standing(150, 240, 300)
    assert likeness(torso_colours(image, person), torso_colours(brighter, person)) > 0.8


def test_a_torso_outside_the_image_says_nothing():
    image = image_of()
    assert torso_colours(image, standing(-300, 240, 300)) is None
    assert likeness(None, torso_colours(image, standing(150, 240, 300))) == 0.5
