"""Decoding of the two BlazePose networks, without the networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from moro_ros.assets import fetch
from moro_ros.errors import AssetError
from moro_ros.perception.blazepose import (
    DETECTOR_SIZE,
    FLAG,
    HEATMAP,
    POINTS,
    WORLD,
    ImageNetwork,
    Landmarks,
    Region,
    box_iou,
    crop_region,
    cut_model,
    decode_detections,
    refine_points,
    ssd_anchors,
)
from moro_ros.types import KEYPOINTS

MASK = (1, 256, 256, 1)


@pytest.fixture(scope="module")
def landmark_path():
    try:
        return fetch("pose_landmark_full.tflite")
    except AssetError as error:
        pytest.skip(f"BlazePose is not to be had: {error}")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((4, 256, 256, 3), dtype=np.float32)


def whole_model(path, image: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {tuple(o["shape"].tolist()): interpreter.get_tensor(o["index"]) for o in outputs}


def test_what_is_left_of_a_model_gives_the_same(landmark_path, images):
    expected = whole_model(landmark_path, images[0])
    assert MASK in expected
    outputs = ImageNetwork(landmark_path, (POINTS, WORLD, FLAG, HEATMAP))(images[0])
    assert set(outputs) == set(expected) - {MASK}
    for shape, values in outputs.items():
        np.testing.assert_array_equal(values, expected[shape])


def test_threads_do_not_disturb_each_other(landmark_path, images):
    alone = ImageNetwork(landmark_path, (POINTS,))
    shared = ImageNetwork(landmark_path, (POINTS,), copies=2)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(shared, images))
    for image, outputs in zip(images, together, strict=True):
        np.testing.assert_array_equal(outputs[POINTS], alone(image)[POINTS])


def test_an_output_that_is_not_there_is_refused(landmark_path):
    with pytest.raises(ValueError, match="no outputs of shape"):
        cut_model(landmark_path.read_bytes(), {(1, 2, 3)})


def affine(matrix: np.ndarray, point: tuple[float, float]) -> np.ndarray:
    return matrix[:, :2] @ point + matrix[:, 2]


@pytest.mark.parametrize("lean", [0.0, 0.4, -2.0, np.pi])
def test_region_stands_the_body_upright(lean):
    centre = np.array([300.0, 200.0])
    up = 80.0 * np.array([np.sin(lean), -np.cos(lean)])
    region = Region.around(centre, centre + up)
    assert region.side_px == pytest.approx(2 * 80 * 1.25)
    matrix = region.image_from_crop(256)
    np.testing.assert_allclose(affine(matrix, (128, 128)), centre, atol=1e-9)
    # The head of the body circle lies straight above the centre of the crop, 1/2.5 of it away.
    np.testing.assert_allclose(affine(matrix, (128, 128 - 256 / 2.5)), centre + up, atol=1e-9)


def test_region_shifts_without_changing():
    region = Region(np.array([10.0, 20.0]), 50.0, 0.3).shifted(100, 200)
    np.testing.assert_array_equal(region.centre_px, [110, 220])
    assert (region.side_px, region.angle) == (50.0, 0.3)


def test_a_widened_region_keeps_the_head_in_place():
    for angle in (0.0, 0.7, -2.0):
        region = Region(np.array([300.0, 200.0]), 250.0, angle)
        wide = region.widened(1.5)
        assert (wide.side_px, wide.angle) == (375.0, angle)
        up = np.array([np.sin(angle), -np.cos(angle)])
        np.testing.assert_allclose(wide.centre_px + 150 * up, region.centre_px + 100 * up)


def test_region_crop_shows_the_region_at_every_size():
    image = np.zeros((900, 1200, 3), np.uint8)
    image[300:600, 600:] = 255
    for side in (100.0, 380.0, 800.0):
        crop = crop_region(image, Region(np.array([600.0, 450.0]), side, 0.0))
        assert crop.shape == (256, 256, 3)
        assert crop[128, 20:110].max() == 0 and crop[128, 146:236].min() == 255
    turned = crop_region(image, Region(np.array([600.0, 450.0]), 200.0, np.pi / 2))
    # Up in the crop is right in the image for a body turned clockwise by 90 degrees.
    assert turned[60, 128].min() == 255 and turned[196, 128].max() == 0


def test_keypoints_are_the_named_landmarks():
    points = np.stack([np.arange(35), np.zeros(35)], axis=1).astype(np.float32)
    values = np.arange(33, dtype=np.float32)
    landmarks = Landmarks(points, values, values + 100, 1.0, np.zeros((33, 3)), values / 33)
    keypoints = landmarks.keypoints
    expected = list(KEYPOINTS.values())
    assert keypoints.points_px[:, 0].tolist() == expected
    assert keypoints.visibility.tolist() == expected
    assert (keypoints.presence - 100).tolist() == expected
    assert landmarks.region.centre_px.tolist() == [33, 0]


def detector_output(people: list[tuple[np.ndarray, float]]) -> tuple[np.ndarray, np.ndarray]:
    """What the network says when it sees people: the anchors next to each agree on its row."""
    anchors = ssd_anchors()
    raw, logits = np.zeros((len(anchors), 12)), np.full(len(anchors), -200.0)
    for row, score in people:
        near = np.argsort(np.linalg.norm(anchors - row[:2], axis=1))[:4]
        for rank, anchor in enumerate(near):
            raw[anchor] = row * DETECTOR_SIZE
            raw[anchor, :2] -= anchors[anchor] * DETECTOR_SIZE
            raw[anchor, 4:] -= np.tile(anchors[anchor], 4) * DETECTOR_SIZE
            logits[anchor] = np.log(score / (1 - score)) - 0.1 * rank
    return raw, logits


def test_each_person_is_decoded_once_where_he_is():
    left = np.array([0.25, 0.4, 0.1, 0.1, 0.25, 0.6, 0.25, 0.2, 0.25, 0.4, 0.25, 0.2])
    right = left + np.array([0.5, 0.1, 0, 0] + [0.5, 0.1] * 4)
    raw, logits = detector_output([(left, 0.8), (right, 0.95)])
    rows, scores = decode_detections(raw, logits, ssd_anchors(), 0.5)
    np.testing.assert_allclose(rows, [right, left], atol=1e-9)
    np.testing.assert_allclose(scores, [0.95, 0.8], atol=1e-9)


def test_nobody_gives_empty_arrays():
    raw, logits = detector_output([])
    rows, scores = decode_detections(raw, logits, ssd_anchors(), 0.5)
    assert rows.shape == (0, 12) and scores.shape == (0,)


def test_iou_of_known_boxes():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], float)
    np.testing.assert_allclose(box_iou(boxes[0], boxes), [1, 1 / 3, 0])


def test_points_move_to_clear_peaks_only():
    y, x = np.mgrid[:64, :64]
    peak = lambda cx, cy, height: height - 40 * np.clip(np.hypot(x - cx, y - cy) - 0.5, 0, 1)  # noqa: E731
    heatmap = np.stack([peak(20, 30, 5.0), peak(20, 30, -3.0), peak(1, 62, 5.0)], axis=-1)
    points = np.array([[21.4, 28.9], [21.4, 28.9], [1.9, 63.2]]) / 64
    refined = refine_points(points, heatmap) * 64
    np.testing.assert_allclose(refined[0], [20, 30], atol=0.05)
    np.testing.assert_allclose(refined[1], points[1] * 64)
    np.testing.assert_allclose(refined[2], [1, 62], atol=0.05)
    outside = np.array([[-0.2, 0.5], [1.3, 0.5], [0.5, 2.0]])
    np.testing.assert_allclose(refine_points(outside, heatmap), outside)
