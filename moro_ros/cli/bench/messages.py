"""`moro bench messages`: cost of filling and serialising the node's messages, by people."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from moro_ros.cli.processes import ProcessError, clean_environment, private_domain
from moro_ros.cli.results import check_least, print_table

# Two numbers, to derive the cost of an additional person.
PEOPLE = (1, 2, 6)


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "messages",
        help="time to fill and serialise the node's messages",
        description="Sends simulated people through the node's outputs and measures the time "
        "of each topic's messages, without DDS.",
    )
    add = parser.add_argument
    add("--people", type=int, nargs="+", default=PEOPLE, help="people in each image")
    add("--images", type=int, default=200, help="number of timed images for each number of people")
    add("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure in a separate process, like the node, and print the table.

    Raises: ConfigError for a number out of range, ProcessError if the measurement fails.
    """
    check_least(arguments, 1, "people", "images")
    names = ("people", "images")
    costs = measured_apart("moro_ros.ros.message_bench", "the messages", arguments, names)
    if arguments.json:
        print(json.dumps(costs, indent=1))
    else:
        print_table([row(cost) for cost in costs])


def measured_apart(
    module: str, what: str, arguments: argparse.Namespace, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Run a measuring module in a separate ROS domain with some of the arguments.

    Returns the array that serve.print_measured prints. Raises: ProcessError if it fails.
    """
    env = clean_environment(os.environ) | private_domain()
    given = json.dumps({name: getattr(arguments, name) for name in names})
    command = [sys.executable, "-m", module, given]
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise ProcessError(f"The measurement of {what} failed with status {result.returncode}.")
    # The nodes may have logged before.
    found: list[dict[str, Any]] = json.loads(result.stdout[result.stdout.index("[\n") :])
    return found


def row(cost: dict[str, Any]) -> dict[str, object]:
    """One line of the table: times are p50 / p95 per image, of all messages together."""
    fill, serialise = cost["fill_ms"], cost["serialise_ms"]
    return {
        "topic": cost["name"],
        "people": cost["people"],
        "messages": cost["count"],
        "kB": f"{cost['size_bytes'] / 1e3:.1f}",
        "fill ms": f"{fill[0]:.2f} / {fill[1]:.2f}",
        "serialise ms": f"{serialise[0]:.2f} / {serialise[1]:.2f}",
    }
