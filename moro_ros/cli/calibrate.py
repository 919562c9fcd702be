"""`moro calibrate`: refine the poses of cameras from the people in view."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_place, print_table, rounded
from moro_ros.cli.several_videos import (
    add_folder_options,
    fused,
    incomplete_ones,
    open_folder,
)
from moro_ros.errors import ConfigError, DataError
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.extrinsics import Refined, refine_extrinsics
from moro_ros.recover.fusion.playback import play
from moro_ros.types import NUM_KEYPOINTS

# Frame of the calibration, with its name in moro fuse.
WORLD = "world"


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="refine the extrinsics of several cameras from the people in their videos",
        description="Prints the reprojection error of each camera before and after, and writes the "
        "refined calibration. The first camera is not moved.",
    )
    add_folder_options(parser)
    parser.add_argument(
        "--out", type=user_path, default=Path("out/Calib_refined.toml"), metavar="FILE",
        help="TOML file for Pose2Sim and Anipose, in metres",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Refine, print and write. Raises: MoroError with the reason."""
    filmed = open_folder(arguments)
    make_place(arguments.out, "--out")
    views = [one.view for one in filmed]
    fusion, reels = fused(arguments, filmed)
    points, weights = [], []
    for _, people in tqdm(play(fusion, reels), "Looking", disable=None):
        for one in people:
            if len(one.looks) > 1:
                point = np.zeros((len(views), NUM_KEYPOINTS, 2))
                weight = np.zeros((len(views), NUM_KEYPOINTS))
                for row, view in enumerate(views):
                    if (look := one.looks.get(view.name)) is not None:
                        point[row], weight[row] = look.points, look.weight
                points.append(point)
                weights.append(weight)
    for word in incomplete_ones(filmed):
        print(word, file=sys.stderr)
    if not points:
        names = ", ".join(view.name for view in views)
        raise DataError(
            f"No two of the cameras {names} see the same person at the same time and "
            "place. Expected extrinsics that are a little off, and videos that start together "
            "(--delay)."
        )
    refined = refine_extrinsics(views, np.concatenate(points, 1), np.concatenate(weights, 1))
    print_table(table(refined))
    print("As TF, with the frame_id of your images:")
    for view in refined.views:
        print(transform_command(view))
    write_toml(arguments.out, refined.views)
    print(f"Refined calibration in {arguments.out}.")
    if words := not_better(refined):
        print(words, file=sys.stderr)
    return 0


def not_better(refined: Refined) -> str:
    """Return a text of the cameras whose error did not fall; empty if there are none."""
    errors = zip(refined.views, refined.before_px, refined.after_px, strict=True)
    names = [f"{v.name} ({a:.1f} to {b:.1f} px)" for v, a, b in errors if b >= a]
    if not names:
        return ""
    return (
        f"The error of held-out keypoints did not fall for {', '.join(names)}. The given "
        "extrinsics are as accurate as these videos show, or too few people walk through the scene."
    )


def transform_command(view: View) -> str:
    """Return the command that publishes the pose of a camera."""
    x, y, z = view.centre.tolist()
    qx, qy, qz, qw = Rotation.from_matrix(view.rotation.T).as_quat().tolist()
    return (
        f"ros2 run tf2_ros static_transform_publisher --x {x:.4f} --y {y:.4f} --z {z:.4f} "
        f"--qx {qx:.6f} --qy {qy:.6f} --qz {qz:.6f} --qw {qw:.6f} "
        f"--frame-id {WORLD} --child-frame-id {shlex.quote(f'{view.name}_optical_frame')}"
    )


def table(refined: Refined) -> list[dict[str, object]]:
    """Return a row for each camera."""
    columns = zip(
        refined.views,
        refined.before_px,
        refined.after_px,
        refined.turn_deg,
        refined.shift_m,
        strict=True,
    )
    return [
        {
            "camera": view.name,
            "before_px": rounded(before, 1),
            "after_px": rounded(after, 1),
            "turned_deg": rounded(turn, 2),
            "moved_m": rounded(shift, 3),
        }
        for view, before, after, turn, shift in columns
    ]


def quoted(name: str) -> str:
    """Return a name as a string of TOML, whose rules for it are those of JSON."""
    return json.dumps(name, ensure_ascii=False)


def write_toml(path: Path, views: tuple[View, ...]) -> None:
    """Write a calibration file that load_calibration reads. Raises: ConfigError."""
    tables = []
    for view in views:
        camera = view.camera
        tables.append(
            f"[{quoted(view.name)}]\n"
            f"name = {quoted(view.name)}\n"
            f"size = [{camera.width}, {camera.height}]\n"
            f"matrix = {np.asarray(camera.matrix, float).tolist()}\n"
            f"distortions = {[float(value) for value in camera.distortion]}\n"
            f"rotation = {cv2.Rodrigues(view.rotation)[0].ravel().tolist()}\n"
            f"translation = {view.translation.tolist()}\n"
            f"fisheye = {str(camera.distortion_model == 'equidistant').lower()}\n"
        )
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("\n".join(tables), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigError(f"Cannot write {path} ({error}). Choose another --out FILE.") from error
