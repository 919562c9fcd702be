"""`moro fuse`: one motion per person from several calibrated cameras, without ROS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from moro_ros.cli.paths import user_path
from moro_ros.cli.processes import Interruption
from moro_ros.cli.results import make_folder, print_table, rounded
from moro_ros.cli.several_videos import (
    Filmed,
    add_folder_options,
    fused,
    incomplete_ones,
    open_folder,
)
from moro_ros.cli.world_floor import add_floor_option, ignored_words, read_floor
from moro_ros.errors import ConfigError
from moro_ros.geometry.views import View
from moro_ros.io.motion_files import CSV, TABLE, MotionFiles
from moro_ros.io.recording import row_of
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.playback import play
from moro_ros.recover.ground import moved
from moro_ros.types import Camera

WORLD = "world"


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "fuse",
        help="recover the motion in synchronised videos of several calibrated cameras",
        description="Writes motion.npz and joints.csv: one motion of everybody, in the world frame "
        "of the calibration. Ctrl-C stops and keeps the motion so far.",
    )
    add_folder_options(parser)
    add_floor_option(parser)
    parser.add_argument(
        "--frame",
        default=WORLD,
        metavar="NAME",
        help="frame of the motion: world (default), or the optical frame of a camera",
    )
    parser.add_argument(
        "--out", type=user_path, default=Path("out/fuse"), help="folder for the results"
    )
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Recover and write; returns the exit status, 128 + number of the signal that ended it.

    Raises: MoroError for a problem with videos, calibration, model or folder.
    """
    filmed = open_folder(arguments)
    frame = frame_view(arguments.frame, filmed)
    out: Path = arguments.out
    floor = None
    if arguments.floor is not None:
        floor = read_floor(arguments.floor, [one.view for one in filmed])
    fusion, reels = fused(arguments, filmed, floor)
    make_folder(out, "--out")
    seen: dict[int, list[int]] = {}
    with Interruption() as interruption:
        files = MotionFiles(out, overwrite=True, option="--out")
        files.camera = frame.camera
        try:
            for stamp_ns, people in tqdm(play(fusion, reels), "Recovering", disable=None):
                files.add_image(stamp_ns)
                for one in people:
                    motion = moved(one.motion, frame.rotation, frame.translation)
                    files.add(motion.track_id, row_of(motion))
                    seen.setdefault(motion.track_id, []).append(len(one.tracks))
                if interruption.number:
                    break
            files.finish()
        except OSError as error:
            raise ConfigError(
                f"Cannot write to {out} ({error}). Free disk space, or choose another --out FOLDER."
            ) from error
        finally:
            files.discard()
    for word in (*fusion.judge.problems(), *incomplete_ones(filmed) * (not interruption.number)):
        print(word, file=sys.stderr)
    for one in filmed:
        if one.ignored_floor:
            print(ignored_words(one.view.name, one.ignored_floor), file=sys.stderr)
    if fusion.unusable_poses:
        print(f"Omitted because not finite: {fusion.unusable_poses} poses", file=sys.stderr)
    report(seen, fusion, files.images)
    print(f"Results in {out}: {TABLE}, {CSV}")
    return interruption.status


def frame_view(name: str, filmed: list[Filmed]) -> View:
    """Return the frame of --frame as a view; the world's has no camera.

    Raises: ConfigError if there is no such camera.
    """
    for one in filmed:
        if one.view.name == name:
            return one.view
    if name != WORLD:
        names = ", ".join(one.view.name for one in filmed)
        raise ConfigError(f"--frame: got '{name}', expected {WORLD} or one of {names}.")
    return View(WORLD, Camera(np.zeros((3, 3)), 0, 0, frame_id=WORLD), np.eye(3), np.zeros(3))


def report(seen: dict[int, list[int]], fusion: Fusion, images: int) -> None:
    """Print the number of cameras that saw each person, and the agreement of the cameras."""
    print(f"{images} times, {len(seen)} people from {len(fusion.views)} cameras")
    if seen:
        print_table(
            [
                {"id": i, "times": len(counts), "cameras": rounded(float(np.mean(counts)), 1)}
                for i, counts in sorted(seen.items())
            ]
        )
    if residual := fusion.judge.residual:
        print("Median distance of each camera's keypoints from the bodies, % of the person box:")
        print_table([{name: rounded(100 * share, 1) for name, share in sorted(residual.items())}])
