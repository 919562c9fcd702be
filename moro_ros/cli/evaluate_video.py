"""`moro evaluate pose2sim`: real video, one camera against a body fitted to four."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from moro_ros.assets import cached_path
from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.cli.evaluate_cameras import print_cameras
from moro_ros.cli.fetch import DETECTOR, fetch_models
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_folder, print_table, rounded
from moro_ros.config import DetectorConfig, MotionConfig, PipelineConfig
from moro_ros.draw.overlay import write_overlay
from moro_ros.errors import AssetError, ConfigError
from moro_ros.evaluation.fitted_truth import apart, fit_trial, residuals
from moro_ros.evaluation.pose2sim import (
    CONDITIONS,
    PLAIN,
    TRIALS,
    Condition,
    TellFloor,
    Trial,
    build_trial,
    hide,
    load_trial,
    observe_trial,
    video_of,
    with_refined_extrinsics,
)
from moro_ros.evaluation.video_score import Score, mean_scores
from moro_ros.evaluation.video_sources import (
    FrameJoints,
    InTurns,
    JointSource,
    StreamJoints,
    TwoSidedJoints,
    WorldJoints,
    WorldMemory,
)
from moro_ros.io.recording import MotionRecording, row_of
from moro_ros.io.video import open_video
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.two_sided import two_sided
from moro_ros.perception.blazepose import BlazePoseDetector
from moro_ros.perception.frontend import KeypointFrontend, load_landmarker
from moro_ros.perception.track import carried_points
from moro_ros.resources import share_path

LOGGER = logging.getLogger(__name__)
DIGITS = {
    "keypoints_mm": 1,
    "mpjpe_mm": 1,
    "pa_mpjpe_mm": 1,
    "hidden_mpjpe_mm": 1,
    "root_m": 3,
    "jitter": 1,
}
# Fields of MotionConfig that are options of the benchmarks on real video.
DECODING = ("look_ahead", "refined_lag", "refine_steps")
TRUTHS = ("fit", "other", "triangulation")
Row = dict[str, object]


def command(args: argparse.Namespace) -> int:
    """Score the model, its variants and BlazePose itself on the chosen trials."""
    if args.floor and not args.cameras:
        raise ConfigError(
            "--floor: expected --cameras as well. Without it, the table has rows with the floor."
        )
    if not {*args.trials.split(",")} <= {*TRIALS}:
        raise ConfigError(
            f"--trials: got '{args.trials}', expected {', '.join(TRIALS)}, separated by commas."
        )
    if args.pictures:
        make_folder(args.pictures, "--pictures")
    frontend, memory = remembering_frontend(args.landmarks)
    motion = motion_of(args)
    stream = load_stream(PipelineConfig(model=args.model, motion=motion))
    trials, fits = load_trials(
        args.trials.split(","),
        args.truth,
        frontend,
        marked_body(stream),
        args.landmarks,
        args.refine_extrinsics,
    )
    if args.cameras:
        return print_cameras(trials, stream, args.json, args.pictures, args.floor)
    live = StreamJoints(stream)
    result = {trial.name: rows_of(trial, live, CONDITIONS) for trial in trials}
    others: dict[str, dict[str, dict[str, Row]]] = {}
    if stream.model.config.moro.keypoints.floor:
        told = stream.set_floor
        others["floor given"] = {t.name: rows_of(t, live, CONDITIONS, told) for t in trials}
    stream.configure(two_sided(motion))
    refined = TwoSidedJoints(stream)
    others["two-sided"] = {trial.name: rows_of(trial, refined, CONDITIONS) for trial in trials}
    stream.configure(motion)
    if not args.only:
        stream.configure(replace(motion, refine_steps=0))
        others["not refined"] = {trial.name: rows_of(trial, live, CONDITIONS) for trial in trials}
        stream.configure(motion)
        single_frame = FrameJoints(stream)
        others["each frame alone"] = {t.name: rows_of(t, single_frame, CONDITIONS) for t in trials}
        for turn, words in ((2, "every second image"), (3, "every third image")):
            in_turns = InTurns(live, turn, carried_points)
            others[f"located in {words}"] = {t.name: rows_of(t, in_turns) for t in trials}
        others["with true keypoints"] = {
            t.name: rows_of(t.with_true_keypoints(), live, PLAIN) for t in trials
        }
        # BlazePose needs images, in which nothing can be hidden afterwards.
        world = WorldJoints(memory)
        others["BlazePose world landmarks"] = {t.name: unplaced(rows_of(t, world)) for t in trials}
    if args.json:
        print(json.dumps({**result, "sources": others, "fits": fits}))
    else:
        if fits:
            print(
                "Ground truth: a body fitted to all views. Residuals of its keypoints, in pixels:"
            )
            print_table(fits)
        print_table(
            list(flat(args.model, result)) + [r for n, o in others.items() for r in flat(n, o)]
        )
    if args.pictures:
        for trial in trials:
            draw_trial(trial, stream, args.pictures)
    return 0


def load_trials(
    names: Sequence[str],
    truth: str,
    frontend: KeypointFrontend,
    marked: BodyModel,
    landmarks: str = "full",
    refine: bool = False,
) -> tuple[list[Trial], list[Row]]:
    """Observe the named trials; returns them and the residuals of the fits of their truth.

    truth: see TRUTHS; marked: see fit_trial; landmarks: the landmark network of the front-end;
    refine: whether the extrinsics are refined from the people.
    """
    trials, rows = [], list[Row]()
    second = second_frontend(landmarks) if truth == "fit" else None
    loaded = [load_trial(name, frontend) for name in names]
    for name, trial in zip(
        names, with_refined_extrinsics(loaded) if refine else loaded, strict=True
    ):
        if truth == "other":
            trial = other_truth(trial, required_second(landmarks), marked)
        if truth == "fit":
            others = [observe_trial(name, second)[1]] if second else []
            fitted = fit_trial(trial, benchmark_body(), marked, others)
            rows += [
                {key: rounded(v, 3) if isinstance(v, float) else v for key, v in row.items()}
                for row in residuals(fitted, trial)
            ]
            trial = fitted
        trials.append(trial)
    return trials, rows


def other_truth(trial: Trial, frontend: KeypointFrontend, marked: BodyModel) -> Trial:
    """Return a trial whose truth is fitted to the keypoints of another front-end in all views."""
    seen = build_trial(trial.name, trial.views, observe_trial(trial.name, frontend)[1])
    fitted = fit_trial(seen, benchmark_body(), marked).people
    before = {id(person): true.truth for person, true in zip(fitted, seen.people, strict=True)}
    people = []
    for person in trial.people:
        nearest = min(fitted, key=lambda one: apart(before[id(one)], person.truth))
        people.append(replace(person, truth=nearest.truth))
    return replace(trial, people=tuple(people))


def benchmark_body(detector_points: bool = False) -> BodyModel:
    """Load the open body, which the truth always uses; detector_points: see load_body_model."""
    return load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"), detector_points)


def marked_body(stream: MoRoStream) -> BodyModel:
    """Load the open body with the keypoints that a stream's model expects; see fit_trial."""
    return benchmark_body(stream.model.config.moro.keypoints.detector_points)


def required_second(landmarks: str) -> KeypointFrontend:
    """Build the front-end with the other landmark network. Raises: AssetError."""
    return remembering_frontend("full" if landmarks == "heavy" else "heavy")[0]


def second_frontend(landmarks: str) -> KeypointFrontend | None:
    """Build the front-end with the other landmark network, if it is available."""
    try:
        return required_second(landmarks)
    except AssetError as error:
        LOGGER.warning(
            "The ground truth is fitted to the keypoints of one landmark network only: %s", error
        )
        return None


def remembering_frontend(landmarks: str = "full") -> tuple[KeypointFrontend, WorldMemory]:
    """Build the default front-end so that BlazePose's world landmarks are available later."""
    config = PipelineConfig(detector=DetectorConfig(landmarks=landmarks))
    fetch_models(config)
    memory = WorldMemory(load_landmarker(config.detector))
    detector = BlazePoseDetector(cached_path(DETECTOR), config.detector.threads)
    frontend = KeypointFrontend(
        detector,
        memory,  # type: ignore[arg-type]
        config.detector,
        config.tracker,
        config.max_people,
        realtime=False,
    )
    return frontend, memory


def rows_of(
    trial: Trial,
    source: JointSource,
    conditions: Mapping[str, Condition] = PLAIN,
    tell_floor: TellFloor | None = None,
) -> dict[str, Row]:
    """Return condition -> metrics, the mean over views and people.

    A trial of several people has one row per condition for the adult and one for the child.
    """
    scores = trial.evaluate(source, conditions, tell_floor)
    rows = {score.condition: numbers_of(score) for score in mean_scores(scores)}
    names = list(dict.fromkeys(score.person for score in scores))
    if len(names) > 1:
        for name in names:
            for score in mean_scores([score for score in scores if score.person == name]):
                rows[f"{score.condition}, {name}"] = numbers_of(score)
    return rows


def numbers_of(score: Score) -> Row:
    """Return a score's numbers without its names."""
    numbers = {k: v for k, v in asdict(score).items() if k not in ("view", "condition", "person")}
    return {
        key: value if isinstance(value, int) else rounded(value, DIGITS.get(key, 3))
        for key, value in numbers.items()
    }


def unplaced(rows: dict[str, Row]) -> dict[str, Row]:
    """Return rows of a source without positions in space."""
    return {name: {**row, "root_m": None, "jitter": None} for name, row in rows.items()}


def flat(source: str, by_trial: Mapping[str, Mapping[str, Row]]) -> list[Row]:
    """Return table rows of one source."""
    return [
        {"source": source, "trial": trial, "condition": condition, **row}
        for trial, conditions in by_trial.items()
        for condition, row in conditions.items()
    ]


def add_truth(parser: argparse.ArgumentParser) -> None:
    """Add the option for the ground truth of the trials."""
    parser.add_argument(
        "--truth", choices=TRUTHS, default=TRUTHS[0],
        help="ground truth: a body fitted to the keypoints of both landmark networks in all "
             "views, or only of the other landmark network, or triangulated keypoints",
    )  # fmt: skip


def register(
    sets: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its options."""
    video = sets.add_parser(
        "pose2sim", parents=[shared], help="accuracy on real video with four cameras"
    )
    video.add_argument(
        "--trials", default=",".join(TRIALS), help="trials, comma-separated: single, multi"
    )
    add_truth(video)
    add_video_options(video)
    video.add_argument(
        "--only", action="store_true", help="only the model, no other sources of keypoints"
    )
    video.add_argument(
        "--cameras",
        action="store_true",
        help="only all combinations of 1, 2, 3 and 4 cameras (docs/cameras.md)",
    )
    video.add_argument(
        "--floor", action="store_true", help="with --cameras: each camera is given the floor"
    )
    video.add_argument(
        "--refine-extrinsics",
        action="store_true",
        help="refine the calibration from the people in the videos first, as moro calibrate does",
    )
    video.add_argument(
        "--pictures", type=user_path, help="folder for drawings of the bodies over the videos"
    )
    video.set_defaults(evaluate=command)


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add --landmarks and DECODING, the options of whatever is measured on real video."""
    parser.add_argument(
        "--landmarks", choices=("full", "heavy"), default="full", help="detector.landmarks"
    )
    for name in DECODING:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=getattr(MotionConfig(), name),
            help=f"motion.{name}",
        )


def motion_of(args: argparse.Namespace) -> MotionConfig:
    """Return the decoding of these options."""
    return MotionConfig(passes=args.passes, **{name: getattr(args, name) for name in DECODING})


# Conditions that are visible in a picture.
DRAWN = ("plain", "legs hidden")


def draw_trial(trial: Trial, stream: MoRoStream, folder: Path) -> None:
    """Write folder/<trial>_<condition>/overlay.mp4 and sheet.png.

    Raises: DataError if the folder cannot be made; VideoError if something cannot be written.
    """
    video, frames = video_of(trial.name, trial.views[0].name), trial.frames[0]
    with open_video(video) as reader:
        numbers = [round(frame.stamp_ns * reader.rate_hz / 1e9) for frame in frames]
    stamps_ns = np.full(numbers[-1] + 1, -1, np.int64)
    stamps_ns[numbers] = [frame.stamp_ns for frame in frames]
    for name in DRAWN:
        recording = MotionRecording(frames[0].camera)
        stream.reset()
        for number, frame in enumerate(frames):
            recording.stamps_ns.append(frame.stamp_ns)
            for motion in stream.push(hide(frame, number, CONDITIONS[name])):
                recording.add(motion.track_id, row_of(motion))
        out = folder / f"{trial.name}_{name.replace(' ', '_')}"
        make_folder(out, "--pictures")
        with open_video(video) as reader:
            write_overlay(reader, stamps_ns, recording, stream.body, out)
