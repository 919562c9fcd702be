"""The pipeline with the shipped model on real images, and its refusals."""

from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from moro_ros.assets import fetch
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import DetectorConfig, MotionConfig, PipelineConfig
from moro_ros.data.mocap import load_motion
from moro_ros.errors import AssetError, CheckpointError, ImageError
from moro_ros.evaluation.open_benchmark import OpenProtocol, evaluate_open
from moro_ros.evaluation.open_decoding import OpenModel
from moro_ros.io.camera_file import load_camera
from moro_ros.io.video import open_video
from moro_ros.live.load import load_stream
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.types import KEYPOINTS, Camera

CONFIG = PipelineConfig(detector=DetectorConfig(threads=1), motion=MotionConfig(window=16))
MOTION = Path(__file__).parents[3] / "shared" / "data" / "mocap" / "test.npz"


@pytest.fixture(scope="module")
def pipeline() -> HumanMotionPipeline:
    try:
        return load_pipeline(CONFIG)
    except AssetError as error:
        pytest.skip(f"the front-end's models cannot be had: {error}")


@pytest.mark.slow
def test_bodies_lie_on_the_people_of_the_demo_video(pipeline):
    try:
        path, calibration = fetch("sports2d_demo.mp4"), fetch("sports2d_demo_calibration.toml")
    except AssetError as error:
        pytest.skip(f"the demo video cannot be had: {error}")
    camera = load_camera(calibration)
    errors, seen = [], set()
    with closing(open_video(path)) as video:
        for number, (_, image_bgr) in enumerate(islice(video, 60, 90)):
            image = np.ascontiguousarray(image_bgr[..., ::-1])
            result = pipeline.push(image, (number + 1) * 33_366_667, camera, mesh=number > 27)
            people = {person.track_id: person for person in result.people}
            for motion in result.motions:
                seen.add(motion.track_id)
                keypoints = people[motion.track_id].keypoints
                if number > 10 and keypoints is not None:
                    errors.append(error_of_box(motion.joints[-1], keypoints, camera))
    assert len(seen) == 2
    assert np.mean(errors) < 0.08  # of the person's height in the image
    assert {"frontend_s", "motion_s", "decode_s"} <= set(result.stage_s)
    for motion in result.motions:
        assert motion.vertices is not None and np.isfinite(motion.vertices).all()
        gap = motion.vertices[-1].mean(0) - motion.joints[-1].mean(0)
        assert np.linalg.norm(gap) < 0.3
        assert 3.0 < motion.joints[-1, 0, 2] < 20.0


def error_of_box(joints, keypoints, camera):
    """Mean distance of limb joints from their keypoints over the person's height, pixels."""
    names = [name for name in KEYPOINTS if name in JOINT_NAMES]
    rows = [list(KEYPOINTS).index(name) for name in names]
    shown = keypoints.visibility[rows] > 0.5
    points = joints[[JOINT_NAMES.index(name) for name in names]]
    pixels = (points / points[:, 2:]) @ camera.matrix.T
    distance = np.linalg.norm(pixels[:, :2] - keypoints.points_px[rows], axis=1)[shown]
    return distance.mean() / np.ptp(keypoints.points_px[:, 1])


def test_nobody_in_an_empty_image(pipeline):
    pipeline.reset()
    camera = Camera(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), 640, 480)
    result = pipeline.push(np.full((480, 640, 3), 90, np.uint8), 1, camera)
    assert result.motions == () and result.people == ()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((480, 640), np.uint8), "expected \\(height, width, 3\\)"),
        (np.zeros((480, 640, 3), np.float32), "float32"),
        (np.zeros((240, 320, 3), np.uint8), "320x240 pixels, but the calibration is for 640x480"),
    ],
)
def test_unusable_images_are_refused(pipeline, image, words):
    camera = Camera(np.eye(3) * 600, 640, 480)
    with pytest.raises(ImageError, match=words):
        pipeline.push(image, 1, camera)


def test_options_change_while_people_are_followed(pipeline):
    pipeline.configure(PipelineConfig(motion=MotionConfig(window=8, passes=2)))
    assert pipeline.stream.motion.window == 8
    pipeline.configure(CONFIG)


def test_an_unknown_model_is_refused():
    with pytest.raises(CheckpointError, match="No model 'nothing'"):
        load_pipeline(PipelineConfig(model="nothing"))


@pytest.mark.skipif(not MOTION.is_file(), reason="the open motion test set is not here")
def test_the_shipped_model_is_as_good_as_its_card_says():
    model = OpenModel.of(load_stream(PipelineConfig()).model)
    motion = load_motion(MOTION).only_subjects(("02", "03"))
    result = evaluate_open(model, motion, 1.0, OpenProtocol(windows=32))
    assert result["mpjpe_mm"] < 100
    assert result["hidden_mm"] < 150
    assert result["jitter"] < 2 * result["jitter_truth"]
