"""Accuracy of each output of a network: rotation head, soft codes, most likely tokens.

The joints of the same decoding are computed in three ways and scored on the open benchmark, so that
designs with the same training can be compared by each of their outputs.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.mocap import MotionSet
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.evaluation.metrics import means
from moro_ros.evaluation.open_benchmark import OpenProtocol, Rows, observed_windows, score
from moro_ros.evaluation.open_decoding import shown
from moro_ros.live.sampling import MaskedDecoding, decode_masked
from moro_ros.network.build import LoadedModel
from moro_ros.network.decoder import DecoderOutput

OUTPUTS = ("rotation head", "soft codes", "argmax tokens")
TIMED = 20  # windows of one person


def head_joints(output: DecoderOutput, body: BodyModel) -> Tensor:
    """Return the rotation head's joints (B, F, 22, 3) m in camera axes, the pelvis at zero."""
    if output.body_rotations is None or output.betas is None:
        raise ValueError("this decoder has no rotation head")
    skeleton = body.skeleton(output.betas.mean(1))
    local = torch.cat([output.rotation[:, :, None], output.body_rotations], 2)
    return body.forward_kinematics(local, skeleton.joints[:, None, :NUM_JOINTS])[1]


def mesh_joints(codes: Tensor, rotation: Tensor, model: LoadedModel, body: BodyModel) -> Tensor:
    """Return the joints (B, F, 22, 3) m of decoded meshes in camera axes, the pelvis at zero.

    codes: (B, F, T, code width); rotation: (B, F, 3, 3). The body model's own regressor computes
    the joints from the mesh.
    """
    smooth = model.moro.smoother(codes)
    regressor = body.joint_regressor[:NUM_JOINTS]
    rows = []
    for clip in smooth:  # one clip at a time: the full mesh is large
        mesh = model.tokenizer.full_mesh(model.tokenizer.decode_codes(clip))
        rows.append(torch.einsum("jv,fvc->fjc", regressor, mesh))
    joints = torch.stack(rows)
    return (joints - joints[:, :, :1]) @ rotation.mT


def readings(decoding: MaskedDecoding, model: LoadedModel, body: BodyModel) -> dict[str, Tensor]:
    """Return the joints (B, F, 22, 3) by every name in OUTPUTS."""
    output = decoding.output
    soft = output.logits.float().softmax(-1) @ model.moro.codebook
    likely = model.moro.embed(output.logits.argmax(-1))
    return {
        "rotation head": head_joints(output, body),
        "soft codes": mesh_joints(soft, output.rotation, model, body),
        "argmax tokens": mesh_joints(likely, output.rotation, model, body),
    }


@torch.no_grad()
def evaluate_design(
    model: LoadedModel, body: BodyModel, motion: MotionSet, protocol: OpenProtocol
) -> dict[str, dict[str, dict[str, float]]]:
    """Return {output: {"noise" or "occluded": metrics}}, see evaluate_open."""
    result: dict[str, dict[str, dict[str, float]]] = {name: {} for name in OUTPUTS}
    model.moro.eval()
    for condition, occlusion in (("noise", 0.0), ("occluded", 1.0)):
        rows: dict[str, Rows] = {name: {} for name in OUTPUTS}
        for observed in observed_windows(motion, body, occlusion, protocol):
            decoding = decode(model, observed, protocol.passes)
            place = decoding.output.translation.numpy()
            for name, joints in readings(decoding, model, body).items():
                score(rows[name], joints.numpy(), place, observed)
        for name, metrics in rows.items():
            result[name][condition] = means(metrics)
    return result


def decode(model: LoadedModel, observed: ObservedMotion, passes: int) -> MaskedDecoding:
    """Encode and decode windows of observations."""
    observation = shown(model, observed, floor=False)
    features = model.moro.encode_frames(observation, observed.boxes.condition())
    features = model.moro.carry_estimates(features, observation)
    return decode_masked(model.moro, features, passes=passes, soft=model.config.moro.soft_tokens)


@torch.no_grad()
def window_ms(model: LoadedModel, body: BodyModel, motion: MotionSet, frames: int) -> float:
    """Return the median time in ms for encoding and decoding one window of one person."""
    rng = np.random.default_rng(0)
    windows = motion.draw(1, frames, rng, warp=False)
    betas = torch.zeros(1, 10)
    observed = look(place_cameras(windows, betas, body, rng), body, ObservationNoise(), rng)
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        decode(model, observed, 1)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
