"""Metrics: agreement with recorded values of the published evaluation, and their invariances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.evaluation import metrics

GOLDEN = Path(__file__).parents[1] / "golden/g_metrics.npz"
NAMES = {
    "M_pa_mpjpe": "PA-MPJPE [mm]",
    "M_mpjpe": "MPJPE [mm]",
    "M_visible_mpjpe": "MPJPE visible [mm]",
    "M_occluded_mpjpe": "MPJPE occluded [mm]",
    "M_pve": "PVE [mm]",
    "M_gmpjpe": "GMPJPE [mm]",
    "M_rte": "RTE [%]",
    "M_accel": "Accel [m/s2]",
    "M_g_accel": "G-Accel [m/s2]",
    "M_jitter": "Jitter [10 m/s3]",
    "M_fs": "Sliding [mm]",
}
NAMES_WITHOUT_TRUTH = {
    "FREE_jitter": "Jitter [10 m/s3]",
    "FREE_skating_ratio": "Skating ratio",
    "FREE_penetration_depth": "Penetration depth [mm]",
    "FREE_penetration_ratio": "Penetration ratio",
    "FREE_global_accel": "Global accel [m/s2]",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


def smpl_vertices(golden: dict[str, np.ndarray], who: str) -> np.ndarray:
    """The recorded meshes: zero but for the first 200 vertices and the feet. (F, 6890, 3)."""
    vertices = np.zeros((40, 6890, 3), np.float32)
    vertices[:, :200] = golden[f"{who}_verts_first200"][0]
    vertices[:, golden["foot_idx"]] = golden[f"{who}_foot"][0]
    return vertices


@pytest.fixture(scope="module")
def against_truth(golden) -> dict[str, np.ndarray]:
    assert tuple(golden["foot_idx"]) == metrics.SMPL_FOOT_VERTICES
    return metrics.paper_metrics(
        golden["pred_joints"][0],
        golden["gt_joints"][0],
        visible=golden["visible"][0],
        predicted_vertices=smpl_vertices(golden, "pred"),
        target_vertices=smpl_vertices(golden, "gt"),
    )


@pytest.mark.parametrize("recorded", NAMES)
def test_agrees_with_the_published_evaluation(golden, against_truth, recorded) -> None:
    expected = golden[recorded].ravel()
    # The recorded RTE comes from a float32 alignment.
    np.testing.assert_allclose(against_truth[NAMES[recorded]].ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize("recorded", NAMES_WITHOUT_TRUTH)
def test_truth_free_metrics_agree(golden, recorded) -> None:
    joints = golden["pred_joints"][0]
    found = metrics.truth_free_metrics(joints, joints[..., 1], fps=30)
    expected = golden[recorded].ravel().astype(float)
    np.testing.assert_allclose(found[NAMES_WITHOUT_TRUTH[recorded]], expected, rtol=1e-5)


@pytest.fixture
def motion() -> tuple[np.ndarray, np.ndarray]:
    """A true motion and a noisy prediction, (20, 22, 3)."""
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 0.4, (1, 22, 3)) + np.cumsum(rng.normal(0, 0.03, (20, 22, 3)), 0)
    return truth + rng.normal(0, 0.05, truth.shape), truth


def test_a_perfect_prediction_has_no_error(motion) -> None:
    _, truth = motion
    found = metrics.paper_metrics(truth, truth)
    found.pop("Jitter [10 m/s3]")  # a property of the prediction alone
    for name, values in found.items():
        np.testing.assert_allclose(values, 0, atol=1e-9, err_msg=name)


def test_shift_and_similarity_leave_the_aligned_errors_alone(motion) -> None:
    predicted, truth = motion
    shifted = predicted + np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(
        metrics.joint_errors(shifted, truth), metrics.joint_errors(predicted, truth)
    )
    rotation = Rotation.from_rotvec([0.3, 2.0, -0.7]).as_matrix()
    turned = 1.7 * predicted @ rotation.T + [0.0, 3.0, 1.0]
    np.testing.assert_allclose(
        metrics.procrustes_errors(turned, truth), metrics.procrustes_errors(predicted, truth)
    )
    np.testing.assert_allclose(
        metrics.trajectory_errors(predicted @ rotation.T + 4, truth),
        metrics.trajectory_errors(predicted, truth),
    )
    assert metrics.global_joint_errors(shifted, truth).mean() > 2000


def test_alignment_does_not_mirror(motion) -> None:
    _, truth = motion
    mirrored = truth * [-1, 1, 1]
    assert metrics.procrustes_errors(mirrored, truth).mean() > 50


def test_known_sizes() -> None:
    truth = np.zeros((5, 22, 3))
    truth[:, 0, 0] = np.arange(5)  # the pelvis goes 4 m
    predicted = truth.copy()
    predicted[:, 5, 1] = 0.022
    assert metrics.joint_errors(predicted, truth).mean() == pytest.approx(1.0)
    time_s = np.arange(6) / 25.0
    falling = np.zeros((6, 22, 3))
    falling[..., 1] = (-0.5 * 9.81 * time_s**2)[:, None]
    np.testing.assert_allclose(metrics.accelerations(falling, 25), 9.81)
    np.testing.assert_allclose(metrics.jitter(falling, 25), 0, atol=1e-8)
    cubic = np.zeros((6, 22, 3))
    cubic[..., 2] = (time_s**3)[:, None]
    np.testing.assert_allclose(metrics.jitter(cubic, 25), 0.6)
    stretched = truth.copy()
    stretched[:, 0, 0] *= 1.1  # 0.2, 0.1, 0, 0.1, 0.2 m off on 4 m
    np.testing.assert_allclose(
        metrics.trajectory_errors(stretched, truth), [5, 2.5, 0, 2.5, 5], atol=1e-9
    )


def test_sliding_counts_only_standing_feet() -> None:
    real = np.zeros((3, 2, 3))
    real[:, 1, 0] = [0, 0.5, 1.0]  # the second point moves at 15 m/s
    predicted = np.zeros((3, 2, 3))
    predicted[:, :, 2] = np.array([0, 0.004, 0.010])[:, None]
    np.testing.assert_allclose(metrics.foot_sliding(predicted, real, fps=30), [4, 6])


def test_skating_needs_both_feet_low_and_fast() -> None:
    standing = np.zeros((4, 22, 3))
    sliding = standing.copy()
    sliding[:, [7, 8, 10, 11], 0] = (0.02 * np.arange(4))[:, None]  # 0.6 m/s
    one_foot = standing.copy()
    one_foot[:, [7, 10], 0] = sliding[:, [7, 10], 0]
    in_the_air = sliding + np.array([0, 0.2, 0])
    assert metrics.skating(sliding, 0.0, 30).tolist() == [True] * 3
    for joints in (standing, one_foot, in_the_air):
        assert not metrics.skating(joints, 0.0, 30).any()


def test_penetration_is_measured_below_the_ground_only() -> None:
    joints = np.zeros((3, 22, 3))
    joints[:, 10, 1] = [0.05, -0.01, -0.03]
    np.testing.assert_allclose(metrics.penetration_depths(joints, 0.0), [0, 10, 30])


def test_means_pool_the_frames_of_all_sequences() -> None:
    short, long = {"MPJPE [mm]": np.full(1, 10.0)}, {"MPJPE [mm]": np.full(9, 20.0)}
    empty = {"MPJPE occluded [mm]": np.empty(0)}
    means = metrics.pooled_means([short, long, empty])
    assert means["MPJPE [mm]"] == pytest.approx(19)
    assert np.isnan(means["MPJPE occluded [mm]"])
