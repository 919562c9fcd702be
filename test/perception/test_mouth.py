"""The opening of a mouth: a ratio of the network's landmarks, unknown where it cannot be read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moro_ros.assets import fetch
from moro_ros.errors import AssetError
from moro_ros.perception import mouth
from moro_ros.perception.mouth import CORNERS, FLAG, LEAST_PX, LOWER, POINTS, UPPER, MouthReader
from moro_ros.types import DETAILS, Keypoints

IMAGE = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def face(length_px: float, turn: float = 0.0) -> Keypoints:
    """A face in the middle of the image whose mouth is so far from its eyes."""
    places = {"left_eye": (0.5, 0), "right_eye": (-0.5, 0), "left_mouth": (0.3, 1)}
    places["right_mouth"] = (-0.3, 1)
    points = np.array([places.get(name, (9.0, 9.0)) for name in DETAILS]) * length_px
    cos, sin = math.cos(turn), math.sin(turn)
    points = points @ np.array([[cos, sin], [-sin, cos]]) + (320, 200)
    ones = np.ones(len(DETAILS), np.float32)
    return Keypoints(points.astype(np.float32), ones, ones)


class Answer:
    """Stands in for the network: lips 6 apart, corners 30 apart, sure of the face or not."""

    def __init__(self, logit: float) -> None:
        self.logit = logit
        self.seen: list[np.ndarray] = []

    def __call__(self, image: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
        self.seen.append(image)
        points = np.zeros((468, 3), np.float32)
        points[LOWER, 1], points[CORNERS[1], 0] = 6.0, 30.0
        assert not points[UPPER].any()
        return {POINTS: points.reshape(POINTS), FLAG: np.full(FLAG, self.logit, np.float32)}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    answer = Answer(5.0)
    monkeypatch.setattr(mouth, "ImageNetwork", lambda *_: answer)
    return answer


def test_the_opening_is_the_gap_of_the_lips_by_the_width_of_the_mouth(answer: Answer) -> None:
    mouth = MouthReader("").read(IMAGE, face(40.0))
    assert mouth == (pytest.approx(0.2), pytest.approx(1 / (1 + math.exp(-5.0))))


def test_the_score_is_that_of_the_face(answer: Answer) -> None:
    answer.logit = 0.5
    mouth = MouthReader("").read(IMAGE, face(40.0))
    assert mouth == (pytest.approx(0.2), pytest.approx(1 / (1 + math.exp(-0.5))))


def test_a_small_face_and_what_is_no_face_are_unknown(answer: Answer) -> None:
    reader = MouthReader("")
    assert np.isnan(reader.read(IMAGE, face(LEAST_PX - 1))).all()
    assert not answer.seen, "the network was run for nothing"
    answer.logit = -1.0
    assert np.isnan(reader.read(IMAGE, face(40.0))).all()


def test_the_face_stands_upright_before_the_network(answer: Answer) -> None:
    """A bright dot between the corners of the mouth is in the same place however it leans."""
    for turn in (0.0, 1.0, -2.0):
        image = np.zeros((480, 640, 3), np.uint8)
        x, y = np.rint(face(60.0, turn).points_px[[2, 3]].mean(axis=0)).astype(int)
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
        MouthReader("").read(image, face(60.0, turn))
        dot = np.argwhere(answer.seen[-1][..., 0] > 0.5).mean(axis=0)
        expected = 96 + (1 - mouth.CENTRE) * 192 / mouth.SIDE, 96
        np.testing.assert_allclose(dot, expected, atol=2.0)


def test_the_network_itself_sees_no_face_in_noise() -> None:
    try:
        reader = MouthReader(fetch("face_landmark.tflite"))
    except AssetError as error:
        pytest.skip(f"the network is not to be had: {error}")
    assert np.isnan(reader.read(IMAGE, face(40.0))).all()
