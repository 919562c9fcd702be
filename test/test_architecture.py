"""The layers and house rules of docs/architecture.md, read off the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "moro_ros"
MAX_LINES = 399

# Part -> the parts it may import; a part is a subpackage or a module of moro_ros.
BASE = {"types", "errors", "compat", "assets", "config", "resources", "model_config"}
ALLOWED: dict[str, set[str]] = {
    "types": {"errors"},
    "errors": set(),
    "compat": set(),
    "assets": {"errors", "resources"},
    "config": {"errors"},
    "model_config": {"errors", "config"},
    "resources": {"errors"},
    "geometry": {"types", "errors", "compat"},
    "body": {"geometry", "types", "errors", "assets", "resources"},
    # config and model_config: network/build.py alone, see below.
    "network": {
        "geometry",
        "body",
        "types",
        "errors",
        "compat",
        "config",
        "model_config",
        "resources",
    },
    "perception": {"geometry", *BASE},
    "robot": {"errors"},
    "recover": {"network", "body", "geometry", *BASE},
    "live": {"recover", "network", "perception", "body", "geometry", *BASE},
    "io": {"perception", "body", "geometry", *BASE},
    "draw": {"io", "body", "geometry", *BASE},
    "view": {"draw", "io", "recover", "body", "geometry", *BASE},
    "data": {"network", "body", "geometry", *BASE},
    "training": {"data", "network", "body", "geometry", *BASE},
    "evaluation": {
        *("live", "recover", "io", "draw", "data", "network", "perception", "body", "geometry"),
        *BASE,
    },
    "ros": {
        "view",
        "live",
        "recover",
        "io",
        "draw",
        "perception",
        "robot",
        "body",
        "geometry",
        *BASE,
    },
    "cli": {
        *("training", "evaluation", "live", "recover", "view", "io", "draw", "data", "network"),
        *("perception", "body", "geometry", *BASE),
    },
}
MAKERS = {"network/build.py"}
ROS_ONLY = {"rclpy", "tf2_ros", "launch", "launch_ros", "rosidl_runtime_py", "rosidl_parser"}

SOURCES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def tree_of(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"), filename=name)


def part_of(name: str) -> str:
    """The part that a source belongs to: 'ros' of 'ros/node.py', 'types' of 'types.py'."""
    return name.split("/")[0].removesuffix(".py")


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports; `from a.b import c` gives a.b and a.b.c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(name: str, tree: ast.Module) -> list[str]:
    """What a source imports against the rules."""
    part, found = part_of(name), []
    for imported in imports_of(tree):
        top, *rest = imported.split(".")
        own = imported.startswith(("moro_ros.msg", "moro_ros.srv", "moro_ros.action"))
        messages = top.endswith(("_msgs", "_srvs", "_interfaces")) or own
        if (top in ROS_ONLY or messages) and part != "ros":
            found.append(f"{imported}: rclpy and messages belong to ros/")
        if top != "moro_ros" or not rest or own or part == "__init__":
            continue
        target = rest[0]
        if target not in ALLOWED:
            if (PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").is_file():
                found.append(f"{imported}: {target} has no layer in this test")
        elif target != part and target not in ALLOWED[part]:
            found.append(f"{imported}: {part} may not import {target}")
        elif part == "network" and "config" in target and name not in MAKERS:
            found.append(f"{imported}: of network/ only build.py knows configurations")
    return found


def test_every_part_has_a_layer():
    assert {part_of(name) for name in SOURCES} - {"__init__"} <= ALLOWED.keys()


def test_layers_have_no_cycles():
    """The table itself points downwards only."""
    remaining = dict(ALLOWED)
    while remaining:
        lowest = [part for part, below in remaining.items() if not below & remaining.keys()]
        assert lowest, f"these import each other: {sorted(remaining)}"
        for part in lowest:
            del remaining[part]


def module_of(name: str) -> str:
    """The dotted name of a source: 'moro_ros.ros.node' of 'ros/node.py'."""
    return ".".join(["moro_ros", *name.removesuffix(".py").removesuffix("__init__").split("/")])


def circle(edges: dict[str, set[str]]) -> set[str]:
    """Return modules that import each other, directly or through others; none: an empty set."""
    remaining = dict(edges)
    while leaves := [name for name, below in remaining.items() if not below & remaining.keys()]:
        for name in leaves:
            del remaining[name]
    # What is left is the circles and whoever imports one; take the latter away as well.
    while tops := remaining.keys() - set().union(*remaining.values()):
        for name in tops:
            del remaining[name]
    return set(remaining)


def test_modules_have_no_cycles():
    """No two modules import each other, those for type checking included."""
    trees = {module_of(name).strip("."): tree_of(name) for name in SOURCES}
    edges = {name: set(imports_of(tree)) & trees.keys() - {name} for name, tree in trees.items()}
    assert circle(edges) == set()


def test_a_cycle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


@pytest.mark.parametrize("name", SOURCES)
def test_imports_go_down(name):
    assert violations(name, tree_of(name)) == []


@pytest.mark.parametrize("name", SOURCES)
def test_house_rules(name):
    text = (PACKAGE / name).read_text(encoding="utf-8")
    tree = tree_of(name)
    assert ast.get_docstring(tree), "the first line says why the file exists"
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"line {line}: import *"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {line}: bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            printed = node.func.id == "print" and part_of(name) != "cli"
            assert not printed, f"line {line}: print belongs to cli/"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("network/decoder.py", "from moro_ros.model_config import DecoderConfig"),
        ("geometry/camera.py", "from moro_ros import body"),
        ("live/motion_stream.py", "import rclpy.node"),
        ("cli/demo.py", "def f():\n    from moro_ros.ros.node import MoroNode"),
        ("cli/demo.py", "from sensor_msgs.msg import Image"),
        ("training/head_terms.py", "from moro_ros.msg import HumanArray"),
        ("ros/node.py", "from moro_ros.training.head_terms import mesh_loss"),
    ],
)
def test_the_rules_bite(name, code):
    assert violations(name, ast.parse(code))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("network/build.py", "from moro_ros.model_config import DecoderConfig"),
        ("ros/node.py", "import rclpy\nfrom moro_ros.msg import HumanArray"),
        ("cli/train.py", "from moro_ros.training import losses"),
    ],
)
def test_the_rules_let_pass(name, code):
    assert violations(name, ast.parse(code)) == []
