"""The paper's terms: zero at the truth, the right size beside it, and gradients to the logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moro_ros.cli.golden.golden_set import GoldenSet
from moro_ros.cli.golden.groups import Subject, encode_images
from moro_ros.cli.golden.losses import TERMS, recorded_view, trajectory_terms, true_pose
from moro_ros.geometry.camera import weak_to_full_camera
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.training.clips import View
from moro_ros.training.mesh_terms import (
    MeshJoints,
    Pose,
    integrated_pose,
    joint_terms,
    plane_term,
    sampled_codes,
    skating,
    squared_pose_terms,
    weak_plane_term,
)

FULL = Path(__file__).parents[3] / "shared/spec/golden"


def scene(clips: int = 2, frames: int = 5) -> tuple[torch.Tensor, torch.Tensor, Pose, View]:
    """A mesh, a joint regressor, a pose 4 m away and a camera whose box is around the person."""
    torch.manual_seed(0)
    mesh = 0.4 * torch.randn(clips, frames, 40, 3)
    regressor = torch.rand(22, 40)
    regressor = regressor / regressor.sum(1, keepdim=True)
    translation = torch.tensor([0.3, -0.2, 4.0]) + 0.1 * torch.randn(clips, frames, 3)
    pose = Pose(rotvec_to_matrix(torch.randn(clips, frames, 3)), translation)
    matrix = torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]).expand(clips, 3, 3)
    center = torch.tensor([350.0, 220.0]).expand(clips, frames, 2)
    side = torch.full((clips, frames), 200.0)
    box = torch.cat([(center - matrix[0, :2, 2]) / 500, side[..., None] / 500], -1)
    return mesh, regressor, pose, View(box, box, matrix, center, side, torch.ones(clips).bool())


def test_joints_of_the_posed_mesh_are_the_posed_joints():
    mesh, regressor, pose, _ = scene()
    joints = MeshJoints.of(3 * regressor, mesh)  # rows that do not sum to one count as well
    posed = mesh @ pose.rotation.mT + pose.translation[:, :, None]
    direct = torch.einsum("jv,bfvc->bfjc", 3 * regressor, posed)
    assert torch.allclose(joints.posed(pose), direct, atol=1e-5)


def test_terms_are_zero_at_the_truth_and_as_large_as_the_shift_beside_it():
    mesh, regressor, pose, view = scene()
    joints = MeshJoints.of(regressor, mesh).posed(pose)
    contact = torch.zeros(2, 4, 4)
    assert all(float(v) == 0 for v in joint_terms("final", joints, joints, contact, 30.0).values())
    assert float(plane_term(joints, joints, view)) == 0
    shift = torch.zeros(2, 5, 1, 3)
    shift[:, 2] = torch.tensor([0.0, 0.3, 0.4])
    terms = joint_terms("final", joints + shift, joints, contact, 30.0)
    assert float(terms["mesh_joints_final"]) == pytest.approx(0.5 / 5, rel=1e-5)
    assert float(terms["mesh_steps_final"]) == pytest.approx(2 * 0.5 / 4, rel=1e-5)
    single = joint_terms("rel", joints[:, :1], joints[:, :1], contact[:, :0], 30.0)
    assert set(single) == {"mesh_joints_rel"}


def test_a_pixel_is_worth_its_share_of_the_box():
    mesh, regressor, pose, view = scene()
    joints = MeshJoints.of(regressor, mesh).posed(pose)
    beside = joints.clone()
    beside[..., 0] += beside[..., 2] * 10 / 500  # 10 px
    assert float(plane_term(beside, joints, view)) == pytest.approx(10 / 100 / 2, rel=1e-3)


def test_only_standing_feet_that_move_skate():
    joints = torch.zeros(1, 3, 22, 3)
    joints[:, :, 7, 0] = torch.arange(3) * 0.02  # the left ankle, at 0.6 m/s
    contact = torch.zeros(1, 2, 4)
    contact[..., 2] = 1
    assert float(skating(joints, contact, 30.0)) == 0
    contact[..., 0] = 1
    assert float(skating(joints, contact, 30.0)) == pytest.approx((0.6 - 0.15) / 2, rel=1e-4)


def test_the_weak_camera_is_that_of_the_full_pose():
    mesh, regressor, _, view = scene()
    weak = torch.zeros(2, 5, 9)
    weak[..., :6] = torch.tensor([1.0, 0, 0, 0, -1, 0])
    weak[..., 6:] = torch.tensor([-0.2, 0.1, 0.3])
    pose = Pose(*weak_to_full_camera(weak, view.box))
    points = torch.einsum("jv,bfvc->bfjc", regressor[:17], mesh) @ pose.rotation.mT
    plane = np.exp(-0.2) * (points[..., :2] + torch.tensor([0.1, 0.3]))
    exact = torch.cat([plane, torch.ones_like(plane[..., :1])], -1)
    off = exact + torch.tensor([0.2, 0.0, 0.0])
    for labels, expected in ((exact, 0.0), (off, 0.1)):
        seen = View(*(getattr(view, n) for n in View.__slots__[:6]), points_2d=labels)
        found = weak_plane_term(mesh, regressor[:17], pose, seen)
        assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_codes_of_logits_are_codes_and_carry_gradients(temperature):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 7, requires_grad=True)
    codebook = torch.randn(7, 9)
    codes = sampled_codes(logits, codebook, temperature)
    if temperature is not None:
        nearest = torch.cdist(codes.detach().flatten(0, 2), codebook).amin(1)
        assert float(nearest.max()) < 1e-4  # hard: each is a code of the book
    codes.sum().backward()
    assert logits.grad is not None and float(logits.grad.abs().sum()) > 0


@pytest.mark.skipif(not FULL.is_dir(), reason="the full recording is not beside the checkout")
def test_recorded_mesh_losses_follow_with_a_similar_mesh():
    """Without the connection tables the clip's mesh cannot be decoded: another one stands in.

    It is a recorded mesh of the same body, which moves the terms by little against what a wrong
    formula would.
    """
    golden, cpu = GoldenSet(FULL), torch.device("cpu")
    subject = Subject(golden, golden.load_moro(cpu), cpu, None, True)
    group, model = golden.group("f_losses"), subject.model
    with torch.no_grad():
        features, _ = encode_images(subject)
        codes = model.embed(subject.needed("c_video_forward").tensor("ids", cpu))
        output = model.decode_window(codes, features, features.rotation, features.translation)
        terms = trajectory_terms(subject, group, features, output)
        base = golden.group("a_tokenizer").tensor("recon_from_ids", cpu)[0]
        true_mesh = base + group.tensor("gt_noise_fp16", cpu)
        frames = golden.group("d_inference").tensor("local_mesh_frames_0_5_11", cpu)
        mesh = frames[:, [0] * 5 + [1] * 5 + [2] * 2]
        regressor = group.tensor("joint_regressor_fp16", cpu)
        joints, true_joints = (MeshJoints.of(regressor, some) for some in (mesh, true_mesh))
        truth, view = true_pose(subject, group), recorded_view(subject)
        contact = group.tensor("contact_label", cpu)
        placed = true_joints.posed(truth)
        poses = {
            "rel": integrated_pose(
                output.clean_trajectory, model.trajectory_mean, model.trajectory_std, truth
            ),
            "coarse": Pose(features.rotation, features.translation),
            "final": Pose(output.rotation, output.translation),
        }
        for kind, pose in poses.items():
            seen = joints.posed(pose)
            terms.update(joint_terms(kind, seen, placed, contact, 30.0))
            terms[f"mesh_plane_{kind}"] = plane_term(seen, placed, view)
        terms["mesh"] = (mesh - true_mesh).norm(dim=-1).mean()
    for name, term in TERMS.items():
        assert float(terms[term]) == pytest.approx(float(group.arrays[name]), rel=0.03), name


def test_squared_terms_are_means_over_all_numbers():
    _, _, pose, _ = scene()
    moved = Pose(pose.rotation, pose.translation + torch.tensor([0.3, 0.0, 0.0]))
    terms = squared_pose_terms("coarse", moved, pose)
    assert float(terms["coarse_translation_squared"]) == pytest.approx(0.03, rel=1e-4)
    assert float(terms["coarse_rotation_squared"]) == 0
