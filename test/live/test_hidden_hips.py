"""Hips behind a table, on real video with the real networks: upright, one person, not observed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest

from moro_ros.assets import fetch
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import PipelineConfig
from moro_ros.errors import AssetError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.video import open_video
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.types import BodyMotion

pytestmark = [pytest.mark.slow, pytest.mark.weights]

IMAGES, WIDTH, HEIGHT = 60, 540, 960
CAMERA = camera_from_focal(864.0, WIDTH, HEIGHT)
BROWN = (43, 74, 107)
# Somebody else stands 1.8 m to the left.
MIDDLE_M = 1.0
PELVIS, HEAD = JOINT_NAMES.index("pelvis"), JOINT_NAMES.index("head")
ANKLES = [JOINT_NAMES.index("left_ankle"), JOINT_NAMES.index("right_ankle")]


@pytest.fixture(scope="module")
def images() -> list[tuple[int, np.ndarray]]:
    """Stamps and images of a man who stands on a table and balances, in portrait format."""
    try:
        video = fetch("pose2sim_single_cam01.mp4")
    except AssetError as error:
        pytest.skip(f"the video is not to be had: {error}")
    with closing(open_video(video)) as reader:
        return [
            (stamp_ns, cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
            for stamp_ns, image in islice(reader, IMAGES)
        ]


@pytest.fixture(scope="module")
def pipeline() -> HumanMotionPipeline:
    try:
        return load_pipeline(replace(PipelineConfig(), realtime=False))
    except AssetError as error:
        pytest.skip(f"BlazePose is not to be had: {error}")


@pytest.mark.parametrize(
    ("left", "top", "width", "height", "observed"),
    [
        pytest.param(60, 345, 420, 260, (0.0, 0.5), id="a table before all below the chest"),
        pytest.param(0, 360, 540, 600, (0.0, 1.0), id="a wall before all below the chest"),
        pytest.param(60, 430, 420, 530, (0.5, 1.0), id="a table before the legs"),
    ],
)
def test_who_stands_behind_a_table_stays_upright_and_one_person(
    images: list[tuple[int, np.ndarray]],
    pipeline: HumanMotionPipeline,
    left: int,
    top: int,
    width: int,
    height: int,
    observed: tuple[float, float],
) -> None:
    pipeline.reset()
    people: dict[int, list[BodyMotion]] = {}
    for stamp_ns, image in images:
        hidden = image.copy()
        hidden[top : top + height, left : left + width] = BROWN
        result = pipeline.push(np.ascontiguousarray(hidden[..., ::-1]), stamp_ns, CAMERA)
        for motion in result.motions:
            people.setdefault(motion.track_id, []).append(motion)
    joints = {i: np.stack([m.joints[-1] for m in motions]) for i, motions in people.items()}
    (one,) = [i for i, places in joints.items() if abs(np.median(places[:, PELVIS, 0])) < MIDDLE_M]
    assert len(people[one]) > 0.9 * IMAGES
    # y points down: whose ankles have less of it than the head stands on it.
    upside_down = joints[one][:, ANKLES, 1].mean(1) < joints[one][:, HEAD, 1]
    assert upside_down.mean() < 0.05
    # The wall ends just above the hips, and the network, which sees the waist, may guess them.
    share = np.mean([m.observed[-1, PELVIS] for m in people[one]])
    assert observed[0] <= share <= observed[1]
