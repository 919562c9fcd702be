"""`moro fetch`: download model files and sample videos to the cache in advance."""

from __future__ import annotations

import argparse
from typing import Any

from moro_ros.assets import ASSETS, fetch

# The models of the default front-end.
USUAL = ("pose_detection.tflite", "pose_landmark_full.tflite")


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


def run(arguments: argparse.Namespace) -> None:
    """Download each file and print its path. Raises: AssetError."""
    for name in arguments.names or USUAL:
        print(fetch(name))
