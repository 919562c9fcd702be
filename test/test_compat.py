"""What older releases lack: OpenCV before 4.6, and Python 3.10, which Ubuntu 22.04 has."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from moro_ros import compat

K = np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]])
POINTS = np.stack(np.meshgrid([5.0, 200.0, 330.0, 630.0], [4.0, 250.0, 470.0]), -1)
POINTS = POINTS.reshape(-1, 1, 2)
PLUMB_BOB = np.array([-0.28, 0.07, 1e-4, -2e-4, 0.0])
EQUIDISTANT = np.array([-0.02, 0.004, -0.001, 0.0002])


@pytest.fixture
def old_opencv(monkeypatch):
    """OpenCV as of 4.5.4: another name with other arguments, and no criterion for a fisheye."""
    if not hasattr(cv2, "undistortImagePoints"):
        return

    def iterated(points, matrix, distortion, rotation, projection, criterion):
        return cv2.undistortImagePoints(points, projection, distortion, None, criterion)

    def fisheye(points, matrix, distortion, target, rotation, projection):
        return cv2.fisheye.undistortPoints(points, matrix, distortion, target, rotation, projection)

    old = SimpleNamespace(
        undistortPointsIter=iterated, fisheye=SimpleNamespace(undistortPoints=fisheye)
    )
    monkeypatch.setattr(compat, "cv2", old)


def test_pinhole(old_opencv):
    found = compat.undistort_image_points(POINTS, K, PLUMB_BOB)
    rays = (found.reshape(-1, 2) - K[:2, 2]) / K.diagonal()[:2]
    again, _ = cv2.projectPoints(
        np.column_stack((rays, np.ones(len(rays)))), np.zeros(3), np.zeros(3), K, PLUMB_BOB
    )
    np.testing.assert_allclose(again.reshape(-1, 1, 2), POINTS, atol=1e-3)


def test_fisheye(old_opencv):
    found = compat.undistort_fisheye_points(POINTS, K, EQUIDISTANT)
    rays = (found.reshape(-1, 2) - K[:2, 2]) / K.diagonal()[:2]
    source = np.column_stack((rays, np.ones(len(rays)))).reshape(-1, 1, 3)
    again, _ = cv2.fisheye.projectPoints(source, np.zeros(3), np.zeros(3), K, EQUIDISTANT)
    np.testing.assert_allclose(again.reshape(-1, 1, 2), POINTS, atol=1e-3)


ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("moro_ros", "launch", "scripts", "test")
    for path in (ROOT / folder).rglob("*")
    if path.suffix == ".py"
    or (path.is_file() and path.read_bytes()[:22] == b"#!/usr/bin/env python3")
)
# What Python 3.11 added to the standard library. CI runs 3.11 and would stop at what is newer; mypy
# (python_version in pyproject.toml) knows all names and arguments but reads moro_ros alone.
NEW_IN_3_11 = {
    "asyncio": {"Barrier", "BrokenBarrierError", "Runner", "TaskGroup", "timeout", "timeout_at"},
    "builtins": {"BaseExceptionGroup", "EncodingWarning", "ExceptionGroup"},
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "enum": {
        *("EnumCheck", "EnumType", "FlagBoundary", "ReprEnum", "StrEnum", "global_enum", "member"),
        *("nonmember", "property", "show_flag_values", "verify"),
    },
    "hashlib": {"file_digest"},
    "http": {"HTTPMethod"},
    "inspect": {"getmembers_static"},
    "locale": {"getencoding"},
    "logging": {"getLevelNamesMapping"},
    "math": {"cbrt", "exp2"},
    "operator": {"call"},
    "re": {"NOFLAG"},
    "sys": {"exception"},
    "tomllib": {"TOMLDecodeError", "load", "loads"},
    "typing": {
        *("LiteralString", "Never", "NotRequired", "Required", "Self", "TypeVarTuple", "Unpack"),
        *("assert_never", "assert_type", "clear_overloads", "dataclass_transform", "get_overloads"),
        "reveal_type",
    },
}  # fmt: skip
# Exceptions have these since 3.11, whatever module they come from; fromisoformat, which is older,
# takes a final Z and short forms since then.
NEW_METHODS = {"add_note", "fromisoformat"}


def newer_than_3_10(tree: ast.Module) -> Iterator[str]:
    """The names that Python 3.10 does not have; a choice by sys.version_info is passed over."""
    modules: dict[str, str] = {}
    chosen = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "sys.version_info" in ast.unparse(node.test)
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {item.asname or item.name: item.name for item in node.names}
    for node in ast.walk(tree):
        if id(node) in chosen:
            continue
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name == "tomllib")
        elif isinstance(node, ast.ImportFrom):
            new = NEW_IN_3_11.get(node.module or "", set())
            yield from (f"{node.module}.{item.name}" for item in node.names if item.name in new)
        elif isinstance(node, ast.Attribute):
            module = modules.get(ast.unparse(node.value), "")
            if node.attr in NEW_METHODS or node.attr in NEW_IN_3_11.get(module, ()):
                yield ast.unparse(node)
        elif isinstance(node, ast.Name) and node.id in NEW_IN_3_11["builtins"]:
            yield node.id


def test_the_sources_need_nothing_newer_than_python_3_10() -> None:
    assert len(SOURCES) > 300
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*SOURCES, ROOT / "setup.py")
        for name in newer_than_3_10(
            ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import UTC",
        "import datetime\ndatetime.UTC",
        "import tomllib",
        "import enum as e\nclass A(e.StrEnum): pass",
        "raise ExceptionGroup('two', [])",
        "from typing import Self",
        "date.fromisoformat(text)",
    ],
)
def test_newer_names_are_found(text: str) -> None:
    assert list(newer_than_3_10(ast.parse(text)))
    assert not list(newer_than_3_10(ast.parse("from datetime import timezone\nimport enum")))


def test_newer_syntax_is_found() -> None:
    for text in ("try: pass\nexcept* OSError: pass", "type A = int"):
        with pytest.raises(SyntaxError):
            ast.parse(text, feature_version=(3, 10))
