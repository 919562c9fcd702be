"""colcon builds the package so that Python and C++ see its messages and the files are linked."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = os.environ.get("MORO_COLCON_WORKSPACE")
WHEELS = importlib.util.find_spec("ros_wheels_bootstrapper") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("colcon"), reason="colcon is not installed"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with this package and a C++ package that uses its messages, built.

    scripts/colcon_build.sh has built one already and names it.
    """
    if BUILT:
        return Path(BUILT)
    folder = tmp_path_factory.mktemp("ws")
    (folder / "src").mkdir()
    (folder / "src" / "moro_ros").symlink_to(ROOT)
    consumer = folder / "src" / "moro_consumer"
    shutil.copytree(ROOT / "test" / "packaging" / "consumer", consumer)
    (consumer / "COLCON_IGNORE").unlink()
    command = ["colcon", "build", "--symlink-install", "--cmake-args", "-DBUILD_TESTING=OFF"]
    env = dict(os.environ)
    if WHEELS:
        command.append(f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'pip_ros.cmake'}")
        env |= {"AMENT_PREFIX_PATH": sys.prefix, "CMAKE_PREFIX_PATH": sys.prefix}
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def in_workspace(workspace: Path, command: str) -> str:
    """What a command prints in a shell that has sourced the workspace."""
    env = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    if WHEELS:
        env["AMENT_PREFIX_PATH"] = sys.prefix
    shell = ["bash", "-c", f". {workspace}/install/setup.bash && {command}"]
    result = subprocess.run(
        shell, cwd=workspace, env=env, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_python_sees_the_messages_and_the_sources(workspace):
    code = "import moro_ros.resources as r; from moro_ros.msg import Human; "
    code += "from moro_ros.srv import GetBodyModel as g; "
    code += "print(r.share_folder(), Human.RIGHT_WRIST, len(g.Request().betas), r.__file__)"
    printed = in_workspace(workspace, f'{sys.executable} -c "{code}"').split()
    share, wrist, betas, module = printed
    prefix = workspace / "install" / "moro_ros"
    assert (share, wrist, betas) == (str(prefix / "share" / "moro_ros"), "21", "10")
    assert prefix in Path(module).parents
    assert Path(module).resolve() == ROOT / "moro_ros" / "resources.py", "not linked"


def test_cpp_sees_messages_and_services(workspace):
    program = workspace / "install" / "moro_consumer" / "lib" / "moro_consumer" / "consumer"
    # A sourced ROS 2 has its libraries on the path; the wheels put theirs there for Python alone.
    more = os.environ.get("LD_LIBRARY_PATH", "") if WHEELS else ""
    command = f"LD_LIBRARY_PATH=$LD_LIBRARY_PATH:{more} {program}"
    assert in_workspace(workspace, command) == "7 22 21 10"


def test_ros2_run_finds_the_executables(workspace):
    folder = workspace / "install" / "moro_ros" / "lib" / "moro_ros"
    names = {path.name for path in folder.iterdir() if os.access(path, os.X_OK)}
    assert names >= {"moro", "moro_node", "moro_video", "moro_recorder"}
