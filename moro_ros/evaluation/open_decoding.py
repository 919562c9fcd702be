"""Recovery of bodies from windows in the open benchmark: the default, and without parts of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel, Skeleton, load_body_model
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.live.sampling import MaskedDecoding, decode_masked
from moro_ros.network.build import LoadedModel
from moro_ros.network.inputs import floor_row
from moro_ros.network.moro import MoRo
from moro_ros.recover.refinement import PlacedBody, Refiner, Seen

VISIBLE = 0.5


@dataclass(frozen=True, slots=True)
class Decoding:
    """Options of decoding windows; the default, and variants without or with additional parts.

    passes: of the masked decoding; motion: with the motion encoder; guided: the most confident
    tokens are fixed first; smoother: the mesh's codes are smoothed over time; refine_steps:
    Gauss-Newton steps onto the seen keypoints, frame by frame as in a live stream; floor: give the
    true floor to a network with such an input.
    """

    passes: int = 1
    motion: bool = True
    guided: bool = True
    smoother: bool = True
    refine_steps: int = 0
    floor: bool = False


DECODING = Decoding()


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A loaded model and its body."""

    loaded: LoadedModel
    body: BodyModel

    @staticmethod
    def of(loaded: LoadedModel) -> OpenModel:
        """Load the body of a model."""
        shifted = loaded.config.moro.keypoints.detector_points
        return OpenModel(loaded, load_body_model(loaded.body_model_path, shifted))


@dataclass(frozen=True, slots=True)
class Recovered:
    """Recovered windows: joints (B, F, 22, 3) m, the pelvis at 0, translation (B, F, 3) m, tokens.

    rotation: (B, F, 3, 3), global; confidence: (B, F, T) of the mesh tokens.
    """

    joints: Tensor
    translation: Tensor
    rotation: Tensor
    tokens: MaskedDecoding


class WithoutMotion:
    """A MoRo whose decoder only uses the image features."""

    def __init__(self, model: MoRo) -> None:
        self.num_tokens = model.num_tokens
        self.token_embedding = model.token_embedding
        self.context = model.context
        self.decode_window = partial(model.decode_window, drop_motion=True)


@torch.inference_mode()
def decode(model: LoadedModel, observed: ObservedMotion, decoding: Decoding) -> MaskedDecoding:
    """Encode and decode a batch of windows."""
    moro = model.moro
    observation = shown(model, observed, decoding.floor)
    features = moro.encode_frames(observation, observed.boxes.condition())
    features = moro.carry_estimates(features, observation)
    return decode_masked(
        moro if decoding.motion else WithoutMotion(moro),
        features,
        passes=decoding.passes,
        soft=model.config.moro.soft_tokens,
        order=None if decoding.guided else torch.Generator().manual_seed(0),
    )


@torch.inference_mode()
def recover(model: OpenModel, observed: ObservedMotion, decoding: Decoding) -> Recovered:
    """Recover a batch of windows with the rotation head; raises ValueError without one."""
    tokens = decode(model.loaded, observed, decoding)
    output = tokens.output
    if output.body_rotations is None or output.betas is None:
        raise ValueError("this decoder has no rotation head")
    skeleton = model.body.skeleton(output.betas.mean(1))
    rotations = torch.cat([output.rotation[:, :, None], output.body_rotations], 2)
    translation = output.translation
    if decoding.refine_steps:
        rotations, translation = refined(
            model.body, skeleton, rotations, translation, observed, decoding.refine_steps
        )
    rest = skeleton.joints[:, None, :NUM_JOINTS]
    _, joints = model.body.forward_kinematics(rotations, rest)
    return Recovered(joints, translation, rotations[:, :, 0], tokens)


def shown(loaded: LoadedModel, observed: ObservedMotion, floor: bool) -> Tensor:
    """Return the input of a model's encoder; floor: whether to include it, if supported."""
    if loaded.config.moro.keypoints.floor:
        return with_floor(observed, known=floor)
    return observed.observation


def with_floor(observed: ObservedMotion, known: bool) -> Tensor:
    """Return the observation with the floor's row, (B, F, K + 1, 4), zeros if unknown."""
    row = floor_row(observed.truth.up, observed.truth.height) * known
    frames = observed.observation.shape[1]
    return torch.cat([observed.observation, row[:, None, None].expand(-1, frames, -1, -1)], 2)


def refined(
    body: BodyModel,
    skeleton: Skeleton,
    rotations: Tensor,
    translation: Tensor,
    observed: ObservedMotion,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Refine windows frame by frame, each extrapolated by the network's own step.

    rotations: (B, F, 22, 3, 3); translation: (B, F, 3) m. Returns the same.
    """
    refiner = Refiner(body)
    half = observed.boxes.size[..., None, None] / 2
    points = observed.observation[..., :2] * half + observed.boxes.center[..., None, :]
    visibility = observed.observation[..., 2]
    weight = torch.where(visibility > VISIBLE, visibility, torch.zeros(()))
    found: list[PlacedBody] = []
    before: PlacedBody | None = None
    for frame in range(rotations.shape[1]):
        seen = Seen(points[:, frame], weight[:, frame], observed.boxes.size[:, frame])
        network = PlacedBody(rotations[:, frame], translation[:, frame])
        expected = None
        if before is not None:
            expected = PlacedBody(
                found[-1].rotations @ (before.rotations.mT @ network.rotations),
                found[-1].translation + network.translation - before.translation,
            )
        found.append(refiner.refine(network, skeleton, seen, steps, expected))
        before = network
    return (
        torch.stack([body.rotations for body in found], 1),
        torch.stack([body.translation for body in found], 1),
    )


@torch.inference_mode()
def mesh_of(model: OpenModel, found: Recovered, decoding: Decoding, vertex_ids: Tensor) -> Tensor:
    """Return some vertices of the decoded mesh, (B, F, V, 3) m, camera axes, pelvis at 0."""
    codes = found.tokens.codes
    if decoding.smoother:
        codes = model.loaded.moro.smoother(codes)
    tokenizer = model.loaded.tokenizer
    windows = []
    for window, rotation in zip(codes, found.rotation):  # one by one: a full mesh is large
        local = tokenizer.full_mesh(tokenizer.decode_codes(window))[:, vertex_ids]
        windows.append(local @ rotation.mT)
    return torch.stack(windows)
