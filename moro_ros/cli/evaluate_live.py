"""`moro evaluate live`: accuracy and cost of each mode of the live stream."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product

from moro_ros.cli.evaluate_open import (
    held_out,
    shown,
    stream_of,
    stream_options,
    subject_options,
)
from moro_ros.cli.evaluate_video import (
    add_truth,
    load_trials,
    marked_body,
    remembering_frontend,
    rows_of,
)
from moro_ros.cli.results import print_table, rounded
from moro_ros.config import MODES, MotionConfig
from moro_ros.errors import ConfigError
from moro_ros.evaluation.live_benchmark import (
    MIN_RUN,
    WARM_UP,
    LiveProtocol,
    cost_ms,
    evaluate_live,
    live_sequences,
)
from moro_ros.evaluation.live_rates import RATES_HZ, live_against_offline
from moro_ros.evaluation.open_benchmark import RATE_HZ
from moro_ros.evaluation.pose2sim import TRIALS, Trial
from moro_ros.evaluation.video_sources import StreamJoints
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.perception.track import carried_points

VIDEO_KEYS = ("mpjpe_mm", "pa_mpjpe_mm")


def command(args: argparse.Namespace) -> int:
    """The modes of the live stream, with look-aheads and passes: accuracy, cost and latency."""
    least = WARM_UP + MIN_RUN + max(numbers(args.look_ahead), default=0)
    if words(args.modes) and args.frames < least:
        raise ConfigError(
            f"--frames: got {args.frames}, expected {least} or more with --look-ahead "
            f"{args.look_ahead}: the first {WARM_UP} images are not scored, the last ones not "
            "described."
        )
    stream = stream_of(args)
    trials = list[Trial]()
    if names := words(args.trials):
        frontend, _ = remembering_frontend()
        trials, _ = load_trials(names, args.truth, frontend, marked_body(stream))
    rates = rates_of(stream, trials, [float(part) for part in words(args.rates)])
    rows = modes_of(args, stream, trials) if words(args.modes) else []
    if args.json:
        sizes = {"people": args.people, "frames": args.frames}
        print(json.dumps({**sizes, "rows": rows, "rates": rates}))
        return 0
    for table in (rows, rates):
        if table:
            print_table(table)
    return 0


def rates_of(
    stream: MoRoStream, trials: Sequence[Trial], rates_hz: Sequence[float]
) -> list[dict[str, object]]:
    """Return live results at some rates against the offline ones, rows for every trial."""
    return [
        {"trial": trial.name, **{name: rounded(value, 3) for name, value in row.items()}}
        for trial in trials
        for row in live_against_offline(trial, StreamJoints(stream), carried_points, rates_hz)
    ]


def modes_of(
    args: argparse.Namespace, stream: MoRoStream, trials: Sequence[Trial]
) -> list[dict[str, object]]:
    """Return the accuracy of each mode, look-ahead and number of passes."""
    motion = held_out(args.motion, subjects=args.subjects)
    protocol = LiveProtocol(people=args.people, frames=args.frames, seed=args.seed)
    observed = live_sequences(stream, motion, 1.0, protocol)
    rows: list[dict[str, object]] = []
    for mode, ahead, passes in product(
        words(args.modes), numbers(args.look_ahead), numbers(args.decoding_passes)
    ):
        stream.configure(
            MotionConfig(mode=mode, look_ahead=ahead, passes=passes, refine_steps=args.refine_steps)
        )
        metrics = shown(evaluate_live(stream, observed))
        cost = cost_ms(stream, observed)
        rows.append(
            {"mode": mode, "look_ahead": ahead, "passes": passes, **metrics}
            | {"cost_ms": rounded(cost, 2), "latency_ms": rounded(1e3 * ahead / RATE_HZ + cost, 1)}
            | on_video(stream, trials)
        )
    return rows


def words(text: str) -> list[str]:
    """Read comma-separated words; none if the text is empty."""
    return [part for part in text.split(",") if part]


def numbers(text: str) -> list[int]:
    """Read comma-separated integers."""
    return [int(part) for part in words(text)]


def on_video(stream: MoRoStream, trials: Sequence[Trial]) -> dict[str, object]:
    """Return the errors of a stream, as it is configured, on real video: <trial>_<metric>."""
    scores = {trial.name: rows_of(trial, StreamJoints(stream))["plain"] for trial in trials}
    return {f"{name}_{key}": row[key] for name, row in scores.items() for key in VIDEO_KEYS}


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    parents = [subject_options(shared), stream_options(16)]
    live = sets.add_parser(
        "live", parents=parents, help="accuracy and cost of the modes of live decoding"
    )
    live.add_argument(
        "--modes",
        default=",".join(MODES),
        help="values of motion.mode, comma-separated; may be empty",
    )
    live.add_argument("--look-ahead", default="0,2,5,10", help="values in frames, comma-separated")
    live.add_argument(
        "--decoding-passes", default="1,2,5", help="numbers of passes, comma-separated"
    )
    live.add_argument(
        "--trials",
        default=",".join(TRIALS),
        help="trials of real video, comma-separated: single, multi; may be empty",
    )
    add_truth(live)
    live.add_argument(
        "--rates", default=",".join(f"{rate:g}" for rate in RATES_HZ),
        help="processed images per second to compare with all images of the real video, "
             "comma-separated; may be empty",
    )  # fmt: skip
    live.set_defaults(evaluate=command)
