"""SMPL-X parameters from mesh vertices, in closed form, by smplfitter."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import smplfitter.pt
import torch

from moro_ros.body.body_model import NUM_BETAS, BodyModel
from moro_ros.body.hierarchy import affine_weights
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.types import SmplxParams

# The eyes (joints 23, 24) are not fitted: the mesh of the tokenizer has no eyeballs.
EYE_JOINTS = (23, 24)

# The sample of posed bodies that the joint regressor is fitted on.
REGRESSOR_BODIES = 80
REGRESSOR_VERTICES = 96
REGRESSOR_NOISE_M = 0.002
POSE_SPREAD_RAD = 0.5


class SmplxFitter:
    """Fits one body model to meshes of its own topology; build once, fit often.

    body_model: the body whose parameters are fitted.
    vertex_count: number of its first vertices in the meshes (9383 for SMPL-X without eyeballs);
    None for all.
    joint_regressor: (N, V), joints from POSED vertices; None fits one to posed bodies, because the
        regressor of a body file is meant for the rest pose (on the open body its knees are off by
        39 mm). The published evaluation passes body_model.joint_regressor.
    beta_regularizer: pull towards the mean shape. The published evaluation uses 1; the open body's
        later shape directions are small, and 1 would flatten them.
    """

    def __init__(
        self,
        body_model: BodyModel,
        vertex_count: int | None = None,
        joint_regressor: np.ndarray | None = None,
        beta_regularizer: float = 0.01,
    ) -> None:
        self._count = body_model.num_vertices if vertex_count is None else vertex_count
        self._beta_regularizer = beta_regularizer
        self._pelvis_shape = body_model.joint_shapedirs[0].cpu().numpy()
        self._joint_weights = torch.ones(1, len(body_model.parents))
        self._joint_weights[:, list(EYE_JOINTS)] = 0
        if joint_regressor is None:
            joint_regressor = posed_joint_regressor(body_model, self._count)
        body = _smplfitter_body(body_model, joint_regressor[:, : self._count])
        self._fitter = smplfitter.pt.BodyFitter(body)

    def fit(
        self, vertices: np.ndarray, iterations: int = 1, share_betas: bool = True
    ) -> SmplxParams:
        """Fit all frames at once.

        vertices: (F, V, 3), metres, camera optical frame. iterations: more is nearer and slower.
        share_betas: one shape for all frames; otherwise each frame is fitted with its own shape,
        and the parameters carry the mean shape.
        Raises: ValueError when the vertices have another shape.
        """
        if vertices.ndim != 3 or vertices.shape[1:] != (self._count, 3):
            raise ValueError(f"vertices {vertices.shape}, expected (F, {self._count}, 3)")
        frames = len(vertices)
        with torch.inference_mode():
            result = self._fitter.fit(
                torch.as_tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
                joint_weights=self._joint_weights,
                num_iter=iterations,
                beta_regularizer=self._beta_regularizer,
                share_beta=share_betas,
                requested_keys=["pose_rotvecs", "shape_betas", "trans"],
            )
        pose = result["pose_rotvecs"].reshape(frames, -1, 3)[:, :NUM_JOINTS].numpy()
        frame_betas = result["shape_betas"].reshape(-1, NUM_BETAS).numpy()
        betas = frame_betas.mean(0)
        # With its own shape a frame's pelvis is elsewhere in the body; keep its position in space.
        drift = (frame_betas - betas) @ self._pelvis_shape.T  # (F or 1, 3)
        return SmplxParams(
            betas=betas,
            global_orient=pose[:, 0].copy(),
            body_pose=pose[:, 1:].reshape(frames, -1).copy(),
            transl=result["trans"].numpy() + drift,
        )


def posed_joint_regressor(body_model: BodyModel, vertex_count: int) -> np.ndarray:
    """Regress joints from the first vertices of posed bodies of random pose and shape.

    Returns (N, vertex_count) float32, rows summing to 1. The sample is the same at each call.
    """
    generator = torch.Generator().manual_seed(0)
    device = body_model.template.device
    shape = (REGRESSOR_BODIES, len(body_model.parents), 3)
    pose = POSE_SPREAD_RAD * torch.randn(shape, generator=generator)
    betas = torch.randn(REGRESSOR_BODIES, NUM_BETAS, generator=generator)
    with torch.inference_mode():
        body = body_model.skin(rotvec_to_matrix(pose).to(device), betas.to(device))
    vertices = body.vertices[:, :vertex_count].cpu().double().numpy().transpose(1, 0, 2)
    joints = body.joints.cpu().double().numpy().transpose(1, 0, 2)  # (N, bodies, 3)
    template = body_model.template[:vertex_count].cpu().numpy()
    regressor = np.zeros((len(joints), vertex_count), np.float32)
    for joint, rest in enumerate(body_model.joint_template.cpu().numpy()):
        near = np.argsort(np.linalg.norm(template - rest, axis=1))[:REGRESSOR_VERTICES]
        offsets = (vertices[near] - joints[joint]).reshape(1, len(near), -1)
        regressor[joint, near] = affine_weights(offsets, REGRESSOR_NOISE_M)[0]
    return regressor


def _smplfitter_body(body_model: BodyModel, posed_regressor: np.ndarray) -> smplfitter.pt.BodyModel:
    """smplfitter's view of the first vertices of a body model.

    It only reads models from a folder in SMPL-X's layout, so the body is written to one.
    """
    vertices, joints = body_model.num_vertices, len(body_model.parents)
    posedirs = body_model.posedirs
    if posedirs is None:
        posedirs = torch.zeros(vertices, 3, 9 * (joints - 1))
    arrays = {
        "v_template": body_model.template,
        "shapedirs": body_model.shapedirs,
        "posedirs": posedirs,
        "J_regressor": body_model.joint_regressor,
        "weights": body_model.weights,
        "kintree_table": torch.tensor([body_model.parents, tuple(range(joints))]),
        "f": body_model.faces,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "SMPLX_NEUTRAL.npz")
        np.savez(path, **{name: value.cpu().numpy() for name, value in arrays.items()})  # type: ignore[arg-type]
        # smplfitter reads all zeros as "no kid template".
        np.save(Path(folder, "kid_template.npy"), np.zeros((vertices, 3)))
        return smplfitter.pt.BodyModel(
            "smplx",
            "neutral",
            model_root=folder,
            num_betas=NUM_BETAS,
            vertex_subset=np.arange(posed_regressor.shape[1]),
            joint_regressor_post_lbs=posed_regressor,
        )
