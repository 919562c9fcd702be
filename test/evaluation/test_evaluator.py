"""The evaluator: truth against itself, missing frames, the right person, plots and commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.cli.cli import main
from moro_ros.data.dataset import BodyFit, Clip, even_stamps
from moro_ros.draw.plots import bar_chart, line_chart
from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion, TrueMotion, evaluate, runs
from moro_ros.evaluation.readers.bodies import load_rest_joints
from moro_ros.evaluation.truth import joints_of, load_truth, truths_at
from moro_ros.io.recording import ROW, MotionRecording
from moro_ros.resources import share_path
from moro_ros.types import SmplxParams

FRAMES = 30


@pytest.fixture()
def truth() -> TrueMotion:
    rng = np.random.default_rng(0)
    walk = np.linspace(0, 1, FRAMES)[:, None, None] * np.array([1.0, 0, 0.3])
    joints = rng.normal(0, 0.4, (1, 22, 3)) + walk + [0, 0, 4]
    visible = np.ones((FRAMES, 22), bool)
    visible[10:20, 15:] = False  # 7 of 22
    return TrueMotion("walk", 30.0, np.arange(FRAMES), joints, visible)


def test_the_truth_itself_is_perfect(truth) -> None:
    found = FoundMotion("1", truth.frames, truth.joints)
    report = evaluate([truth], lambda name: [found])
    assert report.coverage == 1
    for name in ("MPJPE [mm]", "PA-MPJPE [mm]", "GMPJPE [mm]", "RTE [%]", "Accel [m/s2]"):
        assert report.means[name] == pytest.approx(0, abs=1e-6), name
    assert set(report.joint_mm) == set(JOINT_NAMES)


def test_errors_are_told_by_joint_level_and_time(truth) -> None:
    joints = truth.joints.copy()
    joints[10:20, 20, 1] += 0.22
    report = evaluate([truth], lambda name: [FoundMotion("1", truth.frames, joints)])
    assert report.joint_mm["left_wrist"] == pytest.approx(220 / 3)
    assert report.joint_mm["left_knee"] == pytest.approx(0, abs=1e-6)
    assert report.level_mm["nothing hidden"] == pytest.approx(0, abs=1e-6)
    assert report.level_mm["up to a half"] == pytest.approx(10)
    assert np.isnan(report.level_mm["more than a half"])
    assert report.means["MPJPE occluded [mm]"] == pytest.approx(220 / 7)
    np.testing.assert_allclose(report.time_mm["walk"][8:12], [0, 0, 10, 10], atol=1e-6)


def test_the_nearest_person_is_meant_and_gaps_are_told(truth) -> None:
    away = FoundMotion("away", truth.frames, truth.joints + 1.0)
    half = np.r_[0:8, 16:24]
    near = FoundMotion("near", truth.frames[half], truth.joints[half] + 0.01)
    report = evaluate([truth], lambda name: [away, near])
    assert report.coverage == pytest.approx(16 / FRAMES)
    assert report.means["GMPJPE [mm]"] == pytest.approx(10 * 3**0.5)
    assert np.isnan(report.time_mm["walk"][10]) and np.isfinite(report.time_mm["walk"][20])
    # A jump over the gap is nobody's acceleration.
    assert report.means["G-Accel [m/s2]"] == pytest.approx(0, abs=1e-6)
    nobody = evaluate([truth], lambda name: [])
    assert nobody.coverage == 0 and nobody.means == {}


def test_who_has_no_place_is_not_judged_by_it(truth) -> None:
    found = FoundMotion("1", truth.frames, truth.joints - truth.joints[:, :1], placed=False)
    means = evaluate([truth], lambda name: [found]).means
    assert means["MPJPE [mm]"] == pytest.approx(0, abs=1e-6)
    assert "GMPJPE [mm]" not in means and "RTE [%]" not in means


def test_meshes_are_compared_where_they_are_of_one_kind(truth) -> None:
    mesh = np.repeat(truth.joints[:, :1], 6890, axis=1)
    true = replace(truth, vertices=mesh)
    same = FoundMotion("1", truth.frames, truth.joints, mesh + 0.003)
    other = FoundMotion("1", truth.frames, truth.joints, mesh[:, :100])
    assert evaluate([true], lambda n: [same]).means["PVE [mm]"] == pytest.approx(3 * 3**0.5)
    assert "PVE [mm]" not in evaluate([true], lambda n: [other]).means


def test_runs_are_frames_in_a_row() -> None:
    frames = np.array([0, 1, 2, 3, 4, 9, 10, 20, 21, 22, 23])
    assert [(r.start, r.stop) for r in runs(frames)] == [(0, 5), (7, 11)]
    assert [(r.start, r.stop) for r in runs(np.arange(0, 20, 2))] == [(0, 10)]
    assert runs(np.array([], int)) == []


def write(path: Path, truth: TrueMotion, **changes: np.ndarray) -> Path:
    arrays = {"joints": truth.joints, "fps": np.float64(truth.fps), "visible": truth.visible}
    np.savez(path, **{**arrays, **changes})
    return path


def test_truth_files(tmp_path, truth) -> None:
    found = load_truth(write(tmp_path / "walk.npz", truth))
    assert found.name == "walk" and found.fps == 30
    np.testing.assert_array_equal(found.frames, np.arange(FRAMES))
    np.testing.assert_allclose(found.joints, truth.joints)
    write(tmp_path / "run.npz", truth)
    assert [t.name for t in truths_at(tmp_path)] == ["run", "walk"]
    with pytest.raises(DataError, match=r"visible \(4, 22\)"):
        load_truth(write(tmp_path / "bad.npz", truth, visible=np.ones((4, 22), bool)))
    with pytest.raises(DataError, match="expected an npz"):
        load_truth(tmp_path / "none.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No npz file"):
        list(truths_at(tmp_path / "empty"))


@pytest.mark.parametrize("about_pelvis", [False, True])
def test_a_clip_of_any_set_has_joints_in_its_camera(about_pelvis) -> None:
    body = load_rest_joints(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))
    place = np.tile([0.5, 1.0, 2.0], (6, 1))
    params = SmplxParams(np.zeros(10), np.zeros((6, 3)), np.zeros((6, 63)), place)
    camera = np.array([[0.0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 3], [0, 0, 0, 1]])
    fit = BodyFit(params, about_pelvis=about_pelvis, camera_from_fit=camera)
    clip = Clip("c", "s", even_stamps(range(6), 30), 30.0, fit)
    joints = joints_of(clip, {"smplx": body})
    assert joints is not None
    pelvis = place[0] if about_pelvis else place[0] + body.template[0]
    expected = [-pelvis[1] + 0.1, pelvis[0] + 0.2, pelvis[2] + 3]
    np.testing.assert_allclose(joints[3, 0], expected)
    guessed = replace(clip, fit=replace(fit, measured=False))
    assert joints_of(guessed, {"smplx": body}) is None


def coloured(image: np.ndarray) -> int:
    return int((np.ptp(image.astype(int), axis=-1) > 30).sum())


def test_higher_bars_have_more_ink_and_gaps_none() -> None:
    def bars(*values: float) -> np.ndarray:
        return bar_chart("t", ["a", "b", "c"], {"m": list(values)})

    assert bars(1, 1, 1).shape[2] == 3 and bars(1, 1, 1).dtype == np.uint8
    full, half = coloured(bars(10, 10, 10)), coloured(bars(10, 5, 5))
    assert full > 1.3 * half > 1.3 * coloured(bars(10, float("nan"), float("nan")))
    assert not np.array_equal(bars(1, 2, 3), bars(3, 2, 1))


def test_lines_have_gaps_where_nothing_was_found() -> None:
    line = np.linspace(1, 2, 50)
    gap = line.copy()
    gap[10:40] = np.nan
    whole, broken = (line_chart("t", "frame", {"m": v}) for v in (line, gap))
    assert coloured(broken) < 0.8 * coloured(whole)
    line_chart("t", "frame", {"m": np.full(5, np.nan)})  # nothing to draw is no error


def test_results_are_compared_drawn_and_printed(tmp_path, truth, capsys) -> None:
    recording = MotionRecording()
    recording.stamps_ns = [33_333_333 * n for n in range(FRAMES)]
    for stamp, joints in zip(recording.stamps_ns, truth.joints):
        row = np.zeros((), ROW)
        row["stamps_ns"], row["joints"] = stamp, joints + 0.01
        recording.add(2, row)
    recording.save(tmp_path / "motion.npz")
    folder = tmp_path / "truth"
    folder.mkdir()
    write(folder / "walk.npz", truth)
    words = ["evaluate", "results", "--truth", str(folder), "--threads", "1"]
    words += ["--results", f"moro={tmp_path / 'motion.npz'}", "--plots", str(tmp_path / "plots")]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["moro"]
    assert result["coverage"] == 1
    assert result["means"]["GMPJPE [mm]"] == pytest.approx(10 * 3**0.5, abs=0.01)
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"per_joint.png", "per_level.png", "over_time_walk.png"}
    assert cv2.imread(str(tmp_path / "plots" / "per_joint.png")).shape[2] == 3
    assert main(words) == 0
    assert "| moro |" in capsys.readouterr().out
    assert main([*words, "--results", "nobody=x"]) == 1
    assert "expected one of moro" in capsys.readouterr().err
