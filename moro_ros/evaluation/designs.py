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
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.evaluation.metrics import means
from moro_ros.evaluation.open_benchmark import OpenProtocol, Rows, observed_windows, score
from moro_ros.evaluation.open_decoding import Decoding, OpenModel, Recovered, decode, recover
from moro_ros.network.build import LoadedModel

OUTPUTS = ("rotation head", "soft codes", "argmax tokens")
TIMED = 20  # windows of one person


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


def readings(found: Recovered, model: OpenModel) -> dict[str, Tensor]:
    """Return the joints (B, F, 22, 3) by every name in OUTPUTS."""
    output, moro = found.tokens.output, model.loaded.moro
    soft = output.logits.float().softmax(-1) @ moro.codebook
    likely = moro.embed(output.logits.argmax(-1))
    return {
        "rotation head": found.joints,
        "soft codes": mesh_joints(soft, output.rotation, model.loaded, model.body),
        "argmax tokens": mesh_joints(likely, output.rotation, model.loaded, model.body),
    }


@torch.inference_mode()
def evaluate_design(
    model: OpenModel, motion: MotionSet, protocol: OpenProtocol
) -> dict[str, dict[str, dict[str, float]]]:
    """Return {output: {"noise" or "occluded": metrics}}, see evaluate_open."""
    result: dict[str, dict[str, dict[str, float]]] = {name: {} for name in OUTPUTS}
    for condition, occlusion in (("noise", 0.0), ("occluded", 1.0)):
        rows: dict[str, Rows] = {name: {} for name in OUTPUTS}
        for observed in observed_windows(motion, model.body, occlusion, protocol):
            found = recover(model, observed, Decoding(passes=protocol.passes))
            for name, joints in readings(found, model).items():
                score(rows[name], joints.numpy(), found.translation.numpy(), observed)
        for name, metrics in rows.items():
            result[name][condition] = means(metrics)
    return result


def window_ms(model: OpenModel, motion: MotionSet, frames: int) -> float:
    """Return the median time in ms for encoding and decoding one window of one person."""
    rng = np.random.default_rng(0)
    windows = motion.draw(1, frames, rng, warp=False)
    truth = place_cameras(windows, torch.zeros(1, 10), model.body, rng)
    observed = look(truth, model.body, ObservationNoise(), rng)
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        decode(model.loaded, observed, Decoding())
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
