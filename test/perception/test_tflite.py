"""A model that was cut down gives the same numbers, and several threads may call it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from moro_ros.assets import fetch
from moro_ros.errors import AssetError
from moro_ros.perception.blazepose import FLAG, HEATMAP, POINTS, WORLD
from moro_ros.perception.tflite import ImageNetwork, cut_model

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
