"""The wheel with the messages holds the Python files, these and what share/ needs."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("rosidl_adapter") is None
        or importlib.util.find_spec("setuptools") is None
        or importlib.util.find_spec("ros_wheels_bootstrapper") is None,
        reason="what requirements-*.txt lists is not installed",
    ),
]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names of the files in the wheel; its cmake part is the one that make setup has built."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT]
    env = os.environ | {"MORO_ROS_MESSAGES": "1"}
    result = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, cwd=folder
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_python_files_are_those_of_the_checkout(names):
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "moro_ros").rglob("*.py")}
    folders = ("moro_ros/msg/", "moro_ros/srv/", "moro_ros/action/")
    generated = {n for n in names if n.startswith(folders)}
    packed = {n for n in names if n.startswith("moro_ros/") and n.endswith(".py")} - generated
    assert packed == sources


@pytest.mark.parametrize(
    "module",
    [
        *(f"moro_ros/msg/_{name}.py" for name in ("human", "human_array", "human_joint")),
        *(f"moro_ros/srv/_{name}.py" for name in ("set_roi", "lock_shape", "get_body_model")),
        "moro_ros/srv/_set_stature.py",
        "moro_ros/srv/_set_stature.py",
        "moro_ros/action/_process_bag.py",
        "tf2_msgs/msg/_tf_message.py",
        "tf2_msgs/srv/_frame_graph.py",
        "tf2_msgs/action/_lookup_transform.py",
        "hri_msgs/msg/_skeleton2_d.py",
        "hri_msgs/msg/_ids_list.py",
    ],
)
def test_messages_are_modules_of_the_wheel(names, module):
    assert module in names


@pytest.mark.parametrize("package", ["moro_ros", "tf2_msgs", "hri_msgs", "moveit_msgs"])
def test_type_support_lies_where_the_loader_looks(names, package):
    library = f"lib{package}__rosidl_typesupport_fastrtps_c.so"
    assert any(name.endswith(f".data/data/lib/{library}") for name in names)


def test_share_and_executables(names):
    data = {name.split(".data/data/")[1] for name in names if ".data/data/" in name}
    wanted = {"share/moro_ros/package.xml", "share/moro_ros/msg/Human.msg"}
    for folder in ("models", "launch", "config", "rviz"):
        files = [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".pyc"]
        wanted |= {f"share/moro_ros/{path.relative_to(ROOT).as_posix()}" for path in files}
    wanted |= {f"lib/moro_ros/{path.name}" for path in (ROOT / "scripts").glob("moro*")}
    assert wanted <= data
