"""`moro evaluate focal`: the focal length from people, against the true one."""

from __future__ import annotations

import argparse
import math

from moro_ros.cli.evaluate_open import at_least_one, held_out, motion_options, stream_of
from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.results import check_least, print_rows
from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError
from moro_ros.evaluation.focal_benchmark import (
    figures,
    guess,
    pose2sim_clips,
    synthetic_guesses,
)
from moro_ros.live.focal_estimate import LEAST_POSES, WARM_UP
from moro_ros.perception.frontend import load_frontend

LEAST_IMAGES = LEAST_POSES + WARM_UP


def command(args: argparse.Namespace) -> int:
    """The videos of Pose2Sim, with other focal lengths as if, and synthetic people."""
    check_least(args, LEAST_IMAGES, "images")
    if not all(0.0 < share < math.inf for share in args.shares):
        raise ConfigError(f"--shares: got {args.shares}, expected positive numbers.")
    motion = held_out(args.motion)
    stream = stream_of(args)
    rows: list[dict[str, object]] = []
    config = PipelineConfig()
    if not args.no_videos:
        fetch_models(config)
        frontend = load_frontend(config.detector, config.tracker, config.max_people, realtime=False)
        clips = list(pose2sim_clips(frontend, args.images))
        mean = sum(clip.share for clip in clips) / len(clips)
        for share in (None, *args.shares):
            tried = [guess(c.frames, stream, c.focal_px, share or c.share) for c in clips]
            guesses = [found for found in tried if found is not None]
            name = f"{share:g} of the longer side, as if" if share else f"{mean:.2f}, as they are"
            rows.append({"what": f"videos: {name}", **shown(figures(guesses))})
    guesses = synthetic_guesses(stream, motion, args.people, args.synthetic_images, args.seed)
    rows.append(
        {"what": f"{len(guesses)} of {args.people} synthetic people", **shown(figures(guesses))}
    )
    print_rows(rows, args.json)
    return 0


def shown(found: dict[str, float]) -> dict[str, object]:
    """Return figures fit for JSON and tables."""
    return {name: round(value, 2) for name, value in found.items()}


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    focal = sets.add_parser(
        "focal",
        parents=[motion_options(shared)],
        help="focal length estimated from people, on the videos of Pose2Sim and synthetic people",
        description="Compares the focal length that is estimated from people with the true one: "
        "on the videos of Pose2Sim, which are downloaded on first use, and on synthetic people "
        "with held-out motion. Prints a table of relative errors.",
    )
    add = focal.add_argument
    add(
        "--images",
        type=int,
        default=50,
        help="images with people of each video (default: %(default)s)",
    )
    add(
        "--shares",
        type=float,
        nargs="*",
        default=[0.5, 1.75],
        help="further true focal lengths to simulate, relative to the longer side of the image "
        "(default: 0.5 1.75)",
    )
    add("--no-videos", action="store_true", help="only synthetic people")
    add(
        "--people",
        type=at_least_one,
        default=16,
        help="synthetic people, each with its own camera (default: %(default)s)",
    )
    add(
        "--synthetic-images",
        type=at_least_one,
        default=30,
        help="images of each synthetic person (default: %(default)s)",
    )
    focal.set_defaults(evaluate=command)
