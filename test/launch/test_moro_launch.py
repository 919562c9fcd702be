"""launch/moro.launch.py: read as text anywhere, and through launch itself where it is installed."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "launch" / "moro.launch.py"


def arguments() -> dict[str, tuple[str, str]]:
    """ARGUMENTS of the launch file, without launch."""
    for node in ast.parse(PATH.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            table = node.value
            assert isinstance(table, ast.Dict)
            return {
                ast.literal_eval(key): tuple(ast.literal_eval(item) for item in value.elts)
                for key, value in zip(table.keys, table.values, strict=True)
            }
    raise AssertionError("no ARGUMENTS")


@pytest.fixture
def launch_file() -> ModuleType:
    pytest.importorskip("launch_ros", reason="launch is not installed")
    spec = importlib.util.spec_from_file_location("moro_launch", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(launch_file: ModuleType) -> Callable[..., list[Any]]:
    """start(**arguments): the nodes that the launch file would start."""
    from launch import LaunchContext

    def start(**given: str) -> list[Any]:
        context = LaunchContext()
        for action in launch_file.generate_launch_description().entities[:-1]:
            action.visit(context)
        context.launch_configurations.update(given)
        return launch_file.start_nodes(context)

    return start


def test_every_argument_is_described() -> None:
    found = arguments()
    wanted = {
        "image", "camera_info", "namespace", "rviz", "model", "device", "params_file",
        "use_sim_time", "video", "bag", "autostart", "cameras", "loop", "backend", "parameters",
    }  # fmt: skip
    assert wanted <= found.keys()
    for name, (_, description) in found.items():
        assert len(description) > 15 and description[0].isupper(), name


def test_the_nodes_of_each_argument(start: Callable[..., list[Any]]) -> None:
    def executables(**given: str) -> list[str]:
        return [node.node_executable for node in start(**given)]

    assert executables() == ["moro_node"]
    assert executables(video="a.mp4", focal="900") == ["moro_node", "moro_video"]
    assert executables(bag="walk", rviz="true") == ["moro_node", "moro_bag", "rviz2"]
    for name in ("low_latency", "accurate", "multi_person", "cpu"):
        assert executables(params_file=name) == ["moro_node"]


def test_the_recording_waits_for_every_node(launch_file: ModuleType) -> None:
    for namespace, cameras, names in (
        ("", "", ["/moro"]),
        ("/robot/", "", ["/robot/moro"]),
        ("robot", "front, side", ["/robot/front/moro", "/robot/side/moro"]),
    ):
        assert launch_file.node_names({"namespace": namespace, "cameras": cameras}) == names


def test_single_parameters_outrank_the_others(start: Callable[..., list[Any]]) -> None:
    text = "{max_people: 2, device: 'cuda:0'}"
    (node,) = start(parameters=text, backend="torch", device="cpu")
    values = {}
    for file_or_values in node._Node__parameters:
        if isinstance(file_or_values, dict):
            values |= {key[0].text: value for key, value in file_or_values.items()}
    assert values["max_people"] == 2 and "backend" in values


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"parameters": "max_people"}, "parameters: got 'max_people'"),
        ({"rviz": "maybe"}, "rviz: got 'maybe'"),
        ({"params_file": "nowhere.yaml"}, "params_file: got 'nowhere.yaml'"),
        ({"video": "a.mp4", "bag": "walk"}, "cannot be combined"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    start: Callable[..., list[Any]], given: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        start(**given)


def test_the_node_that_is_launched_obeys_the_life_cycle(launch_file: ModuleType) -> None:
    """The nodes as a launch service starts and stops them; needs the package installed."""
    packages = pytest.importorskip("ament_index_python.packages")
    from launch.actions import EmitEvent, IncludeLaunchDescription, TimerAction
    from launch.events import Shutdown
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription, LaunchService

    prefix = Path(packages.get_package_prefix("moro_ros"))
    if not (prefix / "lib" / "moro_ros" / "moro_node").exists():
        pytest.skip("moro_ros is installed without its executables (an editable install)")
    service = LaunchService(noninteractive=True)
    source = PythonLaunchDescriptionSource(str(PATH))
    given = {"autostart": "false", "namespace": "launched"}
    included = IncludeLaunchDescription(source, launch_arguments=given.items())
    service.include_launch_description(included)
    ended = EmitEvent(event=Shutdown(reason="the test is over"))
    service.include_launch_description(
        LaunchDescription([TimerAction(period=8.0, actions=[ended])])
    )
    assert service.run() == 0
