"""A tiny untrained model, and a person who walks past the camera in continuous time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.model_config import KeypointsConfig, ModelConfig, MoroConfig, TokenizerConfig
from moro_ros.network.build import LoadedModel, build_moro
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.resources import share_path
from moro_ros.types import Camera, Frame, Keypoints, PersonObservation

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]), 1280, 720)
NUMBERS = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip


def untrained(numbers: MoroConfig, open_body: BodyModel) -> LoadedModel:
    """An untrained model with the open tokenizer."""
    torch.manual_seed(0)
    ids = np.arange(0, open_body.num_vertices, 200)
    rest = (open_body.template - open_body.joint_template[0]).numpy()[ids]
    centres = np.linspace(0, len(ids) - 1, 6).astype(int)
    seen, rebuilt = build_patches(rest, centres, 20, 12)
    full = np.arange(open_body.num_vertices) % len(ids)
    tokenizer = PatchTokenizer(
        seen, rebuilt, len(ids), width=48, codes=32, rest=rest, coarse_index=ids,
        up_index=full[:, None].astype(np.int32), up_weight=np.ones((len(full), 1), np.float32),
    )  # fmt: skip
    moro = build_moro(numbers)
    for parameter in moro.parameters():  # away from the initial near-zero heads
        torch.nn.init.normal_(parameter, std=0.05)
    moro.set_codebook(tokenizer.codebook)
    config = ModelConfig(moro=numbers, tokenizer=TokenizerConfig(kind="patch"))
    body = share_path("models", "open_body", "OPEN_NEUTRAL.npz")
    return LoadedModel("tiny", moro.eval(), tokenizer.eval(), body, config, "0" * 64)


@pytest.fixture(scope="session")
def make_model(open_body: BodyModel) -> Callable[..., LoadedModel]:
    """make_model(**changes): an untrained model with NUMBERS that differ by some."""
    return lambda **changes: untrained(replace(NUMBERS, **changes), open_body)


@pytest.fixture(scope="session")
def tiny_model(open_body: BodyModel) -> LoadedModel:
    """An untrained model of the open layout."""
    model = untrained(NUMBERS, open_body)
    model.moro.set_trajectory_statistics(torch.zeros(9), torch.full((9,), 0.1))
    return model


@pytest.fixture(scope="session")
def walker(open_body: BodyModel) -> Callable[..., PersonObservation]:
    """What a front-end without noise says of a person who walks past, at any time [s]."""
    skeleton = open_body.skeleton(torch.zeros(1, 10))

    def at(time_s: float, track_id: int = 1, away_m: float = 0.0) -> PersonObservation:
        phase = 2 * np.pi * time_s / 1.1
        pose = torch.zeros(22, 3)
        pose[0, 0] = np.pi  # upright in the optical frame
        pose[0, 1] = 0.0
        for joint, size in ((1, 0.5), (2, -0.5), (16, -0.4), (17, 0.4)):
            pose[joint, 0] = size * np.sin(phase)
        rest = skeleton.joints[0, :22]
        chain, joints = open_body.forward_kinematics(rotvec_to_matrix(pose), rest)
        points = open_body.keypoints(chain, joints, skeleton.keypoint_offsets[0]).numpy()
        place = [-1.5 + 0.9 * time_s, 0.1 + 0.03 * np.cos(2 * phase), 4.0 + away_m]
        points = points + np.array(place)
        px = points[:, :2] / points[:, 2:] * 900.0 + np.array([640.0, 360.0])
        ones = np.ones(len(px), np.float32)
        box = np.concatenate([px.min(0), px.max(0)]).astype(np.float32)
        return PersonObservation(track_id, box, 1.0, Keypoints(px.astype(np.float32), ones, ones))

    return at


@pytest.fixture(scope="session")
def filmed(walker: Callable[..., PersonObservation]) -> Callable[..., list[Frame]]:
    """The frames of a camera with given stamps [s]; people: id -> (first, last second, m away)."""

    def film(stamps_s: np.ndarray, people: dict[int, tuple[float, float, float]]) -> list[Frame]:
        return [
            Frame(
                round((10.0 + s) * 1e9),
                CAMERA,
                tuple(
                    walker(s, track_id, away)
                    for track_id, (first, last, away) in people.items()
                    if first <= s <= last
                ),
            )
            for s in np.asarray(stamps_s).tolist()
        ]

    return film
