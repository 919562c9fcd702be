"""`moro evaluate posture`: posture and falls of recovered people against the true ones."""

from __future__ import annotations

import argparse
import json

from moro_ros.cli.evaluate_open import (
    held_out,
    shown,
    stream_of,
    stream_options,
    subject_options,
)
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import print_table
from moro_ros.data.mocap import load_motion
from moro_ros.evaluation.open_benchmark import OpenProtocol
from moro_ros.evaluation.posture_benchmark import (
    Found,
    confusion,
    evaluate_posture,
    joined,
    rates,
)


def command(args: argparse.Namespace) -> int:
    """Held-out motion, bowing, seated, lying and falling, without and with a known floor."""
    stream = stream_of(args)
    motion = held_out(args.motion, subjects=args.subjects)
    seated = load_motion(args.seated) if args.seated else None
    protocol = OpenProtocol(args.people, args.frames, batch=args.people, seed=args.seed)
    rows, runs = list[dict[str, object]](), dict[bool, list[Found]]()
    for name, floor, found in evaluate_posture(stream, motion, seated, protocol):
        rows.append({"people": name, "floor": floor, **shown(rates(found))})
        runs.setdefault(floor, []).append(found)
    table: list[dict[str, object]] = [
        {"floor": floor, "true": posture, **shown(shares)}
        for floor, found in runs.items()
        for posture, shares in confusion(joined(found)).items()
    ]
    if args.json:
        print(json.dumps({"rows": rows, "confusion": table}))
    else:
        print_table(rows)
        print_table(table)
    return 0


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    posture = sets.add_parser(
        "posture",
        parents=[subject_options(shared), stream_options(24)],
        help="posture and falls of people who stand, bow, sit, lie and fall",
    )
    posture.add_argument(
        "--seated", type=user_path, metavar="FILE",
        help="motion npz with sitting people, such as cmu_daily.npz, for an additional row",
    )  # fmt: skip
    posture.set_defaults(evaluate=command)
