"""`moro evaluate results`: result files of this project and its peers against true motion."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_folder, print_table, rounded, write_images
from moro_ros.data.sets import SETS, open_set
from moro_ros.draw.plots import bar_chart, line_chart
from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion, Report, TrueMotion, evaluate
from moro_ros.evaluation.readers.bodies import Bodies, load_rest_joints
from moro_ros.evaluation.readers.methods import READERS, rohm_truths
from moro_ros.evaluation.truth import truths_at, truths_of


def command(args: argparse.Namespace) -> int:
    """Evaluate every result given on the same truth."""
    bodies = {kind: load_rest_joints(user_path(path)) for kind, path in pairs(args.body, "--body")}
    truths = list(truths_from(args, bodies))
    if args.plots:
        make_folder(args.plots, "--plots")
    reports: dict[str, Report] = {}
    for method, path in pairs(args.results, "--results"):
        if method not in READERS:
            raise DataError(f"--results {method}=...: expected one of {', '.join(READERS)}.")
        reports[method] = evaluate(truths, Results(method, user_path(path), bodies))
    if args.json:
        print(json.dumps({name: as_json(report) for name, report in reports.items()}))
    else:
        rows = {n: {**r.means, "coverage": r.coverage} for n, r in reports.items()}
        names = dict.fromkeys(key for row in rows.values() for key in row)
        nothing = float("nan")
        print_table(
            [
                {"method": n, **{key: rounded(row.get(key, nothing)) for key in names}}
                for n, row in rows.items()
            ]
        )
    if args.plots:
        draw(reports, args.plots)
    return 0


class Results:
    """The results of a method by the true motion's name: one file for all, or a folder of files."""

    def __init__(self, method: str, path: Path, bodies: Bodies) -> None:
        self.method, self.path, self.bodies = method, path, bodies
        self._single = None if path.is_dir() else READERS[method](path, bodies)

    def __call__(self, name: str) -> Sequence[FoundMotion]:
        """Return all people found in one video; none if the folder has no file NAME.*."""
        if self._single is not None:
            clips = [found for found in self._single if found.person == name]
            return clips if self.method == "rohm" else self._single
        files = sorted(self.path.glob(f"{name}.*")) + sorted(self.path.glob(f"{name}/*.*"))
        return READERS[self.method](files[0], self.bodies) if files else []


def truths_from(args: argparse.Namespace, bodies: Bodies) -> Iterable[TrueMotion]:
    """Return the true motion of the options."""
    if args.set:
        return truths_of(open_set(args.set, args.truth, args.split), bodies)
    if args.truth.suffix == ".pkl":
        return rohm_truths(args.truth)
    return truths_at(args.truth)


def pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Split NAME=PATH words. Raises: DataError for another form."""
    result = []
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise DataError(f"{option} {text}: expected NAME=PATH.")
        result.append((name, path))
    return result


def as_json(report: Report) -> dict[str, object]:
    """Return a report fit for JSON."""
    return {
        "means": {name: rounded(value, 3) for name, value in report.means.items()},
        "coverage": rounded(report.coverage, 4),
        "joint_mm": {name: rounded(value) for name, value in report.joint_mm.items()},
        "level_mm": {name: rounded(value) for name, value in report.level_mm.items()},
        "time_mm": {n: [rounded(v, 1) for v in vs.tolist()] for n, vs in report.time_mm.items()},
    }


def draw(reports: dict[str, Report], folder: Path) -> None:
    """Write per_joint.png, per_level.png and one over_time_NAME.png for each true motion."""
    first = next(iter(reports.values()))
    joints = {name: list(report.joint_mm.values()) for name, report in reports.items()}
    images = {"per_joint": bar_chart("MPJPE per joint [mm]", list(first.joint_mm), joints)}
    if first.level_mm:
        levels = {name: list(report.level_mm.values()) for name, report in reports.items()}
        title = "MPJPE by share of hidden joints [mm]"
        images["per_level"] = bar_chart(title, list(first.level_mm), levels)
    for motion in first.time_mm:
        lines = {name: report.time_mm[motion] for name, report in reports.items()}
        images[f"over_time_{motion.replace('/', '_')}"] = line_chart(
            f"{motion}: MPJPE [mm]", "frame", lines
        )
    write_images(images, folder)


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    parser = sets.add_parser(
        "results", parents=[shared], help="result files of this or other methods"
    )
    parser.add_argument(
        "--truth", type=user_path, required=True,
        help="npz of ground truth motion (evaluation/truth.py), a folder of them, a RoHM pickle "
             "with its truth, or, with --set, the folder of a data set",
    )  # fmt: skip
    parser.add_argument("--set", choices=sorted(SETS), help="name of the data set in --truth")
    parser.add_argument("--split", default="", help="split of the data set")
    parser.add_argument(
        "--results", action="append", required=True, metavar="METHOD=PATH",
        help="a result file, or a folder with one file per ground truth motion; methods: "
             f"{', '.join(READERS)}",
    )  # fmt: skip
    parser.add_argument(
        "--body", action="append", default=[], metavar="KIND=FILE",
        help="body model npz for result files with parameters: smpl or smplx, or with a "
             "gender, such as smplx_male=...",
    )  # fmt: skip
    parser.add_argument("--plots", type=user_path, help="folder for plots")
    parser.set_defaults(evaluate=command)
