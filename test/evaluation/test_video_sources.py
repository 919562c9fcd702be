"""Sources of joints: words are put at their own stamps, frames are alone, crops are turned back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation.video_score import NUM_POINTS, NUM_ROWS
from moro_ros.evaluation.video_sources import (
    FrameJoints,
    InTurns,
    StreamJoints,
    WorldJoints,
    WorldMemory,
    body_rows,
)
from moro_ros.types import (
    KEYPOINTS,
    NUM_KEYPOINTS,
    Camera,
    Frame,
    Keypoints,
    PersonObservation,
    SmplxParams,
)

CAMERA = Camera(np.eye(3), 10, 10)
NAMES = list(KEYPOINTS)


@dataclass
class Word:
    track_id: int
    stamps_ns: np.ndarray
    joints: np.ndarray
    known: int = 1  # whether its covariance is known

    def __post_init__(self) -> None:
        count = len(self.joints)
        self.joints = self.joints.astype(np.float32)
        self.joint_rotations = np.tile(np.eye(3, dtype=np.float32), (count, 22, 1, 1))
        none = np.zeros((count, 3), np.float32)
        spread = np.diag([0.01, 0.01, 0.04]).astype(np.float32)
        self.covariance = np.tile(spread, (count, 22, 1, 1)) * self.known
        self.smplx = SmplxParams(np.zeros(10, np.float32), none, np.tile(none, 21), none)


class LateStream:
    """Speaks of the image before the newest, and counts the images since its reset."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.stamps: list[int] = []

    def reset(self) -> None:
        self.stamps = []

    def push(self, frame: Frame) -> tuple[Word, ...]:
        self.stamps.append(frame.stamp_ns)
        if len(self.stamps) < 2:
            return (Word(3, np.array([frame.stamp_ns]), np.full((1, 22, 3), -1.0)),)
        stamps = np.array(self.stamps[-2:])
        return (Word(3, stamps, np.full((2, 22, 3), float(len(self.stamps)))),)


def frames(count: int, points: np.ndarray | None = None) -> list[Frame]:
    full = np.ones(NUM_KEYPOINTS, np.float32)
    shown = None if points is None else Keypoints(points, full, full)
    person = PersonObservation(3, np.zeros(4, np.float32), 1.0, shown)
    return [Frame(100 * n, CAMERA, (person,)) for n in range(count)]


def test_the_last_word_on_an_image_counts(open_body) -> None:
    tracks = StreamJoints(LateStream(open_body)).recover(frames(4))
    assert tracks[3][:, 0, 0].tolist() == [2, 3, 4, 4]
    again = StreamJoints(LateStream(open_body))
    again.recover(frames(4))
    assert again.recover(frames(2))[3][:, 0, 0].tolist() == [2, 2]  # starts anew


def test_the_body_s_own_keypoints_follow_the_joints(open_body) -> None:
    points = StreamJoints(LateStream(open_body)).recover(frames(2))[3][0]
    skeleton = open_body.skeleton(torch.zeros(1, 10))
    heel = NAMES.index("left_heel")
    offset = skeleton.keypoint_offsets[0, heel].numpy()
    assert points[len(JOINT_NAMES) + heel] == pytest.approx(2 + offset, abs=1e-6)
    assert offset[1] < -0.01  # below the ankle


def test_a_body_hands_on_the_sigma_of_its_joints(open_body) -> None:
    ahead = np.tile([0.0, 0.0, 3.0], (1, 22, 1))
    rows = body_rows(Word(3, np.zeros(1), ahead), open_body)
    assert rows.shape == (1, NUM_ROWS, 3)
    assert rows[0, NUM_POINTS:] == pytest.approx(np.tile([0.1, 0.1, 0.2], (NUM_POINTS, 1)))
    word = Word(3, np.zeros(1), ahead)
    word.covariance[0, JOINT_NAMES.index("head")] *= 9
    sigma = body_rows(word, open_body)[0, NUM_POINTS + len(JOINT_NAMES) :, 2]
    assert sigma[NAMES.index("nose")] == pytest.approx(0.6)  # carried by the head
    assert sigma[NAMES.index("left_wrist")] == pytest.approx(0.2)
    unknown = body_rows(Word(3, np.zeros(1), ahead, known=0), open_body)
    assert np.isnan(unknown[0, NUM_POINTS:]).all() and np.isfinite(unknown[0, :NUM_POINTS]).all()


def test_each_frame_alone_knows_no_other(open_body) -> None:
    told = FrameJoints(LateStream(open_body)).recover(frames(3))
    assert told[3][:, 0, 0].tolist() == [-1, -1, -1]


@dataclass
class Region:
    angle: float


@dataclass
class Answer:
    points_px: np.ndarray
    world: np.ndarray


class Network:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def locate(self, image: np.ndarray, region: Region) -> Answer:
        return self.answer


def test_blazepose_speaks_in_the_axes_of_its_crop() -> None:
    rng = np.random.default_rng(0)
    answer = Answer(rng.uniform(0, 9, (35, 2)).astype(np.float32), rng.normal(size=(33, 3)))
    memory = WorldMemory(Network(answer))
    assert memory.locate(np.zeros((1, 1, 3)), Region(np.pi / 2)) is answer
    points = answer.points_px[list(KEYPOINTS.values())]
    tracks = WorldJoints(memory).recover(frames(1, points))
    wrist = tracks[3][0, JOINT_NAMES.index("left_wrist")]
    x, y, z = answer.world[KEYPOINTS["left_wrist"]]
    assert wrist == pytest.approx([-y, x, z])  # clockwise by a quarter, y down
    assert np.isnan(tracks[3][0, JOINT_NAMES.index("spine1")]).all()


def test_an_answer_that_the_tracker_mirrored_is_mirrored_too() -> None:
    rng = np.random.default_rng(0)
    answer = Answer(rng.uniform(0, 9, (35, 2)).astype(np.float32), rng.normal(size=(33, 3)))
    memory = WorldMemory(Network(answer))
    memory.locate(np.zeros((1, 1, 3)), Region(0.0))
    swapped = [n.replace("left", "*").replace("right", "left").replace("*", "right") for n in NAMES]
    points = answer.points_px[[KEYPOINTS[name] for name in swapped]]
    tracks = WorldJoints(memory).recover(frames(1, points))
    found = tracks[3][0, JOINT_NAMES.index("left_knee")]
    assert found == pytest.approx(answer.world[KEYPOINTS["right_knee"]])


def test_keypoints_that_nobody_located_have_no_joints() -> None:
    answer = Answer(np.zeros((35, 2), np.float32), np.zeros((33, 3)))
    world = WorldJoints(WorldMemory(Network(answer)))
    assert world.recover(frames(2, np.ones((NUM_KEYPOINTS, 2), np.float32))) == {}
    assert world.recover(frames(2)) == {}


class Echo:
    """Gives the first keypoint of each image back as all joints."""

    def recover(self, shown: list[Frame]) -> dict[int, np.ndarray]:
        points = [frame.people[0].keypoints for frame in shown]
        places = [np.nan if p is None else float(p.points_px[0, 0]) for p in points]
        return {3: np.array(places)[:, None, None] * np.ones((1, 22, 3))}


def test_in_turns_only_every_second_image_is_looked_at() -> None:
    seen = [
        frames(1, np.full((NUM_KEYPOINTS, 2), x, np.float32))[0].people for x in (0, 5, 9, 14, 16)
    ]
    shown = [Frame(100 * n, CAMERA, people) for n, people in enumerate(seen)]

    def carry(looks: list[tuple[int, np.ndarray]], now_ns: int) -> np.ndarray:
        (first_ns, first), (last_ns, last) = looks
        return last + (last - first) * (now_ns - last_ns) / (last_ns - first_ns)

    told = InTurns(Echo(), 2, carry).recover(shown)[3][:, 0, 0]
    # Two looks are needed first; the fourth image follows from the second and the third.
    assert told.tolist() == [0, 5, 9, 13, 16]
    nobody = InTurns(Echo(), 2, lambda looks, now_ns: None).recover(shown)[3][:, 0, 0]
    assert nobody.tolist() == [0, 5, 9, 14, 16]
