"""`moro evaluate place`: distance of people from stature, floor, depth and several cameras."""

from __future__ import annotations

import argparse
from itertools import chain

from moro_ros.cli.evaluate_open import (
    at_least_one,
    held_out,
    more_than_warm_up,
    motion_options,
    shown,
    stream_of,
)
from moro_ros.cli.results import print_rows
from moro_ros.errors import ConfigError
from moro_ros.evaluation.place_benchmark import SOURCES, WORLDS, evaluate_place
from moro_ros.evaluation.shared_floor import LEARNING, evaluate_shared_floor
from moro_ros.evaluation.triangulated_place import PEOPLE, evaluate_triangulated

ALL_SOURCES = (*SOURCES, "triangulated")


def command(args: argparse.Namespace) -> int:
    """Held-out motion 1.3 to 4 m away, with each source of distance separately."""
    if args.groups and args.frames <= LEARNING:
        raise ConfigError(f"--frames: got {args.frames}, expected more than {LEARNING}.")
    if args.sources == ["triangulated"] and args.worlds and not {*args.worlds} & {*PEOPLE}:
        raise ConfigError(f"--sources triangulated: expected --worlds of {', '.join(PEOPLE)}.")
    if args.groups and (args.sources or args.worlds):
        raise ConfigError("--sources and --worlds cannot be combined with --groups.")
    stream = stream_of(args)
    motion = held_out(args.motion)
    if args.groups:
        found = evaluate_shared_floor(stream, motion, args.groups, args.frames, args.seed)
    else:
        sizes = (args.people, args.frames, args.seed)
        sources, worlds = args.sources or ALL_SOURCES, args.worlds or tuple(WORLDS)
        found = evaluate_place(stream, motion, *sizes, sources, worlds)
        if "triangulated" in sources:
            found = chain(found, evaluate_triangulated(stream, motion, *sizes, worlds))
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
    place.add_argument("--people", type=at_least_one, default=24, help="number of sequences")
    place.add_argument(
        "--frames", type=more_than_warm_up, default=80, help="length of each sequence in images"
    )
    place.add_argument(
        "--sources",
        nargs="+",
        choices=ALL_SOURCES,
        help="only these; without depth it is faster",
    )
    place.add_argument(
        "--worlds",
        nargs="+",
        choices=tuple(WORLDS),
        metavar="PEOPLE",
        help=f"only these people: {', '.join(repr(name) for name in WORLDS)}; triangulated are "
        "adults and children",
    )
    place.add_argument(
        "--groups",
        type=at_least_one,
        help="instead, number of groups of two and three people whose ground is learned; with more "
        f"than {LEARNING} images",
    )
    place.set_defaults(evaluate=command)
