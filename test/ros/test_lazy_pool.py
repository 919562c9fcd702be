"""A node whose Python packages are not all installed says which, instead of a traceback."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("rclpy")

from moro_ros.config import PipelineConfig
from moro_ros.errors import InstallationError
from moro_ros.ros.node import lazy_pool


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "moro_ros.live.pipeline_pool", raising=False)
    monkeypatch.delitem(sys.modules, "moro_ros.live.motion_stream", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InstallationError, match=r"package torch is not installed.*pip install"):
        lazy_pool()(PipelineConfig())
