"""Sources of distance in a live stream: who is placed by them, and that nothing changes without."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.config import MotionConfig
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.placing import Person, Placing
from moro_ros.network.inputs import floor_row
from moro_ros.recover import floor
from moro_ros.recover.depth_pose import DepthMeasurement
from moro_ros.recover.ground import SHOES_M, GroundPlane
from moro_ros.recover.place import Clue, Unplaced
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import DEPTH, FLOOR, STATURE, BodyMotion, Camera

RATE_HZ = 30
FEET = list(CONTACT_JOINTS)
LEVEL = GroundPlane(np.array([0.0, -1.0, 0.0]), 1.2)
CAMERA = Camera(np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]]), 640, 480)
NECK = JOINT_NAMES.index("neck")
WALKER = {1: (0.0, 99.0, 0.0)}


def pushed(stream: MoRoStream, filmed, first: int, count: int, people=WALKER) -> list[BodyMotion]:
    frames = filmed(np.arange(first, first + count) / RATE_HZ, people)
    return [motion for frame in frames for motion in stream.push(frame)]


@pytest.fixture
def stream(tiny_model) -> MoRoStream:
    return MoRoStream(tiny_model, MotionConfig(window=12))


def same(first: BodyMotion, second: BodyMotion) -> bool:
    parts = ("joints", "joint_rotations", "velocity", "covariance", "confidence")
    equal = [np.array_equal(getattr(first, name), getattr(second, name)) for name in parts]
    smplx = first.smplx, second.smplx
    return all(equal) and np.array_equal(smplx[0].betas, smplx[1].betas)


def test_without_sources_no_bit_changes(stream, filmed, monkeypatch):
    placed = pushed(stream, filmed, 0, 20)
    stream.reset()
    monkeypatch.setattr(stream.placing, "place", lambda *_: None)
    plain = pushed(stream, filmed, 0, 20)
    assert len(placed) == len(plain) == 20
    assert all(same(a, b) and a.place is None for a, b in zip(placed, plain))


def test_the_network_is_told_where_the_soles_of_the_feet_are(stream):
    """People wear shoes, and the network was trained on barefoot ones."""
    stream.set_floor(LEVEL)
    expected = floor_row(torch.tensor([0.0, -1.0, 0.0]), torch.tensor(1.2 - SHOES_M))
    torch.testing.assert_close(stream.placing.row(1), expected)


def test_a_source_that_is_taken_away_leaves_nothing(stream, filmed):
    before = pushed(stream, filmed, 0, 20)
    stream.reset()
    stream.set_floor(LEVEL)
    pushed(stream, filmed, 0, 5)
    stream.set_floor(None)
    stream.reset()
    assert all(same(a, b) for a, b in zip(before, pushed(stream, filmed, 0, 20)))


@pytest.mark.parametrize(
    "plane",
    [
        GroundPlane(np.array([0.0, -1.0, 0.0]), np.nan),
        GroundPlane(np.array([0.0, -1.0, 0.0]), np.inf),
        GroundPlane(np.array([np.nan, -1.0, 0.0]), 1.2),
    ],
)
def test_a_floor_that_is_not_finite_is_not_known(stream, plane):
    stream.set_floor(LEVEL)
    assert stream.placing.floor is LEVEL
    stream.set_floor(plane)
    assert stream.placing.floor is None
    assert torch.equal(stream.placing.row(1), torch.zeros(4))


def test_a_stature_scales_the_person_and_their_distance(stream, filmed):
    pushed(stream, filmed, 0, 10)
    assert stream.set_stature(99, 1.1) is None
    plain = pushed(stream, filmed, 10, 1)[0]
    size = stream.placing._size
    network_m = size.stature(torch.from_numpy(plain.smplx.betas))
    assert stream.set_stature(1, 0.8 * network_m) == pytest.approx(0.8 * network_m)
    placed = pushed(stream, filmed, 11, 30)[-1]
    assert placed.place is not None and placed.place.source == STATURE
    found_m = size.stature(torch.from_numpy(placed.smplx.betas))
    assert found_m == pytest.approx(0.8 * network_m, rel=0.01)
    assert 0.75 < placed.joints[0, 0, 2] / plain.joints[0, 0, 2] < 0.9
    # The pelvis stays on its line of sight, and the mesh is the smaller body's.
    ahead, behind = (m.joints[0, 0, :2] / m.joints[0, 0, 2] for m in (placed, plain))
    assert abs(ahead[1] - behind[1]) < 0.02
    # Forgotten: the network's own size and distance again.
    assert stream.set_stature(1, 0.0) == 0.0
    assert pushed(stream, filmed, 41, 60)[-1].joints[0, 0, 2] > 0.93 * plain.joints[0, 0, 2]


def test_a_stature_given_in_advance_counts_from_the_first_pose(stream, filmed):
    size = stream.placing._size
    plain = pushed(stream, filmed, 0, 1)[0]
    stream.reset()
    stream.placing.set_stature(1, 1.1)
    first = pushed(stream, filmed, 0, 1)[0]
    assert first.place is not None and first.place.source == STATURE
    assert size.stature(torch.from_numpy(first.smplx.betas)) == pytest.approx(1.1, rel=0.01)
    assert first.joints[0, 0, 2] < 0.9 * plain.joints[0, 0, 2]


def test_a_stature_of_one_person_concerns_nobody_else(stream, filmed):
    people = {1: (0.0, 99.0, 0.0), 2: (0.0, 99.0, 1.5)}
    pushed(stream, filmed, 0, 10, people)
    stream.set_stature(1, 1.0)
    motions = {m.track_id: m for m in pushed(stream, filmed, 10, 2, people)}
    assert motions[1].place is not None and motions[2].place is None


def test_a_stature_ends_with_its_person(stream, filmed):
    pushed(stream, filmed, 0, 10)
    stream.set_stature(1, 1.0)
    pushed(stream, filmed, 10, 2, {1: (0.0, 0.0, 0.0)})
    assert stream.placing.stature(1) is None


def after_a_gap(stream: MoRoStream, filmed) -> list[BodyMotion]:
    pushed(stream, filmed, 60, 10)
    return pushed(stream, filmed, 70, 1)


def after_another_window(stream: MoRoStream, filmed) -> list[BodyMotion]:
    stream.configure(replace(stream.motion, window=16))
    return pushed(stream, filmed, 10, 10)


def after_an_unusable_pose(stream: MoRoStream, filmed) -> list[BodyMotion]:
    stream.tracks[1].steady.last = replace(
        stream.tracks[1].steady.last, translation=torch.full((1, 3), torch.nan)
    )
    assert not pushed(stream, filmed, 10, 1) and stream.unusable_poses == 1
    return pushed(stream, filmed, 11, 10)


@pytest.mark.parametrize("restarted", [after_a_gap, after_another_window, after_an_unusable_pose])
def test_what_a_user_gave_is_kept_when_the_window_restarts(stream, filmed, restarted):
    """The id stays and nobody is lost."""
    pushed(stream, filmed, 0, 10)
    stream.set_stature(1, 1.2)
    betas = stream.lock_shape(1, True)
    motion = restarted(stream, filmed)[-1]
    assert stream.lost == ()
    assert stream.placing.stature(1) == pytest.approx(1.2)
    assert motion.place is not None and motion.place.source == STATURE
    assert motion.shape_locked and np.allclose(motion.smplx.betas, betas, atol=1e-4)
    stream.lock_shape(1, False)
    stream.set_stature(1, 0.0)
    stream.configure(replace(stream.motion, window=20))
    motion = pushed(stream, filmed, 80, 10)[-1]
    assert motion.place is None and not motion.shape_locked, "released: nothing to keep"


def test_a_learned_stature_ends_when_the_window_restarts(stream, filmed):
    pushed(stream, filmed, 0, 10)
    stream.placing._people[1] = Person()
    stream.placing._people[1].place.stature.learn(math.log(1.75), 0.03, 1.0)
    pushed(stream, filmed, 60, 1)
    assert stream.placing.stature(1) is None


def test_what_a_user_gave_ends_with_a_reset(stream, filmed):
    for track_id in (None, 1):
        pushed(stream, filmed, 0, 10)
        stream.set_stature(1, 1.2)
        stream.lock_shape(1, True)
        stream.reset(track_id)
        motion = pushed(stream, filmed, 10, 1)[0]
        assert motion.place is None and not motion.shape_locked
        stream.reset()


def test_who_is_not_seen_after_a_restart_and_leaves_is_lost_once(stream, filmed):
    pushed(stream, filmed, 0, 10)
    stream.set_stature(1, 1.2)
    told = []
    for at_s in (2.0, 2.03, 2.06, 2.09):
        (frame,) = filmed(np.array([at_s]), WALKER)
        people = tuple(replace(person, keypoints=None) for person in frame.people)
        assert not stream.push(replace(frame, people=people if at_s < 2.05 else ()))
        told += stream.lost
    assert told == [1] and stream.placing.stature(1) is None


def test_a_locked_shape_is_told_in_its_true_size(stream, filmed):
    pushed(stream, filmed, 0, 10)
    stream.set_stature(1, 1.2)
    betas = stream.lock_shape(1, True)
    told = pushed(stream, filmed, 10, 10)
    assert all(motion.shape_locked for motion in told)
    assert all(np.allclose(motion.smplx.betas, betas, atol=1e-4) for motion in told)


def test_the_floor_places_who_stands_on_it(stream, filmed, monkeypatch):
    """The untrained network's feet are made to stand; its bodies float anywhere."""
    monkeypatch.setattr(floor, "STANDING_SPEED", 99.0)
    recover = stream.recovery.recover

    def standing(track_id, decoded, *rest, **more):
        frames = tuple(replace(f, contact=np.full(4, 9.0, np.float32)) for f in decoded.frames)
        return recover(track_id, replace(decoded, frames=frames), *rest, **more)

    monkeypatch.setattr(stream.recovery, "recover", standing)
    plain = pushed(stream, filmed, 0, 12)[-1]
    drop_m = plain.joints[0, [7, 8, 10, 11], 1].max()
    assert drop_m > 0.2, "the feet are below the camera"
    stream.reset()
    stream.set_floor(GroundPlane(LEVEL.normal, float(1.15 * drop_m)))
    placed = pushed(stream, filmed, 0, 12)[-1]
    # The stature that it learned of the floor may count more by now.
    assert placed.place is not None and placed.place.source in (FLOOR, STATURE)
    assert placed.joints[0, 0, 2] > 1.04 * plain.joints[0, 0, 2]
    # A floor far away makes giants: it is ignored, and said.
    stream.set_floor(GroundPlane(LEVEL.normal, float(4.0 * drop_m)))
    ignored = pushed(stream, filmed, 12, 90)[-1]
    assert "m tall" in stream.placing.ignored_floor()[1]
    assert not stream.placing.row(1).any(), "the network is not told it either"
    assert ignored.place is None or ignored.place.source != FLOOR
    stream.set_floor(None)
    assert not stream.placing.ignored_floor()


@pytest.mark.parametrize(
    ("plane", "words"),
    [
        (GroundPlane.below_camera(1.2, -30.0), "they would lean by 60 degrees"),
        (GroundPlane(-GroundPlane.below_camera(1.2, 30.0).normal, 1.2), "they would lean by 180"),
        (GroundPlane(LEVEL.normal, -0.5), "the camera would be 0.50 m below it"),
        (GroundPlane(LEVEL.normal, 0.03), "the camera would be 0.03 m above it"),
        (GroundPlane(LEVEL.normal, 1200.0), "the camera would be 1200.00 m above it"),
    ],
)
def test_a_floor_that_gives_no_clue_is_ignored_and_named(open_body, plane, words):
    """Pitch of the wrong sign, flipped normal, camera below the floor; within 2 s."""
    placing = Placing(open_body, reads_floor=True)
    placing.set_floor(plane)
    joints = np.zeros((22, 3))
    joints[:, 1], joints[:, 2], joints[NECK, 1] = 1.1, 3.0, -0.2
    joints = Rotation.from_euler("x", 30.0, degrees=True).apply(joints)
    pose = BodyPose(torch.eye(3).expand(1, 22, 3, 3), torch.ones(1, 3), torch.zeros(10))
    for image in range(60):
        stamp_ns = image * 33_333_333
        seen = Unplaced(pose, joints, np.ones(4), np.ones(22, bool), False, stamp_ns)
        placing.place(1, seen, learn=True)
    assert words in placing.ignored_floor()[1]
    assert not placing.row(1).any(), "the network is not told it either"
    placing.set_floor(GroundPlane.below_camera(1.2, 30.0))
    assert not placing.ignored_floor() and placing.row(1).any()


@pytest.mark.parametrize("unknown", [False, True], ids=["directly", "unknown between"])
@pytest.mark.parametrize(("height_m", "kept"), [(1.21, True), (1.8, False)])
def test_what_was_learned_on_another_floor_is_forgotten(open_body, height_m, kept, unknown):
    placing = Placing(open_body, reads_floor=True)
    placing.set_floor(GroundPlane(LEVEL.normal, 1.2))
    placing.set_stature(2, 1.6)
    for track_id in (1, 3):
        placing._people[track_id] = Person()
        placing._people[track_id].place.stature.learn(math.log(1.75), 0.03, 1.0)
    placing._people[3].depth.found = 0.1, 0
    if unknown:
        placing.set_floor(None)
        assert placing.stature(1) == pytest.approx(1.75)
    placing.set_floor(GroundPlane(LEVEL.normal, height_m))
    assert placing.stature(1) == (pytest.approx(1.75) if kept else None)
    assert placing.stature(2) == pytest.approx(1.6), "a user said so"
    assert placing.stature(3) == pytest.approx(1.75), "depth measured it"


def test_depth_places_a_person_and_teaches_their_stature(stream, filmed, monkeypatch):
    """Depth says 10 % farther and larger."""
    plain = pushed(stream, filmed, 0, 60)[-1]
    stream.reset()
    memory = stream.placing.use_depth()
    monkeypatch.setattr(memory._meter, "measure", lambda *_: DepthMeasurement(Clue(0.1, 0.01)))

    def with_depth(first: int, count: int) -> BodyMotion:
        for image in range(first, first + count):
            stamp_ns = round((10.0 + image / RATE_HZ) * 1e9)
            memory.offer(DepthImage(np.ones((480, 640), np.float32), CAMERA, stamp_ns))
            (motion,) = pushed(stream, filmed, image, 1)
        return motion

    placed = with_depth(0, 60)
    assert placed.place is not None and placed.place.source == DEPTH
    assert placed.joints[0, 0, 2] == pytest.approx(np.exp(0.1) * plain.joints[0, 0, 2], rel=0.01)
    assert memory.used == 60
    # It is lost: the stature that it taught remains.
    later = pushed(stream, filmed, 60, 240)[-1]
    assert later.place is not None and later.place.source == STATURE
    assert later.place.sigma > placed.place.sigma


def test_depth_that_ended_and_began_again_earlier_is_used(stream, filmed, monkeypatch):
    """As with two recordings of one stream, the second of which is older."""
    measured = DepthMeasurement(Clue(0.1, 0.01), None, 0.2)
    for first in (60, 0):
        memory = stream.placing.use_depth()
        monkeypatch.setattr(memory._meter, "measure", lambda *_: measured)
        for image in range(first, first + 20):
            stamp_ns = round((10.0 + image / RATE_HZ) * 1e9)
            memory.offer(DepthImage(np.ones((480, 640), np.float32), CAMERA, stamp_ns))
            pushed(stream, filmed, image, 1)
        assert memory.used >= 19
        (person,) = stream.placing._people.values()
        assert person.depth.bulk > 0.1
        stream.placing.ignore_depth()
        assert person.depth.bulk == 0.0 and person.depth.found is None


@pytest.mark.parametrize("look_ahead", [5, 10, 40])
def test_depth_places_people_with_any_output_delay(tiny_model, filmed, monkeypatch, look_ahead):
    stream = MoRoStream(tiny_model, MotionConfig(window=12))
    memory = stream.placing.use_depth()
    stream.configure(MotionConfig(window=12, look_ahead=look_ahead))
    monkeypatch.setattr(memory._meter, "measure", lambda *_: DepthMeasurement(Clue(0.1, 0.01)))
    for image in range(look_ahead + 20):
        stamp_ns = round((10.0 + image / RATE_HZ) * 1e9)
        memory.offer(DepthImage(np.ones((4, 4), np.float32), CAMERA, stamp_ns))
        motions = pushed(stream, filmed, image, 1)
    assert motions[0].place is not None and motions[0].place.source == DEPTH
    assert memory.used >= 19 and not memory.problems


def test_depth_in_which_nobody_is_changes_no_bit(stream, filmed, monkeypatch):
    plain = pushed(stream, filmed, 0, 20)
    stream.reset()
    memory = stream.placing.use_depth()
    monkeypatch.setattr(memory._meter, "measure", lambda *_: None)
    for image, before in enumerate(plain):
        stamp_ns = round((10.0 + image / RATE_HZ) * 1e9)
        memory.offer(DepthImage(np.ones((480, 640), np.float32), CAMERA, stamp_ns))
        assert same(before, pushed(stream, filmed, image, 1)[0])
