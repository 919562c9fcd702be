"""The bench of the live engine: its clock, its crowd, its report; an engine that is too slow."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from moro_ros.assets import fetch
from moro_ros.cli.bench import live as bench_live
from moro_ros.cli.bench.player import Clip, Run, Timeline, play
from moro_ros.cli.cli import main
from moro_ros.cli.video_options import SAMPLE_CALIBRATION, SAMPLE_VIDEO
from moro_ros.config import MotionConfig
from moro_ros.errors import AssetError
from moro_ros.types import (
    NUM_KEYPOINTS,
    Camera,
    Frame,
    Keypoints,
    Observed,
    PersonObservation,
    PipelineResult,
)

CAMERA = Camera(np.eye(3), 8, 6)


def clip(frames: int = 5, rate_hz: float = 50.0) -> Clip:
    return Clip([np.full((6, 8, 3), i, np.uint8) for i in range(frames)], rate_hz, CAMERA)


class Slow:
    """An engine whose two halves take a given time each; it notes what it sees."""

    def __init__(self, observe_s: float, recover_s: float) -> None:
        self.observe_s, self.recover_s = observe_s, recover_s
        self.stamps_ns: list[int] = []
        self.shown: list[int] = []

    def observe(self, image, stamp_ns, camera, late=False):
        time.sleep(self.observe_s)
        self.stamps_ns.append(stamp_ns)
        self.shown.append(int(image[0, 0, 0]))
        return Observed(Frame(stamp_ns, camera, (), image), {"frontend_s": self.observe_s})

    def recover(self, observed, mesh=False):
        time.sleep(self.recover_s)
        stages = {**observed.stage_s, "motion_s": self.recover_s}
        return PipelineResult(observed.frame.stamp_ns, CAMERA, (), (), stages)


def test_the_clip_goes_there_and_back_without_a_jump():
    shown = [int(clip(4).image(i)[0, 0, 0]) for i in range(13)]
    assert shown == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert [int(clip(1).image(i)[0, 0, 0]) for i in range(3)] == [0, 0, 0]


def test_runs_on_one_timeline_follow_each_other():
    engine, timeline = Slow(0.0, 0.001), Timeline()
    play(engine, clip(9), timeline, 0.0, 0.05)
    play(engine, clip(9), timeline, 100.0, 0.1)
    assert np.all(np.diff(engine.stamps_ns) > 0)
    assert timeline.stamp_ns > engine.stamps_ns[-1]


def test_an_engine_that_keeps_up_drops_nothing():
    run = play(Slow(0.002, 0.002), clip(), Timeline(), 5.0, 2.0)
    assert run.dropped <= 1 and len(run.latency_s) + run.dropped == 10
    assert np.median(run.latency_s) < 0.1


@pytest.mark.slow
def test_a_camera_three_times_too_fast_costs_images_but_no_latency():
    """Newest image wins: with a queue the last of 150 images would be 24 s old."""
    engine = Slow(0.2, 0.2)
    run = play(engine, clip(), Timeline(), 25.0, 6.0)
    assert 0.2 <= run.duration_s / len(run.latency_s) < 0.35, "the two halves overlap"
    assert abs(len(run.latency_s) + run.dropped - 150) <= 1
    assert run.dropped > 100
    assert np.median(run.latency_s[-5:]) < 1.2
    assert run.resident_mb[-1] - run.resident_mb[2] < 5.0


def frame_of(*ids: int) -> Frame:
    points = np.zeros((NUM_KEYPOINTS, 2), np.float32)
    keypoints = Keypoints(points, points[:, 0] + 1, points[:, 0] + 1)
    box = np.array([0, 0, 1, 1], np.float32)
    return Frame(1, CAMERA, tuple(PersonObservation(i, box, 1.0, keypoints) for i in ids))


def test_a_crowd_has_as_many_people_as_asked_for_each_with_an_id_and_a_place():
    assert [p.track_id for p in bench_live.crowded(frame_of(3, 5), 1).people] == [3]
    crowd = bench_live.crowded(frame_of(3, 5), 5).people
    assert len({p.track_id for p in crowd}) == 5
    assert len({(p.track_id % 1000, float(p.box_xyxy[0])) for p in crowd}) == 5
    for person in crowd:
        np.testing.assert_array_equal(person.keypoints.points_px[:, 0], person.box_xyxy[0])
    assert bench_live.crowded(frame_of(), 4).people == ()


def test_the_report_has_the_promised_keys():
    run = Run(duration_s=2.0, dropped=3, latency_s=[0.01, 0.02, 0.03])
    run.stages_s = {"decode_s": [0.001, 0.002, 0.003]}
    plain = Run(duration_s=6.0, latency_s=[1.0] * 3)
    report = json.loads(json.dumps(bench_live.summary(run, run, plain, [(15, 2.0)], 321.04)))
    assert set(report) == {
        "fps", "latency_ms", "stages_ms", "dropped", "baseline", "ratio", "window_cost",
        "memory_mb",
    }  # fmt: skip
    assert report["fps"] == 1.5 and report["baseline"]["fps"] == 0.5 and report["ratio"] == 3.0
    assert report["latency_ms"]["p50"] == 20.0 and set(report["latency_ms"]) == {
        "p50", "p95", "p99",
    }  # fmt: skip
    assert report["stages_ms"]["decode"]["p50"] == 2.0
    assert report["dropped"] == 3 and report["window_cost"] == [[15, 2.0]]


@pytest.mark.slow
def test_the_real_engine_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(bench_live, "WINDOWS", (4, 8))
    monkeypatch.setattr(bench_live, "COST_FRAMES", 2)
    monkeypatch.setattr(bench_live, "COMPARED_FRAMES", 2)
    options = ["--seconds", "0.7", "--height", "360", "--json", "--mode", "incremental"]
    options += ["--against", "moro_open"]
    blazepose = ("pose_detection.tflite", "pose_landmark_full.tflite")
    try:
        for name in (SAMPLE_VIDEO, SAMPLE_CALIBRATION, *blazepose):
            fetch(name)
    except AssetError as error:
        pytest.skip(f"video or BlazePose not to be had: {error}")
    assert main(["bench", "live", *options]) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["fps"] > 0 and report["baseline"]["fps"] > 0
    assert {"frontend", "motion", "decode"} <= set(report["stages_ms"])
    assert [frames for frames, _ in report["window_cost"]] == [4, 8]
    assert 50 < report["memory_mb"] < 4000
    assert [row["refine_steps"] for row in report["models"]] == [1, 0, 1, 0]
    assert all(row["weights"] and row["2 people, ratio"] > 0 for row in report["models"])
    assert report["models"][0]["1 person, ratio"] == 1.0


class Noted:
    """A stream that notes the frames that it gets."""

    motion = MotionConfig()

    def __init__(self, name: str, pushed: list[tuple[str, int]]) -> None:
        self.name, self.pushed = name, pushed

    def reset(self) -> None:
        self.pushed.append((self.name, -1))

    def push(self, frame: Frame) -> None:
        self.pushed.append((self.name, frame.stamp_ns))


def test_compared_streams_get_the_same_frames_in_turn():
    pushed: list[tuple[str, int]] = []
    clock = iter(np.cumsum([0, 1, 0, 3] * 4).tolist())  # the first takes 1 s, the second 3 s
    streams = [Noted("first", pushed), Noted("second", pushed)]
    times = bench_live.frame_ms(streams, [frame_of(1)] * 3, 1, 3, lambda: next(clock))
    assert times == [1000.0, 3000.0]
    stamps = [-1, *(round(1e9 / 30) * n for n in (1, 2, 3, 4))]
    assert pushed == [(name, stamp) for stamp in stamps for name in ("first", "second")]


def test_options_out_of_range_are_refused(capsys):
    assert main(["bench", "live", "--rate", "0"])
    assert "--rate" in capsys.readouterr().err
