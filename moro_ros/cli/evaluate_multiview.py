"""`moro evaluate multiview DIR`: one camera against all, on any synchronised, calibrated videos."""

from __future__ import annotations

import argparse
import json

import numpy as np

from moro_ros.cli.evaluate_video import add_video_options, motion_of, remembering_frontend
from moro_ros.cli.results import print_table, rounded, score_row
from moro_ros.cli.several_videos import add_calibrated_folder
from moro_ros.config import PipelineConfig
from moro_ros.evaluation.video_score import mean_scores
from moro_ros.evaluation.video_set import (
    CONDITIONS,
    SeenPerson,
    VideoSet,
    keypoint_names,
    load_set,
)
from moro_ros.evaluation.video_sources import StreamJoints
from moro_ros.evaluation.view_score import shoulder_widths
from moro_ros.live.load import load_stream

UPPER_BODY = "nose,shoulder,elbow,wrist"


def command(args: argparse.Namespace) -> int:
    """Score every camera of a folder against the triangulation of all of them."""
    names = keypoint_names(args.joints)
    frontend, _ = remembering_frontend(args.landmarks)
    videos = load_set(args.folder, frontend, args.calibration, args.unit_m)
    stream = load_stream(PipelineConfig(model=args.model, motion=motion_of(args)))
    source = StreamJoints(stream)
    scores = videos.evaluate(source, names, CONDITIONS)
    perfect = videos.with_true_keypoints().evaluate(source, names, {"plain": CONDITIONS["plain"]})
    rows = [
        {"source": word, **score_row(item)}
        for word, found in ((args.model, scores), ("with true keypoints", perfect))
        for item in (*found, *mean_scores(found))
    ]
    truth = truth_of(videos)
    if args.json:
        print(json.dumps({"joints": names, "truth": truth, "rows": rows}))
        return 0
    print_table(rows)
    print(
        f"Ground truth of {len(videos.people)} people, triangulated from {len(videos.views)} "
        "cameras:"
    )
    print_table(truth)
    return 0


def truth_of(videos: VideoSet) -> list[dict[str, object]]:
    """Return the quality of each person's truth: how much is known, how well the views agree."""
    return [_truth_row(number, person) for number, person in enumerate(videos.people, 1)]


def _truth_row(number: int, person: SeenPerson) -> dict[str, object]:
    known = np.concatenate([np.isfinite(truth.error_px) for truth in person.truths])
    errors = np.concatenate([truth.error_px for truth in person.truths])
    widths = shoulder_widths(person.truths)
    return {
        "person": number,
        "views": len({view for view, _ in person.tracks}),
        "known": rounded(float(known.mean()), 3),
        "worst_view_px": rounded(float(np.nanmedian(errors)), 1),
        "shoulders_m": rounded(float(np.median(widths)), 3),
        "shoulders_spread_m": rounded(float(widths.std()), 3),
    }


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    parser = sets.add_parser(
        "multiview", parents=[shared], help="accuracy on your own synchronised, calibrated videos"
    )
    add_calibrated_folder(parser)
    parser.add_argument(
        "--joints",
        default=UPPER_BODY,
        help="keypoints to evaluate, comma-separated; a name without a side selects both",
    )
    add_video_options(parser)
    parser.set_defaults(evaluate=command)
