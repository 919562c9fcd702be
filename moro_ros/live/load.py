"""Load a model: choose the backend, warm it up, compare it with float32."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from moro_ros.config import PipelineConfig
from moro_ros.errors import CheckpointError
from moro_ros.live.backends.cuda_graphs import CudaRecorder
from moro_ros.live.backends.network_runner import NetworkRunner
from moro_ros.live.backends.onnx_network import (
    OnnxNetwork,
    find_onnx,
    is_installed,
    onnx_folder,
)
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.network.build import LoadedModel, load_model
from moro_ros.recover.prediction import PREDICTION_FILE, load_prediction
from moro_ros.recover.uncertainty import UNCERTAINTY_FILE, load_uncertainty
from moro_ros.resources import share_path
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

log = logging.getLogger(__name__)

PARITY_LIMIT_MM = 5.0
WARM_UP_IMAGES = 6  # at the model's rate, then as many slightly off it
CAMERA = Camera(np.array([[1000.0, 0, 640], [0, 1000.0, 360], [0, 0, 1]]), 1280, 720)
# Keypoints of a standing person in person heights from the middle, in the order of KEYPOINTS.
STANDING = np.array(
    [
        [0, -0.42], [0.04, -0.43], [-0.04, -0.43], [0.1, -0.3], [-0.1, -0.3], [0.13, -0.13],
        [-0.13, -0.13], [0.14, 0.02], [-0.14, 0.02], [0.06, 0.02], [-0.06, 0.02], [0.06, 0.24],
        [-0.06, 0.24], [0.06, 0.45], [-0.06, 0.45], [0.05, 0.48], [-0.05, 0.48], [0.08, 0.49],
        [-0.08, 0.49],
    ]
)  # fmt: skip


def model_folder(model: str) -> Path:
    """Find the folder of a model given by its path or by its name under models/.

    Raises: CheckpointError if there is no such model.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = share_path("models", model)
    if not (folder / "model.yaml").is_file():
        raise CheckpointError(
            f"No model '{model}': expected a folder with model.yaml, or a name under "
            f"{share_path('models')} such as moro_open."
        )
    return folder


def body_model_file(folder: Path, name: str) -> Path:
    """Find the body model that a model folder names: beside it, or shipped under models/."""
    beside = folder / name
    return beside.resolve() if beside.is_file() else share_path("models", name)


def load_stream(config: PipelineConfig) -> MoRoStream:
    """Load a model folder and build the stream around it, warmed up and checked.

    Raises: CheckpointError if there is no such model or its files are damaged; ConfigError if
    onnxruntime is required and not installed.
    """
    folder = model_folder(config.model)
    model = load_model(folder, config.device)
    body = body_model_file(folder, model.config.body_model)
    model = replace(model, body_model_path=body)
    uncertainty = load_uncertainty(folder / UNCERTAINTY_FILE)
    prediction = load_prediction(folder / PREDICTION_FILE)
    runner = make_runner(model, folder, config)
    stream = MoRoStream(model, config.motion, config.device, uncertainty, runner, prediction)
    prepare(stream, config)
    return stream


def make_runner(model: LoadedModel, folder: Path, config: PipelineConfig) -> NetworkRunner:
    """Return the runner for a configuration, still in float32.

    folder: of the model. Raises: ConfigError if onnxruntime is required and not installed.
    """
    soft = model.config.moro.soft_tokens
    place = onnx_place(model, folder, config)
    if place is not None:
        network = OnnxNetwork(model, place, config.threads, config.device)
        return NetworkRunner(model.moro, soft, network, network)
    cuda = config.device.startswith("cuda")
    recorder = CudaRecorder() if cuda and config.cuda_graphs else None
    return NetworkRunner(model.moro, soft, recorder=recorder)


def onnx_place(model: LoadedModel, folder: Path, config: PipelineConfig) -> Path | None:
    """Return the folder of the ONNX files for a configuration, None for torch.

    folder: of the model. Raises: ConfigError, see make_runner.
    """
    if config.backend == "onnx":
        return onnx_folder(model, folder)
    unasked = config.device == "cpu" and config.precision != "bfloat16"
    if config.backend == "auto" and unasked and is_installed():
        return find_onnx(model, folder)
    return None


def prepare(stream: MoRoStream, config: PipelineConfig) -> float | None:
    """Warm up a stream and switch it to the configured precision; it has no people afterwards.

    Returns the mean distance of its joints from those in float32, mm, or None if the precision is
    unchanged; warns above PARITY_LIMIT_MM.
    """
    cuda = config.device.startswith("cuda")
    half = config.precision == "bfloat16" or (config.precision == "auto" and cuda)
    if stream.runner.encoder is not None or not (half or cuda):
        return None
    if not half:
        rehearse(stream)
        return None
    exact = rehearse(stream)
    stream.runner.halve()
    stream.forget_arrays()
    found = rehearse(stream)
    off_mm = 1e3 * float(np.linalg.norm(found - exact, axis=-1).mean())
    text = f"bfloat16 differs from float32 by {off_mm:.2f} mm on average"
    if off_mm > PARITY_LIMIT_MM:
        log.warning("%s, more than %.0f mm; set precision: float32", text, PARITY_LIMIT_MM)
    else:
        log.info("%s", text)
    return off_mm


@torch.inference_mode()
def rehearse(stream: MoRoStream) -> np.ndarray:
    """Push simulated observations of one and of two people; returns all joints (N, 22, 3) m.

    The stream is empty afterwards.
    """
    joints = []
    step_ns, stamp_ns = 1e9 / stream.motion.fps, 1e9
    for image in range(2 * WARM_UP_IMAGES):
        stamp_ns += step_ns if image < WARM_UP_IMAGES else 1.3 * step_ns
        people = tuple(standing(i, image) for i in range(1, 2 + (image % WARM_UP_IMAGES > 2)))
        frame = Frame(round(stamp_ns), CAMERA, people, np.full((720, 1280, 3), 90, np.uint8))
        found = sorted(stream.push(frame), key=lambda motion: motion.track_id)
        joints += [motion.joints for motion in found]
    stream.reset()
    stream.take_ended()
    return np.concatenate(joints)


def standing(track_id: int, image: int) -> PersonObservation:
    """Return the observation of a standing person who slowly moves sideways."""
    middle = np.array([400.0 * track_id + 4.0 * image, 360.0])
    points = (STANDING * 500.0 + middle).astype(np.float32)
    ones = np.ones(NUM_KEYPOINTS, np.float32)
    box = np.concatenate([points.min(0), points.max(0)])
    return PersonObservation(track_id, box, 1.0, Keypoints(points, ones, ones))
