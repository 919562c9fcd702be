"""`moro bench memory`: resident memory of a node over the number of people seen."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from moro_ros.cli.bench.messages import measured_apart
from moro_ros.cli.results import check_positive, print_table


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "memory",
        help="memory of a node over the number of people it has seen",
        description="Simulates people who pass in front of a node whose topics all have a "
        "subscriber, faster than real time, and measures the node's resident memory.",
    )
    add = parser.add_argument
    add("--people", type=int, default=5000, help="number of people who pass")
    add("--in-view", type=int, default=3, help="people in view at once")
    add("--minutes", type=float, default=30.0, help="simulated time in minutes")
    add("--rate", type=float, default=5.0, help="images per simulated second")
    add("--rep155", action="store_true", help="also subscribe to the lists of REP-155")
    add("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure in a separate process, like the node, and print the table.

    Raises: ConfigError for a number out of range, ProcessError if the measurement fails.
    """
    check_positive(arguments, "people", "in_view", "minutes", "rate")
    names = ("people", "in_view", "minutes", "rate", "rep155")
    levels = measured_apart("moro_ros.ros.memory_bench", "the memory", arguments, names)
    if arguments.json:
        print(json.dumps(levels, indent=1))
        return
    print_table([row(level) for level in levels])
    if len(levels) > 2:
        print(f"growth in the second half: {growth(levels):.2f} MB per 1,000 people")


def row(level: dict[str, Any]) -> dict[str, object]:
    """One line of the table."""
    return {
        "people": level["people"],
        "images": level["images"],
        "simulated min": f"{level['time_s'] / 60:.1f}",
        "resident MB": f"{level['memory_bytes'] / 1e6:.1f}",
    }


def growth(levels: list[dict[str, Any]]) -> float:
    """Slope of the memory in the second half, MB per 1,000 people; the first fills caches."""
    half = levels[len(levels) // 2 - 1 :]
    people = [level["people"] / 1000 for level in half]
    slope, _ = np.polyfit(people, [level["memory_bytes"] / 1e6 for level in half], 1)
    return float(slope)
