"""The body model: identities of skinning and kinematics, and the errors of a bad file."""

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import load_body_model
from moro_ros.body.topology import JOINT_NAMES, KEYPOINT_ANCHORS, PARENTS
from moro_ros.errors import BodyModelError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.resources import share_path
from moro_ros.types import KEYPOINTS


def random_pose(batch, joints=22):
    generator = torch.Generator().manual_seed(0)
    rotvec = 0.5 * torch.randn(batch, joints, 3, generator=generator)
    return rotvec_to_matrix(rotvec), torch.randn(batch, 10, generator=generator)


def test_keypoints_and_anchors_name_the_same_points_in_the_same_order():
    assert list(KEYPOINT_ANCHORS) == list(KEYPOINTS)


def test_rest_pose_is_the_template(open_body):
    zero = torch.zeros(1, 10)
    out = open_body(zero, torch.zeros(1, 3), torch.zeros(1, 63), torch.zeros(1, 3))
    torch.testing.assert_close(out.vertices[0], open_body.template, atol=2e-6, rtol=0)
    torch.testing.assert_close(out.joints[0], open_body.joint_template, atol=2e-6, rtol=0)


def test_body_stands_upright_faces_front_and_is_of_human_size(open_body):
    joints = dict(zip(JOINT_NAMES, open_body.joint_template[: len(JOINT_NAMES)], strict=True))
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_ankle"][1]
    assert joints["left_wrist"][0] > 0.5 > -0.5 > joints["right_wrist"][0]
    assert joints["left_foot"][2] > joints["left_ankle"][2]
    assert 1.5 < float(np.ptp(open_body.template[:, 1].numpy())) < 1.9


def test_global_rotation_turns_mesh_about_the_pelvis(open_body):
    rotations, betas = random_pose(2)
    turn = rotvec_to_matrix(torch.tensor([[0.3, -1.0, 0.5], [2.0, 0.1, 0.0]]))
    straight = rotations.clone()
    straight[:, 0] = torch.eye(3)
    turned = rotations.clone()
    turned[:, 0] = turn
    local, posed = open_body.skin(straight, betas), open_body.skin(turned, betas)
    torch.testing.assert_close(posed.vertices, local.vertices @ turn.mT, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        open_body.local_mesh(rotations[:, 1:], betas), local.vertices, atol=1e-6, rtol=0
    )


def test_kinematics_keep_bone_lengths_and_agree_with_skinning(open_body):
    rotations, betas = random_pose(3)
    rest = open_body.skeleton(betas).joints[:, :22]
    _, joints = open_body.forward_kinematics(rotations, rest)
    torch.testing.assert_close(joints, open_body.skin(rotations, betas).joints[:, :22])
    children, parents = list(range(1, 22)), list(PARENTS[1:])
    torch.testing.assert_close(
        (joints[:, children] - joints[:, parents]).norm(dim=-1),
        (rest[:, children] - rest[:, parents]).norm(dim=-1),
        atol=1e-5, rtol=0,
    )  # fmt: skip


def test_surface_keypoints_follow_their_vertices(open_body):
    rotations, betas = random_pose(2)
    body = open_body.skin(rotations, betas)
    skeleton = open_body.skeleton(betas)
    points = open_body.keypoints(
        body.joint_rotations[:, :22], body.joints[:, :22], skeleton.keypoint_offsets
    )
    nose = list(KEYPOINTS).index("nose")
    assert (points[:, nose] - body.vertices[:, 9120]).norm(dim=-1).max() < 0.01


def test_subset_poses_the_same_vertices(open_body):
    ids = torch.tensor([5, 9120, 333])
    rotations, betas = random_pose(2)
    whole = open_body.skin(rotations, betas).vertices[:, ids]
    torch.testing.assert_close(open_body.subset(ids).skin(rotations, betas).vertices, whole)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda a: a.pop("weights"), "weights are missing"),
        (lambda a: a.update(J_regressor=a["J_regressor"][:, :-1]), "J_regressor has shape"),
        (lambda a: a.update(shapedirs=a["shapedirs"][..., :4]), "at least 10"),
    ],
)
def test_bad_files_are_refused(tmp_path, damage, words):
    arrays = {
        "v_template": np.zeros((9950, 3)),
        "shapedirs": np.zeros((9950, 3, 10)),
        "J_regressor": np.zeros((55, 9950)),
        "weights": np.zeros((9950, 55)),
        "kintree_table": np.zeros((2, 55), np.int64),
        "f": np.zeros((1, 3), np.int64),
    }
    damage(arrays)
    np.savez(tmp_path / "body.npz", **arrays)
    with pytest.raises(BodyModelError, match=words):
        load_body_model(tmp_path / "body.npz")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "body.npz").write_bytes(b"no zip")
    with pytest.raises(BodyModelError, match="cannot be read"):
        load_body_model(tmp_path / "body.npz")
    with pytest.raises(BodyModelError, match="cannot be read"):
        load_body_model(tmp_path / "absent.npz")


def test_detector_points_are_shifted_alike_on_both_sides(open_body):
    marked = load_body_model(
        share_path("models", "open_body", "OPEN_NEUTRAL.npz"), detector_points=True
    )
    shift = (marked.keypoint_template - open_body.keypoint_template).numpy()
    names = list(KEYPOINTS)
    left, right = shift[names.index("left_hip")], shift[names.index("right_hip")]
    assert left == pytest.approx([-0.015, -0.033, -0.014], abs=1e-6)
    assert right == pytest.approx([0.015, -0.033, -0.014], abs=1e-6)
    assert not shift[names.index("left_wrist")].any()
