"""`moro evaluate open`, `ablations`, `designs`, `sigma`: held-out motion, as if seen."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_folder, print_table, rounded, write_images
from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.data.mocap import MotionSet, load_motion
from moro_ros.errors import DataError
from moro_ros.evaluation import sigma
from moro_ros.evaluation.ablations import compare, look_ahead, variants
from moro_ros.evaluation.designs import evaluate_design, window_ms
from moro_ros.evaluation.live_benchmark import WARM_UP
from moro_ros.evaluation.open_benchmark import (
    STANDARD_SUBJECTS,
    OpenProtocol,
    charts,
    evaluate_open,
    joint_errors,
)
from moro_ros.evaluation.open_decoding import Decoding, OpenModel
from moro_ros.evaluation.open_worlds import (
    CONDITIONS,
    NEAR,
    SEATED,
    WORLDS,
    condition_windows,
    evaluate_worlds,
    floor_ways,
)
from moro_ros.live.load import load_stream, model_folder
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.uncertainty import UNCERTAINTY_FILE, write_uncertainty

Metrics = Mapping[str, float]
# Conditions and worlds for which the uncertainty is estimated.
FITTED = (*CONDITIONS, NEAR, SEATED)
# People of val.npz who are also in cmu_daily.npz, which is trained on (docs/training.md).
ALSO_TRAINED = ("14",)


def find_motion(given: Path | None, name: str) -> Path:
    """Return the file of held-out motion: the given one, or `name` in a default folder.

    That is $MORO_MOTION, data/mocap, or shared/data/mocap in this folder or one above it.
    Raises: DataError if it is in none of them.
    """
    if given is not None:
        return given
    folders = [Path("data/mocap")]
    if os.environ.get("MORO_MOTION"):
        folders.insert(0, Path(os.environ["MORO_MOTION"]))
    here = Path.cwd()
    folders += [folder / "shared/data/mocap" for folder in (here, *here.parents)]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"No {name} in {folders[0]}: give --motion FILE, or set MORO_MOTION to the folder of "
        "the open motion set (docs/training.md describes how to make it)."
    )


def held_out(given: Path | None, name: str = "test.npz", subjects: str = "") -> MotionSet:
    """Read held-out motion, of the given file or `name` in a default folder (find_motion).

    subjects: comma-separated; if empty, all but those who are also trained on (ALSO_TRAINED).
    Raises: DataError.
    """
    motion = load_motion(find_motion(given, name))
    if subjects:
        return motion.only_subjects(tuple(subjects.split(",")))
    return motion.without_subjects(ALSO_TRAINED)


def shown(metrics: Metrics) -> dict[str, object]:
    """Return metrics fit for JSON and tables."""
    return {name: rounded(value, 3) for name, value in metrics.items()}


def conditions(
    model: OpenModel, motion: MotionSet, protocol: OpenProtocol, decoding: Decoding
) -> dict[str, object]:
    """Return the noise metrics with those under occlusion within."""
    noise, occluded = (
        shown(evaluate_open(model, motion, share, protocol, decoding)) for share in (0.0, 1.0)
    )
    return {**noise, "occluded": occluded}


def flat(name: str, result: Mapping[str, object]) -> list[dict[str, object]]:
    """Return two table rows of the result of `conditions`."""
    occluded = result["occluded"]
    assert isinstance(occluded, dict)
    noise = {key: value for key, value in result.items() if key != "occluded"}
    return [
        {"what": name, "condition": "noise", **noise},
        {"what": name, "condition": "occluded", **occluded},
    ]


def open_command(args: argparse.Namespace) -> int:
    """Held-out open motion through synthetic cameras, without and with occlusion."""
    motion = held_out(args.motion, subjects=args.subjects)
    if args.plots:
        make_folder(args.plots, "--plots")
    model = OpenModel.of(stream_of(args).model)
    protocol = OpenProtocol(windows=args.windows, seed=args.seed, meshes=min(32, args.windows))
    decoding = Decoding(passes=args.passes)
    result = conditions(model, motion, protocol, decoding)
    others = {
        word.removeprefix(", "): conditions(model, motion, replace(protocol, meshes=0), way)
        for word, way in floor_ways(model, decoding).items()
        if word
    }
    if not args.only:
        steps = args.refine_steps
        others["refined"] = conditions(
            model, motion, replace(protocol, meshes=0), replace(decoding, refine_steps=steps)
        )
        if args.subjects:
            others["all subjects"] = conditions(
                model, held_out(args.motion), replace(protocol, meshes=0), decoding
            )
    worlds: dict[str, dict[str, object]] = {}
    if not args.only:
        seated = load_motion(args.seated) if args.seated else None
        for name, metrics in evaluate_worlds(model, motion, protocol, decoding, seated):
            worlds[name] = shown(metrics)
    if args.json:
        print(json.dumps({**result, **others, "worlds": worlds, "windows": args.windows}))
    else:
        for name, table in {args.subjects or "all": result, **others}.items():
            print_table(flat(name, table))
        if worlds:
            print_table([{"what": name, **metrics} for name, metrics in worlds.items()])
    if args.plots:
        by_condition = {
            name: joint_errors(model, motion, share, protocol, decoding)
            for name, share in (("noise", 0.0), ("occluded", 1.0))
        }
        write_images(charts(by_condition), args.plots)
    return 0


def ablations_command(args: argparse.Namespace) -> int:
    """Decoding steps, look-ahead, and the decoding without each of its parts."""
    model = OpenModel.of(stream_of(args).model)
    motion = held_out(args.motion, subjects=args.subjects)
    protocol = OpenProtocol(windows=args.windows, seed=args.seed, meshes=min(16, args.windows))
    parts = compare(model, motion, protocol, variants())
    ahead = look_ahead(model, motion, protocol)
    if args.json:
        tables = {"decoding": parts, "look_ahead": ahead}
        print(json.dumps({k: nested(table) for k, table in tables.items()}))
        return 0
    for table in (parts, ahead):
        print_table(condition_rows(table, "what"))
    return 0


def designs_command(args: argparse.Namespace) -> int:
    """Accuracy of each output of a network: rotation head, soft codes, most likely tokens."""
    model = OpenModel.of(stream_of(args).model)
    motion = held_out(args.motion, subjects=args.subjects)
    protocol = OpenProtocol(windows=args.windows, seed=args.seed)
    table = evaluate_design(model, motion, protocol)
    taken = rounded(window_ms(model, motion, protocol.frames), 2)
    if args.json:
        print(json.dumps({**nested(table), "window_ms": taken}))
        return 0
    print_table(condition_rows(table, "output"))
    print(f"One window of {protocol.frames} frames of one person takes {taken} ms.")
    return 0


def nested(table: Mapping[str, Mapping[str, Metrics]]) -> dict[str, dict[str, dict[str, object]]]:
    """Return a table of two levels fit for JSON."""
    return {name: {c: shown(m) for c, m in rows.items()} for name, rows in table.items()}


def condition_rows(
    table: Mapping[str, Mapping[str, Metrics]], column: str
) -> list[dict[str, object]]:
    """Return the rows of such a table; column: name of the first column."""
    return [
        {column: name, "condition": condition, **shown(metrics)}
        for name, of_condition in table.items()
        for condition, metrics in of_condition.items()
    ]


def sigma_command(args: argparse.Namespace) -> int:
    """Fit the joints' uncertainty on validation motion if requested; check it on the test set."""
    stream = stream_of(args)
    protocol = OpenProtocol(args.people, args.frames, batch=args.people, seed=args.seed)

    def samples(motion: MotionSet, condition: str) -> sigma.Samples:
        return sigma.collect(stream, condition_windows(motion, stream.body, condition, protocol))

    if args.fit:
        validation = held_out(args.validation, "val.npz")
        table = sigma.fit(sigma.joined([samples(validation, name) for name in FITTED]))
        stream.recovery.uncertainty = table
        write_uncertainty(model_folder(args.model) / UNCERTAINTY_FILE, table)
    elif stream.recovery.uncertainty is None:
        raise DataError(f"{args.model} has no {UNCERTAINTY_FILE}: add --fit to create it.")
    motion = held_out(args.motion)
    found = {name: samples(motion, name) for name in (*CONDITIONS, *WORLDS)}
    standard = sigma.joined([found[name] for name in CONDITIONS])
    conditions = {"standard": sigma.coverage(standard)["all"]}
    conditions |= {name: sigma.coverage(part)["all"] for name, part in found.items()}
    tables = {"condition": conditions, "joints": sigma.coverage(standard)}
    if args.json:
        numbers = {what: {n: shown(row) for n, row in t.items()} for what, t in tables.items()}
        print(json.dumps(numbers))
    else:
        for what, table_of in tables.items():
            print_table([{what: name, **shown(row)} for name, row in table_of.items()])
    return 0


def stream_of(args: argparse.Namespace) -> MoRoStream:
    """Load the model of the options."""
    motion = MotionConfig(passes=args.passes, refine_steps=args.refine_steps)
    return load_stream(PipelineConfig(model=args.model, motion=motion))


def motion_options(shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the options of whatever is measured on held-out motion."""
    motion = argparse.ArgumentParser(add_help=False, parents=[shared])
    motion.add_argument(
        "--motion", type=user_path, help="motion npz, instead of test.npz of the open motion set"
    )
    motion.add_argument(
        "--seed", type=int, default=5, help="random seed of cameras, noise and occluders"
    )
    motion.add_argument(
        "--refine-steps",
        type=int,
        default=MotionConfig().refine_steps,
        help="motion.refine_steps; for whole windows, that of the rows named refined",
    )
    return motion


def subject_options(shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the same with a choice of subjects."""
    subjects = argparse.ArgumentParser(add_help=False, parents=[motion_options(shared)])
    subjects.add_argument(
        "--subjects",
        default=",".join(STANDARD_SUBJECTS),
        help="subjects, comma-separated; empty: all who are not trained on in other clips",
    )
    return subjects


def at_least_one(text: str) -> int:
    """Return a number of whatever is measured, or of threads. Raises: ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number of at least 1")
    return int(text)


def more_than_warm_up(text: str) -> int:
    """Return a number of images of which some are scored. Raises: ArgumentTypeError."""
    if not text.isdecimal() or int(text) <= WARM_UP:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected a whole number above {WARM_UP}: the first {WARM_UP} images are "
            "not scored"
        )
    return int(text)


def window_options(shared: argparse.ArgumentParser, count: int) -> argparse.ArgumentParser:
    """Return the same with the number of windows, whose default is `count`."""
    windows = argparse.ArgumentParser(add_help=False, parents=[subject_options(shared)])
    windows.add_argument(
        "--windows", type=at_least_one, default=count, help="number of windows of 48 frames"
    )
    return windows


def stream_options(people: int) -> argparse.ArgumentParser:
    """Return the options of live streams."""
    streams = argparse.ArgumentParser(add_help=False)
    streams.add_argument(
        "--people", type=at_least_one, default=people, help="number of sequences run in parallel"
    )
    streams.add_argument(
        "--frames", type=more_than_warm_up, default=96, help="length of each sequence in images"
    )
    return streams


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the commands and their options."""
    one = sets.add_parser(
        "open", parents=[window_options(shared, 256)], help="accuracy on held-out open motion"
    )
    one.add_argument(
        "--only", action="store_true", help="skip refinement, other subjects and other worlds"
    )
    one.add_argument(
        "--seated", type=user_path, metavar="FILE",
        help="motion npz with sitting people, such as cmu_daily.npz, for an additional row",
    )  # fmt: skip
    one.add_argument("--plots", type=user_path, help="folder for plots, created if missing")
    one.set_defaults(evaluate=open_command)
    parts = sets.add_parser(
        "ablations",
        parents=[window_options(shared, 64)],
        help="the same without parts of the decoding",
    )
    parts.set_defaults(evaluate=ablations_command)
    designs = sets.add_parser(
        "designs",
        parents=[window_options(shared, 64)],
        help="the same for each output of a network",
    )
    designs.set_defaults(evaluate=designs_command)
    parents = [motion_options(shared), stream_options(32)]
    spread = sets.add_parser(
        "sigma", parents=parents, help="stated uncertainty of the joints against their error"
    )
    spread.add_argument(
        "--fit", action="store_true", help="estimate the uncertainty and write it to the model"
    )
    spread.add_argument(
        "--validation",
        type=user_path,
        help="motion npz for --fit, instead of val.npz of the open motion set",
    )
    spread.set_defaults(evaluate=sigma_command)
