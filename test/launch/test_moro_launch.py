"""launch/moro.launch.py through launch itself, where it is installed; its table: test_cli.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from moro_ros.errors import ConfigError

PATH = Path(__file__).parents[2] / "launch" / "moro.launch.py"


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


def test_the_nodes_of_each_argument(start: Callable[..., list[Any]]) -> None:
    def executables(**given: str) -> list[str]:
        return [node.node_executable for node in start(**given)]

    assert executables() == ["moro_node"]
    assert executables(video="a.mp4", focal="900") == ["moro_node", "moro_video"]
    assert executables(bag="walk", rviz="true") == ["moro_node", "moro_bag", "rviz2"]
    for name in ("low_latency", "accurate", "multi_person", "cpu"):
        assert executables(params_file=name) == ["moro_node"]


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
    with pytest.raises(ConfigError, match=words):
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
