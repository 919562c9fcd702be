"""Comparison of our losses with the recorded losses of a golden set (golden_set.py)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from moro_ros.cli.golden.golden_set import Group, Subject
from moro_ros.cli.golden.tokenizer import NO_TABLES, load_tokenizer
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.resources import share_path
from moro_ros.training.clips import View
from moro_ros.training.head_terms import token_loss
from moro_ros.training.mesh_terms import (
    MeshJoints,
    Pose,
    integrated_pose,
    joint_terms,
    length_error,
    plane_term,
    squared_pose_terms,
)
from moro_ros.training.setup import load_training

FPS, MM = 30.0, 1e3
# Recorded name -> our term.
TERMS = {
    "L_loss_ce": "tokens",
    "L_loss_contact": "contact",
    "L_loss_rot_coarse": "coarse_rotation_squared",
    "L_loss_rot": "final_rotation_squared",
    "L_loss_transl_coarse": "coarse_translation_squared",
    "L_loss_transl": "final_translation_squared",
    "L_loss_v3d_local": "mesh",
    "L_loss_j3d_pos_rel": "mesh_joints_rel",
    "L_loss_j3d_pos_coarse": "mesh_joints_coarse",
    "L_loss_j3d_pos": "mesh_joints_final",
    "L_loss_j3d_vel_rel": "mesh_steps_rel",
    "L_loss_j3d_vel_coarse": "mesh_steps_coarse",
    "L_loss_j3d_vel": "mesh_steps_final",
    "L_loss_j2d_coarse": "mesh_plane_coarse",
    "L_loss_j2d": "mesh_plane_final",
    "L_loss_accel": "mesh_acceleration_final",
    "L_loss_skating": "mesh_skating_final",
}
# Figures of the training log that are losses in another unit.
FIGURES = {
    "M_mve": ("mesh", MM),
    "M_gmpjpe_coarse": ("mesh_joints_coarse", MM),
    "M_gmpjpe": ("mesh_joints_final", MM),
    "M_gmpjve": ("mesh_steps_final", FPS),
}
UNDEFINED = "figure of the training log without a published definition; no loss"


def compare_losses(
    subject: Subject, group: Group, features: FrameFeatures, output: DecoderOutput
) -> None:
    """f: the loss terms of the paper's last stage, their weights and their sum.

    Terms on meshes need the connection tables; the sum takes recorded values in their place.
    """
    terms = trajectory_terms(subject, group, features, output)
    if subject.tables is None:
        group.skip(NO_TABLES, *(name for name, term in TERMS.items() if term not in terms))
        group.skip(NO_TABLES, "joint_regressor_fp16", "gt_noise_fp16", "gt_ids", *FIGURES)
        group.skip(NO_TABLES, "M_gmve", "M_gmve_coarse")
    else:
        terms.update(mesh_terms(subject, group, features, output))
        for name, (term, unit) in FIGURES.items():
            group.compare(name, unit * terms[term])
    for name, term in TERMS.items():
        if term in terms:
            group.compare(name, terms[term])
    weights = load_training(share_path("config", "paper_training.yaml")).stage("video").weights
    if all(name in group for name in (*TERMS, "L_loss")):
        recorded = {term: torch.from_numpy(group.arrays[name]) for name, term in TERMS.items()}
        found = {name: value.cpu() for name, value in terms.items()}
        group.compare("L_loss", weights.total({**recorded, **found}))
    group.skip(UNDEFINED)


def trajectory_terms(
    subject: Subject, group: Group, features: FrameFeatures, output: DecoderOutput
) -> dict[str, Tensor]:
    """Compare the integrated trajectory, tokens and contact; return the terms without a mesh."""
    model, device = subject.model, subject.device
    truth = true_pose(subject, group)
    mean, std = model.trajectory_mean, model.trajectory_std
    rel = integrated_pose(output.clean_trajectory, mean, std, truth)
    group.compare("cano_rel_rotation", rel.rotation)
    group.compare("cano_rel_translation", rel.translation[:, :, None])
    labels = group.tensor("labels", device)
    masked = labels != model.mask_id
    picked = output.logits.argmax(-1)
    group.compare("pred_ids", picked)
    group.compare("acc", (picked == labels)[masked].double().mean())
    terms = {"tokens": token_loss(output.logits, labels.where(masked, 0), masked)}
    if "contact_label" in group:
        contact, logits = group.tensor("contact_label", device), output.contact[:, :-1]
        terms["contact"] = binary_cross_entropy_with_logits(logits, contact)
        group.compare("M_contact_acc", ((logits > 0) == (contact > 0.5)).float().mean())
    coarse = Pose(features.rotation, features.translation)
    final = Pose(output.rotation, output.translation)
    for kind, pose in (("coarse", coarse), ("final", final)):
        terms.update(squared_pose_terms(kind, pose, truth))
    return terms


def true_pose(subject: Subject, group: Group) -> Pose:
    """The recorded truth of the trajectory."""
    device = subject.device
    translation = group.tensor("gt_translation", device).squeeze(2)
    return Pose(group.tensor("gt_rotation", device), translation)


def mesh_terms(
    subject: Subject, group: Group, features: FrameFeatures, output: DecoderOutput
) -> dict[str, Tensor]:
    """The terms on the mesh of the most likely tokens, smoothed, against the recorded mesh."""
    model, device = subject.model, subject.device
    tokenizer = load_tokenizer(subject, subject.golden.weights)
    base = subject.needed("a_tokenizer").tensor("recon_from_ids", device)[0]
    true_mesh = base + group.tensor("gt_noise_fp16", device)
    codes = model.smoother(model.embed(output.logits.argmax(-1)))
    mesh = tokenizer.decode_codes(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
    regressor = group.tensor("joint_regressor_fp16", device)
    joints, true_joints = (MeshJoints.of(regressor, some) for some in (mesh, true_mesh))
    truth, view = true_pose(subject, group), recorded_view(subject)
    mean, std = model.trajectory_mean, model.trajectory_std
    poses = {
        "rel": integrated_pose(output.clean_trajectory, mean, std, truth),
        "coarse": Pose(features.rotation, features.translation),
        "final": Pose(output.rotation, output.translation),
    }
    contact, placed = group.tensor("contact_label", device), true_joints.posed(truth)
    terms = {"mesh": length_error(mesh, true_mesh)}
    for kind, pose in poses.items():
        seen = joints.posed(pose)
        terms.update(joint_terms(kind, seen, placed, contact, FPS))
        if kind != "rel":
            terms[f"mesh_plane_{kind}"] = plane_term(seen, placed, view)
            name = "M_gmve" if kind == "final" else "M_gmve_coarse"
            error = length_error(posed(mesh, pose), posed(true_mesh, truth))
            group.compare(name, MM * error)
    return terms


def posed(mesh: Tensor, pose: Pose) -> Tensor:
    """A local mesh (B, F, V, 3) m in the camera frame."""
    return mesh @ pose.rotation.mT + pose.translation[:, :, None]


def recorded_view(subject: Subject) -> View:
    """The camera and the boxes of the set's images."""
    crops, device = subject.needed("b0_crop"), subject.device
    box = crops.tensor("bbox", device)
    return View(
        observation=box,
        box=box,
        matrix=crops.tensor("K", device)[None],
        box_center=crops.tensor("center", device)[None],
        box_side=200 * crops.tensor("scale", device)[None],
        placed=torch.ones(1, dtype=torch.bool, device=device),
    )
