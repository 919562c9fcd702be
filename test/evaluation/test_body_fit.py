"""A body fitted to several views: it finds the body, the offsets and survives what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import load_body_model
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation import body_fit, fitted_truth
from moro_ros.evaluation.body_fit import FittedBody, Marks, fit_body
from moro_ros.evaluation.fitted_truth import cached_fit, fit_trial, residuals
from moro_ros.evaluation.multiview import Truth, observations, triangulate
from moro_ros.evaluation.pose2sim import Trial, TruePerson, size_name
from moro_ros.evaluation.video_score import NUM_POINTS, score
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.views import View
from moro_ros.live.synthetic_scenes import walker
from moro_ros.resources import share_path
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

pytestmark = pytest.mark.slow

FRAMES, RATE_HZ, SIZE = 20, 30.0, 0.8
NAMES = list(KEYPOINTS)
MATRIX = np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]])
# Where the detector of this test marks points, in the frame of the joint; x to the left hand.
MARKED = {"left_hip": (-0.02, -0.03, 0.0), "right_hip": (0.02, -0.03, 0.0)}


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Four cameras in a ring of 4 m around the walker."""
    made = []
    for number, angle in enumerate(np.deg2rad([0, 90, 180, 270])):
        rotation = Rotation.from_euler("y", angle).as_matrix()
        shift = np.array([0, 0, 4.0]) - rotation @ np.array([0.6, 0.2, 3.7])
        made.append(View(f"cam{number}", Camera(MATRIX, 1280, 720), rotation, shift))
    return made


@pytest.fixture(scope="module")
def walk(open_body) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A child's walk: joints (F, 22, 3), keypoints (F, K, 3) and those as marked, m."""
    skeleton = open_body.skeleton(torch.zeros(1, 10))
    offsets = SIZE * skeleton.keypoint_offsets[0]
    marked = offsets.clone()
    for name, offset in MARKED.items():
        marked[NAMES.index(name)] += torch.tensor(offset)
    found = []
    for frame in range(FRAMES):
        pose, pelvis, _ = walker(frame / RATE_HZ)
        turns = rotvec_to_matrix(torch.from_numpy(pose).float())[None]
        chain, joints = open_body.forward_kinematics(turns, SIZE * skeleton.joints[:, :22])
        sets = [joints, *(open_body.keypoints(chain, joints, o) for o in (offsets, marked))]
        found.append([one[0].numpy().astype(np.float64) + pelvis for one in sets])
    joints, keypoints, seen = (np.stack(one) for one in zip(*found, strict=True))
    return joints, keypoints, seen


def frames_of(views: list[View], points: np.ndarray, noise_px: float = 0.0) -> list[list[Frame]]:
    rng = np.random.default_rng(1)
    full = np.ones(NUM_KEYPOINTS, np.float32)
    result = []
    for view in views:
        inside = points @ view.rotation.T + view.translation
        pixels = inside[..., :2] / inside[..., 2:] * 900 + MATRIX[:2, 2]
        pixels = pixels + rng.normal(0, noise_px, pixels.shape)
        people = [
            PersonObservation(
                1, np.zeros(4, np.float32), 1.0, Keypoints(one.astype(np.float32), full, full)
            )
            for one in pixels
        ]
        result.append(
            [
                Frame(round(number * 1e9 / RATE_HZ), view.camera, (person,))
                for number, person in enumerate(people)
            ]
        )
    return result


@pytest.fixture(scope="module")
def fitted(views, walk, open_body) -> FittedBody:
    """Fitted to 2 px of noise, one view with left and right exchanged for a while."""
    frames = frames_of(views, walk[2], 2.0)
    swapped = [n.replace("left", "*").replace("right", "left").replace("*", "right") for n in NAMES]
    for frame in frames[1][5:15]:
        points = frame.people[0].keypoints.points_px
        points[:] = points[[NAMES.index(name) for name in swapped]]
    marks = Marks(*observations(views, frames))
    return fit_body(views, [marks], triangulate(views, frames), open_body, RATE_HZ)


def test_the_fit_finds_the_body_and_where_its_points_are_marked(fitted, walk, open_body) -> None:
    joints, keypoints, _ = walk
    assert fitted.known.all()
    assert fitted.size[0] == pytest.approx(SIZE, abs=0.03)
    limbs = [
        JOINT_NAMES.index(f"{side}_{part}")
        for side in ("left", "right")
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    ]
    error = 1e3 * np.linalg.norm(fitted.joints - joints, axis=-1)
    assert np.median(error[:, limbs]) < 15 and error[:, limbs].max() < 60
    assert np.median(1e3 * np.linalg.norm(fitted.keypoints(open_body) - keypoints, axis=-1)) < 15
    assert np.nanmedian(fitted.residual_px) < 4
    hip, other = (fitted.offsets[0, NAMES.index(f"{side}_hip")] for side in ("left", "right"))
    assert other == pytest.approx(hip * [-1, 1, 1], abs=1e-6)
    assert hip[1] < -0.008  # towards the marked place
    assert abs(fitted.offsets[0, NAMES.index("left_wrist")]).max() < 0.01


def test_bones_do_not_change_their_length(fitted) -> None:
    for first, second in (("left_knee", "left_ankle"), ("right_elbow", "right_wrist")):
        ends = [fitted.joints[:, JOINT_NAMES.index(name)] for name in (first, second)]
        lengths = np.linalg.norm(ends[0] - ends[1], axis=-1)
        assert np.ptp(lengths) < 1e-4


def test_a_frame_that_one_view_sees_has_no_truth(fitted, open_body) -> None:
    known = fitted.known.copy()
    known[3] = False
    truth = replace(fitted, known=known).truth(open_body)
    assert truth.joints is not None
    for array in (truth.points, truth.joints, truth.error_px):
        assert np.isnan(array[3]).all() and np.isfinite(array[4]).all()


def test_the_truth_has_the_points_of_the_evaluated_model(fitted, views, open_body) -> None:
    """The same pose scores 0, and perfect keypoints are those that its network was trained on."""
    marked = load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"), True)
    size = float(fitted.size[0])
    skeleton = marked.skeleton(torch.from_numpy(fitted.betas)[None])
    rotations, joints = torch.from_numpy(fitted.rotations), torch.from_numpy(fitted.joints).float()
    own = marked.keypoints(rotations, joints, size * skeleton.keypoint_offsets).numpy()
    world = View("world", views[0].camera, np.eye(3), np.zeros(3))
    sigmas = np.ones((len(own), NUM_POINTS, 3))
    posed = np.concatenate([fitted.joints, own, sigmas], 1)
    nothing = np.zeros(own.shape[:2], bool)
    truth = fitted.truth(marked)
    assert score(posed, world, truth, nothing).keypoints_mm == pytest.approx(0, abs=1e-3)
    assert score(posed, world, fitted.truth(open_body), nothing).keypoints_mm > 20
    frames = tuple(tuple(of_view) for of_view in frames_of(views, own))
    person = TruePerson(truth, frozenset((view, 1) for view in range(4)))
    trial = Trial("t", tuple(views), frames, (person,)).with_true_keypoints()
    for given, seen in zip(trial.frames, frames, strict=True):
        for one, other in zip(given, seen, strict=True):
            perfect, projected = (f.people[0].keypoints.points_px for f in (one, other))
            np.testing.assert_allclose(perfect, projected, atol=0.01)


def test_without_a_torso_there_is_no_beginning(views, open_body) -> None:
    nothing = Truth(np.full((4, NUM_KEYPOINTS, 3), np.nan), np.full((4, NUM_KEYPOINTS), np.nan))
    blind = Marks(np.zeros((4, 4, NUM_KEYPOINTS, 2)), np.zeros((4, 4, NUM_KEYPOINTS)))
    with pytest.raises(ValueError, match="torso"):
        fit_body(views, [blind], nothing, open_body, RATE_HZ)


def test_a_trial_is_fitted_once_with_all_that_detectors_saw(
    views, walk, open_body, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    monkeypatch.setattr(body_fit, "STEPS", 12)
    frames = frames_of(views, walk[2])
    far = frames_of(views, walk[2] + np.array([1.5, 0.0, 0.0]))
    truth = triangulate(views, frames)
    tracks = frozenset((view, 1) for view in range(4))
    trial = Trial(
        "t",
        tuple(views),
        tuple(tuple(of_view) for of_view in frames),
        (TruePerson(truth, tracks, size_name(truth)),),
    )
    (one,) = fit_trial(trial, open_body, open_body, [frames_of(views, walk[1]), far]).people
    assert one.fit is not None and one.name == "child"
    assert len(one.fit.residual_px) == 2  # the third detector saw somebody else
    assert one.truth.joints is not None and len(list((tmp_path / "fits").iterdir())) == 1
    (row, other) = residuals(replace(trial, people=(one,)), trial)
    assert (row["detector"], other["detector"]) == ("1", "2")
    assert 0 < row["median_px"] < 300 and np.isfinite(row["cam3_px"])

    def never(*given: object) -> FittedBody:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitted_truth, "fit_body", never)
    (again,) = fit_trial(trial, open_body, open_body, [frames_of(views, walk[1]), far]).people
    assert again.fit is not None
    np.testing.assert_array_equal(again.fit.joints, one.fit.joints)
    with pytest.raises(AssertionError, match="again"):
        fit_trial(trial, open_body, open_body)
    monkeypatch.undo()


def test_a_damaged_cache_is_made_anew(views, walk, open_body, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    monkeypatch.setattr(body_fit, "STEPS", 2)
    frames = frames_of(views, walk[2])
    marks, truth = [Marks(*observations(views, frames))], triangulate(views, frames)
    first = cached_fit(views, marks, truth, open_body)
    (file,) = (tmp_path / "fits").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = cached_fit(views, marks, truth, open_body)
    np.testing.assert_allclose(again.joints, first.joints)
    with np.load(file) as archive:
        np.testing.assert_allclose(archive["joints"], first.joints)
