"""`moro evaluate prediction`: predicted against actual motion of people."""

from __future__ import annotations

import argparse

import numpy as np

from moro_ros.cli.evaluate_open import (
    at_least_one,
    held_out,
    stream_of,
    subject_options,
)
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import print_rows
from moro_ros.data.mocap import MotionSet
from moro_ros.errors import ConfigError, DataError
from moro_ros.evaluation.open_benchmark import OpenProtocol
from moro_ros.evaluation.open_worlds import CONDITIONS, condition_windows
from moro_ros.evaluation.prediction import (
    FRAMES,
    Samples,
    collect,
    coverage,
    fit,
    methods,
    mpjpe_mm,
)
from moro_ros.evaluation.sigma import joined
from moro_ros.live.load import model_folder
from moro_ros.recover.prediction import (
    HORIZONS_S,
    PREDICTION_FILE,
    PredictionTable,
    write_prediction,
)

COLUMNS = [f"{seconds:.1f} s" for seconds in HORIZONS_S.tolist()]


def command(args: argparse.Namespace) -> int:
    """Fit the prediction on validation motion if requested, and check it on the test set."""
    motion = held_out(args.motion, subjects=args.subjects)
    stream = stream_of(args)
    if stream.model.moro.decoder.update is None:
        raise ConfigError(
            f"{args.model} cannot predict motion, because its network has no estimates of "
            "single frames. Use a model that has them, such as moro_open."
        )
    protocol = OpenProtocol(windows=args.windows, frames=FRAMES, seed=args.seed)

    def samples(motion: MotionSet, condition: str) -> Samples:
        return collect(stream, condition_windows(motion, stream.body, condition, protocol))

    if args.fit:
        validation = held_out(args.validation, "val.npz")
        table = fit(joined([samples(validation, condition) for condition in CONDITIONS]))
        write_prediction(model_folder(args.model) / PREDICTION_FILE, table)
    elif stream.prediction is None:
        raise DataError(f"{args.model} has no {PREDICTION_FILE}: add --fit to create it.")
    else:
        table = stream.prediction
    found = {condition: samples(motion, condition) for condition in CONDITIONS}
    rows = [row for name, part in found.items() for row in error_rows(table, part, name)]
    rows += coverage_rows(table, joined(list(found.values())), "all")
    print_rows(rows, args.json)
    return 0


def error_rows(table: PredictionTable, samples: Samples, condition: str) -> list[dict[str, object]]:
    """Return a row of each way to predict, errors in mm, and those of coverage_rows."""
    errors = {name: mpjpe_mm(found, samples) for name, found in methods(table, samples).items()}
    rows = [row(condition, f"{name}, mm", values) for name, values in errors.items()]
    return rows + coverage_rows(table, samples, condition)


def coverage_rows(
    table: PredictionTable, samples: Samples, condition: str
) -> list[dict[str, object]]:
    """Return a row of the shares within one sigma and one of those within two, in percent."""
    shares = coverage(table, samples)
    return [row(condition, f"within {n} sigma, %", 100 * shares[n - 1]) for n in (1, 2)]


def row(condition: str, what: str, values: np.ndarray) -> dict[str, object]:
    """Return one row of values (H,)."""
    numbers = zip(COLUMNS, values.tolist(), strict=True)
    return {"condition": condition, "what": what} | {name: round(v, 1) for name, v in numbers}


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    parser = sets.add_parser(
        "prediction",
        parents=[subject_options(shared)],
        help="predicted motion of the next second against held-out motion",
    )
    parser.add_argument("--windows", type=at_least_one, default=64, help="number of sequences")
    parser.add_argument(
        "--fit", action="store_true", help=f"fit the prediction and write {PREDICTION_FILE}"
    )
    parser.add_argument(
        "--validation",
        type=user_path,
        help="motion npz for --fit, instead of val.npz of the open motion set",
    )
    parser.set_defaults(evaluate=command)
