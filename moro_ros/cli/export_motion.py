"""`moro export bvh|gltf|amass|csv|trc|c3d|mcap`: recorded motion in the files of other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.cli.paths import user_path
from moro_ros.cli.predict_inputs import Reading, find_inputs
from moro_ros.cli.processes import Interruption
from moro_ros.cli.video_options import add_floor_options, floor_below
from moro_ros.errors import ConfigError
from moro_ros.io.bag_frames import BagFrames
from moro_ros.io.export.amass import write_amass
from moro_ros.io.export.axes import Axes, axes
from moro_ros.io.export.bodies import body_shape, check_body
from moro_ros.io.export.bvh import UNITS, write_bvh
from moro_ros.io.export.c3d import write_c3d
from moro_ros.io.export.csv_tables import write_long, write_wide
from moro_ros.io.export.files import placed_in
from moro_ros.io.export.gltf import write_gltf
from moro_ros.io.export.markers import marker_table
from moro_ros.io.export.mcap import write_mcap
from moro_ros.io.export.tracks import (
    MAX_GAP_S,
    Track,
    interpolated,
    rate_of,
    read_tracks,
    resample,
    without_holes,
)
from moro_ros.io.export.trc import write_trc
from moro_ros.io.frames import HIGHEST_RATE_HZ, FrameSource, VideoFrame
from moro_ros.io.image_folder import ImageFolder
from moro_ros.io.motion_files import TABLE
from moro_ros.io.recording import MotionRecording, load_recording
from moro_ros.resources import share_path

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Export:
    """The input of a format's writer: options, body and people.

    people: of each person the parts without long gaps, at the constant rate `rate_hz` if the
    format needs one. stem: common start of the file names.
    """

    options: argparse.Namespace
    body: BodyModel
    frame: Axes
    rate_hz: float
    people: Sequence[Sequence[Track]]
    stem: str
    recording: MotionRecording


@dataclass(frozen=True, slots=True)
class Form:
    """A format. up: its usual axis, None if it has only one; constant: it has a frame rate."""

    help: str
    description: str
    up: str | None
    constant: bool
    write: Callable[[Export, Path], None]


def bvh(export: Export, folder: Path) -> None:
    """Write a file for each part."""
    for name, track in named_parts(export):
        shape = body_shape(export.body, track.betas)
        path = folder / f"{name}.bvh"
        write_bvh(path, track, shape, export.frame, export.rate_hz, export.options.units)


def gltf(export: Export, folder: Path) -> None:
    """Write one file with all people."""
    write_gltf(folder / f"{export.stem}.glb", export.people, export.body, 1 / export.rate_hz)


def amass(export: Export, folder: Path) -> None:
    """Write a file for each part."""
    for name, track in named_parts(export):
        shape = body_shape(export.body, track.betas)
        write_amass(folder / f"{name}_stageii.npz", track, shape, export.rate_hz)


def csv(export: Export, folder: Path) -> None:
    """Write one table with all people."""
    layout = export.options.layout
    tracks = [part for parts in export.people for part in parts]
    write = {"long": write_long, "wide": write_wide}[layout]
    write(folder / f"{export.stem}_{layout}.csv", tracks)


def trc(export: Export, folder: Path) -> None:
    """Write a file for each person."""
    for parts in export.people:
        times, markers = marker_table(parts, export.body, export.rate_hz)
        path = folder / f"{export.stem}_person_{parts[0].track_id}.trc"
        write_trc(path, times, markers, export.rate_hz)


def c3d(export: Export, folder: Path) -> None:
    """Write a file for each person."""
    for parts in export.people:
        _, markers = marker_table(parts, export.body, export.rate_hz)
        path = folder / f"{export.stem}_person_{parts[0].track_id}.c3d"
        write_c3d(path, markers, export.frame, export.rate_hz)


def mcap(export: Export, folder: Path) -> None:
    """Write one file with all people, with the images of --video if it is given."""
    video: Path | None = export.options.video
    if video is None:
        write_mcap(folder, export.stem, export.people, export.recording, export.frame, None)
        return
    inputs, _ = find_inputs([video])
    if len(inputs) != 1:
        raise ConfigError(f"--video: got {video} with {len(inputs)} videos, expected one.")
    with inputs[0].open(Reading(export.rate_hz, own_camera=False)) as source:
        images = recorded_images(source, export.recording, video)
        write_mcap(folder, export.stem, export.people, export.recording, export.frame, images)


def recorded_images(
    source: FrameSource, recording: MotionRecording, video: Path
) -> Iterator[VideoFrame]:
    """Yield the images of a source that a recording describes, with its stamps.

    Raises: ConfigError if an image of the recording is not in the source.
    """
    origin_ns = source.origin_ns if isinstance(source, BagFrames) else 0
    # The rate of images is that of the recording, which is rounded.
    tolerance_ns = 0.5e9 / source.rate_hz if isinstance(source, ImageFolder) else 0.0
    expected = iter(recording.stamps_ns)
    stamp_ns = next(expected, None)
    for since_ns, image in source.frames():
        if stamp_ns is None:
            return
        if abs(origin_ns + since_ns - stamp_ns) <= tolerance_ns:
            yield VideoFrame(stamp_ns, image)
            stamp_ns = next(expected, None)
    if stamp_ns is not None:
        raise ConfigError(
            f"--video: the recording has an image at {stamp_ns / 1e9:.6f} s, but {video} does not; "
            "expected the input of moro predict for this recording."
        )


def named_parts(export: Export) -> list[tuple[str, Track]]:
    """Return all parts of all people with the names of their files, without suffix."""
    found = []
    for parts in export.people:
        name = f"{export.stem}_person_{parts[0].track_id}"
        names = [f"{name}_part_{k}" for k in range(1, len(parts) + 1)] if parts[1:] else [name]
        found += list(zip(names, parts, strict=True))
    return found


FORMS = {
    "bvh": Form(
        "skeleton animation, for example for Blender or MotionBuilder",
        "Writes one BVH file per person: the skeleton of the person's mean shape, root position "
        "and joint rotations, at a constant frame rate. A person who is missing for longer than "
        "--max-gap gets several files.",
        up="y",
        constant=True,
        write=bvh,
    ),
    "gltf": Form(
        "animated bodies as a GLB file, for example for Blender, Unity or a browser",
        "Writes one GLB file: a skinned mesh with 22 joints per person and one animation of "
        "everybody at the recorded times. In metres, y up, as glTF requires. Needs pygltflib.",
        up=None,
        constant=False,
        write=gltf,
    ),
    "amass": Form(
        "SMPL-X parameters as in AMASS",
        "Writes one npz file per person with the keys of AMASS's SMPL-X files, in metres, at a "
        "constant frame rate. The parameters are those of the body that the motion was recorded "
        "with: with the open body, betas are not valid for SMPL-X. A person who is missing for "
        "longer than --max-gap gets several files.",
        up="z",
        constant=True,
        write=amass,
    ),
    "csv": Form(
        "joint positions as a table",
        "Writes one table of everybody's joints: metres, and seconds since the first image. The "
        "rows are the recorded frames; nothing is interpolated.",
        up="z",
        constant=False,
        write=csv,
    ),
    "trc": Form(
        "markers for OpenSim",
        "Writes one TRC file per person: 22 markers with the names of Pose2Sim's models, in "
        "millimetres, at a constant frame rate. Markers are blank while a person is missing for "
        "longer than --max-gap.",
        up="y",
        constant=True,
        write=trc,
    ),
    "c3d": Form(
        "markers for gait analysis",
        "Writes one C3D file per person: the markers of `moro export trc`, in millimetres, at a "
        "constant frame rate. Markers are invalid while a person is missing for longer than "
        "--max-gap. Needs ezc3d.",
        up="z",
        constant=True,
        write=c3d,
    ),
    "mcap": Form(
        "markers and camera as a rosbag2 recording, for Foxglove and RViz",
        "Writes one mcap file: /moro/markers (visualization_msgs/MarkerArray) in the frame 'map', "
        "/camera/camera_info, the place of the camera in /tf_static and, with --video, "
        "/camera/image_raw/compressed. In metres, z up, at the recorded stamps.",
        up="z",
        constant=False,
        write=mcap,
    ),
}


def register(forms: Subparsers) -> None:
    """Add the formats to `moro export`."""
    for name, form in FORMS.items():
        parser = forms.add_parser(name, help=form.help, description=form.description)
        add = parser.add_argument
        add("motion", type=user_path, metavar="MOTION", help="motion.npz, or its folder")
        add(
            "--out", type=user_path, metavar="FOLDER", help="folder to write to (default: MOTION's)"
        )
        add("--people", metavar="IDS", help="only these ids, for example 1,3 (default: all)")
        if name == "mcap":
            add(
                "--video",
                type=user_path,
                metavar="VIDEO",
                help="add the images of the video, folder or bag that the motion was recovered "
                "from by moro predict",
            )
        if form.up and name != "mcap":
            add(
                "--up",
                choices=("y", "z"),
                default=form.up,
                help=f"axis that points up; x points to the image's right (default: {form.up})",
            )
        if name == "bvh":
            add("--units", choices=UNITS, default="cm", help="unit of length (default: cm)")
        if name == "csv":
            add(
                "--layout",
                choices=("long", "wide"),
                default="long",
                help="long: one line per joint, with confidence and state (default); wide: one "
                "line per frame and person",
            )
        if form.constant:
            add(
                "--fps",
                type=float,
                metavar="HZ",
                help="frame rate; the motion is interpolated (default: that of the recording)",
            )
        if name != "csv":
            add(
                "--max-gap",
                type=float,
                default=MAX_GAP_S,
                metavar="S",
                help="longest gap of a person that is interpolated, in seconds "
                f"(default: {MAX_GAP_S:g})",
            )
            add(
                "--body",
                type=user_path,
                metavar="FILE",
                help="body model that the motion was recorded with (default: the open body)",
            )
        add_floor_options(
            parser,
            ", which puts the floor at height 0 (default: the camera is the origin, and level)",
        )
        add("--force", action="store_true", help="replace existing files")
        parser.set_defaults(handler=run, form=name)


def run(arguments: argparse.Namespace) -> int:
    """Write the files; returns the exit status.

    Raises: MoroError for a problem with the recording, an option or the folder.
    """
    form = FORMS[arguments.form]
    floor = floor_below(arguments.camera_height, arguments.camera_pitch)
    people = ids(arguments.people)
    up = getattr(arguments, "up", form.up) or "y"
    frame = axes(up, tuple(floor.normal), floor.offset) if floor else axes(up)
    path: Path = arguments.motion
    path = path / TABLE if path.is_dir() else path
    recording = load_recording(path)
    recording.check_camera_frame(path)
    tracks = read_tracks(recording, path, people, frame)
    body = load_body_model(
        getattr(arguments, "body", None) or share_path("models", "open_body", "OPEN_NEUTRAL.npz")
    )
    split = [[track] for track in tracks]
    rate_hz, filled = 0.0, 0
    if arguments.form != "csv":
        check_body(recording, [track.track_id for track in tracks], body)
        check_range("--max-gap", arguments.max_gap, 0.0, 3600.0, "s")
        rate_hz = rate_of(recording, path)
        split = [without_holes(track, rate_hz, arguments.max_gap) for track in tracks]
    if form.constant:
        if arguments.fps is not None:
            check_range("--fps", arguments.fps, 1.0, HIGHEST_RATE_HZ, "Hz")
            rate_hz = arguments.fps
        recorded = [part for parts in split for part in parts]
        split = [[resample(part, rate_hz) for part in parts] for parts in split]
        frames = [part for parts in split for part in parts]
        filled = sum(interpolated(*pair, rate_hz) for pair in zip(recorded, frames, strict=True))
    out: Path = arguments.out or path.parent
    export = Export(arguments, body, frame, rate_hz, split, path.stem, recording)
    with Interruption(patience=0), placed_in(out, arguments.force) as folder:
        form.write(export, folder)
        names = sorted(written.name for written in folder.iterdir())
    print(f"Axes: x right, {up} up; origin: the {'floor below the ' if floor else ''}camera.")
    if form.constant:
        total = sum(len(part.times_s) for parts in split for part in parts)
        print(f"Frame rate: {rate_hz:g} Hz; {filled} of {total} frames are interpolated.")
    for parts in split:
        spans = [f"{part.times_s[0]:.3f} to {part.times_s[-1]:.3f} s" for part in parts]
        print(f"Person {parts[0].track_id}: {', '.join(spans)}")
    for name in names:
        print(f"{out / name}  {(out / name).stat().st_size / 1e6:.1f} MB")
    return 0


def ids(text: str | None) -> tuple[int, ...]:
    """Return the ids of --people; raises ConfigError."""
    try:
        return tuple(int(word) for word in text.split(",")) if text is not None else ()
    except ValueError as error:
        raise ConfigError(
            f"--people: got '{text}', expected ids separated by commas, for example 1,3."
        ) from error


def check_range(option: str, value: float, low: float, high: float, unit: str) -> None:
    """Check an option; raises ConfigError."""
    if not low <= value <= high:
        raise ConfigError(f"{option}: got {value:g}, expected {low:g} to {high:g} {unit}.")
