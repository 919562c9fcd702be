"""`moro bench distance`: cost of one measurement of moro_distance."""

from __future__ import annotations

import argparse
import json
from typing import Any

from moro_ros.cli.bench.messages import measured_apart
from moro_ros.cli.results import check_least, print_table
from moro_ros.errors import ConfigError

# A tenth of them is warm-up; fewer give no reliable 95th percentile.
LEAST_ROUNDS = 50
LONGEST_S = 600.0


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "distance",
        help="time of one measurement of moro_distance",
        description="Measures the distances between an arm of seven joints and simulated people, "
        "without DDS.",
    )
    add = parser.add_argument
    add("--people", type=int, nargs="+", default=(1, 2), help="people near the arm")
    add("--rounds", type=int, default=500, help="number of measurements")
    add(
        "--seconds",
        type=float,
        default=0.0,
        help="also run the node in its own process for this time, with DDS, and print its rate",
    )
    add("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure in a separate process, like the node, and print the table.

    Raises: ConfigError for a number out of range, ProcessError if the measurement fails.
    """
    check_least(arguments, 1, "people")
    check_least(arguments, LEAST_ROUNDS, "rounds")
    if not 0.0 <= arguments.seconds <= LONGEST_S:
        raise ConfigError(f"--seconds: got {arguments.seconds:g}, expected 0 to {LONGEST_S:g} s.")
    names = ("people", "rounds", "seconds")
    found = measured_apart("moro_ros.ros.distance_bench", "the distances", arguments, names)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        print_table([row(cost) for cost in found])


def row(cost: dict[str, Any]) -> dict[str, object]:
    """One line of the table: times are p50 / p95 of one measurement."""
    names = ("inputs", "measure", "serialise", "total")
    times = {f"{n} ms": "{:.2f} / {:.2f}".format(*cost[f"{n}_ms"]) for n in names}
    share = f"{100 * cost['core_share']:.0f} %"
    line = {"people": cost["people"], "pairs": cost["pairs"], **times, "core at 100 Hz": share}
    if "achieved_hz" in cost:
        line["achieved Hz"] = f"{cost['achieved_hz']:.1f}"
        line["core then"] = f"{100 * cost['achieved_core_share']:.0f} %"
    return line
