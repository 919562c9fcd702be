"""People who are hidden or cross keep their ids, and their motion goes on, by what the body says.

Front-end, tracker and motion are the real ones; only the two networks that look at pixels are
played by the geometry of imagined people, of whom the nearer one hides the farther one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.config import DetectorConfig, MotionConfig, PipelineConfig, TrackerConfig
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.load import load_stream
from moro_ros.live.pipeline import HumanMotionPipeline
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.live.synthetic_scenes import walker
from moro_ros.perception.blazepose import CENTRE, RIM, Detection, Landmarks, Region
from moro_ros.perception.frontend import KeypointFrontend
from moro_ros.types import KEYPOINTS, Camera, Frame, PipelineResult

FRAME_NS = 33_333_333
CAMERA = Camera(np.array([[700.0, 0, 480], [0, 700, 270], [0, 0, 1]]), 960, 540)
LANDMARKS = list(KEYPOINTS.values())
CORNERS = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
TORSO = [list(KEYPOINTS).index(name) for name in CORNERS]


@dataclass
class Person:
    """Somebody with a pelvis (x, z) m, a shirt, and a curtain before him or not."""

    x: float
    z: float
    colour: tuple[int, int, int]
    hidden: bool = False
    points: np.ndarray | None = None

    @property
    def centre(self) -> np.ndarray:
        return self.points[TORSO[2:]].mean(axis=0)

    @property
    def height(self) -> float:
        return float(np.ptp(self.points[:, 1]))


class Stage:
    """Plays both networks and paints the images."""

    def __init__(self, body: BodyModel) -> None:
        self.body, self.people = body, []
        skeleton = body.skeleton(torch.zeros(1, 10))
        self._rest, self._offsets = skeleton.joints[:, :22], skeleton.keypoint_offsets

    def set(self, people: list[Person], seconds: float) -> np.ndarray:
        pose = torch.from_numpy(walker(seconds)[0]).float()
        chain, joints = self.body.forward_kinematics(rotvec_to_matrix(pose)[None], self._rest)
        points = self.body.keypoints(chain, joints, self._offsets)[0].numpy().astype(float)
        for person in people:
            person.points = image_points(points + np.array([person.x, 0.4, person.z]), CAMERA)
        self.people = sorted(people, key=lambda person: person.z)
        image = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
        for person in reversed(self.people):
            if not person.hidden:
                cv2.fillPoly(image, [person.points[TORSO].astype(np.int32)], person.colour)
        self.image = image
        return image

    def _seen(self) -> list[Person]:
        """Nobody sees whom a curtain or the middle of somebody nearer covers."""
        seen: list[Person] = []
        for person in self.people:
            covered = any(
                abs(person.centre[0] - other.centre[0]) < 0.15 * other.height for other in seen
            )
            if not (person.hidden or covered):
                seen.append(person)
        return seen

    def detect(self, image_rgb: np.ndarray, min_score: float) -> list[Detection]:
        # Where the tile lies in the image, whose memory it shares.
        start = image_rgb.ctypes.data - self.image.ctypes.data
        top, left = divmod(start // 3, CAMERA.width)
        height, width = image_rgb.shape[:2]
        found = []
        for person in self._seen():
            inside = person.points - (left, top)
            if np.all((inside > 0) & (inside < (width, height))):
                found.append(Detection(self._landmarks(person).region.shifted(-left, -top), 0.9))
        return found

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks:
        near = [
            (np.hypot(*(person.centre - region.centre_px)), i, person)
            for i, person in enumerate(self._seen())
        ]
        if near and min(near)[0] < 0.35 * region.side_px:
            return self._landmarks(min(near)[2])
        ones, world = np.ones(33, np.float32), np.zeros((33, 3), np.float32)
        return Landmarks(np.zeros((35, 2), np.float32), ones, ones, 0.0, world, ones)

    def _landmarks(self, person: Person) -> Landmarks:
        points = np.tile(person.centre, (35, 1))
        points[LANDMARKS] = person.points
        points[CENTRE], points[RIM] = person.centre, person.centre - (0, 0.55 * person.height)
        ones, world = np.ones(33, np.float32), np.zeros((33, 3), np.float32)
        return Landmarks(points.astype(np.float32), ones, ones, 1.0, world, ones)


class Play:
    """A pipeline before a stage, image by image."""

    def __init__(self, body: BodyModel) -> None:
        motion = MotionConfig(mode="incremental", window=24)
        tracker = TrackerConfig(hold_time_s=1.5)
        detector = DetectorConfig(every=1, threads=1)
        config = PipelineConfig(motion=motion, tracker=tracker, detector=detector)
        self.stage, self.frames = Stage(body), 0
        frontend = KeypointFrontend(self.stage, self.stage, detector, tracker, 6)
        self.pipeline = HumanMotionPipeline(config, frontend, load_stream(config))

    def __call__(self, *people: Person) -> PipelineResult:
        self.frames += 1
        image = self.stage.set(list(people), self.frames / 30)
        return self.pipeline.push(image, self.frames * FRAME_NS, CAMERA)


@pytest.fixture
def play(open_body: BodyModel) -> Play:
    torch.set_num_threads(1)
    return Play(open_body)


def test_somebody_hidden_for_a_second_walks_on_under_his_id(play):
    someone = Person(-1.2, 4.0, (200, 40, 30))
    for _ in range(45):
        someone.x += 0.5 / 30
        result = play(someone)
    assert [m.track_id for m in result.motions] == [1] and result.motions[0].keypoints_seen[-1]
    before = result.motions[0].joints[-1, 0]
    someone.hidden = True
    for _ in range(30):
        someone.x += 0.5 / 30
        result = play(someone)
        (motion,) = result.motions
        assert motion.track_id == 1 and result.lost == ()
        # What the messages call inferred.
        assert not motion.keypoints_seen[-1] and not motion.observed[-1].any()
        assert np.isfinite(motion.joints).all() and motion.joints[-1, 0, 2] > 1.0
    assert np.linalg.norm(motion.joints[-1, 0] - before) < 1.0
    # The box that nobody sees is the recovered body's, not one of the future.
    shown = image_points(motion.joints[-1, :1].astype(float), CAMERA)[0]
    (person,) = result.people
    assert np.all(person.box_xyxy[:2] - 60 < shown) and np.all(shown < person.box_xyxy[2:] + 60)
    someone.hidden = False
    for _ in range(5):
        someone.x += 0.5 / 30
        result = play(someone)
    assert [m.track_id for m in result.motions] == [1] and result.motions[0].keypoints_seen[-1]


def test_somebody_seen_again_does_not_move_backwards(open_body):
    """They walk at 0.9 m/s and are expected farther ahead after a second behind something."""
    torch.set_num_threads(1)
    stream = load_stream(PipelineConfig())
    frontend = SyntheticFrontend(open_body, 6, "walk_by")
    frontend.camera = Camera(np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]), 1280, 720)
    found, places = [], []
    for image in range(72):
        stamp_ns = 10**10 + image * FRAME_NS
        people = frontend.observe(np.zeros((2, 2, 3), np.uint8), stamp_ns)
        if 30 <= image < 60:
            people = tuple(replace(person, keypoints=None) for person in people)
        (motion,) = stream.push(Frame(stamp_ns, frontend.camera, people))
        places.append(motion.joints[-1, 0])
        if image >= 60:
            assert motion.keypoints_seen[-1] and not motion.held[-1]
            found.append(motion.velocity[-1, 0])
    assert min(velocity[0] for velocity in found) > -0.2
    # The places are corrected backwards and faster than anything that is published.
    corrections = np.diff(places[59:], axis=0) * 1e9 / FRAME_NS
    assert corrections[:, 0].min() < -0.5
    fastest = np.linalg.norm(corrections, axis=-1).max()
    assert max(np.linalg.norm(velocity) for velocity in found) < 0.9 * fastest


@pytest.mark.slow
@pytest.mark.parametrize("speed", [0.6, 1.2])
def test_two_people_who_cross_keep_their_ids(play, speed):
    left, right = Person(-1.5, 3.6, (200, 40, 30)), Person(1.5, 4.6, (30, 60, 190))
    ids: dict[int, set[str]] = {}
    blind = 0
    for _ in range(round(3.0 / speed * 30)):
        left.x += speed / 30
        right.x -= speed / 30
        result = play(left, right)
        for person in result.people:
            if person.keypoints is None:
                blind += 1
                continue
            middle = person.keypoints.points_px[TORSO[2:]].mean(axis=0)
            near = min((left, right), key=lambda p: np.hypot(*(p.centre - middle)))
            ids.setdefault(person.track_id, set()).add("left" if near is left else "right")
    assert blind > 0  # the farther one was hidden for a while
    assert sorted(ids) == [1, 2]
    assert sorted(who for whos in ids.values() for who in whos) == ["left", "right"]
