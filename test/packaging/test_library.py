"""pip install without ROS 2 gives a library that runs: no messages, no nodes, no compiler."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from moro_ros.cli.fetch import fetch_models
from moro_ros.errors import AssetError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("moro_ros", "models", "config")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "LICENSE")
# An import of these fails in the process that stands for a machine without ROS 2.
BLOCK = "import sys; sys.modules.update(dict.fromkeys(('rclpy', 'std_msgs', 'sensor_msgs')))\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.cfg").is_file(), reason="not in a checkout"),
]


def pip_install(source: Path, target: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-index", "--no-build-isolation", "--target", str(target), str(source)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"CXX": "/nonexistent", "CC": "/nonexistent"} | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the library is built from."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "moro_vit_h")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def installed(checkout, tmp_path_factory):
    """The folder that the library is installed in."""
    target = tmp_path_factory.mktemp("site")
    result = pip_install(checkout, target, MORO_ROS_MESSAGES="")
    assert result.returncode == 0, result.stdout + result.stderr
    return target


def run(installed: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code where the installed library comes first and ROS 2 is not to be found."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_no_messages_and_no_nodes(installed):
    assert not list(installed.glob("moro_ros/msg")) + list(installed.rglob("*.so"))
    (found,) = metadata.distributions(name="moro_ros", path=[str(installed)])
    assert {point.name for point in found.entry_points} == {"moro"}
    wheel = found.read_text("WHEEL")
    assert wheel is not None and "py3-none-any" in wheel


def test_its_models_load(installed):
    try:
        fetch_models()
    except AssetError as error:
        pytest.skip(f"the front-end's models cannot be had: {error}")
    code = "from moro_ros.config import PipelineConfig\n"
    code += "from moro_ros.live.pipeline import load_pipeline\n"
    code += "import moro_ros; print(moro_ros.__file__, load_pipeline(PipelineConfig()).model_name)"
    result = run(installed, code)
    assert result.returncode == 0, result.stderr
    module, name = result.stdout.split()
    assert installed in Path(module).parents and name == "moro_open"


@pytest.mark.parametrize("command", [["demo"], ["run"], ["idle"], ["bench", "messages"]])
def test_a_command_that_starts_nodes_says_what_is_missing(installed, command, tmp_path):
    code = f"from moro_ros.cli.cli import main; sys.exit(main({command!r}))"
    result = run(installed, code)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "without ROS 2" in result.stderr and "docs/install.md" in result.stderr


def test_messages_without_ros_are_refused_in_one_sentence(checkout, tmp_path):
    (tmp_path / "rosidl_adapter.py").write_text("raise ModuleNotFoundError('rosidl_adapter')\n")
    variables = {"MORO_ROS_MESSAGES": "1", "PYTHONPATH": str(tmp_path)}
    result = pip_install(checkout, tmp_path / "site", **variables)
    assert result.returncode != 0
    assert "no ROS 2 with rosidl_cmake was found" in result.stdout + result.stderr
