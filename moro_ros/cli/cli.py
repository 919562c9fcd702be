"""The `moro` command: a table of subcommands, whose modules are imported when they are run."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import logging
import sys
from collections.abc import Sequence

from moro_ros.errors import MoroError, missing_module

# Subcommand -> the module whose register(subparsers) defines it (with its function as the
# default `handler`), and its line in --help.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "moro_ros.cli.demo",
        "play a video through the ROS nodes, record and draw the motion",
    ),
    "run": ("moro_ros.cli.run", "start the ROS nodes without ros2 launch"),
    "predict": ("moro_ros.cli.predict", "recover the motion in a video, without ROS"),
    "fuse": ("moro_ros.cli.fuse", "recover the motion in videos of several calibrated cameras"),
    "calibrate": (
        "moro_ros.cli.calibrate",
        "refine the extrinsics of several cameras from the people they see",
    ),
    "train": ("moro_ros.cli.train", "train the networks"),
    "data": ("moro_ros.cli.data", "import motion data, list and check data sets"),
    "evaluate": ("moro_ros.cli.evaluate", "measure the accuracy of a model"),
    "fetch": ("moro_ros.cli.fetch", "download the detector's files in advance"),
    "idle": ("moro_ros.cli.bench.idle", "measure memory and CPU of an idle node"),
    "bench": ("moro_ros.cli.bench.bench", "measure time and memory"),
    "view": ("moro_ros.cli.view", "show recorded or live motion in the browser"),
    "export": ("moro_ros.cli.export", "export recorded motion for other programs, or a model"),
    "make-body": ("moro_ros.cli.open_body.open_body", "generate the open body model"),
    "verify-golden": (
        "moro_ros.cli.golden.verify_golden",
        "compare the network with recorded reference outputs",
    ),
    "import-official": (
        "moro_ros.cli.import_official",
        "make a model folder from the authors' checkpoints",
    ),
}


def available() -> dict[str, tuple[str, str]]:
    """The commands whose module is installed."""
    return {name: entry for name, entry in COMMANDS.items() if importlib.util.find_spec(entry[0])}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    chosen: the subcommand in use, whose module alone is imported; the others get their line in
    the help.
    """
    lines = [f"  {name:<18}{line}" for name, (_, line) in available().items()]
    parser = argparse.ArgumentParser(
        prog="moro",
        description="Human motion from a static camera, with and without ROS 2.",
        epilog="\n".join(["commands (moro COMMAND --help describes each):", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help="one of the commands below"
    )
    for name, (module, _) in available().items():
        if name == chosen:
            importlib.import_module(module).register(subparsers)
        else:
            subparsers.add_parser(name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0, 1 after an error, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr, so that no name of a file is an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        arguments = build_parser(chosen).parse_args(words)
        status = arguments.handler(arguments)
    except MoroError as error:
        print(f"moro {chosen}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"moro {chosen}: {missing_module(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"moro {chosen}: interrupted", file=sys.stderr)
        return 130
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
