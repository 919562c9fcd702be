"""`moro predict`: the motion in videos, images and bags through the library alone, without ROS."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from moro_ros.assets import cached_path
from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.paths import user_path
from moro_ros.cli.predict_inputs import Input, Reading, find_inputs
from moro_ros.cli.predict_job import RESULTS, Job, Say, finished, process
from moro_ros.cli.progress import progress_of
from moro_ros.cli.results import check_not_replaced, make_folder
from moro_ros.cli.statures import read_statures
from moro_ros.cli.video_options import add_camera_options, add_floor_options, floor_below
from moro_ros.config import PipelineConfig, load_config
from moro_ros.errors import ConfigError, MoroError
from moro_ros.io.frames import HIGHEST_RATE_HZ, LONGEST_S, LOWEST_RATE_HZ
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.live.two_sided import two_sided

MOST_PEOPLE = 32
HEAVY = "pose_landmark_heavy.tflite"


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "predict",
        help="recover the motion in videos, images or bags, without ROS",
        description="Writes motion.npz, joints.csv, overlay.mp4, sheet.png, report.html and "
        "summary.json. "
        "With several videos, or a folder of videos, each gets its own folder; videos completed by "
        "an earlier run are skipped. Ctrl-C stops and keeps the motion so far; a second Ctrl-C "
        "exits immediately.",
    )
    add = parser.add_argument
    add(
        "inputs",
        type=user_path,
        nargs="+",
        metavar="INPUT",
        help="video of a static camera, folder of videos, folder of images, or rosbag2 recording",
    )
    add_camera_options(parser)
    add_floor_options(parser)
    add(
        "--stature",
        action="append",
        default=[],
        metavar="[ID=]METRES",
        help="how tall the person with this id is, or everybody; may be repeated",
    )
    add("--start", type=float, default=0.0, metavar="S", help="start at this time in seconds")
    add("--end", type=float, metavar="S", help="stop before this time in seconds")
    add("--people", type=int, metavar="N", help="maximum tracked people (default: max_people, 6)")
    add(
        "--refined",
        action="store_true",
        help="also use the half second after each pose: smoother, more accurate, slower",
    )
    add(
        "--fps",
        type=float,
        default=30.0,
        metavar="HZ",
        help="frame rate of a folder of images (default: %(default)g)",
    )
    add("--image-topic", default="", metavar="TOPIC", help="images of a bag with several cameras")
    add("--info-topic", default="", metavar="TOPIC", help="their camera_info")
    add(
        "--depth-topic",
        default="",
        metavar="TOPIC",
        help="depth images of a bag (16UC1 in mm or 32FC1 in m), which measure the distance and "
        "the posture of people",
    )
    add(
        "--depth-info-topic",
        default="",
        metavar="TOPIC",
        help="their camera_info (default: camera_info in the namespace of --depth-topic)",
    )
    add("--out", type=user_path, default=Path("out/predict"), help="folder for the results")
    add("--config", type=user_path, help="YAML file with options of the pipeline")
    add(
        "--landmarks",
        choices=("full", "heavy"),
        help="BlazePose landmark network (default: that of --config; without --config, heavy, "
        "which is slower and more accurate, if it was downloaded, else full)",
    )
    add("--force", action="store_true", help="with several inputs, process completed ones again")
    add("--json", action="store_true", help="print a summary as JSON; messages go to stderr")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Process all inputs; returns the exit status: 0, 1 if one failed, or 128 + a signal's number.

    Raises: MoroError for a problem with the options, the only input or the folder.
    """
    inputs, several = find_inputs(arguments.inputs)
    job = job_of(arguments, several)
    out: Path = arguments.out
    folders = [out / one.folder for one in inputs] if several else [out]
    check_inputs_stay(inputs, folders)
    say = Say(sys.stderr if arguments.json else sys.stdout)
    # Only once, and not before the first input is known to be usable.
    load = cache(partial(fetch_and_load, job.config))
    if several:
        make_folder(out, "--out")
        results, status = process_all(inputs, job, out, load, say, arguments.force)
    else:
        results = [process(inputs[0], job, out, load, say)]
        status = int(results[0]["exit_status"])
    if arguments.json:
        for summary in results:
            summary.pop("settings", None)
        print(json.dumps({"exit_status": status, "inputs": results}, indent=2))
    return status


def fetch_and_load(config: PipelineConfig) -> HumanMotionPipeline:
    """Load the pipeline after a download of the files that are missing; raises MoroError."""
    fetch_models(config)
    return load_pipeline(config)


def check_inputs_stay(inputs: list[Input], folders: list[Path]) -> None:
    """Check that results neither replace an input nor are added to its images.

    folders: of the results. Raises: ConfigError.
    """
    check_not_replaced(
        [one.path for one in inputs], [folder / name for folder in folders for name in RESULTS]
    )
    resolved = {folder.resolve() for folder in folders}
    for one in inputs:
        if one.kind == "images" and one.path.resolve() in resolved:
            raise ConfigError(
                f"--out: got {one.path}, the folder of the images; expected another folder, "
                "because the results also contain an image."
            )


def process_all(
    inputs: list[Input],
    job: Job,
    out: Path,
    load: Callable[[], HumanMotionPipeline],
    say: Say,
    again: bool,
) -> tuple[list[dict[str, Any]], int]:
    """Process inputs one by one into separate folders; returns their summaries and the status.

    An input that cannot be processed does not stop the others. again: also complete ones.
    """
    results: list[dict[str, Any]] = []
    failed = []
    ahead = progress_of(inputs, job.reading, job.start_s, job.end_s)
    for number, (one, progress) in enumerate(zip(inputs, ahead, strict=True), 1):
        folder = out / one.folder
        heading = f"[{number}/{len(inputs)}] {one.path}"
        try:
            earlier = None if again else finished(one, job, folder, load)
            if earlier is not None:
                say(f"{heading}: completed by an earlier run. --force processes it again.")
                results.append(earlier | {"state": "skipped"})
                continue
            say(heading)
            results.append(process(one, job, folder, load, say, progress))
        except Exception as error:
            told = str(error)
            if not isinstance(error, MoroError):
                traceback.print_exc()
                told = f"Unexpected error in {one.path}: {type(error).__name__}: {error}"
            print(f"moro predict: {told}", file=sys.stderr)
            failed.append(str(one.path))
            results.append({"input": str(one.path), "state": "failed", "error": told})
        else:
            if results[-1]["exit_status"]:
                return results, int(results[-1]["exit_status"])
    done = len(inputs) - len(failed)
    say(
        f"{done} of {len(inputs)} inputs are complete in {out}."
        + (f" Failed: {', '.join(failed)}." if failed else "")
    )
    return results, int(bool(failed))


def job_of(arguments: argparse.Namespace, several: bool) -> Job:
    """Check the options; several: whether there are several inputs. Raises: MoroError."""
    start_s, end_s = arguments.start, arguments.end
    if not 0.0 <= start_s <= LONGEST_S:
        raise ConfigError(f"--start: got {start_s:g}, expected 0 to {LONGEST_S:g} seconds.")
    if end_s is not None and not start_s < end_s <= LONGEST_S:
        raise ConfigError(
            f"--end: got {end_s:g}, expected a time after the start at {start_s:g} s; omit it for "
            "the end of the input."
        )
    if not LOWEST_RATE_HZ <= arguments.fps <= HIGHEST_RATE_HZ:
        raise ConfigError(
            f"--fps: got {arguments.fps:g}, expected {LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g} Hz."
        )
    config = load_config(arguments.config) if arguments.config else PipelineConfig()
    landmarks = arguments.landmarks
    if landmarks is None and arguments.config is None and cached_path(HEAVY).is_file():
        landmarks = "heavy"
    if landmarks is not None:
        detector = dataclasses.replace(config.detector, landmarks=landmarks)
        config = dataclasses.replace(config, detector=detector)
    if arguments.people is not None:
        if not 1 <= arguments.people <= MOST_PEOPLE:
            raise ConfigError(f"--people: got {arguments.people}, expected 1 to {MOST_PEOPLE}.")
        config = dataclasses.replace(config, max_people=arguments.people)
    if arguments.refined:
        config = dataclasses.replace(config, motion=two_sided(config.motion))
    if arguments.depth_info_topic and not arguments.depth_topic:
        raise ConfigError(
            f"--depth-info-topic: got '{arguments.depth_info_topic}' without --depth-topic; "
            "expected both, or omit it."
        )
    if arguments.depth_topic and arguments.depth_topic == arguments.image_topic:
        raise ConfigError(
            f"--depth-topic: got '{arguments.depth_topic}', which is --image-topic; expected the "
            "topic of the depth images."
        )
    own_camera = arguments.focal is None and arguments.camera is None
    return Job(
        # There is time to look at all people in every image.
        config=dataclasses.replace(config, realtime=False),
        focal_px=arguments.focal,
        camera_file=arguments.camera,
        floor=floor_below(arguments.camera_height, arguments.camera_pitch),
        reading=Reading(
            arguments.fps,
            arguments.image_topic,
            arguments.info_topic,
            own_camera,
            arguments.depth_topic,
            arguments.depth_info_topic,
        ),
        start_s=start_s,
        end_s=end_s,
        refined=arguments.refined,
        statures=read_statures(arguments.stature, several),
    )
