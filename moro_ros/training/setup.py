"""From a training configuration to the parts of a run: bodies, tokenizer, network, data."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.body.connections import load_connection_tables
from moro_ros.body.hierarchy import build_connection_tables, build_hierarchy, first_component
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.config import option, read_yaml, validate
from moro_ros.data.mocap import MotionSet, joined, load_motion
from moro_ros.data.pool import WindowPool, build_pool, load_pool, save_pool
from moro_ros.data.poses import PoseSampler
from moro_ros.errors import CheckpointError, ConfigError, DataError
from moro_ros.model_config import ModelConfig, MoroConfig, TokenizerConfig
from moro_ros.network.build import TOKENIZERS, read_checkpoint
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.network.tokenizer import MeshConvTokenizer
from moro_ros.resources import share_path
from moro_ros.training.distributed import World
from moro_ros.training.mesh_terms import Bodies
from moro_ros.training.stage import Stage
from moro_ros.training.tokenizer_stage import TokenizerStage

log = logging.getLogger(__name__)
HIERARCHY_POSES = 200  # posed bodies from which the upsampling weights are fitted
# Vertices of the published mesh levels below the whole mesh; the last level has the tokens.
GRAPH_LEVELS = (2618, 546, 87)
# Rows of Human3.6M's regressor in the order of the labelled points.
REGRESSOR_ORDER = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
STAGES = ("pose", "motion", "image", "estimate", "frames", "video")
AnyTokenizer = MeshConvTokenizer | PatchTokenizer


@dataclass(frozen=True, slots=True)
class MeshNumbers:
    """Division of the mesh into tokens by a patch tokenizer; see config/open_training.yaml."""

    vertices: int = option(1024, "Number of coarse vertices to encode", low=8)
    tokens: int = option(24, "Mesh tokens per body", low=1)
    seen: int = option(128, "Coarse vertices in the input of a token", low=1)
    rebuilt: int = option(72, "Minimum number of coarse vertices that a token reconstructs", low=1)
    width: int = option(96, "Width of the tokenizer's transformer", low=24)
    connections: str = option(
        "", "Folder of the published connection tables, for kind: graph. Empty computes them"
    )


@dataclass(frozen=True, slots=True)
class DataPaths:
    """Paths of the data, relative to the working directory.

    sets: name of a data set (docs/training.md) -> its folder.
    """

    body: str = option("", "Body model npz. Empty selects the open body")
    male: str = option("", "Male body model npz, for sets with people of known gender")
    female: str = option("", "Female body model npz")
    motion: str = option("", "Open motion npz to train on, or several, comma-separated")
    validation: str = option("", "Open motion npz to validate the tokenizer on")
    points_regressor: str = option("", "J_regressor_h36m.npy, (17, 6890) or (17, V)")
    smplx_to_smpl: str = option("", "smplx2smpl_sparse.pt, (6890, V), for a regressor of SMPL")
    sets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """Description of the exported model."""

    description: str = option("MoRo", "What the model is")
    licence: str = option("", "Licence of the weights and origin of the data")


@dataclass(frozen=True, slots=True)
class Training:
    """A complete recipe: the network, the data, and the numbers of every stage."""

    moro: MoroConfig = field(default_factory=MoroConfig)
    mesh: MeshNumbers = field(default_factory=MeshNumbers)
    data: DataPaths = field(default_factory=DataPaths)
    codec: TokenizerConfig = field(default_factory=TokenizerConfig)
    card: Card = field(default_factory=Card)
    tokenizer: TokenizerStage = field(default_factory=TokenizerStage)
    pose: Stage = field(default_factory=Stage)
    motion: Stage = field(default_factory=Stage)
    image: Stage = field(default_factory=Stage)
    estimate: Stage = field(default_factory=Stage)
    frames: Stage = field(default_factory=Stage)
    video: Stage = field(default_factory=Stage)

    def __post_init__(self) -> None:
        for part in (self.mesh, self.codec, self.card):
            validate(part)
        ModelConfig(moro=self.moro)  # checks the numbers of the network

    def stage(self, name: str) -> Stage:
        """Return a stage's numbers, checked; raises ConfigError."""
        stage: Stage = getattr(self, name)
        stage.check(name)
        return stage


def load_training(path: Path) -> Training:
    """Read a recipe.

    Raises: ConfigError if the file is missing or contains an unknown key or bad value.
    """
    return read_yaml(Training, path, "training configuration")


def body_path(paths: DataPaths) -> Path:
    """Return the file of the body model in use."""
    return Path(paths.body or share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


def open_motion(path: str, key: str) -> MotionSet:
    """Read open motion.

    Raises: DataError if the configuration has none, or the file is missing or damaged.
    """
    if not path:
        raise DataError(
            f"This stage trains on open motion, but data.{key} is not set. Set it in the "
            f"configuration or give --{key} FILE; docs/training.md lists the sources of the data."
        )
    return joined([load_motion(part.strip()) for part in path.split(",")])


def new_tokenizer(training: Training, body: BodyModel) -> AnyTokenizer:
    """Build the untrained tokenizer of a recipe; one of patches needs open motion to be built."""
    numbers = training.mesh
    if training.codec.kind == "graph":
        return graph_tokenizer(numbers, body)
    motion = open_motion(training.data.motion, "motion")
    rng = np.random.default_rng(0)
    rotations, betas = PoseSampler(motion).draw(HIERARCHY_POSES, rng)
    posed = body.local_mesh(rotations, betas).numpy()
    hierarchy = build_hierarchy(body.template.numpy(), body.faces.numpy(), posed, numbers.vertices)
    rest = (body.template - body.joint_template[0]).numpy()[hierarchy.coarse_index]
    seen, rebuilt = build_patches(rest, np.arange(numbers.tokens), numbers.seen, numbers.rebuilt)
    return PatchTokenizer(
        seen,
        rebuilt,
        numbers.vertices,
        width=numbers.width,
        rest=rest,
        coarse_index=hierarchy.coarse_index,
        up_index=hierarchy.up_index,
        up_weight=hierarchy.up_weight,
    )


def graph_tokenizer(numbers: MeshNumbers, body: BodyModel) -> MeshConvTokenizer:
    """Build the paper's untrained tokenizer, on the published tables or on tables of the body."""
    if numbers.connections:
        return MeshConvTokenizer.from_tables(load_connection_tables(Path(numbers.connections)))
    vertices, faces = body.template.numpy(), body.faces.numpy()
    component = first_component(vertices, faces)
    if not np.array_equal(component, np.arange(len(component))):
        raise ConfigError(
            "codec.kind: graph needs a body whose first connected part has the first vertex "
            "numbers, as SMPL-X has; use kind: patch with this one."
        )
    inside = (faces < len(component)).all(1)
    tables = build_connection_tables(vertices[component], faces[inside], GRAPH_LEVELS)
    return MeshConvTokenizer.from_tables(tables)


def tokenizer_body(tokenizer: AnyTokenizer, body: BodyModel, origin: Path) -> BodyModel:
    """Return the body with only the tokenizer's vertices.

    Raises: CheckpointError if the tokenizer is for another body.
    """
    if isinstance(tokenizer, PatchTokenizer):
        ids = tokenizer.coarse_index.long()
    else:
        ids = torch.arange(tokenizer.num_vertices)
    if len(ids) and int(ids.max()) >= body.num_vertices:
        raise CheckpointError(
            f"{origin} was trained on another body: it has vertex {int(ids.max())}, this body "
            f"{body.num_vertices} vertices. Give the body of the tokenizer (data.body)."
        )
    return body.subset(ids)


def trained_tokenizer(kind: str, path: Path) -> AnyTokenizer:
    """Read the frozen tokenizer that MoRo's stages use.

    Raises: CheckpointError if it is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist: run `moro train tokenizer` with the same --out first, or give "
            "--tokenizer FILE."
        )
    state = read_checkpoint(path)
    try:
        tokenizer = TOKENIZERS[kind].from_state(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has no tokenizer of kind '{kind}' ({error}); set codec.kind, or give "
            "the right file."
        ) from error
    return tokenizer.eval().requires_grad_(False)


def make_bodies(training: Training, tokenizer: AnyTokenizer, origin: Path) -> Bodies:
    """Load the body model and the regressors of the losses."""
    path = body_path(training.data)
    whole = load_body_model(path, training.moro.keypoints.detector_points)
    coarse = tokenizer_body(tokenizer, whole, origin)
    vertices = tokenizer.num_vertices
    if isinstance(tokenizer, PatchTokenizer) and len(tokenizer.up_index):
        vertices = tokenizer.up_index.shape[0]
    points = None
    if training.data.points_regressor:
        points = read_points(training.data, vertices)
    return Bodies(whole, coarse, whole.joint_regressor[:NUM_JOINTS, :vertices], points)


def read_points(paths: DataPaths, vertices: int) -> torch.Tensor:
    """Read the regressor of Human3.6M's 17 points, (17, V) for a mesh of V vertices.

    Its rows are in the order of the labelled points. One for SMPL's vertices is converted to SMPL-X
    by the matrix data.smplx_to_smpl.
    Raises: DataError if a file is missing or has another shape.
    """
    path = Path(paths.points_regressor)
    try:
        matrix = torch.from_numpy(np.load(path, allow_pickle=False)).float()
        if paths.smplx_to_smpl:
            path = Path(paths.smplx_to_smpl)
            convert = torch.load(path, map_location="cpu", weights_only=True)
            matrix = matrix @ (convert.to_dense() if convert.is_sparse else convert).float()
    except (OSError, ValueError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: cannot be read as a matrix of numbers ({error}).") from error
    if matrix.shape[0] != len(REGRESSOR_ORDER) or matrix.shape[1] < vertices:
        raise DataError(
            f"{paths.points_regressor}: got shape {tuple(matrix.shape)}, expected (17, at least "
            f"{vertices}); for one of SMPL's 6890 vertices also give data.smplx_to_smpl."
        )
    return matrix[list(REGRESSOR_ORDER), :vertices]


def motion_pool(
    training: Training, stage: Stage, bodies: Bodies, tokenizer: AnyTokenizer, world: World,
    folder: Path,
) -> WindowPool:  # fmt: skip
    """Return the pool of open motion, created once per numbers and kept in the runs' folder."""
    motion = open_motion(training.data.motion, "motion")
    frames, seed = stage.longest, stage.loop.seed
    codes = tokenizer.codebook.cpu().numpy().tobytes()
    key = hashlib.sha256(motion.rotations.tobytes() + codes).hexdigest()[:12]
    changed = f"_{stage.varied:g}_{stage.seated:g}" if stage.varied or stage.seated else ""
    path = folder / f"pool_{stage.windows}x{frames}{changed}_{seed}_{key}.pt"
    if world.first and not path.exists():
        log.info("drawing and tokenising %d windows of %d frames", stage.windows, frames)
        rng = np.random.default_rng(seed)
        pool = build_pool(
            motion, stage.windows, frames, bodies.tokens, tokenizer, rng,
            varied=stage.varied, seated=stage.seated,
        )  # fmt: skip
        temporary = path.with_suffix(".tmp")
        save_pool(pool, temporary)
        os.replace(temporary, path)
    world.wait()
    return load_pool(path)
