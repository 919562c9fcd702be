"""The points of a hand: where they are looked for, where they lie, what is taken for none."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from moro_ros.assets import fetch
from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.draw.render import Person, draw_meshes
from moro_ros.errors import AssetError
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.perception import hands
from moro_ros.perception.hands import LEAST_PX, SIDE, HandReader, hand_region, merged
from moro_ros.types import DETAILS, KEYPOINTS, Camera, Keypoints

NOISE = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
CAMERA = Camera(np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]]), 640, 480)


def person(**places: tuple[float, float] | np.ndarray) -> tuple[Keypoints, Keypoints]:
    """Keypoints and details of whom only some points are seen."""
    found = []
    for names in (KEYPOINTS, DETAILS):
        points = np.array([places.get(name, (0.0, 0.0)) for name in names], np.float32)
        seen = np.array([name in places for name in names], np.float32)
        found.append(Keypoints(points, seen, seen))
    return found[0], found[1]


def hand(length_px: float = 40.0, lean: float = 0.0, side: str = "right") -> dict[str, np.ndarray]:
    """A hand in the middle of the image; lean: of its fingers from upright, clockwise, rad."""
    up = length_px * np.array([math.sin(lean), -math.cos(lean)])
    across = length_px * np.array([math.cos(lean), math.sin(lean)])
    wrist = np.array([320.0, 240.0])
    return {
        f"{side}_wrist": wrist,
        f"{side}_index": wrist + up + 0.1 * across,
        f"{side}_pinky": wrist + up - 0.2 * across,
    }


class Answer:
    """Stands in for the network."""

    def __init__(self, score: float = 0.9, right: float = 0.9) -> None:
        rng = np.random.default_rng(5)
        self.score, self.right = score, right
        self.pixels, self.metric = rng.uniform(50, 170, (21, 3)), rng.normal(0, 0.05, (21, 3))
        self.crops: list[np.ndarray] = []

    def __call__(self, crop: np.ndarray) -> tuple[np.ndarray, float, float, np.ndarray]:
        self.crops.append(crop)
        return self.pixels, self.score, self.right, self.metric


@pytest.fixture
def reader_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], HandReader]:
    def make(answer: Answer) -> HandReader:
        reader = HandReader.__new__(HandReader)
        monkeypatch.setattr(reader, "_run", answer, raising=False)
        return reader

    return make


@pytest.mark.parametrize("lean", [0.0, 0.8, -2.5])
def test_fingers_point_upwards_before_the_network(
    reader_of: Callable[[Answer], HandReader], lean: float
) -> None:
    """A bright dot beyond the knuckles is above the middle, whichever way the hand leans."""
    places = hand(40.0, lean)
    wrist = places["right_wrist"]
    tip = wrist + 2.0 * 40.0 * np.array([math.sin(lean), -math.cos(lean)])
    image = np.zeros((480, 640, 3), np.uint8)
    x, y = np.rint(tip).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    answer = Answer()
    found = reader_of(answer).read(image, *person(**places), "right")
    assert found is not None
    crop = answer.crops[0]
    assert crop.shape == (224, 224, 3) and crop.dtype == np.float32 and crop.max() <= 1.0
    dot = np.argwhere(crop[..., 0] > 0.5).mean(axis=0)
    np.testing.assert_allclose(dot, [112 - 224 / SIDE, 112], atol=2.5)
    # What the network says of the crop lies in the image as it lies in the crop.
    region = hand_region(*person(**places), "right")
    assert region is not None
    scale, (cos, sin) = region.side_px / 224, (math.cos(lean), math.sin(lean))
    turned = (answer.pixels[:, :2] - 112) @ np.array([[cos, sin], [-sin, cos]]) * scale
    np.testing.assert_allclose(found.points_px, region.centre_px + turned, atol=1e-6)


def test_a_hand_that_points_at_the_camera_is_not_taken_for_a_small_one() -> None:
    places = hand(40.0)
    plain = hand_region(*person(**places), "right")
    places["right_index"] = places["right_wrist"] + [30.0, -8.0]
    places["right_pinky"] = places["right_wrist"] + [-30.0, -8.0]
    wide = hand_region(*person(**places), "right")
    assert plain is not None and wide is not None
    assert wide.side_px > 1.5 * plain.side_px


def test_depth_is_the_networks_and_what_is_across_that_of_the_image() -> None:
    rng = np.random.default_rng(2)
    points_px, metric = rng.uniform(100, 200, (21, 2)), rng.normal(0, 0.05, (21, 3))
    points = merged(points_px, metric)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(points[:, 2], metric[:, 2] - metric[:, 2].mean())
    ratio = points[:, :2] / (points_px - points_px.mean(axis=0))
    np.testing.assert_allclose(ratio, ratio[0, 0])
    spread = metric[:, :2] - metric[:, :2].mean(axis=0)
    assert np.linalg.norm(points[:, :2]) == pytest.approx(np.linalg.norm(spread))
    assert np.isfinite(merged(np.zeros((21, 2)), metric)).all()


def test_hidden_and_small_hands_are_not_read(reader_of: Callable[[Answer], HandReader]) -> None:
    answer = Answer()
    reader = reader_of(answer)
    for name in hand():
        places = {other: place for other, place in hand().items() if other != name}
        assert reader.read(NOISE, *person(**places), "right") is None, name
    assert reader.read(NOISE, *person(**hand(LEAST_PX - 1)), "right") is None
    assert reader.read(NOISE, *person(**hand()), "left") is None
    assert not answer.crops, "the network was run for nothing"


def test_what_is_no_hand_or_the_other_hand_is_not_seen(
    reader_of: Callable[[Answer], HandReader],
) -> None:
    for score, right, seen in ((0.9, 0.9, "right"), (0.9, 0.1, "left"), (0.4, 0.9, None)):
        reader = reader_of(Answer(score, right))
        for side in ("left", "right"):
            found = reader.read(NOISE, *person(**hand(side=side)), side)
            assert (found is not None) == (side == seen)
            assert found is None or found.score == score


def test_a_missing_file_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match=r"'moro fetch hand_landmark_full\.tflite'") as error:
        hands.load_hand_reader()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def reader() -> HandReader:
    """The network itself."""
    try:
        return HandReader(fetch("hand_landmark_full.tflite"))
    except AssetError as error:
        pytest.skip(f"the network is not to be had: {error}")


def test_the_network_sees_no_hand_in_noise(reader: HandReader) -> None:
    assert reader.read(NOISE, *person(**hand()), "right") is None


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("bend", [0.4, 0.8])
def test_the_network_sees_a_drawn_hand_and_its_side(
    reader: HandReader, open_body: BodyModel, side: str, bend: float
) -> None:
    """The back of a hand that is held up before the chest; bend: of the fingers' joints, rad."""
    sign, first = (1, 25) if side == "left" else (-1, 40)
    pose = np.zeros((55, 3))
    pose[0] = np.pi, 0.0, 0.0
    pose[JOINT_NAMES.index(f"{side}_shoulder")] = 0.0, 0.0, -1.2 * sign
    pose[JOINT_NAMES.index(f"{side}_elbow")] = 0.0, -1.9 * sign, 0.0
    pose[JOINT_NAMES.index(f"{side}_wrist")] = -1.2, 0.0, 0.0
    pose[first : first + 12, 2] = -bend * sign
    turns = rotvec_to_matrix(torch.tensor(pose).float())[None]
    posed = open_body.skin(turns, torch.zeros(1, 10))
    joints, vertices = posed.joints[0].numpy(), posed.vertices[0].numpy()
    shift = np.array([0.0, 0.0, 0.9]) - joints[first + 3]
    joints, vertices = joints + shift, vertices + shift
    image = np.full((480, 640, 3), 235, np.uint8)
    drawn = (Person(1, joints[:22], np.ones(22, bool), vertices),)
    image = draw_meshes(image, drawn, open_body.faces.numpy(), CAMERA, alpha=1.0)
    image = image[..., ::-1].copy()  # people are drawn in blue
    places = image_points(joints, CAMERA)
    rows = {"wrist": 20 + (side == "right"), "index": first, "pinky": first + 6}
    seen = person(**{f"{side}_{name}": places[row] for name, row in rows.items()})
    found = reader.read(image, *seen, side)
    assert found is not None and found.score > 0.5
    knuckles = places[[first, first + 3, first + 9, first + 6]]
    size = np.linalg.norm(places[first + 3] - places[rows["wrist"]])
    off = np.linalg.norm(found.points_px[[5, 9, 13, 17]] - knuckles, axis=1)
    assert off.max() < 0.3 * size
    # They are nearer to the camera than the wrist if the fingers are.
    assert np.ptp(found.points[:, 2]) > 0.01


def test_the_network_sees_a_hand_of_a_real_image(reader: HandReader) -> None:
    """The left hand of the woman who walks by in the demo; her right one is behind her."""
    try:
        capture = cv2.VideoCapture(str(fetch("sports2d_demo.mp4")))
    except AssetError as error:
        pytest.skip(f"the video is not to be had: {error}")
    capture.set(cv2.CAP_PROP_POS_FRAMES, 132)
    ok, image = capture.read()
    assert ok
    # Where BlazePose marks them.
    places = {"left_wrist": (621, 702), "left_pinky": (608, 714), "left_index": (606, 713)}
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    found = reader.read(image, *person(**places), "left")
    assert found is not None and found.score > 0.8
    np.testing.assert_allclose(found.points_px[0], places["left_wrist"], atol=8.0)
    assert np.linalg.norm(found.points_px[[5, 9, 13, 17]] - places["left_index"], axis=1).max() < 10
    beside = {name: (x + 150, y - 200) for name, (x, y) in places.items()}
    assert reader.read(image, *person(**beside), "left") is None
