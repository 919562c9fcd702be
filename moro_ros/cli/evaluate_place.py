"""`moro evaluate place`: distance of people from stature, floor, depth and several cameras."""

from __future__ import annotations

import argparse
from itertools import chain

from moro_ros.cli.evaluate_open import held_out, motion_options, shown, stream_of
from moro_ros.cli.results import print_rows
from moro_ros.errors import ConfigError
from moro_ros.evaluation.place_benchmark import evaluate_place
from moro_ros.evaluation.shared_floor import LEARNING, evaluate_shared_floor
from moro_ros.evaluation.triangulated_place import evaluate_triangulated


def command(args: argparse.Namespace) -> int:
    """Held-out motion 1.3 to 4 m away, with each source of distance separately."""
    if args.groups and args.frames <= LEARNING:
        raise ConfigError(f"--frames: got {args.frames}, expected more than {LEARNING}.")
    stream = stream_of(args)
    motion = held_out(args.motion)
    if args.groups:
        found = evaluate_shared_floor(stream, motion, args.groups, args.frames, args.seed)
    else:
        sizes = (args.people, args.frames, args.seed)
        found = chain(
            evaluate_place(stream, motion, *sizes), evaluate_triangulated(stream, motion, *sizes)
        )
    rows = [
        {"people": people, "source": source, **shown(metrics)} for people, source, metrics in found
    ]
    print_rows(rows, args.json)
    return 0


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    place = sets.add_parser(
        "place",
        parents=[motion_options(shared)],
        help="distance of people by stature, floor, depth and several cameras",
    )
    place.add_argument("--people", type=int, default=24, help="number of sequences")
    place.add_argument("--frames", type=int, default=80, help="length of each sequence in images")
    place.add_argument(
        "--groups",
        type=int,
        default=0,
        help="instead, number of groups of two and three people whose ground is learned; with more "
        f"than {LEARNING} images",
    )
    place.set_defaults(evaluate=command)
