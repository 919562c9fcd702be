"""Second descriptions of an image (refined output): the sources place them by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import MotionConfig
from moro_ros.evaluation.depth_scenes import Board, render_depth
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.depth_memory import KEPT_AGAIN_S
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.placing import Placing
from moro_ros.live.synthetic_scenes import sitter
from moro_ros.recover.depth_pose import DepthMeasurement
from moro_ros.recover.place import Clue, Unplaced
from moro_ros.recover.refinement import Refiner, Seen
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import DEPTH, STATURE, Camera

CAMERA = Camera(np.array([[425.0, 0, 320], [0, 425.0, 240], [0, 0, 1]]), 640, 480)
WALL = Board(np.array([-5.0, -3.0, 3.2]), np.array([10.0, 0, 0]), np.array([0, 6.0, 0]))
SPINE, SHOULDER, HEAD, WRIST = (
    JOINT_NAMES.index(name) for name in ("spine1", "right_shoulder", "head", "right_wrist")
)
LAG = 5
RATE_HZ = 30


class Scene:
    """A person who sits and reaches out, and a depth image of them."""

    def __init__(self, body) -> None:
        self.placing = Placing(body, reads_floor=False)
        self.placing.set_lag(0.0, LAG / RATE_HZ)
        turns = rotvec_to_matrix(torch.from_numpy(sitter(2.0)[0]).float())[None]
        self.true = BodyPose(turns, torch.tensor([[0.0, 0.2, 2.2]]), torch.zeros(10))
        points = Refiner(body).placed(self.true, body.skeleton(self.true.betas[None]))[2]
        weight = torch.ones(points.shape[:2])
        self.seen = Seen(points[..., :2] / points[..., 2:], weight, torch.tensor([0.6]))
        mesh = body.skin(turns, self.true.betas[None]).vertices[0] + self.true.translation
        self.metres = render_depth([mesh.numpy()], body.faces.numpy(), [WALL], CAMERA)

    def placed(self, pose: BodyPose, image: int, learn: bool) -> BodyPose:
        stamp_ns = image * 1_000_000_000 // RATE_HZ
        joints, everything = self.placing._joints(pose), np.ones(22, bool)
        unplaced = Unplaced(pose, joints, np.zeros(4), everything, False, stamp_ns, self.seen)
        found = self.placing.place(1, unplaced, learn)
        return pose if found is None else found.pose

    def resized(self, pose: BodyPose, scale: float) -> BodyPose:
        """The pose of a larger body farther away, which looks the same."""
        size = self.placing._size
        betas = size.with_stature(pose.betas, scale * size.stature(pose.betas))
        return BodyPose(pose.rotations.clone(), pose.translation * scale, betas)

    def estimated(self, scale: float, spine: float, shoulder: float) -> BodyPose:
        """The pose with a resized body and two joints turned by angles, rad."""
        pose = self.resized(self.true, scale)
        turns = torch.tensor([[spine, 0.0, 0.0], [0.0, shoulder, 0.0]])
        pose.rotations[0, [SPINE, SHOULDER]] @= rotvec_to_matrix(turns)
        return pose

    def along(self, pose: BodyPose) -> np.ndarray:
        """How far pelvis, head and wrist are behind the true ones, m."""
        off = self.placing._joints(pose) - self.placing._joints(self.true)
        return off[[0, HEAD, WRIST], 2]


def test_a_second_description_lies_on_the_measured_surface(open_body) -> None:
    """The first is 0.1 m too near and leans forwards, the second too far and leans backwards."""
    scene = Scene(open_body)
    first = scene.estimated(0.95, spine=0.15, shoulder=0.0)
    second = scene.estimated(1.05, spine=-0.15, shoulder=-0.4)
    memory = scene.placing.use_depth()
    for image in range(60 + LAG):
        if image < 60:
            stamp_ns = image * 1_000_000_000 // RATE_HZ
            memory.offer(DepthImage(scene.metres, CAMERA, stamp_ns))
            found = scene.placed(first, image, learn=True)
        if image >= LAG:
            again = scene.placed(second, image - LAG, learn=False)
    assert np.abs(scene.along(found)).max() < 0.04
    assert np.abs(scene.along(again)).max() < 0.03
    # What was measured of the first pose does not fit the second.
    person = scene.placing._people[1]
    assert person.depth.found is not None
    step = person.depth.posture.corrected(second, 59 * 1_000_000_000 // RATE_HZ)
    wrong = scene.resized(step, float(np.exp(person.depth.found[0].log_scale)))
    assert np.abs(scene.along(wrong)).max() > 0.1


@pytest.mark.parametrize(("look_ahead", "refined_lag"), [(0, 10), (5, 5), (2, 12)])
def test_each_depth_image_measures_both_descriptions_of_its_image(
    tiny_model, filmed, monkeypatch, look_ahead, refined_lag
) -> None:
    stream = MoRoStream(tiny_model, MotionConfig(window=16))
    memory, compared = stream.placing.use_depth(), list[tuple[int, int, int]]()

    def measure(posed: Unplaced, depth: DepthImage, *_: float | None) -> DepthMeasurement:
        compared.append((posed.stamp_ns, depth.stamp_ns, stream.last_stamp_ns or 0))
        return DepthMeasurement(Clue(0.1, 0.01))

    monkeypatch.setattr(memory._meter, "measure", measure)
    stream.configure(MotionConfig(window=16, look_ahead=look_ahead, refined_lag=refined_lag))
    frames = filmed(np.arange(40) / RATE_HZ, {1: (0.0, 99.0, 0.0)})
    for frame in frames:
        memory.offer(DepthImage(np.ones((4, 4), np.float32), CAMERA, frame.stamp_ns))
        stream.push(frame)
    later_s = (refined_lag - look_ahead) / RATE_HZ
    for stamp_ns in [frame.stamp_ns for frame in frames[4 : -refined_lag - 4]]:
        mine = [(own_ns, now_ns) for own_ns, depth_ns, now_ns in compared if depth_ns == stamp_ns]
        assert [own_ns for own_ns, _ in mine] == [stamp_ns] * 2
        assert (mine[1][1] - mine[0][1]) * 1e-9 == pytest.approx(later_s, abs=1e-3)
    assert [m.place.source for m in stream.refined if m.place] == [DEPTH]
    assert len(memory._kept) <= (later_s + KEPT_AGAIN_S) * RATE_HZ + 2
    stream.configure(MotionConfig(window=16))
    stream.push(replace(frame, stamp_ns=frame.stamp_ns + 33_000_000))
    assert not memory._kept, "only for refined output"


def test_a_known_stature_places_a_second_description_of_another_size(open_body) -> None:
    """Its own network's size is compared with the stature, not the first description's."""
    scene = Scene(open_body)
    scene.placing.set_stature(1, 1.5)
    stature_m = scene.placing._size.stature(scene.true.betas)
    for scale in (1.0, 1.1):
        pose = scene.resized(scene.true, scale)
        for image in range(40):
            away_m = scene.placed(pose, image, learn=scale == 1.0).translation[0, 2]
        assert float(away_m) == pytest.approx(2.2 * 1.5 / stature_m, rel=0.02)
    place = scene.placing._people[1].again.place.at(0)
    assert place is not None and place[1].source == STATURE
