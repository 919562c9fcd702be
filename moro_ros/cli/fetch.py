"""`moro fetch`: download model files and sample videos to the cache in advance."""

from __future__ import annotations

import argparse
from typing import Any

from moro_ros.assets import ASSETS, fetch
from moro_ros.config import PipelineConfig

DETECTOR, LANDMARKS = "pose_detection.tflite", "pose_landmark_full.tflite"
# All that nodes may need except the heavy landmark network. They are in one wheel.
USUAL = (DETECTOR, LANDMARKS, "face_landmark.tflite", "hand_landmark_full.tflite")


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "fetch",
        help="download the detector's files in advance",
        description="Downloads files to the cache, checks their sha256 and prints their paths.",
        epilog=f"Known: {', '.join(ASSETS)}.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(USUAL)}")
    parser.set_defaults(handler=run)


def fetch_models(config: PipelineConfig | None = None) -> None:
    """Have the files of a front-end in the cache, which are not downloaded when it is loaded.

    config: of its pipeline, by default the default. The heavy landmark network is not downloaded.
    Raises: AssetError.
    """
    config = config or PipelineConfig()
    if config.people == "camera":
        fetch(DETECTOR)
        if config.detector.landmarks == "full":
            fetch(LANDMARKS)


def run(arguments: argparse.Namespace) -> None:
    """Download each file and print its path. Raises: AssetError."""
    for name in arguments.names or USUAL:
        print(fetch(name))
