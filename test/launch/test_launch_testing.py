"""Runs moro_launch_testing.py by launch_testing, where that and the package's executables are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_launch_file_under_launch_testing(tmp_path: Path) -> None:
    """In a process and a DDS domain of its own, as `ros2 test` would run it."""
    pytest.importorskip("launch_testing", reason="launch_testing is not installed")
    packages = pytest.importorskip("ament_index_python.packages")
    if not Path(packages.get_package_prefix("moro_ros"), "lib", "moro_ros", "moro_node").exists():
        pytest.skip("moro_ros is installed without its executables (an editable install)")
    report = tmp_path / "report.xml"
    tests = Path(__file__).with_name("moro_launch_testing.py")
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    result = subprocess.run(
        [sys.executable, "-m", "launch_testing.launch_test", tests, "--junit-xml", report],
        cwd=tmp_path,
        env=os.environ | domain | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-8000:]
    assert 'tests="3"' in report.read_text(encoding="utf-8")
