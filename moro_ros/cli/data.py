"""`moro data`: create an open motion file, summarise one, list the data sets."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from tqdm import tqdm

from moro_ros.body.body_model import load_body_model
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_place, print_table
from moro_ros.data.import_motion import (
    ImportedClip,
    Skipped,
    find_motion,
    import_files,
    read_categories,
    save_motion,
)
from moro_ros.data.mocap import MotionSet, load_motion
from moro_ros.data.retarget import FPS, target_skeleton
from moro_ros.data.sets import SETS, open_set
from moro_ros.errors import DataError
from moro_ros.resources import share_path

SHOWN = 20  # maximum number of listed skipped files; all of them with --all


def import_command(args: argparse.Namespace) -> int:
    """A folder of BVH and ASF/AMC files -> one npz file."""
    if args.fps is not None and not 1 <= args.fps <= 1000:
        raise DataError(f"--fps {args.fps:g}: expected a rate between 1 and 1000 Hz.")
    files = find_motion(args.folder)
    categories = read_categories(args.categories) if args.categories else {}
    make_place(args.out, "--out")
    body = args.body or share_path("models", "open_body", "OPEN_NEUTRAL.npz")
    target = target_skeleton(load_body_model(body))
    clips: list[ImportedClip] = []
    skipped: list[Skipped] = []
    progress = tqdm(files, "Importing", unit="file", disable=None)
    for result in import_files(progress, args.folder, target, args.fps, categories):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            clips.append(result)
    report_skipped(skipped, len(skipped) if args.all else SHOWN)
    if not clips:
        raise DataError(f"Nothing was imported: none of the {len(files)} files could be used.")
    save_motion(clips, args.out)
    seconds = sum(len(clip.translation) for clip in clips) / FPS
    subjects = len({clip.subject for clip in clips})
    print(
        f"{args.out}: {len(clips)} clips, {seconds / 60:.1f} min, {subjects} subjects from "
        f"{len(files) - len(skipped)} files; {len(skipped)} files skipped."
    )
    return 0


def report_skipped(skipped: list[Skipped], shown: int) -> None:
    """Print the skipped files with the reasons."""
    for item in skipped[:shown]:
        print(f"skipped {item.path}: {item.reason}")
    if len(skipped) > shown:
        print(f"... and {len(skipped) - shown} more (--all lists them)")


def info_command(args: argparse.Namespace) -> int:
    """Summary of an open motion file."""
    summary = summarise(load_motion(args.file))
    if args.json:
        print(json.dumps(summary))
        return 0
    print(
        f"{args.file}: {summary['clips']} clips, {summary['minutes']:.1f} min at "
        f"{summary['fps']:g} Hz, {len(summary['subjects'])} subjects"
    )
    print_table(
        [
            {"category": name, "clips": row["clips"], "min": f"{row['minutes']:.1f}"}
            for name, row in summary["categories"].items()
        ]
    )
    print("subjects: " + ", ".join(f"{name} ({n})" for name, n in summary["subjects"].items()))
    return 0


def summarise(motion: MotionSet) -> dict[str, Any]:
    """Return clips, minutes, and both by category; clips by subject."""
    minutes = motion.lengths / motion.fps / 60
    categories = {
        str(name): {
            "clips": int((motion.categories == name).sum()),
            "minutes": float(minutes[motion.categories == name].sum()),
        }
        for name in sorted(set(motion.categories.tolist()))
    }
    subjects = Counter(motion.subjects.tolist())
    return {
        "clips": len(motion.lengths),
        "minutes": float(minutes.sum()),
        "fps": motion.fps,
        "categories": categories,
        "subjects": {str(name): subjects[name] for name in sorted(subjects)},
    }


def sets_command(args: argparse.Namespace) -> int:
    """List all data sets, describe one, or check a folder."""
    if args.name and args.name not in SETS:
        raise DataError(f"There is no data set '{args.name}'; expected one of {', '.join(SETS)}.")
    if args.folder is not None:
        opened = open_set(args.name, args.folder, args.split)
        print(f"{opened.name}: {len(opened)} clips, {int(opened.lengths.sum())} frames")
        return 0
    if args.name:
        card = SETS[args.name].card
        print(f"{card.title}\nsplits: {', '.join(card.splits)}\nlicence: {card.licence}")
        print("files:\n  " + "\n  ".join(card.layout) + f"\nHow to obtain it: {card.obtain}")
        return 0
    print_table(
        [
            {"set": name, "title": entry.card.title, "licence": entry.card.licence}
            for name, entry in SETS.items()
        ]
    )
    return 0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the `moro` parser."""
    parser = subparsers.add_parser("data", help="import motion data, list and check data sets")
    parts = parser.add_subparsers(dest="part", required=True)
    imported = parts.add_parser(
        "import", help="convert BVH or ASF/AMC files to one open motion file"
    )
    imported.add_argument(
        "folder", type=user_path, metavar="DIR", help="folder, searched with its subfolders"
    )
    imported.add_argument("--out", type=user_path, required=True, help="npz file to write")
    imported.add_argument(
        "--fps", type=float, help="rate of the recordings, instead of that in the files (AMC: 120)"
    )
    imported.add_argument(
        "--categories",
        type=user_path,
        help="CSV with the columns name (of a file or clip) and category",
    )
    imported.add_argument("--body", type=user_path, help="body model npz (default: the open body)")
    imported.add_argument("--all", action="store_true", help="list all skipped files")
    imported.set_defaults(run=import_command)
    info = parts.add_parser("info", help="summarise an open motion file")
    info.add_argument("file", type=user_path, metavar="FILE")
    info.add_argument("--json", action="store_true", help="print a JSON object")
    info.set_defaults(run=info_command)
    sets = parts.add_parser("sets", help="list data sets, what they need, or check a folder")
    sets.add_argument("name", nargs="?", help="one set")
    sets.add_argument("folder", nargs="?", type=user_path, help="folder of the data set, to check")
    sets.add_argument("--split", default="", help="split of the data set")
    sets.set_defaults(run=sets_command)
    parser.set_defaults(handler=command)


def command(args: argparse.Namespace) -> int:
    """Run the chosen part."""
    code: int = args.run(args)
    return code
