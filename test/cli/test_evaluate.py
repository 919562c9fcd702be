"""moro evaluate: the fixed commands and their keys, on small numbers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.cli import (
    evaluate,
    evaluate_cameras,
    evaluate_live,
    evaluate_open,
    evaluate_video,
)
from moro_ros.cli import evaluate_place as evaluate_place_command
from moro_ros.cli.cli import main
from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.data.mocap import MotionSet
from moro_ros.errors import DataError
from moro_ros.evaluation import body_fit, fitted_truth, place_benchmark
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.geometry.views import View
from moro_ros.live.load import load_stream
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

pytestmark = pytest.mark.slow


@pytest.fixture()
def motion_file(tmp_path: Path, walking) -> Path:
    path = tmp_path / "test.npz"
    np.savez(
        path,
        rot=walking.rotations,
        trans=walking.translation,
        lengths=walking.lengths,
        subjects=np.array(["02", "09"]),
        category=walking.categories,
        names=walking.names,
        fps=30,
    )
    return path


def run(capsys, *words: str) -> dict:
    assert main(["evaluate", *words, "--threads", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_open_finds_its_motion_and_has_its_keys(motion_file, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MORO_MOTION", str(motion_file.parent))
    result = run(capsys, "open", "--windows", "2", "--subjects", "02")
    keys = {"mpjpe_mm", "pa_mpjpe_mm", "jitter", "jitter_truth", "pve_mm"}
    for part in (result, result["refined"], result["all subjects"]):
        assert keys - {"pve_mm"} <= set(part)
        assert {"mpjpe_mm", "hidden_mm"} <= set(part["occluded"])
    assert keys <= set(result)
    assert result["refined"]["mpjpe_mm"] != result["mpjpe_mm"]
    given = result["floor given"]
    assert given["occluded"]["mpjpe_mm"] != result["occluded"]["mpjpe_mm"]
    assert given["mpjpe_mm"] != result["mpjpe_mm"] and "pve_mm" not in given
    worlds = result["worlds"]
    assert {"clean", "seated at a table", "widened postures", "children"} <= set(worlds)
    assert 0 < worlds["clean"]["mpjpe_mm"] < 300 and "pve_mm" not in worlds["clean"]
    words = ["open", "--windows", "2", "--subjects", "02", "--only", "--plots"]
    plots = motion_file.parent / "plots"
    alone = run(capsys, *words, str(plots))
    assert (
        "refined" not in alone and not alone["worlds"] and alone["mpjpe_mm"] == result["mpjpe_mm"]
    )
    assert alone["floor given"] == given
    names = ["over_time.png", "per_joint.png", "per_level.png"]
    assert sorted(path.name for path in plots.iterdir()) == names
    assert main(["evaluate", *words, str(plots / names[0])]) == 1
    assert "Choose another --plots" in capsys.readouterr().err


def test_the_defaults_of_one_benchmark_are_not_another_s() -> None:
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    words = {name: parser.parse_args(["evaluate", name]) for name in ("open", "ablations", "live")}
    assert (words["open"].windows, words["ablations"].windows) == (256, 64)
    assert (words["live"].people, parser.parse_args(["evaluate", "sigma"]).people) == (16, 32)


@pytest.mark.parametrize("benchmark", [["pose2sim"], ["multiview", "folder"]])
def test_real_video_can_be_measured_with_look_ahead(benchmark: list[str]) -> None:
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    words = ["evaluate", *benchmark, "--passes", "2", "--look-ahead", "8", "--refined-lag", "15"]
    found = evaluate_video.motion_of(parser.parse_args(words))
    assert found == MotionConfig(passes=2, look_ahead=8, refined_lag=15)
    default = parser.parse_args(["evaluate", *benchmark])
    assert evaluate_video.motion_of(default) == MotionConfig() and default.landmarks == "full"


def test_designs_reads_every_output_of_a_network(motion_file, capsys) -> None:
    result = run(capsys, "designs", "--motion", str(motion_file), "--windows", "2")
    whole = run(capsys, "open", "--motion", str(motion_file), "--windows", "2", "--only")
    head = result["rotation head"]
    assert head["noise"]["mpjpe_mm"] == pytest.approx(whole["mpjpe_mm"], abs=0.01)
    assert head["occluded"]["hidden_mm"] == pytest.approx(whole["occluded"]["hidden_mm"], abs=0.01)
    errors = {name: result[name]["noise"]["mpjpe_mm"] for name in ("soft codes", "argmax tokens")}
    assert head["noise"]["mpjpe_mm"] < errors["argmax tokens"] < 400
    assert errors["soft codes"] != errors["argmax tokens"] and result["window_ms"] > 0


def test_motion_that_is_nowhere_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MORO_MOTION", raising=False)
    with pytest.raises(DataError, match="give --motion FILE, or set MORO_MOTION"):
        evaluate_open.find_motion(None, "test.npz")
    beside = tmp_path / "shared/data/mocap"
    beside.mkdir(parents=True)
    (beside / "test.npz").touch()
    below = tmp_path / "main"
    below.mkdir()
    monkeypatch.chdir(below)
    assert evaluate_open.find_motion(None, "test.npz") == beside / "test.npz"


def test_live_measures_every_mode(motion_file, capsys, monkeypatch) -> None:
    monkeypatch.setattr(evaluate_video, "load_trial", toy_trial)
    monkeypatch.setattr(evaluate_live, "remembering_frontend", lambda *_: (None, None))
    words = ["--motion", str(motion_file), "--subjects", "", "--people", "1", "--frames", "27"]
    words += ["--look-ahead", "0,3", "--decoding-passes", "1", "--trials", "multi"]
    words += ["--truth", "triangulation"]
    result = run(capsys, "live", *words, "--rates", "")
    assert result["rates"] == []
    rows = {(row["mode"], row["look_ahead"]): row for row in result["rows"]}
    assert set(rows) == {(m, n) for m in ("window", "incremental") for n in (0, 3)}
    for (_, ahead), row in rows.items():
        assert row["described"] == pytest.approx((7 - ahead) / 7, abs=1e-3)
        assert 0 < row["mpjpe_mm"] < 1000 and row["ms_per_person"] > 0
        assert row["latency_ms"] == pytest.approx(ahead * 1e3 / 30 + row["cost_ms"], abs=0.1)
        assert row["cost_ms"] > 0 and "single_mpjpe_mm" not in row
        assert 0 < row["multi_pa_mpjpe_mm"] <= row["multi_mpjpe_mm"] < 1000


def test_people_who_are_trained_on_are_not_validated_on(
    motion_file, tmp_path, capsys, monkeypatch
) -> None:
    with np.load(motion_file) as data:
        arrays = dict(data)
    path = tmp_path / "val.npz"
    np.savez(path, **{**arrays, "subjects": np.array(["14", "49"])})
    assert evaluate_open.held_out(path).subjects.tolist() == ["49"]
    assert evaluate_open.held_out(path, subjects="14").subjects.tolist() == ["14"]
    monkeypatch.setenv("MORO_MOTION", str(tmp_path))
    assert evaluate_open.held_out(None, "val.npz").subjects.tolist() == ["49"]
    asked: list[MotionSet] = []

    def evaluate_place(stream: object, motion: MotionSet, *options: object) -> list[object]:
        asked.append(motion)
        return []

    monkeypatch.setattr(evaluate_place_command, "evaluate_place", evaluate_place)
    monkeypatch.setattr(evaluate_place_command, "evaluate_triangulated", evaluate_place)
    run(capsys, "place", "--motion", str(path))
    assert [motion.subjects.tolist() for motion in asked] == [["49"], ["49"]]


def test_sigma_is_reported_for_every_joint(motion_file, capsys) -> None:
    words = ["--motion", str(motion_file), "--people", "2", "--frames", "24"]
    result = run(capsys, "sigma", *words)
    assert {"standard", "clean", "occluded", "children"} <= set(result["condition"])
    result = result["joints"]
    for part in ("all", "observed", "left_wrist"):
        assert 0 < result[part]["within_1_sigma"] <= result[part]["within_2_sigma"] <= 1
        assert result[part]["sigma_m"] > 0


def toy_trial(name: str, frontend: object) -> Trial:
    """One camera and one person who stands still, 8 images."""
    rng = np.random.default_rng(2)
    points = np.tile(rng.normal([0, 0, 4], 0.3, (1, NUM_KEYPOINTS, 3)), (8, 1, 1))
    camera = Camera(np.array([[900.0, 0, 500], [0, 900, 500], [0, 0, 1]]), 1000, 1000)
    pixels = (points[0] @ camera.matrix.T)[:, :2] / points[0][:, 2:]
    full = np.ones(NUM_KEYPOINTS, np.float32)
    person = PersonObservation(
        1, np.array([0, 0, 9, 9], np.float32), 1.0, Keypoints(pixels.astype(np.float32), full, full)
    )
    frames = tuple(Frame(33_333_333 * n, camera, (person,)) for n in range(8))
    truth = Truth(points, np.ones(points.shape[:2]))
    view = View("cam", camera, np.eye(3), np.zeros(3))
    return Trial(name, (view,), (frames,), (TruePerson(truth, frozenset({(0, 1)})),))


def test_pose2sim_draws_what_it_measured(capsys, monkeypatch, tmp_path) -> None:
    video = tmp_path / "grey.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (1000, 1000))
    for _ in range(8):
        writer.write(np.full((1000, 1000, 3), 127, np.uint8))
    writer.release()
    monkeypatch.setattr(evaluate_video, "load_trial", toy_trial)
    monkeypatch.setattr(evaluate_video, "remembering_frontend", lambda *_: (None, None))
    monkeypatch.setattr(evaluate_video, "video_of", lambda trial, view: video)
    words = ["pose2sim", "--only", "--truth", "triangulation", "--trials", "single", "--pictures"]
    run(capsys, *words, str(tmp_path / "pictures"))
    for name in ("single_plain", "single_legs_hidden"):
        sheet = cv2.imread(str(tmp_path / "pictures" / name / "sheet.png"))
        assert (sheet.max(2) - sheet.min(2)).max() > 60  # bodies have colours, the video has none
        assert (tmp_path / "pictures" / name / "overlay.mp4").stat().st_size > 0
    assert main(["evaluate", *words, str(video)]) == 1
    assert "Choose another --pictures" in capsys.readouterr().err


def test_pose2sim_has_its_keys_per_trial_and_condition(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(evaluate_video, "load_trial", toy_trial)
    monkeypatch.setattr(
        evaluate_video,
        "remembering_frontend",
        lambda *_: (None, evaluate_video.WorldMemory(None)),
    )
    result = run(capsys, "pose2sim", "--truth", "triangulation")
    conditions = {"plain", "legs hidden", "left side hidden", "30 % of frames blank"}
    for trial in ("single", "multi"):
        assert set(result[trial]) == conditions
        for row in result[trial].values():
            assert {"mpjpe_mm", "pa_mpjpe_mm", "root_m", "frames"} <= set(row)
        assert result[trial]["plain"]["frames"] == 8
        assert result[trial]["legs hidden"]["hidden_mpjpe_mm"] is not None
    assert set(result["sources"]) == {
        "not refined",
        "two-sided",
        "floor given",
        "each frame alone",
        "located in every second image",
        "located in every third image",
        "with true keypoints",
        "BlazePose world landmarks",
    }
    assert result["fits"] == []
    monkeypatch.setattr(body_fit, "STEPS", 2)
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    bodies: list[BodyModel] = []

    def fit_trial(trial: Trial, body: BodyModel, marked: BodyModel, others: object) -> Trial:
        bodies.extend((body, marked))
        return fitted_truth.fit_trial(trial, body, marked)

    monkeypatch.setattr(evaluate_video, "fit_trial", fit_trial)
    only = run(capsys, "pose2sim", "--only", "--trials", "single")
    own, marked = (body.keypoint_template for body in bodies)
    assert torch.equal(marked, load_stream(PipelineConfig()).body.keypoint_template)
    assert not torch.equal(marked, own)
    assert set(only) == {"single", "sources", "fits"} and set(only["sources"]) == {
        "floor given",
        "two-sided",
    }
    (fit,) = only["fits"]
    # One camera is no truth.
    assert fit["frames"] == 0 and fit["median_px"] > 0 and only["single"]["plain"]["frames"] == 0


@pytest.mark.parametrize("given", [True, False])
def test_all_cameras_are_given_the_floor_if_asked(given, capsys, monkeypatch) -> None:
    floors = []
    monkeypatch.setattr(evaluate_video, "load_trial", toy_trial)
    monkeypatch.setattr(evaluate_video, "remembering_frontend", lambda *_: (None, None))
    monkeypatch.setattr(
        evaluate_cameras, "taken", lambda stream, frames: floors.append(stream.placing.floor)
    )
    monkeypatch.setattr(evaluate_cameras, "fused_scores", lambda *_: [])
    words = ["pose2sim", "--cameras", "--truth", "triangulation", "--trials", "single"]
    run(capsys, *words, *["--floor"] * given)
    (floor,) = floors
    assert (floor is not None) == given
    # The camera of the trial is at the world's origin.
    assert floor is None or (floor.normal.tolist() == [0, 0, 1] and floor.offset == 0)


def test_the_floor_of_cameras_is_refused_without_cameras(capsys) -> None:
    assert main(["evaluate", "pose2sim", "--floor"]) == 1
    assert "--floor: expected --cameras as well" in capsys.readouterr().err


def test_place_measures_every_source_by_itself(motion_file, capsys) -> None:
    words = ["place", "--motion", str(motion_file), "--people", "2", "--frames", "26"]
    rows = run(capsys, *words)
    table = {(row["people"], row["source"]): row for row in rows}
    people = ("adults", "children", "seated, legs hidden", "standing, legs hidden")
    by_depth = ("depth", "depth behind a post", "depth, thick clothes")
    sources = ("stature prior", "stature", "floor", *by_depth)
    cameras = [f"triangulated, {n} cameras{off}" for n in (2, 3) for off in ("", " off by 0.5 deg")]
    single = {(who, source) for who in people for source in sources}
    assert set(table) == single | {(who, source) for who in people[:2] for source in cameras}
    for row in (table[key] for key in single):
        assert row["median_m"] > 0 and 0 < row["root_m"] <= row["root_90_m"] * 2
        assert 0 <= row["within_1_sigma"] <= row["within_2_sigma"] <= 1 and row["sigma_m"] > 0
        assert (row["sole_m"] is None or row["sole_m"] >= 0) and 0 <= row["through"] <= 1
    # Each source is what the answers of its own row rest on.
    assert table["adults", "stature prior"]["named"] == table["children", "depth"]["named"] == 1
    assert table["children", "stature"]["root_m"] < table["children", "stature prior"]["root_m"]
    assert table["children", "depth"]["root_m"] < table["children", "stature prior"]["root_m"]


def test_place_measures_a_choice_of_sources_and_worlds(motion_file, capsys, monkeypatch) -> None:
    def depth_scenes(*_: object) -> None:
        raise AssertionError("depth images were rendered, which takes most of the time")

    words = ["place", "--motion", str(motion_file), "--people", "2", "--frames", "26"]
    all_rows = run(capsys, *words, "--sources", "stature", "depth", "--worlds", "children")
    monkeypatch.setattr(place_benchmark, "depth_scenes", depth_scenes)
    (row,) = run(capsys, *words, "--sources", "stature", "--worlds", "children")
    assert (row["people"], row["source"]) == ("children", "stature")
    assert row in all_rows, "a choice changed the people"


def test_place_refuses_a_choice_of_sources_for_groups(motion_file, capsys) -> None:
    words = ["place", "--motion", str(motion_file), "--groups", "1", "--frames", "200"]
    assert main(["evaluate", *words, "--sources", "floor"]) != 0
    assert "cannot be combined with --groups" in capsys.readouterr().err


def test_posture_counts_every_image(motion_file, capsys) -> None:
    words = ["--motion", str(motion_file), "--subjects", "", "--people", "2", "--frames", "26"]
    result = run(capsys, "posture", *words)
    rows = {(row["people"], row["floor"]): row for row in result["rows"]}
    assert {"recorded", "bowing", "seated at a table", "lying", "falling"} <= {n for n, _ in rows}
    assert all(0 <= row["right"] <= 1 for row in rows.values())
    assert rows["lying", True]["lying"] == 1 and rows["recorded", True]["lying"] == 0
    for floor in (False, True):
        images = [row["images"] for row in result["confusion"] if row["floor"] == floor]
        assert sum(images) == len(rows) / 2 * 2 * 6


def test_place_refuses_too_few_images_to_learn_a_ground(motion_file, capsys) -> None:
    words = ["place", "--motion", str(motion_file), "--groups", "1", "--frames", "50"]
    assert main(["evaluate", *words]) != 0
    assert "--frames: got 50, expected more than" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("place", "--people", "0"),
        ("place", "--groups", "-1"),
        ("open", "--windows", "0"),
        ("posture", "--people", "1.5"),
        ("open", "--threads", "0"),
    ],
)
def test_numbers_of_whatever_is_measured_are_at_least_one(words, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", *words])
    told = capsys.readouterr().err
    assert f"argument {words[1]}: got {words[2]}, expected a whole number of at least 1" in told


@pytest.mark.parametrize("command", ["live", "posture", "sigma", "place"])
def test_sequences_are_longer_than_the_images_that_are_not_scored(command, capsys) -> None:
    for frames in ("20", "0", "-3", "1e3"):
        with pytest.raises(SystemExit):
            main(["evaluate", command, f"--frames={frames}"])
        told = capsys.readouterr().err
        assert f"argument --frames: got {frames}, expected a whole number above 20" in told


@pytest.mark.parametrize(("ahead", "least"), [("0", 24), ("0,10", 34)])
def test_live_refuses_sequences_of_which_too_little_is_described(ahead, least, capsys) -> None:
    words = ["evaluate", "live", "--look-ahead", ahead, "--frames", str(least - 1)]
    assert main([*words, "--trials", "foo"]) == 1
    assert f"got {least - 1}, expected {least} or more with" in capsys.readouterr().err
    assert main([*words[:-1], str(least), "--trials", "foo"]) == 1
    assert "--frames" not in capsys.readouterr().err


def test_place_refuses_triangulated_people_who_are_not_measured(motion_file, capsys) -> None:
    words = ["evaluate", "place", "--motion", str(motion_file), "--people", "2"]
    worlds = ["--sources", "triangulated", "--worlds", "seated, legs hidden"]
    assert main([*words, "--frames", "26", *worlds]) == 1
    assert "expected --worlds of adults, children" in capsys.readouterr().err


def test_an_unknown_trial_is_refused_before_anything_is_loaded(capsys) -> None:
    assert main(["evaluate", "pose2sim", "--trials", "single,foo"]) == 1
    assert "got 'single,foo', expected single, multi" in capsys.readouterr().err
