"""`moro idle`: cost of an idle moro_node in each state of its life cycle."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moro_ros.cli.paths import user_path
from moro_ros.cli.processes import (
    Children,
    ProcessError,
    clean_environment,
    private_domain,
    ros_arguments,
)
from moro_ros.cli.results import make_place
from moro_ros.cli.run import params_file
from moro_ros.errors import ConfigError

NODE = "/moro"
# The transitions from one state to the next, and the name of each measured state.
COURSE = (
    ("", "unconfigured"),
    ("configure", "inactive"),
    ("activate", "active, no images"),
    ("deactivate", "inactive again"),
    ("cleanup", "cleaned up"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one state: resident memory, bytes; CPU, share of one core; GPU memory, bytes."""

    state: str
    memory_bytes: int
    cpu_share: float
    gpu_memory_bytes: int | None


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "idle",
        help="measure memory and CPU of an idle node",
        description="Starts moro_node in its own DDS domain, runs it through its lifecycle and "
        "measures memory and CPU in each state, without images. Linux only.",
    )
    parser.add_argument("--params-file", default="moro", metavar="FILE", help="as for moro run")
    parser.add_argument("--device", help="torch device: cpu, cuda or cuda:N")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="duration of the measurement in each state",
    )
    parser.add_argument("--json", type=user_path, metavar="FILE", help="JSON file for the results")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print a table.

    Raises: ConfigError without /proc, ProcessError if a transition fails.
    """
    if not Path("/proc/self/statm").exists():
        raise ConfigError("moro idle reads /proc, which exists only on Linux.")
    if arguments.json:
        make_place(arguments.json, "--json")
    chosen: dict[str, object] = {"autostart": False}
    if arguments.device:
        chosen["device"] = arguments.device
    words = ["--ros-args", "--params-file", str(params_file(arguments.params_file))]
    env = clean_environment(os.environ) | private_domain()
    costs = []
    with Children(env, logs=None) as children:
        node = children.start("moro_node", "moro_ros.ros.node", words + ros_arguments(chosen))
        for transition, state in COURSE:
            ask(env, transition)
            children.check()
            costs.append(measure(node.process.pid, state, arguments.seconds))
    print(table(costs))
    if arguments.json:
        text = json.dumps([asdict(cost) for cost in costs], indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def ask(env: dict[str, str], transition: str) -> None:
    """Let the node make a transition; empty: wait until it responds. Raises: ProcessError."""
    module = "moro_ros.ros.lifecycle_client"
    words = [sys.executable, "-m", module, NODE, *([transition] if transition else [])]
    result = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ProcessError(f"{transition or 'start'} failed: {result.stderr.strip()}")


def measure(pid: int, state: str, seconds: float) -> Cost:
    """Measure a process for a while; the memory is measured at the end."""
    before_s, start_s = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_s(pid) - before_s) / (time.monotonic() - start_s)
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return Cost(state, pages * os.sysconf("SC_PAGE_SIZE"), share, gpu_bytes(pid))


def cpu_s(pid: int) -> float:
    """CPU time that a process has used so far, s."""
    # The second field, the name, may contain blanks and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gpu_bytes(pid: int) -> int | None:
    """GPU memory of a process from the driver, bytes; None without an NVIDIA driver."""
    command = [
        "nvidia-smi",
        "--query-compute-apps=pid,used_memory",
        "--format=csv,noheader,nounits",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    rows = [line.split(",") for line in result.stdout.splitlines() if "," in line]
    return sum(int(used) * 2**20 for owner, used in rows if int(owner) == pid)


def table(costs: list[Cost]) -> str:
    """The costs as a table of Markdown."""
    lines = ["| state | memory MB | GPU memory MB | CPU % of a core |", "|---|---|---|---|"]
    for cost in costs:
        gpu = "-" if cost.gpu_memory_bytes is None else f"{cost.gpu_memory_bytes / 1e6:.0f}"
        row = cost.state, f"{cost.memory_bytes / 1e6:.0f}", gpu, f"{100 * cost.cpu_share:.1f}"
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)
