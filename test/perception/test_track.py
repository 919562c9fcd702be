"""Track: the keypoints of somebody who is not looked at follow from the two looks before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from moro_ros.perception.blazepose import Region
from moro_ros.perception.sighting import Sighting
from moro_ros.perception.track import Track
from moro_ros.types import DETAILS, KEYPOINTS, Keypoints

FRAME_NS = 33_000_000


def sighting(right_px: float, carried: bool = False) -> Sighting:
    points = np.stack([np.full(19, right_px), np.arange(19.0) * 10], axis=1).astype(np.float32)
    points[3, 0] += right_px  # a hand that moves twice as fast
    region = Region(np.array([right_px, 95.0]), 250.0, 0.0)
    ones = np.ones(19, np.float32)
    return Sighting(points, ones, ones, region, 1.0, carried=carried)


def with_details(seen: Sighting) -> Sighting:
    """The same with all landmarks of the face on the nose and those of hands on the wrists."""
    carriers = [
        "nose" if name.endswith(("eye", "mouth")) else f"{name.split('_')[0]}_wrist"
        for name in DETAILS
    ]
    rows = [list(KEYPOINTS).index(name) for name in carriers]
    shown = np.linspace(0.1, 1.0, len(DETAILS), dtype=np.float32)
    details = Keypoints(seen.points_px[rows], shown, shown)
    return dataclasses.replace(seen, details=details)


def follow(track: Track, image: int, seen: Sighting) -> None:
    track.take(seen, image * FRAME_NS, FRAME_NS * 1e-9, 1.0)


@pytest.fixture()
def track() -> Track:
    return Track(sighting(0.0), 0, 0)


def test_every_keypoint_goes_on_as_it_went(track: Track) -> None:
    follow(track, 1, sighting(6.0))
    carried = track.carried(2 * FRAME_NS)
    assert carried is not None and carried.carried
    np.testing.assert_allclose(carried.points_px, sighting(12.0).points_px, rtol=1e-4)
    follow(track, 2, carried)
    again = track.carried(3 * FRAME_NS)
    assert again is not None
    np.testing.assert_allclose(again.points_px, sighting(18.0).points_px, rtol=1e-4)
    assert again.region.centre_px[0] == pytest.approx(18.0, abs=1.0)


def test_looks_and_not_what_was_carried_tell_the_way(track: Track) -> None:
    follow(track, 1, sighting(6.0))
    follow(track, 2, sighting(400.0, carried=True))
    follow(track, 3, sighting(18.0))
    carried = track.carried(4 * FRAME_NS)
    assert carried is not None
    np.testing.assert_allclose(carried.points_px, sighting(24.0).points_px, rtol=1e-4)


def test_one_look_an_old_look_or_two_far_apart_carry_nobody(track: Track) -> None:
    assert track.carried(FRAME_NS) is None
    follow(track, 9, sighting(6.0))
    assert track.carried(10 * FRAME_NS) is None
    follow(track, 10, sighting(7.0))
    assert track.carried(11 * FRAME_NS) is not None
    assert track.carried(14 * FRAME_NS) is None


def test_landmarks_of_face_and_hands_are_carried_with_nose_and_wrists(track: Track) -> None:
    follow(track, 1, with_details(sighting(6.0)))
    carried = track.carried(2 * FRAME_NS)
    assert carried is not None and carried.details is not None
    expected = with_details(sighting(12.0)).details
    np.testing.assert_allclose(carried.details.points_px, expected.points_px, rtol=1e-4)
    # Somebody of whom nothing was seen for a while has none: where they are now is not known.
    assert track.predicted(9 * FRAME_NS).details is None


def test_a_mirrored_sighting_has_mirrored_hands() -> None:
    seen = with_details(sighting(6.0))
    again = seen.mirrored
    names = list(DETAILS)
    left, right = names.index("left_thumb"), names.index("right_thumb")
    assert seen.details is not None and again.details is not None
    assert again.details.visibility[left] == seen.details.visibility[right]
    np.testing.assert_array_equal(again.details.points_px[left], seen.details.points_px[right])
    np.testing.assert_array_equal(again.mirrored.details.points_px, seen.details.points_px)
