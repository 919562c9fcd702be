"""`moro evaluate place`: distance of people from stature, floor and depth."""

from __future__ import annotations

import argparse

from moro_ros.cli.evaluate_open import held_out, motion_options, shown, stream_of
from moro_ros.cli.results import print_rows
from moro_ros.evaluation.place_benchmark import evaluate_place


def command(args: argparse.Namespace) -> int:
    """Held-out motion 1.3 to 4 m away, with each source of distance separately."""
    stream = stream_of(args)
    motion = held_out(args.motion)
    rows = [
        {"people": world, "source": source, **shown(metrics)}
        for world, source, metrics in evaluate_place(
            stream, motion, args.people, args.frames, args.seed
        )
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
        help="distance of people by stature, floor and depth",
    )
    place.add_argument("--people", type=int, default=24, help="number of sequences")
    place.add_argument("--frames", type=int, default=80, help="length of each sequence in images")
    place.set_defaults(evaluate=command)
