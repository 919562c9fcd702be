"""`moro bench live`: timing of front-end and motion on a real video, run like in the node."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moro_ros.cli.bench.player import Run, Timeline, decoded, play, resident_mb
from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import check_positive, print_table
from moro_ros.cli.video_options import add_camera_options, video_input
from moro_ros.config import MODES, MotionConfig, PipelineConfig
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.types import Camera, Frame, Observed, PersonObservation, PipelineResult

# The part of the sample with both people in view and without jumps; played forth and back.
FIRST_FRAME, FRAMES = 60, 90
BASELINE = MotionConfig(mode="window", window=60, passes=5)
WINDOWS = (15, 30, 60, 120)
PEOPLE = (1, 2, 3, 4, 5, 6)
# Frames over which the cost of one frame is averaged, when the window is full.
COST_FRAMES = 20
# The same, and the numbers of people, when models are compared.
COMPARED_FRAMES, COMPARED_PEOPLE = 300, {"1 person": 1, "2 people": 2}
# Additional people are copies of those in the video, this many pixels further right.
APART_PX = 40.0
COPIED_ID = 1_000_000
PERCENTILES = (50, 95, 99)
# Maximum duration of a run without a rate.
FREE_S = 20.0


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "live",
        help="throughput and latency of live processing",
        description="Feeds a decoded video to front-end and motion, once at the camera's rate "
        "and once as fast as possible, and the same with the plain implementation, "
        "which decodes 60 frames in 5 passes for every image. Publishing is not "
        "included; `moro demo` measures the whole node.",
    )
    add = parser.add_argument
    add("--video", type=user_path, help="video file (default: part of the sample video)")
    add_camera_options(parser)
    add(
        "--people",
        type=int,
        default=1,
        help="number of people; people beyond those in the video are copies",
    )
    add("--rate", type=float, default=30.0, help="images per second of the camera")
    add("--height", type=int, default=720, help="height to which the images are scaled")
    add("--mode", choices=MODES, help="default: that of the node")
    add("--model", default="moro_open", help="model name or folder")
    add(
        "--against",
        help="other models, comma-separated: the time of the motion is compared, image by image",
    )
    add(
        "--seconds",
        type=float,
        default=20.0,
        help="length of each run; only the run at --rate is longer than 20 s",
    )
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--threads", type=int, default=1, help="CPU threads of the network")
    add("--json", action="store_true", help="print a JSON object instead of tables")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print.

    Raises: ConfigError if an option is out of its range; see video_input and load_pipeline.
    """
    check_positive(arguments, "people", "rate", "height", "seconds", "threads")
    before_mb = resident_mb()
    source = video_input(arguments.video, arguments.focal, arguments.camera)
    first = FIRST_FRAME if arguments.video is None else 0
    clip = decoded(source.path, source.camera, arguments.height, first, FRAMES)
    clip_mb = sum(image.nbytes for image in clip.images) / 1e6
    config = bench_config(arguments)
    fetch_models(config)
    pipeline = load_pipeline(config)
    crowd = Crowd(pipeline, arguments.people)
    timeline, warm_up_s = Timeline(), min(2.0, arguments.seconds)
    play(crowd, clip, timeline, 0.0, warm_up_s)
    live = play(crowd, clip, timeline, arguments.rate, arguments.seconds)
    # Only a run at the camera's rate shows after minutes whether the memory stays flat.
    free_s = min(arguments.seconds, FREE_S)
    free = play(crowd, clip, timeline, 0.0, free_s)
    memory_mb = resident_mb() - clip_mb
    pipeline.configure(dataclasses.replace(config, motion=BASELINE))
    play(crowd, clip, timeline, 0.0, warm_up_s)
    baseline = play(crowd, clip, timeline, 0.0, free_s)
    frames = [observed.frame for observed in free.observed]
    costs = window_costs(pipeline.stream, config.motion, frames)
    report = summary(live, free, baseline, costs, memory_mb)
    if arguments.against:
        models = [arguments.model, *arguments.against.split(",")]
        report["models"] = model_costs(models, config, frames)
    if config.device != "cpu":
        report["gpu_memory_mb"] = gpu_memory_mb()
    if arguments.json:
        print(json.dumps(report, indent=1))
        return
    plain = window_costs(pipeline.stream, BASELINE, frames)
    by_people = people_costs(pipeline.stream, config.motion, frames)
    print(f"{clip.camera.width}x{clip.camera.height}, {config.motion.mode}, {config.device}")
    print_text(report, arguments.rate, plain, by_people)
    growth = live.resident_mb[-1] - live.resident_mb[0] if live.resident_mb else 0.0
    print(
        f"\nMemory: {memory_mb:.0f} MB ({before_mb:.0f} MB before loading), without the decoded "
        f"video; growth over the run at {arguments.rate:g} Hz: {growth:+.1f} MB."
    )


def bench_config(arguments: argparse.Namespace) -> PipelineConfig:
    """The node's configuration with the command's options."""
    motion = MotionConfig() if arguments.mode is None else MotionConfig(mode=arguments.mode)
    return PipelineConfig(
        model=arguments.model,
        device=arguments.device,
        threads=arguments.threads,
        max_people=min(arguments.people, PipelineConfig().max_people),
        motion=motion,
    )


class Crowd:
    """A pipeline whose front-end sees a maximum number of people, with copies up to it."""

    def __init__(self, pipeline: HumanMotionPipeline, people: int) -> None:
        self._pipeline, self._people = pipeline, people

    def observe(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, late: bool = False
    ) -> Observed:
        """See HumanMotionPipeline; the copies cost the front-end nothing."""
        observed = self._pipeline.observe(image, stamp_ns, camera, late)
        return dataclasses.replace(observed, frame=crowded(observed.frame, self._people))

    def recover(self, observed: Observed, mesh: bool = False) -> PipelineResult:
        """See HumanMotionPipeline."""
        return self._pipeline.recover(observed, mesh)


def crowded(frame: Frame, people: int) -> Frame:
    """A frame with exactly a number of people, if there are any: additional ones are copies."""
    seen = frame.people[:people]
    if not seen:
        return frame
    copies = [copy_of(seen[i % len(seen)], i // len(seen)) for i in range(len(seen), people)]
    return dataclasses.replace(frame, people=(*seen, *copies))


def copy_of(person: PersonObservation, number: int) -> PersonObservation:
    """A copy of a person further right, with an id that no tracker assigns."""
    right = np.array([APART_PX * number, 0.0], np.float32)
    keypoints = person.keypoints
    if keypoints is not None:
        keypoints = dataclasses.replace(keypoints, points_px=keypoints.points_px + right)
    box = person.box_xyxy + np.tile(right, 2)
    track_id = person.track_id + number * COPIED_ID
    return dataclasses.replace(person, track_id=track_id, box_xyxy=box, keypoints=keypoints)


def window_costs(
    stream: MoRoStream, motion: MotionConfig, frames: Sequence[Frame]
) -> list[tuple[int, float]]:
    """Time of one frame's motion in ms, by the length of the window."""
    costs = []
    for length in WINDOWS:
        stream.configure(dataclasses.replace(motion, window=length))
        costs.append((length, frame_ms([stream], frames, length)[0]))
    return costs


def people_costs(
    stream: MoRoStream, motion: MotionConfig, frames: Sequence[Frame]
) -> list[tuple[int, float]]:
    """Time of one frame's motion in ms, by the number of people."""
    stream.configure(motion)
    crowds = [(n, [crowded(frame, n) for frame in frames]) for n in PEOPLE]
    return [(n, frame_ms([stream], crowd, motion.window)[0]) for n, crowd in crowds]


def model_costs(
    models: Sequence[str], config: PipelineConfig, frames: Sequence[Frame]
) -> list[dict[str, object]]:
    """Rows with the time of one frame's motion, for each model with and without refinement.

    On a CPU it is processor time, so other programs do not count. ratio: the time of the first row
    over that of this row.
    Raises: see load_stream.
    """
    clock = time.process_time if config.device == "cpu" else time.perf_counter
    streams, rows = [], []
    for model in models:
        for steps in sorted({config.motion.refine_steps, 0}, reverse=True):
            motion = dataclasses.replace(config.motion, refine_steps=steps)
            streams.append(load_stream(dataclasses.replace(config, model=model, motion=motion)))
            sha256 = streams[-1].model_sha256[:8]
            rows.append({"model": model, "weights": sha256, "refine_steps": steps})
    for name, number in COMPARED_PEOPLE.items():
        crowd = [crowded(frame, number) for frame in frames]
        times = frame_ms(streams, crowd, config.motion.window, COMPARED_FRAMES, clock)
        for row, ms in zip(rows, times, strict=True):
            row[f"{name}, ms"] = round(ms, 2)
            row[f"{name}, ratio"] = round(times[0] / ms, 2)
    return rows


def frame_ms(
    streams: Sequence[MoRoStream],
    frames: Sequence[Frame],
    fill: int,
    count: int = COST_FRAMES,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median time of the `count` frames after the window's `fill` frames, ms, for each stream.

    Each frame is given to one stream after the other. The observations are repeated forth and back
    as often as necessary.
    """
    for stream in streams:
        stream.reset()
    interval_ns = round(1e9 / streams[0].motion.fps)
    there_and_back = [*frames, *frames[-2:0:-1]]
    times = np.zeros((fill + count, len(streams)))
    for number in range(fill + count):
        frame = there_and_back[number % len(there_and_back)]
        frame = dataclasses.replace(frame, stamp_ns=(number + 1) * interval_ns)
        for place, stream in enumerate(streams):
            start = clock()
            stream.push(frame)
            times[number, place] = clock() - start
    return [1e3 * float(ms) for ms in np.median(times[fill:], axis=0)]


def summary(
    live: Run, free: Run, baseline: Run, costs: list[tuple[int, float]], memory_mb: float
) -> dict[str, Any]:
    """The object that --json prints.

    fps and ratio: as fast as the pipeline takes images; latency_ms, stages_ms and dropped: at the
    camera's rate. baseline: as fast as it takes them.
    """
    return {
        "fps": round(free.fps, 2),
        "latency_ms": percentiles_ms(live.latency_s),
        "stages_ms": {
            name.removesuffix("_s"): percentiles_ms(s) for name, s in live.stages_s.items()
        },
        "dropped": live.dropped,
        "baseline": {"fps": round(baseline.fps, 2)},
        "ratio": round(free.fps / baseline.fps, 2),
        "window_cost": [[frames, round(ms, 3)] for frames, ms in costs],
        "memory_mb": round(memory_mb, 1),
    }


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    values = np.percentile(np.array(seconds), PERCENTILES)
    return {f"p{p}": round(1e3 * float(v), 2) for p, v in zip(PERCENTILES, values, strict=True)}


def gpu_memory_mb() -> float:
    """Peak GPU memory of PyTorch, MB."""
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


def print_text(
    report: dict[str, Any],
    rate_hz: float,
    plain: list[tuple[int, float]],
    crowd: list[tuple[int, float]],
) -> None:
    """Print the report as tables; plain: the costs of the plain form, crowd: those of people."""
    print(
        f"As fast as possible {report['fps']:.1f} images/s; all {BASELINE.window} frames in "
        f"{BASELINE.passes} passes for each image {report['baseline']['fps']:.1f} images/s: "
        f"{report['ratio']:.1f} times.\nAt {rate_hz:g} Hz {report['dropped']} images dropped.\n"
    )
    stages = {"image to motion": report["latency_ms"], **report["stages_ms"]}
    print_table([{"ms": name, **times} for name, times in stages.items()])
    print("\nMotion of one frame, by window length:\n")
    print_table(
        [
            {"frames": n, "ms": round(ms, 2), "plain, ms": round(other, 2)}
            for (n, ms), (_, other) in zip(report["window_cost"], plain, strict=True)
        ]
    )
    print("\nMotion of one frame, by number of people (copies of those in the video):\n")
    print_table([{"people": n, "ms": round(ms, 2)} for n, ms in crowd])
    if "models" in report:
        print("\nMotion of one frame, by model; ratio: the first row's time over this row's.")
        print("On a CPU: processor time.\n")
        print_table(report["models"])
