"""`moro verify-golden`: recorded inputs through our network, against recorded outputs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moro_ros.body.connections import load_connection_tables
from moro_ros.cli.golden.golden_set import GoldenSet, Group, GroupReport
from moro_ros.cli.golden.groups import GROUPS, Subject
from moro_ros.cli.paths import user_path
from moro_ros.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Largest relative error of an array. float32: the order of additions. bfloat16: eight bits of
# mantissa through the whole depth of the network; ids may then differ as well.
LIMITS = {"float32": 1e-4, "bfloat16": 0.2}


def register(subparsers: Subparsers) -> None:
    """Add the command to the `moro` parser."""
    parser = subparsers.add_parser(
        "verify-golden", help="compare the network with recorded reference outputs"
    )
    _arguments(parser)
    parser.set_defaults(handler=run)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=user_path, help="golden set: config.json, weights, .npz groups"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    parser.add_argument("--connections", type=user_path, help="folder of the 14 connection tables")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Compare every group of a set; returns 0 if all agree and 1 otherwise."""
    reports = verify(arguments.folder, arguments.device, arguments.dtype, arguments.connections)
    worst = max((report.worst for report in reports), default=0.0)
    ids_equal = all(report.ids_equal for report in reports)
    agree = worst <= LIMITS[arguments.dtype] and (ids_equal or arguments.dtype != "float32")
    if arguments.json:
        groups = [asdict(report) for report in reports]
        whole = {"worst": worst, "ids_equal": ids_equal, "agree": agree, "groups": groups}
        print(json.dumps(whole, indent=1))
        return 0 if agree else 1
    for report in reports:
        for line in describe(report):
            print(line)
    print(f"worst {worst:.1e} ids_equal {str(ids_equal).lower()}")
    return 0 if agree else 1


def describe(report: GroupReport) -> list[str]:
    """The lines on one group: figures first, then what was not compared and why."""
    compared = len(report.errors) + len(report.ids_differ)
    lines = []
    if compared:
        line = f"{report.name:18} {compared:3} arrays"
        if report.errors:
            array = max(report.errors, key=lambda name: report.errors[name])
            line += f"  worst {report.worst:.1e} ({array})"
        if report.ids_differ:
            wrong = {name: count for name, count in report.ids_differ.items() if count}
            line += "  ids equal" if not wrong else f"  ids differ: {wrong}"
        lines.append(line)
    reasons: dict[str, list[str]] = {}
    for name, reason in report.skipped.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines.append(f"{report.name:18} skipped {shown}: {reason}")
    return lines


def verify(
    folder: Path, device: str = "cpu", dtype: str = "float32", connections: Path | None = None
) -> list[GroupReport]:
    """Run every group that a golden set holds through our modules.

    Raises: CheckpointError if the set is damaged or has no group; BodyModelError if the connection
    tables are not those of the set; ConfigError if the device is not there.
    """
    golden = GoldenSet(folder)
    tables = None
    if connections is not None:
        tables = load_connection_tables(connections, golden.numbers.get("connection_sha256"))
    place = _device(device)
    exact = dtype == "float32"
    if exact:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    subject = Subject(golden, golden.load_moro(place), place, tables, exact)
    reports = []
    for name, compare in GROUPS.items():
        group = golden.group(name)
        if group is None:
            continue
        with torch.no_grad(), torch.autocast(place.type, DTYPES[dtype], enabled=not exact):
            compare(subject, group)
        reports.append(_finished(group))
    if not reports:
        raise CheckpointError(f"{folder} contains none of the groups {', '.join(GROUPS)}.")
    return reports


def _finished(group: Group) -> GroupReport:
    """The report, with everything that was neither used nor compared named as such."""
    group.skip("unknown to this version")
    return group.report


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: expected cpu or cuda ({error}).") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no CUDA device. Use --device cpu.")
    return device


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command by itself."""
    parser = argparse.ArgumentParser(prog="moro verify-golden", description=__doc__)
    _arguments(parser)
    return run(parser.parse_args(argv))
