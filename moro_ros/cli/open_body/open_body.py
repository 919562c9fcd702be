"""Generate the open body: Anny's body in the file format, joint tree and topology size of SMPL-X.

It is NOT SMPL-X: another mesh, another shape space, other joint positions. Equal are the 55-joint
tree, the array names and shapes (10475 vertices), the axes (y up, faces +z, left = +x, metres) and
the ids of the surface points that software for SMPL-X hard-codes (nose, ears, toes, finger tips).
Anny (Apache-2.0, with CC0 MakeHuman assets) is needed to generate the file, never to use it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moro_ros.body.topology import SURFACE_VERTICES
from moro_ros.cli.open_body.anny_rig import SMPLX_PARENTS, rest_body, skin_weights, surface_points
from moro_ros.cli.open_body.mesh_decimation import decimate
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_folder
from moro_ros.errors import BodyModelError

NUM_VERTICES = 10475
NUM_BETAS = 10
NUM_EXPRESSIONS = 10
NEUTRAL_SAMPLES = 300
GENDERED_SAMPLES = 80
REGRESSOR_VERTICES = 60
# Ridge that keeps a joint regressor near the mean of its vertices [m], and the weight of "sum = 1".
REGRESSOR_RIDGE_M = 1e-3
REGRESSOR_SUM_WEIGHT = 100.0

# Vertex ids of the points that the joint list of the SMPL-X software ends with, beside ours.
TIP_VERTICES: dict[str, int] = {
    "right_eye": 9929,
    "left_eye": 9448,
    "right_thumb": 8079,
    "right_index": 7669,
    "right_middle": 7794,
    "right_ring": 7905,
    "right_pinky": 8022,
    "left_thumb": 5361,
    "left_index": 4933,
    "left_middle": 5058,
    "left_ring": 5169,
    "left_pinky": 5286,
}
AVERAGE_ADULT: dict[str, float] = {
    "gender": 0.5,
    "age": 0.67,
    "muscle": 0.5,
    "weight": 0.5,
    "height": 0.5,
    "proportions": 0.5,
}
# Anny's gender scale runs from 0 (male) to 1 (female).
GENDERS: dict[str, float | None] = {"NEUTRAL": None, "MALE": 0.0, "FEMALE": 1.0}
PROVENANCE = (
    "Derived from Anny 0.6.2 (NAVER, Apache-2.0) / MakeHuman MPFB2 assets (CC0). "
    "NOT the SMPL-X model."
)


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "make-body",
        help="generate the open body model",
        description="Writes OPEN_<GENDER>.npz; needs the package anny (pip install anny==0.6.2).",
    )
    parser.add_argument(
        "--output", type=user_path, default=Path("out/open_body"), help="folder for the results"
    )
    parser.add_argument("--gender", nargs="+", default=["NEUTRAL"], choices=list(GENDERS))
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Generate and print the files. Raises: BodyModelError if anny is not installed."""
    make_folder(arguments.output, "--output")
    for path in make_open_body(arguments.output, tuple(arguments.gender)):
        print(f"{path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def make_open_body(folder: Path, genders: tuple[str, ...] = ("NEUTRAL",)) -> list[Path]:
    """Generate OPEN_<gender>.npz for the wanted genders; returns the files written.

    The result is a function of Anny's assets alone: random shapes come from a fixed seed, and the
    shapes of a gender do not depend on which others are wanted.

    Raises: BodyModelError when anny is not installed or a gender is unknown.
    """
    unknown = [gender for gender in genders if gender not in GENDERS]
    if unknown:
        raise BodyModelError(f"unknown gender {unknown[0]}, expected one of {', '.join(GENDERS)}")
    anny_model = _load_anny()
    weights = skin_weights(anny_model)
    template, joints = rest_body(anny_model, AVERAGE_ADULT, weights)
    points = surface_points(template, joints, weights)
    order, faces = _renumber(template, np.asarray(anny_model.faces).astype(int), points)

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    written = []
    for gender, level in GENDERS.items():
        count = NEUTRAL_SAMPLES if level is None else GENDERED_SAMPLES
        shapes, shape_joints = _random_adults(anny_model, weights, order, count, level, rng)
        mean = shapes.mean(0)
        if gender == "NEUTRAL":  # the genders differ in their template only
            regressor = _joint_regressor(shapes, shape_joints, template[order], joints)
            arrays = _shared_arrays(faces, weights[order], regressor, _shape_space(shapes))
        if gender in genders:
            path = folder / f"OPEN_{gender}.npz"
            np.savez_compressed(path, v_template=mean.astype(np.float32), **arrays)  # type: ignore[arg-type]
            written.append(path)
        if len(written) == len(set(genders)):
            break
    return written


def _load_anny() -> Any:
    """The Anny model without separate toes, double precision."""
    try:
        import anny
    except ImportError as error:
        raise BodyModelError(
            "the open body is generated from the package anny, which is not installed; "
            "run: pip install anny==0.6.2"
        ) from error
    return anny.Anny(topology="notoes").to(dtype=torch.float64)


def _renumber(
    template: np.ndarray, faces: np.ndarray, points: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the mesh to NUM_VERTICES and number it so that the named points sit at SMPL-X's ids.

    Returns order (10475,), the Anny vertex of each new one, and the faces (M, 3) in new ids.
    """
    ids = {**SURFACE_VERTICES, **TIP_VERTICES}
    survivors, faces = decimate(template, faces, NUM_VERTICES, set(points.values()))
    order = np.full(NUM_VERTICES, -1)
    for name, vertex in points.items():
        order[ids[name]] = vertex
    order[order < 0] = np.setdiff1d(survivors, list(points.values()))
    new_id = np.full(len(template), -1)
    new_id[order] = np.arange(NUM_VERTICES)
    return order, new_id[faces]


def _random_adults(
    anny_model: Any,
    weights: np.ndarray,
    order: np.ndarray,
    count: int,
    gender: float | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (count, 10475, 3) and joints (count, 55, 3) of random adults in the T-pose, m.

    gender: 0 male to 1 female with a little spread, None for anything between.
    """
    vertices, joints = [], []
    for _ in range(count):
        # The order of these draws is part of the model: changing it changes every array.
        shape = {
            "age": rng.uniform(0.55, 1.0),
            "muscle": rng.uniform(0.1, 0.9),
            "weight": rng.uniform(0.1, 0.95),
            "height": np.clip(rng.normal(0.40, 0.12), 0.1, 0.75),
            "proportions": rng.uniform(0.2, 0.8),
        }
        if gender is None:
            shape["gender"] = rng.uniform(0, 1)
        else:
            shape["gender"] = np.clip(gender + rng.normal(0, 0.08), 0, 1)
        body, heads = rest_body(anny_model, shape, weights)
        vertices.append(body[order])
        joints.append(heads)
    return np.array(vertices), np.array(joints)


def _joint_regressor(
    shapes: np.ndarray, shape_joints: np.ndarray, template: np.ndarray, joints: np.ndarray
) -> np.ndarray:
    """Joint regressor (55, V): ridge regression on the nearest vertices, rows summing to 1.

    shapes: (N, V, 3) and shape_joints: (N, 55, 3), m; template: (V, 3) and joints: (55, 3), m.
    """
    regressor = np.zeros((len(joints), len(template)))
    for joint, position in enumerate(joints):
        near = np.argsort(np.linalg.norm(template - position, axis=1))[:REGRESSOR_VERTICES]
        data = shapes[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        ridge = REGRESSOR_RIDGE_M * np.sqrt(len(data))
        matrix = np.concatenate(
            [
                data,
                ridge * np.eye(len(near)),
                np.full((1, len(near)), REGRESSOR_SUM_WEIGHT),
            ]
        )
        target = np.concatenate(
            [
                shape_joints[:, joint].reshape(-1),
                np.full(len(near), ridge / len(near)),
                [REGRESSOR_SUM_WEIGHT],
            ]
        )
        solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
        regressor[joint, near] = solution / solution.sum()
    return regressor


def _shape_space(shapes: np.ndarray) -> np.ndarray:
    """Principal shape directions (V, 3, 10), m per standard deviation; beta 0 grows the body."""
    mean = shapes.mean(0)
    deviation = (shapes - mean).reshape(len(shapes), -1)
    _, singular, axes = np.linalg.svd(deviation, full_matrices=False)
    scale = singular[:NUM_BETAS] / np.sqrt(len(shapes))
    directions = (axes[:NUM_BETAS] * scale[:, None]).reshape(NUM_BETAS, -1, 3).transpose(1, 2, 0)
    if directions[np.argmax(mean[:, 1]), 1, 0] < 0:
        directions[..., 0] *= -1
    return directions


def _shared_arrays(
    faces: np.ndarray, weights: np.ndarray, regressor: np.ndarray, directions: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of the SMPL-X file format that all genders share.

    The face landmarks and the hand PCA are placeholders that readers of the format ask for; pose
    correctives and expressions are zero.
    """
    nose = SURFACE_VERTICES["nose"]
    nose_face = int(np.flatnonzero((faces == nose).any(1))[-1])
    expression = np.zeros((NUM_VERTICES, 3, NUM_EXPRESSIONS))
    joint_count = len(SMPLX_PARENTS)
    return {
        "f": faces.astype(np.uint32),
        "weights": weights.astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "kintree_table": np.array([SMPLX_PARENTS, range(joint_count)], dtype=np.int64),
        "shapedirs": np.concatenate([directions, expression], 2).astype(np.float32),
        "posedirs": np.zeros((NUM_VERTICES, 3, 9 * (joint_count - 1)), np.float32),
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
        "lmk_faces_idx": np.full(51, nose_face),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
        "dynamic_lmk_faces_idx": np.full((79, 17), nose_face),
        "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3),
        "provenance": np.array(PROVENANCE),
    }
