"""Print which simulated errors the error of the open model on held-out motion comes from.

    python scripts/error_sources.py [MOTION.npz [SUBJECTS]]

Each row removes or changes one source of error of the open benchmark's noise (docs/accuracy.md).
scaled: MPJPE after the best scale per window, that is, with the stature known.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from moro_ros.cli.evaluate_open import held_out
from moro_ros.config import PipelineConfig
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.occlusion import CLEAN, ObservationNoise
from moro_ros.data.synthesis import CameraRange, ObservedMotion, look, place_cameras
from moro_ros.evaluation.open_benchmark import OpenProtocol
from moro_ros.evaluation.open_decoding import Decoding, OpenModel, recover
from moro_ros.evaluation.open_worlds import NOISE
from moro_ros.live.load import load_stream

# Row -> noise, and whether people have different shapes.
ROWS: dict[str, tuple[ObservationNoise, bool]] = {
    "noise": (NOISE, True),
    "keypoints 10 mm off instead of 22 mm": (replace(NOISE, definition_m=0.01), True),
    "keypoints where the model expects them": (replace(NOISE, definition_m=0.0), True),
    "no noise from image to image": (replace(CLEAN, definition_m=NOISE.definition_m), True),
    "no noise": (CLEAN, True),
    "people of mean shape": (NOISE, False),
    "no noise, people of mean shape": (CLEAN, False),
}


def main() -> None:
    """Evaluate all rows, without and with the floor."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    motion = held_out(path, subjects=sys.argv[2] if len(sys.argv) > 2 else "02,03")
    model = OpenModel.of(load_stream(PipelineConfig()).model)
    protocol = OpenProtocol()
    windows = motion.draw(128, protocol.frames, np.random.default_rng(protocol.seed), warp=False)
    print("| source | MPJPE mm | scaled mm | with floor, MPJPE mm | scaled mm |")
    print("|---|---|---|---|---|")
    for name, (noise, shapes) in ROWS.items():
        observed = seen(windows, model, noise, shapes)
        both = [errors(model, observed, floor) for floor in (False, True)]
        print(f"| {name} | " + " | ".join(f"{error:.1f}" for pair in both for error in pair) + " |")


def seen(
    windows: MotionWindows, model: OpenModel, noise: ObservationNoise, shapes: bool
) -> ObservedMotion:
    """Return the same views for every row."""
    count = len(windows.translation)
    rng = np.random.default_rng(1)
    betas = torch.from_numpy(rng.normal(size=(count, 10))).float() * float(shapes)
    truth = place_cameras(windows, betas, model.body, rng, CameraRange())
    return look(truth, model.body, noise, np.random.default_rng(2))


@torch.inference_mode()
def errors(model: OpenModel, observed: ObservedMotion, floor: bool) -> tuple[float, float]:
    """Return MPJPE without and with the best scale per window, mm."""
    found = recover(model, observed, Decoding(floor=floor)).joints
    true = observed.joints - observed.joints[:, :, :1]
    scale = (found * true).sum((1, 2, 3)) / found.square().sum((1, 2, 3))
    scaled = scale[:, None, None, None] * found
    return tuple(1e3 * float((one - true).norm(dim=-1).mean()) for one in (found, scaled))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
