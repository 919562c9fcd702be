"""moro predict --depth-topic: recorded depth places people, and what is wrong with it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from depth_bag import COLOUR, DEPTH, DepthBag, ns

from moro_ros.body.body_model import BodyModel
from moro_ros.cli import cli
from moro_ros.evaluation.depth_scenes import Board, as_measured, render_depth
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.io.recording import load_recording
from moro_ros.live.synthetic_scenes import SCENES
from moro_ros.types import DEPTH as BY_DEPTH
from moro_ros.types import PRIOR, Camera

pytestmark = pytest.mark.weights
CAMERA = Camera(np.array([[150.0, 0, 80], [0, 150.0, 60], [0, 0, 1]]), 160, 120)
RATE_HZ, COUNT = 10, 20
# Everything is this much smaller and nearer than the synthetic scene, which looks the same.
SMALLER = 0.65
WALL = Board(np.array([-9.0, -9.0, 4.5]), np.array([18.0, 0, 0]), np.array([0, 18.0, 0]))


class Walk:
    """A recorded child who walks by: an image and a depth image every 0.1 s, 30 ms later."""

    def __init__(self, body: BodyModel) -> None:
        rng, faces = np.random.default_rng(0), body.faces.numpy()
        self.pelvis, self.metres = [], []
        for number in range(COUNT):
            pose, pelvis, _ = SCENES["walk_by"][0](number / RATE_HZ)
            turns = rotvec_to_matrix(torch.from_numpy(pose).float())[None]
            skin = body.skin(turns, torch.zeros(1, 10))
            mesh = SMALLER * (skin.vertices[0].numpy() + pelvis)
            self.pelvis.append(SMALLER * np.asarray(pelvis))
            self.metres.append(as_measured(render_depth([mesh], faces, [WALL], CAMERA), rng))

    def bag(self, unit: float = 1000.0, info: bool = True, tf: bool = False) -> DepthBag:
        bag = DepthBag(CAMERA)
        bag.infos(*(() if info else [DepthBag.info_of(COLOUR)]), frame="lens" if not tf else "")
        if tf:
            bag.transform("/tf_static", "lens", "depth_lens", 0.0, 0.0)
        for number, metres in enumerate(self.metres):
            bag.image(number / RATE_HZ)
            millimetres = np.nan_to_num(unit * metres)
            frame = "depth_lens" if tf else "lens"
            bag.depth(number / RATE_HZ + 0.03, millimetres, number / RATE_HZ + 0.2, frame=frame)
        return bag


@pytest.fixture(scope="module")
def walk(open_body: BodyModel) -> Walk:
    return Walk(open_body)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The real pipeline, whose front-end reports the synthetic scene."""
    file = tmp_path / "config.yaml"
    file.write_text("people: synthetic\nsynthetic_scene: walk_by\n")
    return file


def predict(
    bag: DepthBag, config: Path, *words: str, more: tuple[Path, ...] = ()
) -> tuple[int, Path]:
    out = config.parent / "out"
    inputs = [bag.write(config.parent / "bag"), *more]
    arguments = [*map(str, inputs), "--out", str(out), "--config", str(config), *words]
    return cli.main(["predict", *arguments]), out


def off_m(out: Path, walk: Walk) -> np.ndarray:
    """Error of the pelvis in the last second, (N,) m."""
    (rows,) = load_recording(out / "motion.npz").people().values()
    numbers = [round((stamp - ns(0.0)) * 1e-9 * RATE_HZ) for stamp in rows["stamps_ns"].tolist()]
    found = {n: joints[0] for n, joints in zip(numbers, rows["joints"], strict=True)}
    last = range(COUNT - RATE_HZ, COUNT)
    return np.array([np.linalg.norm(found[n] - walk.pelvis[n]) for n in last])


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("tf", [False, True])
def test_depth_places_a_child_whose_keypoints_are_those_of_an_adult(
    walk: Walk,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    refined: bool,
    tf: bool,
) -> None:
    words = ["--depth-topic", DEPTH, *(["--refined"] if refined else [])]
    status, out = predict(walk.bag(tf=tf), config, *words)
    assert status == 0
    rows = next(iter(load_recording(out / "motion.npz").people().values()))
    assert (rows["place_source"][-RATE_HZ:] == BY_DEPTH).all()
    assert off_m(out, walk).max() < 0.04
    summary = json.loads((out / "summary.json").read_text())["depth"]
    assert summary["topic"] == DEPTH and not summary["problems"]
    # Of the first image on, and each once.
    assert COUNT - 2 <= summary["measurements"] <= COUNT
    shown = capsys.readouterr()
    told = f"{summary['measurements']} measurements of people in the depth images of {DEPTH}"
    assert told in shown.out and "Depth" not in shown.err
    assert f"{DEPTH}: {summary['measurements']} measurements" in (out / "report.html").read_text()


def test_without_depth_the_child_is_taken_for_an_adult(walk: Walk, config: Path) -> None:
    status, out = predict(walk.bag(), config, "--image-topic", COLOUR)
    assert status == 0
    rows = next(iter(load_recording(out / "motion.npz").people().values()))
    assert (rows["place_source"] == PRIOR).all() and off_m(out, walk).min() > 0.5
    assert json.loads((out / "summary.json").read_text())["depth"] is None


@pytest.mark.parametrize(
    ("more", "kind", "told"),
    [
        ({"unit": 1.0}, "unit", "16UC1 must be in millimetres"),
        ({"info": False}, "camera_info", "Set --depth-info-topic to the camera_info topic"),
    ],
)
def test_depth_that_cannot_be_used_is_told_and_the_rest_is_done(
    walk: Walk,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, Any],
    kind: str,
    told: str,
) -> None:
    status, out = predict(walk.bag(**more), config, "--depth-topic", DEPTH)
    assert status == 0
    error = capsys.readouterr().err
    assert told in error and f"Depth was not used in {COUNT} of {COUNT} images" in error
    assert told in (out / "report.html").read_text()
    summary = json.loads((out / "summary.json").read_text())["depth"]
    assert summary["measurements"] == 0 and summary["problems"][kind]["images"] == COUNT
    rows = next(iter(load_recording(out / "motion.npz").people().values()))
    assert (rows["place_source"] == PRIOR).all()


def test_two_bags_do_not_share_their_depth(walk: Walk, config: Path) -> None:
    """Numbers and problems are those of the bag itself."""
    bad = walk.bag(unit=1.0).write(config.parent / "bad")
    status, out = predict(walk.bag(), config, "--depth-topic", DEPTH, more=(bad,))
    assert status == 0
    good, other = (
        json.loads((out / name / "summary.json").read_text())["depth"] for name in ("bag", "bad")
    )
    assert good["measurements"] >= COUNT - 2 and not good["problems"]
    assert other["measurements"] == 0 and set(other["problems"]) == {"unit"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--depth-topic", "/depth"], f"--depth-topic: got '/depth', expected one of {COLOUR}, "),
        (
            ["--depth-topic", DEPTH, "--depth-info-topic", "/info"],
            "--depth-info-topic: got '/info', expected one of /cam/color/camera_info, ",
        ),
        (
            ["--depth-info-topic", "/info"],
            "--depth-info-topic: got '/info' without --depth-topic; expected both",
        ),
        (
            ["--depth-topic", COLOUR, "--image-topic", COLOUR],
            f"--depth-topic: got '{COLOUR}', which is --image-topic; expected the topic of the",
        ),
    ],
)
def test_topics_that_were_not_recorded_are_refused_before_anything_is_done(
    walk: Walk,
    pipeline: Any,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    pipeline.before = lambda _n: pytest.fail("an image was processed")
    status, out = predict(walk.bag(), config, *words)
    assert status == 1 and not out.exists()
    assert told in capsys.readouterr().err


def test_depth_of_a_video_is_refused(
    pipeline: Any, make_video: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "a.mp4", [0.0, 0.1], (64, 48))
    out = tmp_path / "out"
    words = ["--focal", "60", "--out", str(out), "--depth-topic", "/depth"]
    assert cli.main(["predict", str(video), *words]) == 1
    assert "--depth-topic: got '/depth', but " in capsys.readouterr().err and not out.exists()
