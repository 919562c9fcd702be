"""Recorded motion of two people in each kind of file that the viewer opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.recording import MotionRecording, row_of
from moro_ros.ros.bag import MotionBag, known_types
from moro_ros.types import BodyMotion, Camera

RATE_NS = 33_333_333
FRAMES = 60
CAMERA_HEIGHT_M = 1.6
FEET_BELOW_PELVIS_M = 0.95
SIZE = (640, 480)


@pytest.fixture(scope="session")
def made(posed: Callable[..., BodyMotion]) -> SimpleNamespace:
    """Functions that make recordings, and what is true of them."""
    return SimpleNamespace(
        recorded=partial(recorded, posed),
        bag=write_bag,
        brightness=brightness,
        frames=FRAMES,
        rate_ns=RATE_NS,
        camera_height_m=CAMERA_HEIGHT_M,
        pelvis_height_m=FEET_BELOW_PELVIS_M,
    )


@pytest.fixture
def camera() -> Camera:
    return camera_from_focal(500.0, *SIZE)


@pytest.fixture
def motion(posed: Callable[..., BodyMotion], camera: Camera) -> MotionRecording:
    """Person 1 walks 2 m to the right in 2 s, person 2 stands; 4 m before a level camera."""
    return recorded(posed, camera)


def recorded(
    posed: Callable[..., BodyMotion], camera: Camera, start_ns: int = 0, people: int = 2
) -> MotionRecording:
    recording = MotionRecording(camera)
    recording.stamps_ns = [start_ns + k * RATE_NS for k in range(FRAMES)]
    # Upright in the optical frame, whose y points down.
    pose = np.zeros((22, 3))
    pose[0, 0] = np.pi
    down = CAMERA_HEIGHT_M - FEET_BELOW_PELVIS_M
    for k, stamp_ns in enumerate(recording.stamps_ns):
        for number in range(1, people + 1):
            x = -1.0 + 2.0 * k / (FRAMES - 1) if number == 1 else 1.5
            one = row_of(posed(pose, (x, down, 4.0), None, number, stamp_ns))
            if number == 1 and k < FRAMES // 2:
                one["state"][20] = 1
            recording.add(number, one)
    return recording


@pytest.fixture
def npz(motion: MotionRecording, tmp_path: Path) -> Path:
    path = tmp_path / "result" / "motion.npz"
    path.parent.mkdir()
    motion.save(path)
    return path


@pytest.fixture
def mcap(motion: MotionRecording, tmp_path: Path) -> Path:
    """As moro_recorder writes it, with images, covariances and the ground."""
    return write_bag(tmp_path / "bag", motion)


def write_bag(
    folder: Path,
    motion: MotionRecording,
    topics: tuple[str, ...] = ("/moro/humans",),
    frame: str = "camera",
) -> Path:
    """frame: of people in topics of several cameras, /fused."""
    types = known_types()
    make = {name.split("/")[-1]: kind for name, kind in types.types.items()}
    bag = MotionBag(folder)
    kinds = {"/camera/camera_info": "sensor_msgs/msg/CameraInfo", "/camera/image_raw": IMAGE}
    kinds |= dict.fromkeys(topics, HUMANS)
    for topic, kind in kinds.items():
        bag.add_topic(topic, kind)
    people = motion.people()
    for index, stamp_ns in enumerate(motion.stamps_ns):
        header = make["Header"](make["Time"](*divmod(stamp_ns, 10**9)), "camera")
        rows = {number: rows[index] for number, rows in people.items()}
        messages: dict[str, Any] = {
            "/camera/camera_info": camera_info(make, header, motion.camera),
            "/camera/image_raw": image(make, header, index),
        }
        for topic in topics:
            of_people = make["Header"](header.stamp, frame if "fused" in topic else "camera")
            messages[topic] = human_array(make, of_people, rows)
        for topic, message in messages.items():
            bag.write(topic, stamp_ns, bytes(types.serialize_cdr(message, kinds[topic])))
    assert bag.close() == ""
    return bag.path


IMAGE, HUMANS = "sensor_msgs/msg/Image", "moro_ros/msg/HumanArray"


def camera_info(make: dict[str, Any], header: Any, camera: Camera | None) -> Any:
    assert camera is not None
    return make["CameraInfo"](
        header, camera.height, camera.width, "plumb_bob", np.zeros(5), camera.matrix.ravel(),
        np.eye(3).ravel(), np.zeros(12), 0, 0, make["RegionOfInterest"](0, 0, 0, 0, False),
    )  # fmt: skip


def image(make: dict[str, Any], header: Any, index: int) -> Any:
    """As bright as the frame's number."""
    width, height = SIZE
    pixels = np.full(width * height * 3, 4 * index, np.uint8)
    return make["Image"](header, height, width, "bgr8", 0, 3 * width, pixels)


def human_array(make: dict[str, Any], header: Any, rows: dict[int, np.ndarray]) -> Any:
    humans = [human(make, number, row) for number, row in rows.items()]
    ground = np.array([0.0, -1.0, 0.0, CAMERA_HEIGHT_M], np.float32)
    return make["HumanArray"](header, 0.05, ground, humans)


def human(make: dict[str, Any], number: int, row: np.ndarray) -> Any:
    turn = make["Quaternion"](0.0, 0.0, 0.0, 1.0)
    joints = []
    for place, state, confidence in zip(row["joints"], row["state"], row["confidence"]):
        pose = make["Pose"](make["Point"](*map(float, place)), turn)
        covariance = np.diag([1e-4, 4e-4, 9e-4]).astype(np.float32).ravel()
        still = make["Vector3"](0.0, 0.0, 0.0)
        joints.append(
            make["HumanJoint"](pose, still, covariance, 0.0, float(confidence), int(state))
        )
    known = {"id": number, "confidence": 0.9, "joints": joints}
    copied = ("contacts", "betas", "global_orient", "body_pose", "transl")
    known |= {name: row[name] for name in copied}
    known |= dict.fromkeys(("left_hand_pose", "right_hand_pose"), np.zeros(45, np.float32))
    names = [field.name for field in dataclasses.fields(make["Human"]) if field.init]
    return make["Human"](**{name: known.get(name, 0) for name in names})


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of the length of the motion, as bright as the frame's number."""
    from moro_ros.io.video_writer import VideoWriter

    path = tmp_path / "walk.mp4"
    with VideoWriter(path, 30.0, SIZE) as writer:
        for index in range(FRAMES):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 4 * index, np.uint8), index * RATE_NS)
    return path


def brightness(file: bytes) -> float:
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return float(picture.mean())
