"""Targets lie on the body, point out of it, follow what is seen, and say how they are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.anatomy import Anatomy, measure_anatomy
from moro_ros.body.body_model import BodyModel
from moro_ros.body.hand_pose import HandPose
from moro_ros.body.posture import CAMERA_UP, Posture
from moro_ros.body.targets import UNSEEN, Grade, Hands, Kind, Target, axes_along, find_targets
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.geometry.lens import image_points
from moro_ros.types import DETAILS, BodyMotion, Camera, Keypoints, SmplxParams

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]), 1280, 720)
UPRIGHT = np.diag([1.0, -1.0, -1.0])
SIGMA_M = 0.03


class Person:
    """Somebody whose joints turn by rotation vectors; heading 0 looks at the camera."""

    def __init__(self, body: BodyModel, heading: float = 0.0, **turns: tuple[float, ...]) -> None:
        pose = np.zeros((NUM_JOINTS, 3))
        turn = UPRIGHT @ Rotation.from_rotvec([0.0, heading, 0.0]).as_matrix()
        pose[0] = Rotation.from_matrix(turn).as_rotvec()
        for name, vector in turns.items():
            pose[JOINT_NAMES.index(name)] = vector
        betas = torch.zeros(1, 10)
        rotations = torch.from_numpy(Rotation.from_rotvec(pose).as_matrix()).float()[None]
        posed = body.skin(rotations, betas)
        place = np.array([0.2, 0.1, 2.5])
        self.vertices = posed.vertices[0].numpy() + place
        self.all_joints = posed.joints[0].numpy() + place
        self.anatomy = measure_anatomy(
            body.skeleton(betas).joints[0].numpy(),
            body.rest_vertices(betas)[0].numpy(),
            body.vertex_parts(),
        )
        covariance = np.diag([SIGMA_M**2 / 9, SIGMA_M**2 / 4, SIGMA_M**2])
        self.motion = BodyMotion(
            track_id=1,
            stamps_ns=np.array([0]),
            joints=self.all_joints[None, :NUM_JOINTS],
            joint_rotations=posed.joint_rotations[:, :NUM_JOINTS].numpy(),
            velocity=np.full((1, NUM_JOINTS, 3), 0.2),
            covariance=np.tile(covariance, (1, NUM_JOINTS, 1, 1)),
            confidence=np.ones((1, NUM_JOINTS)),
            observed=np.ones((1, NUM_JOINTS), bool),
            contact=np.zeros((1, 4)),
            smplx=SmplxParams(np.zeros(10), np.zeros((1, 3)), np.zeros((1, 63)), np.zeros((1, 3))),
            vertices=None,
            token_ids=np.zeros((1, 1), np.int64),
            keypoints_seen=np.array([True]),
            held=np.zeros(1, bool),
        )

    def details(self, targets: dict[Kind, Target], visibility: float = 1.0) -> Keypoints:
        """What the detector sees of the face and the hands of this body."""
        joints = self.all_joints
        eyes = dict(zip(("left_eye", "right_eye"), joints[23:25], strict=True))
        mouth = targets[Kind.MOUTH]
        aside = mouth.rotation[:, 1] * 0.025
        fingers = {"pinky": 31, "index": 25, "thumb": 38}
        hands = {
            f"{side}_{name}": joints[row + 15 * number]
            for number, side in enumerate(("left", "right"))
            for name, row in fingers.items()
        }
        corners = {"left_mouth": mouth.position + aside, "right_mouth": mouth.position - aside}
        places = eyes | corners | hands
        points = image_points(np.array([places[name] for name in DETAILS]), CAMERA)
        shown = np.full(len(DETAILS), visibility, np.float32)
        return Keypoints(points.astype(np.float32), shown, shown)

    def gap(self, place: np.ndarray) -> float:
        """Distance from a place to the nearest vertex, m."""
        return float(np.linalg.norm(self.vertices - place, axis=1).min())


def targets_of(
    person: Person,
    details: Keypoints | None = None,
    posture: Posture = Posture.STANDING,
    motion: BodyMotion | None = None,
    anatomy: Anatomy | None = None,
    hands: Hands = UNSEEN,
) -> dict[Kind, Target]:
    motion, anatomy = motion or person.motion, anatomy or person.anatomy
    found = find_targets(motion, details, CAMERA, anatomy, posture, CAMERA_UP, hands)
    assert len({target.kind for target in found}) == len(found)
    return {target.kind: target for target in found}


@pytest.fixture(scope="module")
def standing(open_body: BodyModel) -> Person:
    return Person(open_body, 0.3, left_shoulder=(0, 0, -1.0), right_elbow=(0, 1.2, 0))


@pytest.fixture(scope="module")
def sitting(open_body: BodyModel) -> Person:
    legs = {f"{s}_hip": (-1.5, 0, 0) for s in ("left", "right")}
    knees = {f"{s}_knee": (1.5, 0, 0) for s in ("left", "right")}
    return Person(open_body, **legs, **knees)


def test_targets_on_the_skin_lie_on_the_mesh_and_point_out_of_it(standing: Person) -> None:
    targets = targets_of(standing)
    for kind in (Kind.MOUTH, Kind.LEFT_PALM, Kind.RIGHT_PALM):
        target = targets[kind]
        assert standing.gap(target.position) < 0.012, kind.name
        away = standing.gap(target.position + 0.05 * target.rotation[:, 0])
        inside = standing.gap(target.position - 0.01 * target.rotation[:, 0])
        assert away > 0.04 and inside < 0.02, kind.name
        assert target.skin_m == 0.0


def test_axes_are_right_handed_rotations(sitting: Person) -> None:
    targets = targets_of(sitting, posture=Posture.SITTING)
    assert targets.keys() == set(Kind)
    for target in targets.values():
        np.testing.assert_allclose(target.rotation.T @ target.rotation, np.eye(3), atol=1e-6)
        assert np.linalg.det(target.rotation) == pytest.approx(1.0)


def test_face_looks_where_the_person_does(standing: Person) -> None:
    mouth = targets_of(standing)[Kind.MOUTH]
    front = UPRIGHT @ [np.sin(0.3), 0.0, np.cos(0.3)]
    np.testing.assert_allclose(mouth.rotation[:, 0], front, atol=1e-6)
    np.testing.assert_allclose(mouth.rotation[:, 2], CAMERA_UP, atol=1e-6)
    eyes = targets_of(standing)[Kind.EYES]
    assert 0.05 < (eyes.position - mouth.position) @ CAMERA_UP < 0.09


def test_palms_face_down_in_the_t_pose_and_z_is_to_the_fingers(open_body: BodyModel) -> None:
    person = Person(open_body)
    targets = targets_of(person)
    for kind, row in ((Kind.LEFT_PALM, 28), (Kind.RIGHT_PALM, 43)):
        out, _, along = targets[kind].rotation.T
        assert out @ CAMERA_UP < -0.9
        knuckle = person.all_joints[row] - targets[kind].position
        assert along @ knuckle > 0.03


def test_arms_point_to_the_hand_and_their_skin_is_that_of_the_mesh(standing: Person) -> None:
    targets = targets_of(standing)
    joints = standing.motion.joints[0]
    for side in ("left", "right"):
        for kind, joint, end in (("shoulder", "shoulder", "elbow"), ("elbow", "elbow", "wrist")):
            target = targets[Kind[f"{side}_{kind}".upper()]]
            start, stop = (joints[JOINT_NAMES.index(f"{side}_{n}")] for n in (joint, end))
            np.testing.assert_allclose(target.position, start)
            direction = (stop - start) / np.linalg.norm(stop - start)
            np.testing.assert_allclose(target.rotation[:, 0], direction, atol=1e-6)
            # Half way along the limb the skin is that far from the axis.
            assert standing.gap((start + stop) / 2) == pytest.approx(target.skin_m, abs=0.015)


def test_only_who_sits_has_a_lap_and_a_seat(sitting: Person, standing: Person) -> None:
    assert not {Kind.LAP, Kind.SEAT} & targets_of(standing).keys()
    targets = targets_of(sitting, posture=Posture.SITTING)
    lap, seat = targets[Kind.LAP], targets[Kind.SEAT]
    hips, knees = (
        sitting.motion.joints[0, [JOINT_NAMES.index(f"{s}_{n}") for s in ("left", "right")]].mean(0)
        for n in ("hip", "knee")
    )
    assert lap.rotation[:, 0] @ CAMERA_UP > 0.95 and lap.rotation[:, 2] @ (knees - hips) > 0.2
    assert 0.03 < (lap.position - (hips + knees) / 2) @ CAMERA_UP < 0.12
    assert (seat.position - hips) @ CAMERA_UP < -0.03
    np.testing.assert_allclose(seat.rotation[:, 0], CAMERA_UP, atol=1e-9)


def test_face_and_palms_are_observed_where_their_landmarks_are(standing: Person) -> None:
    plain = targets_of(standing)
    kinds = (Kind.MOUTH, Kind.EYES, Kind.LEFT_PALM, Kind.RIGHT_PALM)
    assert {plain[kind].grade for kind in kinds} == {Grade.INFERRED}
    assert plain[Kind.LEFT_ELBOW].grade == Grade.OBSERVED
    seen = targets_of(standing, standing.details(plain))
    assert {seen[kind].grade for kind in kinds} == {Grade.OBSERVED}
    for kind in kinds:
        np.testing.assert_allclose(seen[kind].position, plain[kind].position, atol=2e-3)
    hidden = targets_of(standing, standing.details(plain, visibility=0.2))
    assert {hidden[kind].grade for kind in kinds} == {Grade.INFERRED}


def test_a_mouth_is_moved_onto_the_corners_that_are_seen(standing: Person) -> None:
    """The recovered head is off sideways by 4 cm."""
    plain = targets_of(standing)
    off = dataclasses.replace(
        standing.motion, joints=standing.motion.joints + np.array([0.04, -0.02, 0.0])
    )
    details = standing.details(plain)
    moved = targets_of(standing, details, motion=off)[Kind.MOUTH]
    assert moved.grade == Grade.OBSERVED
    np.testing.assert_allclose(moved.position, plain[Kind.MOUTH].position, atol=2e-3)


def test_landmarks_of_somebody_else_s_face_are_not_followed(standing: Person) -> None:
    plain = targets_of(standing)
    details = standing.details(plain)
    beside = dataclasses.replace(details, points_px=details.points_px + np.float32([150.0, 0.0]))
    mouth = targets_of(standing, beside)[Kind.MOUTH]
    assert mouth.grade == Grade.INFERRED
    np.testing.assert_allclose(mouth.position, plain[Kind.MOUTH].position)


def test_a_mouth_is_not_observed_from_behind(open_body: BodyModel) -> None:
    person = Person(open_body, np.pi)
    plain = targets_of(person)
    assert targets_of(person, person.details(plain))[Kind.MOUTH].grade == Grade.INFERRED


def test_hidden_joints_are_inferred_and_people_out_of_sight_stale(standing: Person) -> None:
    observed = standing.motion.observed.copy()
    observed[0, JOINT_NAMES.index("left_elbow")] = False
    hidden = targets_of(standing, motion=dataclasses.replace(standing.motion, observed=observed))
    assert hidden[Kind.LEFT_ELBOW].grade == Grade.INFERRED
    assert hidden[Kind.RIGHT_ELBOW].grade == Grade.OBSERVED
    details = standing.details(targets_of(standing))
    for change in ({"keypoints_seen": np.array([False])}, {"held": np.array([True])}):
        gone = targets_of(standing, details, motion=dataclasses.replace(standing.motion, **change))
        assert {target.grade for target in gone.values()} == {Grade.STALE}


def test_sigma_is_that_of_the_least_certain_direction(standing: Person) -> None:
    for target in targets_of(standing).values():
        assert target.sigma_m == pytest.approx(SIGMA_M, rel=1e-4)
        np.testing.assert_allclose(target.velocity, 0.2)


def test_a_body_without_fingers_and_eyes_has_the_other_targets(standing: Person) -> None:
    bare = dataclasses.replace(standing.anatomy, face=None, hands=None)
    assert targets_of(standing, anatomy=bare).keys() == {
        Kind.LEFT_SHOULDER, Kind.RIGHT_SHOULDER, Kind.LEFT_ELBOW, Kind.RIGHT_ELBOW,
    }  # fmt: skip


@pytest.mark.parametrize("towards", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (-2.0, 0.0, 0.0)])
def test_axes_along_a_direction_are_sound_for_any_hint(towards: tuple[float, ...]) -> None:
    axes = axes_along(np.array([2.0, 0.0, 0.0]), np.array(towards))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(axes[:, 0], [1.0, 0.0, 0.0])
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_palm_lies_where_its_fingers_are_seen(standing: Person) -> None:
    assert standing.anatomy.hands is not None
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    hand = HandPose(0.8, 0.25, np.array([0.5, 0.2, 2.4]), turn, np.zeros(45))
    plain = targets_of(standing)
    for kind, hands in ((Kind.LEFT_PALM, (hand, None)), (Kind.RIGHT_PALM, (None, hand))):
        targets = targets_of(standing, hands=hands)
        palm = targets.pop(kind)
        assert (palm.grade, palm.grip, palm.grip_score) == (Grade.OBSERVED, 0.25, 0.8)
        np.testing.assert_allclose(palm.position, hand.palm)
        axes = standing.anatomy.hands[kind - Kind.LEFT_PALM].axes
        np.testing.assert_allclose(palm.rotation, turn @ axes)
        assert palm.sigma_m == plain[kind].sigma_m
        for other, target in targets.items():
            assert np.isnan(target.grip) and np.isnan(target.grip_score)
            np.testing.assert_allclose(target.position, plain[other].position)
    held = dataclasses.replace(standing.motion, held=np.array([True]))
    stale = targets_of(standing, motion=held, hands=(hand, None))[Kind.LEFT_PALM]
    assert stale.grade == Grade.STALE
