"""What a run leaves on the disk: nothing outside of the package's own cache."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import moro_ros
from moro_ros.assets import cached_path, fetch
from moro_ros.cli.processes import clean_environment
from moro_ros.errors import AssetError

MODELS = ("pose_detection.tflite", "pose_landmark_full.tflite")
# What `moro predict` does with a video, with both backends, the mesh and a plot.
WORK = """
import numpy as np
from moro_ros.config import PipelineConfig
from moro_ros.draw.plots import line_chart
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.pipeline import load_pipeline
from moro_ros.io.motion_files import MotionFiles

camera = camera_from_focal(500.0, 640, 480)
image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
for backend in {backends}:
    for people in ("camera", "synthetic"):
        pipeline = load_pipeline(PipelineConfig(backend=backend, people=people))
        for index in range(4):
            found = pipeline.recover(pipeline.observe(image, index * 33_333_333, camera), mesh=True)
    assert found.motions
line_chart("speed", "time", {{"person 1": np.ones(3)}})
"""


def empty_home(folder: Path) -> dict[str, str]:
    """The environment of a user with an empty home, whose cache has the detector's files."""
    cache = folder / "cache" / "moro_ros"
    cache.parent.mkdir()
    try:
        # As if the detector's files had been fetched by this user.
        cache.symlink_to(fetch(MODELS[0]).parents[1])
        fetch(MODELS[1])
    except AssetError as error:
        pytest.skip(f"needs the detector's files: {error}")
    kept = {"PATH", "LD_LIBRARY_PATH", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "MORO_OFFLINE": "1",
        "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(moro_ros.__file__).parents[1]),
    }  # fmt: skip
    (folder / "tmp").mkdir()
    return environment


def files_left(folder: Path) -> set[str]:
    """The files below a folder, without those that links lead to."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_run_leaves_nothing_but_its_own_cache(tmp_path):
    pytest.importorskip("onnxruntime")
    environment = empty_home(tmp_path)
    program = WORK.format(backends=("onnx", "torch"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert cached_path(MODELS[0]).is_file()
    assert files_left(tmp_path) == set()


@pytest.mark.ros
@pytest.mark.slow
def test_a_node_leaves_the_log_of_ros_alone(tmp_path):
    pytest.importorskip("rclpy")
    environment = empty_home(tmp_path)
    kept = {name: value for name, value in os.environ.items() if name.startswith("ROS_")}
    kept.pop("ROS_LOG_DIR", None)
    node = subprocess.Popen(
        [sys.executable, "-m", "moro_ros.ros.node"],
        cwd=tmp_path, env=clean_environment(environment | kept),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = ""
    while "is ready; waiting for images" not in said and (line := node.stdout.readline()):
        said += line
    node.send_signal(signal.SIGINT)
    assert node.wait(60.0) == 0, said + node.stdout.read()
    left = files_left(tmp_path)
    assert left and all(name.startswith(".ros/log/") for name in left), left


@pytest.mark.parametrize("entry", ["moro_ros.msg", "moro_ros.types", "moro_ros.cli.cli"])
def test_every_way_in_comes_before_the_telemetry(entry):
    """The variable is set once any part is imported, and a value of the user's stays."""
    program = f"import {entry}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment | given, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected
