"""Clothes: their colours in an image, and people who only they tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.recover.fusion.clothes import blended, clothes_of, difference
from moro_ros.recover.fusion.estimate import look_of
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.matching import JOIN, OTHER_CLOTHES, SAME_CLOTHES, Matcher, mismatch
from moro_ros.types import KEYPOINTS, Keypoints

RED, BLUE, GREY = (180, 40, 50), (40, 60, 170), (90, 90, 90)
PLACES = {
    "left_shoulder": (140, 60), "right_shoulder": (60, 60), "left_hip": (125, 150),
    "right_hip": (75, 150), "left_knee": (125, 220), "right_knee": (75, 220),
}  # fmt: skip


def keypoints(**changed: tuple[int, int] | None) -> Keypoints:
    """A standing person of the front; None: not visible."""
    points = np.zeros((len(KEYPOINTS), 2), np.float32)
    visibility = np.zeros(len(KEYPOINTS), np.float32)
    for name, place in {**PLACES, **changed}.items():
        if place is not None:
            points[list(KEYPOINTS).index(name)], visibility[list(KEYPOINTS).index(name)] = place, 1
    return Keypoints(points, visibility, np.ones_like(visibility))


def picture(trunk, thighs, light: float = 1.0) -> np.ndarray:
    image = np.full((240, 200, 3), 255, np.uint8)
    image[50:155], image[155:] = trunk, thighs
    return (255 * (image / 255) * light ** (1 / 2.2)).astype(np.uint8)


def test_colours_of_trunk_and_thighs_are_told_apart() -> None:
    colour = clothes_of(picture(RED, BLUE), keypoints())
    assert colour[0, 1] > 1.0 > 0.5 > colour[0, 2]
    assert colour[1, 2] > 1.0 > 0.0 > colour[1, 1]
    grey = clothes_of(picture(GREY, GREY), keypoints())
    assert np.abs(grey[:, 1:]).max() < 0.05


def test_light_matters_less_than_colour() -> None:
    bright, dim = (clothes_of(picture(RED, BLUE, light), keypoints()) for light in (1.0, 0.65))
    other = clothes_of(picture(BLUE, RED), keypoints())
    same, different = difference(bright, dim), difference(bright, other)
    assert same is not None and different is not None
    assert same < 1.0 < 5.0 < different


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({"left_hip": None}, [False, True]),  # the other thigh is seen
        ({"left_knee": None, "right_knee": None}, [True, False]),
        (dict.fromkeys(PLACES, (1000, 1000)), [False, False]),
        (dict.fromkeys(PLACES, (np.nan, 3)), [False, False]),
    ],
)
def test_what_is_not_in_view_has_no_colour(changed, known) -> None:
    colour = clothes_of(picture(RED, BLUE), keypoints(**changed))
    assert np.isfinite(colour).all(1).tolist() == known
    assert np.isfinite(colour).any(1).tolist() == known
    unlike = np.where(np.array(known)[:, None], np.nan, 0.0)
    assert difference(unlike, colour) is None


def test_no_image_no_colour() -> None:
    assert np.isnan(clothes_of(np.zeros((0, 0, 3), np.uint8), keypoints())).all()


def test_the_average_keeps_what_is_hidden_now() -> None:
    red, half = clothes_of(picture(RED, BLUE), keypoints()), np.full((2, 3), np.nan)
    half[0] = clothes_of(picture(BLUE, BLUE), keypoints())[0]
    average = blended(red, half)
    assert np.array_equal(average[1], red[1])
    assert (np.abs(average[0] - red[0]) < 0.2 * np.abs(half[0] - red[0])).all()
    assert np.array_equal(blended(half, red)[1], red[1])


def looks_in(stage, number: int = 0) -> dict:
    """One look of each of two cameras at one person."""
    found = {}
    for view in stage.views[:2]:
        frame, motions = stage.look(view, 0.3)
        found[view.name] = look_of(frame.people[number], frame, motions[number])
    return found


def test_clothes_decide_between_people_at_one_place(stage) -> None:
    """Place, size and pose are the same in all four pairs; clothes say who is who."""
    red, blue = (clothes_of(picture(c, GREY), keypoints()) for c in (RED, BLUE))
    at = looks_in(stage)
    first, second = (view.name for view in stage.views[:2])
    matcher = Matcher()
    views = {view.name: view for view in stage.views}
    for number in range(6):
        stamp_ns = number * 33_000_000
        looks = {
            (camera, track): replace(at[camera], stamp_ns=stamp_ns, clothes=clothes)
            for camera, track, clothes in (
                (first, 1, red), (first, 2, blue), (second, 1, blue), (second, 2, red),
            )
        }  # fmt: skip
        matcher.update(views, looks, looks)
    people = sorted(sorted(tracks) for tracks in matcher.members.values())
    assert people == [[(first, 1), (second, 2)], [(first, 2), (second, 1)]]


def test_place_outweighs_clothes(stage) -> None:
    """A person in the shade of one camera is still one person."""
    red, blue = (clothes_of(picture(c, c), keypoints()) for c in (RED, BLUE))
    one, two = stage.views[:2]
    at = looks_in(stage)
    cost = {
        other: mismatch(
            one,
            replace(at[one.name], clothes=red),
            two,
            replace(at[two.name], clothes=blue if other else red),
        )
        for other in (False, True)
    }
    plain = mismatch(one, at[one.name], two, at[two.name])
    assert cost[False] == pytest.approx(plain + SAME_CLOTHES, abs=1e-6)
    assert cost[True] == pytest.approx(plain + OTHER_CLOTHES) and cost[True] < JOIN


def test_clothes_come_from_the_images(stage) -> None:
    fusion = Fusion(stage.body, stage.views)
    view = stage.views[0]
    frame, motions = stage.look(view, 0.0)
    image = np.full((view.camera.height, view.camera.width, 3), RED, np.uint8)
    fusion.add(view.name, replace(frame, image=image), motions)
    looks = fusion._looks[view.name, frame.people[0].track_id].at(frame.stamp_ns)
    assert looks is not None and looks.clothes[0, 1] > 1.0
