"""The parts of the fusion: slopes of the solver, looks between images, checks of the extrinsics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import CalibrationError, DataError
from moro_ros.geometry.rotation import matrix_to_rotvec
from moro_ros.geometry.views import check_views, intersect, projected
from moro_ros.recover.fusion.estimate import (
    ALONG,
    HIDDEN,
    extrinsics_covariance,
    look_of,
    network_body,
    turn_weights,
    view_terms,
)
from moro_ros.recover.fusion.extrinsics import refine_extrinsics, stepped
from moro_ros.recover.fusion.looks import LONGEST_CARRY_S, Looks
from moro_ros.recover.fusion.solver import SHAPE, UNKNOWNS, Shape, Solver, first_shape
from moro_ros.recover.refinement import moved
from moro_ros.types import KEYPOINTS, STATURE, Place


def seen_by(stage, views, number: int = 0) -> tuple[list, list]:
    """The views' looks at one of the people, and their networks' bodies."""
    looks = []
    for view in views:
        frame, motions = stage.look(view, 0.3)
        looks.append(look_of(frame.people[number], frame, motions[number]))
    return looks, [network_body(view, look) for view, look in zip(views, looks, strict=True)]


def test_the_normal_equations_are_the_slope_of_the_cost(stage) -> None:
    """The gradient of all unknowns agrees with finite differences of the keypoints' cost."""
    solver = Solver(stage.body)
    looks, networks = seen_by(stage, stage.views)
    terms = view_terms(list(stage.views), looks, networks, solver.size)
    now, betas = networks[0], torch.full((10,), 0.3)
    _, gradient, _ = solver._keypoint_terms(now, betas, terms, far=1e6)  # nothing is an outlier

    def cost(step: torch.Tensor) -> float:
        body, shape = moved(now, step[None, : UNKNOWNS - 10]), betas + step[SHAPE]
        _, _, points = solver.posed(body, shape)
        placed = (points + body.translation[0]) @ terms.rotation.mT + terms.translation[:, None]
        planar = placed[..., :2] / placed[..., 2:]
        off = (planar - terms.points).double() / terms.spread[:, None, None]
        return float(0.5 * (terms.weight * off.square().sum(-1)).sum())

    for unknown in (0, 4, 3 * 16 + 2, 3 * 18 + 1, 66, 68, 69, 72):
        step = torch.zeros(UNKNOWNS)
        step[unknown] = 1e-3
        slope = (cost(step) - cost(-step)) / 2e-3
        assert float(gradient[unknown]) == pytest.approx(slope, rel=0.02, abs=2.0)


def test_what_is_learned_of_the_shape_grows_with_the_images(stage) -> None:
    solver = Solver(stage.body)
    looks, networks = seen_by(stage, stage.views)
    terms = view_terms(list(stage.views), looks, networks, solver.size)
    shape: Shape | None = None
    known = []
    for _ in range(3):
        shape = solver.solve(terms, shape, None).shape
        known.append(float(torch.linalg.eigvalsh(shape.precision).min()))
        assert torch.allclose(shape.precision, shape.precision.mT)
    assert 0 < known[0] < known[1] < known[2]


def test_a_hidden_arm_is_where_the_view_that_sees_it_has_it(stage) -> None:
    """The second view's network imagines the hidden arm elsewhere in the first one's depth."""
    solver, views = Solver(stage.body), [stage.views[1], stage.views[0]]
    looks, _ = seen_by(stage, views, 1)
    arm = [JOINT_NAMES.index(f"right_{name}") for name in ("elbow", "wrist")]
    points = [list(KEYPOINTS).index(f"right_{name}") for name in ("elbow", "wrist")]
    motion = looks[1].motion
    pose, observed = motion.smplx.body_pose.copy(), motion.observed.copy()
    pose[0, 3 * (JOINT_NAMES.index("right_shoulder") - 1) + 1] -= 1.5
    observed[:, arm] = False
    weight = looks[1].weight.copy()
    weight[points] = 0.0
    smplx = replace(motion.smplx, body_pose=pose)
    looks[1] = replace(
        looks[1], weight=weight, motion=replace(motion, smplx=smplx, observed=observed)
    )
    networks = [network_body(view, look) for view, look in zip(views, looks, strict=True)]
    body = solver.solve(view_terms(views, looks, networks, solver.size), None, None)
    _, joints, _ = solver.posed(body.body, body.shape.betas)
    found = (joints + body.body.translation[0]).numpy()[arm]
    true = stage.person(1, 0.3).joints[0, arm]
    assert np.linalg.norm(found - true, axis=-1).max() < 0.03


def test_what_no_view_sees_has_the_weight_of_what_all_see(stage) -> None:
    looks, _ = seen_by(stage, stage.views)
    knee, foot = JOINT_NAMES.index("left_knee"), JOINT_NAMES.index("left_foot")
    seen = np.ones((3, 1, 22), bool)
    seen[0, 0, JOINT_NAMES.index("left_ankle")] = seen[:, 0, foot] = False
    looks = [
        replace(look, motion=replace(look.motion, observed=row))
        for look, row in zip(looks, seen, strict=True)
    ]
    weight = turn_weights(looks, [True, True, True])
    assert weight[:, knee].tolist() == [HIDDEN, 1.0, 1.0]
    assert weight[:, foot].tolist() == [1.0, 1.0, 1.0]
    weight = turn_weights(looks, [True, False, False])
    assert weight[:, knee].tolist() == [1.0, 0.0, 0.0]


def test_a_new_person_has_the_shape_of_the_view_that_knows_their_distance(stage) -> None:
    solver, views = Solver(stage.body), list(stage.views[:2])
    looks, networks = seen_by(stage, views)
    known = np.broadcast_to(np.eye(3, dtype=np.float32) * 0.01**2, (1, 22, 3, 3))
    motion = looks[1].motion
    smplx = replace(motion.smplx, betas=np.full(10, 2.0, np.float32))
    looks[1] = replace(looks[1], motion=replace(motion, smplx=smplx, covariance=known))
    shape = first_shape(view_terms(views, looks, networks, solver.size))
    assert shape.betas.numpy() == pytest.approx(2.0, abs=0.01)


def test_a_stature_that_one_view_knows_is_that_of_the_body(stage) -> None:
    """Also if it is set later; with every image it is the same knowledge, which does not grow."""
    solver, views = Solver(stage.body), list(stage.views[:2])
    looks, networks = seen_by(stage, views)
    looks = [replace(look, weight=np.zeros_like(look.weight)) for look in looks]
    shape = solver.solve(view_terms(views, looks, networks, solver.size), None, None).shape
    tall = solver.size.with_stature(torch.zeros(10), 1.95)
    motion = looks[1].motion
    told = replace(
        motion, smplx=replace(motion.smplx, betas=tall.numpy()), place=Place(STATURE, 0.02)
    )
    looks[1] = replace(looks[1], motion=told)
    terms = view_terms(views, looks, networks, solver.size)
    later = solver.solve(terms, shape, None).shape
    assert solver.size.stature(shape.betas) < 1.8
    assert solver.size.stature(later.betas) == pytest.approx(1.95, abs=0.03)
    assert torch.allclose(later.precision, shape.precision, atol=1e-3)


def looks_at(stage, times) -> tuple[Looks, list]:
    looks, view = Looks(), stage.views[0]
    made = []
    for seconds in times:
        frame, motions = stage.look(view, seconds)
        made.append(look_of(frame.people[0], frame, motions[0]))
        looks.add(made[-1])
    return looks, made


def test_looks_are_interpolated_and_carried_on_but_not_for_long(stage) -> None:
    looks, (first, last) = looks_at(stage, (0.1, 0.2))
    between = looks.at(150_000_000)
    assert between is not None
    assert np.allclose(between.points, (first.points + last.points) / 2)
    after = looks.at(230_000_000)
    assert after is not None
    assert np.allclose(after.points, last.points + 0.3 * (last.points - first.points))
    assert 0 < after.weight.max() < last.weight.max()
    assert np.array_equal(looks.at(200_000_000).points, last.points)
    assert looks.at(round((0.2 + LONGEST_CARRY_S) * 1e9) + 1) is None
    assert looks.at(99_000_000) is None


def test_looks_far_apart_are_not_joined_and_old_ones_are_dropped(stage) -> None:
    looks, (_, last) = looks_at(stage, (0.1, 0.6))
    assert looks.at(300_000_000) is None and looks.at(620_000_000) is None
    looks.add(replace(last, stamp_ns=200_000_000))
    assert np.array_equal(looks.at(last.stamp_ns).points, last.points)


def test_one_camera_in_millimetres_is_named(stage) -> None:
    left, middle, right = stage.views
    wrong = replace(middle, translation=1000 * middle.translation)
    with pytest.raises(CalibrationError, match=r"camera middle .* millimetres"):
        check_views((left, wrong, right), "calibration.toml")
    check_views(stage.views, "calibration.toml")


def test_two_cameras_with_the_extrinsics_of_one_are_named(stage) -> None:
    left, middle, _ = stage.views
    with pytest.raises(CalibrationError, match="left and copy are at the same place"):
        check_views((left, middle, replace(left, name="copy")), "calibration.toml")


def cloud(stage, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(1).uniform([-1.5, -0.9, -1], [1.5, 0.9, 1], (count, 3))
    seen = np.stack([projected(view, points)[0] for view in stage.views])
    return seen, np.ones(seen.shape[:2])


def test_cameras_that_are_off_are_brought_back(stage) -> None:
    point, weight = cloud(stage)
    rng = np.random.default_rng(2)
    point = point + rng.normal(0, 0.003, point.shape)
    point[1, :20] += 0.3  # mistaken keypoints of one camera
    step = np.concatenate([[0.03, -0.02, 0.04, 0.03, 0.0, -0.04], [-0.04, 0.03, 0.0, 0, 0.05, 0]])
    found = refine_extrinsics(stepped(stage.views, step), point, weight)
    assert max(found.after_px) < 4 < max(found.before_px)
    world = intersect(stage.views, point[:, None], weight[:, None])[0]
    again = intersect(found.views, point[:, None], weight[:, None])[0]
    assert np.median(np.linalg.norm(again - world, axis=-1)) < 0.03
    turned = torch.tensor(found.views[1].rotation @ stage.views[1].rotation.T)
    assert float(matrix_to_rotvec(turned).norm()) < 0.01 < np.radians(found.turn_deg[1])
    assert found.turn_deg[0] == found.shift_m[0] == 0.0


def test_the_error_is_that_of_points_that_were_held_out(stage) -> None:
    """Mistakes that are not fitted do not fall."""
    point, weight = cloud(stage)
    noise = np.random.default_rng(2).normal(0, 0.003, point.shape)
    fitted = refine_extrinsics(stage.views, point + noise, weight)
    assert fitted.points == 320
    noise[:, ::5] *= 4.0
    found = refine_extrinsics(stage.views, point + noise, weight)
    assert min(found.after_px) > 2.0 * max(fitted.after_px)


def test_a_camera_that_shares_nothing_is_named(stage) -> None:
    point, weight = cloud(stage)
    weight[2] = 0
    with pytest.raises(DataError, match="Camera right shares 0 keypoints"):
        refine_extrinsics(stage.views, point, weight)


def test_the_error_of_extrinsics_is_across_the_lines_of_sight() -> None:
    sights = np.array([[0.0, 0.0, 4.0], [3.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    two = extrinsics_covariance(sights, np.array([0.01, 0.01, np.nan]))
    # x is known from the first camera, z from the second, y from both.
    expected = [0.04, (0.04**-2 + 0.03**-2) ** -0.5, 0.03]
    np.testing.assert_allclose(np.sqrt(np.diag(two)), expected, rtol=0.01)
    assert np.allclose(two, np.diag(np.diag(two)))
    one = extrinsics_covariance(sights[:1], np.array([0.01]))
    np.testing.assert_allclose(np.sqrt(np.diag(one)), [0.04, 0.04, 4.0 * ALONG])
    assert np.linalg.eigvalsh(extrinsics_covariance(np.zeros((2, 3)), np.zeros(2))).min() > 0
