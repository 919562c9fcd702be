"""`moro bench prediction`: cost of predicting people, compared with recovering their motion."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from moro_ros.cli.results import check_least, print_table
from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.pipeline import load_pipeline

# The first images fill the windows.
WARM_UP = 50
RATE_HZ = 30.0
CAMERA = camera_from_focal(900.0, 1280, 720)


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "prediction",
        help="time to predict people, relative to the recovery of one image",
        description="Recovers the motion of two simulated people and predicts them after every "
        "image. Processor time of one thread, without messages.",
    )
    add = parser.add_argument
    add("--model", default="moro_open", help="model name or folder")
    add("--images", type=int, default=100, help="number of timed images")
    add("--samples", type=int, default=0, help="alternatives per person")
    add("--json", action="store_true", help="print a JSON object instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print the table.

    Raises: ConfigError for a number out of range, or if the model cannot predict.
    """
    check_least(arguments, 1, "images")
    check_least(arguments, 0, "samples")
    torch.set_num_threads(1)
    costs = [
        measure(arguments.model, people, arguments.images, arguments.samples) for people in (1, 2)
    ]
    if arguments.json:
        print(json.dumps(costs))
    else:
        print_table([{name: round(value, 2) for name, value in cost.items()} for cost in costs])


def measure(model: str, people: int, images: int, samples: int) -> dict[str, float]:
    """Return median processor times [ms] and their ratio, for a number of people."""
    pipeline = load_pipeline(PipelineConfig(model=model, people="synthetic", max_people=people))
    if pipeline.prediction_missing:
        raise ConfigError(f"--model {model}: {pipeline.prediction_missing}")
    pixels = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    times = []
    for number in range(WARM_UP + images):
        stamp_ns = 10**9 + round(number * 1e9 / RATE_HZ)
        observed = pipeline.observe(pixels, stamp_ns, CAMERA)
        start = time.process_time()
        result = pipeline.recover(observed)
        recovered = time.process_time()
        pipeline.predict(result, samples)
        times.append((recovered - start, time.process_time() - recovered))
    step, prediction = 1e3 * np.median(times[WARM_UP:], axis=0)
    return {
        "people": people,
        "recovery_ms": float(step),
        "prediction_ms": float(prediction),
        "ratio": float(prediction / step),
    }
