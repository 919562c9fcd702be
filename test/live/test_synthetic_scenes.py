"""The scripted scenes show what they are called, in view and above the floor."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.posture import FallDetector, Posture, posture_of
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.config import PipelineConfig
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.live.synthetic_scenes import CAMERA_HEIGHT, SCENES, arc
from moro_ros.types import DETAILS, KEYPOINTS, Camera

CAMERA = Camera(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), 640, 480)
IMAGE = np.zeros((480, 640, 3), np.uint8)
AT = {name: index for index, name in enumerate(JOINT_NAMES)}
RATE_HZ = 15


def played(body: BodyModel, scene: str, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Joints (F, 22, 3) m in the camera frame and their rotations (F, 22, 3, 3), 15 a second."""
    moments = [SCENES[scene][0](step / RATE_HZ) for step in range(round(seconds * RATE_HZ))]
    poses = torch.from_numpy(np.array([moment[0] for moment in moments])).float()
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, :NUM_JOINTS]
    turns, joints = body.forward_kinematics(rotvec_to_matrix(poses), rest)
    pelvis = np.array([moment[1] for moment in moments])
    return joints.numpy() + pelvis[:, None], turns.numpy()


def test_every_scene_of_the_option_can_be_played() -> None:
    field = next(f for f in dataclasses.fields(PipelineConfig) if f.name == "synthetic_scene")
    assert set(field.metadata["choices"]) == SCENES.keys()


@pytest.mark.parametrize("scene", SCENES)
def test_people_stay_in_view_above_the_floor_and_move_smoothly(
    open_body: BodyModel, scene: str
) -> None:
    joints, _ = played(open_body, scene, 14.0)
    # The feet of somebody who falls slide into the floor for a moment.
    lowest = (CAMERA_HEIGHT - joints[..., 1]).min()
    assert lowest > (-0.25 if scene == "fall" else -0.08)
    frontend = SyntheticFrontend(open_body, 6, scene)
    frontend.camera = CAMERA
    for step in range(14):
        for person in frontend.observe(IMAGE, step * 10**9):
            assert (person.keypoints.visibility > 0.5).sum() >= 7, step
            assert person.details is not None
    # Somebody who walks turns round at the ends of the way.
    speeds = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * RATE_HZ
    assert np.median(speeds.max(axis=1)) < 2.5 and (scene == "walk_by" or speeds.max() < 5.0)


def test_who_walks_by_crosses_the_image(open_body: BodyModel) -> None:
    joints, _ = played(open_body, "walk_by", 2.8)
    across = joints[:, 0, 0]
    assert across[0] < -1.0 and across[-1] > 1.0 and (np.diff(across) > 0).all()


def test_who_reaches_moves_a_hand_forward_and_to_the_mouth(open_body: BodyModel) -> None:
    joints, _ = played(open_body, "reach", 7.0)
    wrist = joints[:, AT["right_wrist"]]
    assert wrist[0, 2] - wrist[:, 2].min() > 0.25
    assert np.linalg.norm(wrist - joints[:, AT["head"]], axis=-1).min() < 0.3


def test_who_eats_sits_and_brings_the_hand_to_the_mouth(open_body: BodyModel) -> None:
    joints, _ = played(open_body, "eat", 4.0)
    assert {posture_of(frame) for frame in joints} == {Posture.SITTING}
    gap = np.linalg.norm(joints[:, AT["right_wrist"]] - joints[:, AT["head"]], axis=-1)
    assert gap.min() < 0.25 and gap.max() > 0.4
    hidden = SCENES["eat"][0](0.0)[2]
    assert set(hidden) >= {i for i, name in enumerate(KEYPOINTS) if "knee" in name or "hip" in name}


def test_who_hands_over_holds_the_palm_up_before_the_body(open_body: BodyModel) -> None:
    joints, turns = played(open_body, "handover", 5.5)
    palm = turns[-1, AT["right_wrist"]] @ [0.0, -1.0, 0.0]  # down in the T-pose
    assert palm @ [0.0, -1.0, 0.0] > 0.8
    assert joints[-1, AT["spine3"], 2] - joints[-1, AT["right_wrist"], 2] > 0.3


def test_who_is_dressed_holds_out_one_arm_after_the_other(open_body: BodyModel) -> None:
    joints, _ = played(open_body, "dressing", 10.0)
    for side, seconds in (("left", 4.0), ("right", 9.0)):
        frame = joints[round(seconds * RATE_HZ)]
        arm = frame[AT[f"{side}_wrist"]] - frame[AT[f"{side}_shoulder"]]
        assert abs(arm[1]) < 0.15 and -arm[2] > 0.3
        other = frame[AT["right_wrist" if side == "left" else "left_wrist"]]
        assert other[1] - frame[AT["neck"], 1] > 0.3


def test_a_fall_is_one_to_the_detector_and_ends_upright(open_body: BodyModel) -> None:
    joints, _ = played(open_body, "fall", 11.3)
    detector, fallen = FallDetector(), []
    for number, frame in enumerate(joints):
        height_m = CAMERA_HEIGHT - float(frame[0, 1])
        posture = posture_of(frame)
        fallen.append(detector.update(height_m, posture, round(number * 1e9 / RATE_HZ)))
    assert not any(fallen[: 3 * RATE_HZ]) and any(fallen[3 * RATE_HZ : 6 * RATE_HZ])
    assert posture_of(joints[-1]) == Posture.STANDING


def test_details_lie_on_face_and_hands(open_body: BodyModel) -> None:
    frontend = SyntheticFrontend(open_body, 1, "handover")
    frontend.camera = CAMERA
    (person,) = frontend.observe(IMAGE, 0)
    points = dict(zip(DETAILS, person.details.points_px, strict=True))
    nose, wrist = (
        person.keypoints.points_px[list(KEYPOINTS).index(name)] for name in ("nose", "left_wrist")
    )
    assert points["left_eye"][1] < nose[1] < points["left_mouth"][1]
    assert points["left_mouth"][0] > points["right_mouth"][0]  # they face the camera
    assert np.linalg.norm(points["left_index"] - wrist) < 40


@pytest.mark.parametrize("end", [(0, 1, 0), (-1, 0, 0), (1, 0, 0), (0.3, -2, 1)])
def test_the_shortest_arc_leads_to_its_end(end: tuple[float, ...]) -> None:
    found = arc((1, 0, 0), end).apply([1, 0, 0])
    np.testing.assert_allclose(found, np.array(end) / np.linalg.norm(end), atol=1e-9)
