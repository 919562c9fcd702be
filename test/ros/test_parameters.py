"""Parameters out of configuration classes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError
from moro_ros.resources import share_path
from moro_ros.ros import parameters
from moro_ros.ros.examples.follow_wrist import FollowOptions
from moro_ros.ros.examples.look_at_face import LookOptions
from moro_ros.ros.examples.stop_when_near import StopOptions
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.recorder import RecorderConfig
from moro_ros.ros.statistics import flatten
from moro_ros.ros.video_source import VideoConfig

CLASSES = (
    *(PipelineConfig, NodeConfig, VideoConfig, RecorderConfig),
    *(StopOptions, FollowOptions, LookOptions),
)
pytestmark = pytest.mark.ros


@pytest.fixture
def make_node(ros_context: None) -> Iterator[Callable[..., Node]]:
    nodes = []

    def make(**overrides: Any) -> Node:
        values = [Parameter(name.replace("__", "."), value=v) for name, v in overrides.items()]
        nodes.append(rclpy.create_node("declaring", parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize("config_class", CLASSES)
def test_defaults_are_the_class_s_and_every_option_is_described(
    make_node: Callable[..., Node], config_class: type
) -> None:
    node = make_node()
    assert parameters.declare(node, config_class) == config_class()
    for name, item in parameters.options(config_class):
        descriptor = node.describe_parameter(name)
        assert descriptor.description.startswith(item.metadata["description"])
        assert descriptor.read_only == item.metadata["read_only"]
        assert not descriptor.dynamic_typing
        if item.metadata["unit"]:
            assert descriptor.description.endswith(f"[{item.metadata['unit']}]")
        if item.metadata["low"] is not None:
            limits = [*descriptor.integer_range, *descriptor.floating_point_range]
            assert limits[0].from_value == item.metadata["low"]
            assert limits[0].to_value == item.metadata["high"]


def test_names_are_dotted_and_values_reach_the_nested_class(make_node: Any) -> None:
    config = parameters.declare(make_node(motion__passes=7, max_people=2), PipelineConfig)
    assert (config.motion.passes, config.max_people) == (7, 2)
    assert config.tracker == PipelineConfig().tracker


def test_whole_numbers_do_for_fractions(make_node: Callable[..., Node]) -> None:
    node = make_node(motion__fps=25)
    config = parameters.declare(node, PipelineConfig)
    assert isinstance(config.motion.fps, float) and config.motion.fps == 25.0
    assert node.get_parameter("motion.fps").type_ == Parameter.Type.DOUBLE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"motion__fps": 1000.0}, "motion.fps: got 1000.0, expected 1.0 to 240.0 Hz"),
        ({"motion__window": 2.5}, "motion.window: got 2.5, expected a whole number"),
        ({"max_people": 2.0}, "max_people: got 2.0, expected a whole number without a decimal"),
        ({"max_people": float("inf")}, "max_people: got inf, expected a whole number"),
        ({"motion__fps": float("inf")}, "motion.fps: got inf, expected 1.0 to 240.0 Hz"),
        ({"model": 5}, "model: got 5, expected text"),
        ({"mesh": "yes"}, "mesh: got 'yes', expected true or false"),
    ],
)
def test_bad_starts_name_value_range_and_unit(
    make_node: Callable[..., Node], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parameters.declare(make_node(**overrides), PipelineConfig)


def test_updates_change_what_they_name_and_nothing_else() -> None:
    config = PipelineConfig()
    changed = parameters.updated(config, {"motion.passes": 3, "marker_rate_hz": 5.0})
    assert parameters.current(changed) == parameters.current(config) | {"motion.passes": 3}
    assert parameters.updated(config, {"use_sim_time": True}) is config
    with pytest.raises(ConfigError, match=r"motion\.passes: got 0"):
        parameters.updated(config, {"motion.passes": 0})
    with pytest.raises(ConfigError, match=r"motion\.look_ahead: got 60, expected less than"):
        parameters.updated(config, {"motion.mode": "window", "motion.look_ahead": 60})


def test_the_shipped_file_names_every_parameter_with_its_default() -> None:
    shipped = yaml.safe_load(share_path("config", "moro.yaml").read_text(encoding="utf-8"))
    flat = flatten(shipped["/**"]["ros__parameters"])
    assert flat == parameters.current(PipelineConfig()) | parameters.current(NodeConfig())


PRESETS = ("low_latency", "accurate", "multi_person", "cpu")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_parameters_that_a_node_takes(make_node: Any, name: str) -> None:
    """Every name is an option, and every value lies in its range.

    It differs from the default, or is named because it makes the preset what it is.
    """
    shipped = yaml.safe_load(share_path("config", f"{name}.yaml").read_text(encoding="utf-8"))
    assert list(shipped) == ["/**"]
    flat = flatten(shipped["/**"]["ros__parameters"])
    node = make_node(**{key.replace(".", "__"): value for key, value in flat.items()})
    configs = [parameters.declare(node, cls) for cls in (PipelineConfig, NodeConfig)]
    found = parameters.current(configs[0]) | parameters.current(configs[1])
    assert {key: found[key] for key in flat} == flat
    defaults = parameters.current(PipelineConfig()) | parameters.current(NodeConfig())
    assert sum(defaults[key] != value for key, value in flat.items()) >= 4


def test_names_without_an_option_are_warned_of(ros_context: None) -> None:
    given = [Parameter(name, value=1) for name in ("motion.window", "motion.windw", "other")]
    node = rclpy.create_node(
        "warned", parameter_overrides=given, automatically_declare_parameters_from_overrides=True
    )
    first, second = sorted(parameters.unknown(node, PipelineConfig, NodeConfig))
    assert "did you mean 'motion.window'?" in first
    assert "'other' is not known" in second
    node.destroy_node()


def test_no_two_classes_of_one_node_share_a_name() -> None:
    names = [name for cls in (PipelineConfig, NodeConfig) for name, _ in parameters.options(cls)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["world_frame", "ground_frame", "humans.reference_frame"])
def test_a_frame_with_a_leading_slash_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: got '/map', .* Set 'map'\."):
        parameters.updated(NodeConfig(), {name: "/map"})
    assert parameters.current(parameters.updated(NodeConfig(), {name: "map"}))[name] == "map"


@pytest.mark.parametrize(
    ("module", "argument", "words"),
    [
        ("node", "-p fps:=[1,", "Couldn't parse parameter override rule: '-p fps:=[1,'"),
        ("video_source", "-p fps", "Couldn't parse parameter override rule: '-p fps'"),
        ("recorder", "--params-file absent.yaml", "absent.yaml"),
        ("bag_source", "--no-such-flag", "unknown ROS arguments ['--no-such-flag']"),
    ],
)
def test_arguments_that_ros_cannot_read_are_a_sentence(
    module: str, argument: str, words: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", f"moro_ros.ros.{module}", "--ros-args", *argument.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "ROS cannot read the command line" in said and words in said
    assert "Traceback" not in said and "/src/" not in said


@pytest.mark.parametrize(
    "module", ["node", "video_source", "recorder", "bag_source", "view_node", "distance"]
)
def test_help_names_the_page_of_the_parameters(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"moro_ros.ros.{module}", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {module} ")
    pages = {"node": "interface.md", "distance": "distance.md"}
    page = pages.get(module, "commands.md")
    assert f"docs/{page}" in done.stdout
    assert (Path(__file__).resolve().parents[2] / "docs" / page).exists()


@pytest.mark.parametrize("module", ["node", "video_source", "recorder", "bag_source", "distance"])
def test_arguments_that_are_not_ros_s_are_refused(module: str, tmp_path: Path) -> None:
    """They would have no effect: `moro_node --device cuda` ran on the CPU."""
    words = ["--device", "cuda", "--ros-args", "-r", "image:=/a"]
    command = [sys.executable, "-m", f"moro_ros.ros.{module}", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Got '--device cuda', expected ROS arguments only" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("module", "given", "words"),
    [
        ("recorder", "overwrite:=1", "overwrite: got 1, expected true or false."),
        ("recorder", "output:=5", "output: got 5, expected text."),
        ("recorder", "image_topics:=/a", "image_topics: got '/a', expected a list of texts"),
        (
            "recorder",
            "image_topics:=[]",
            "got an empty list, expected a list of texts such as ['']",
        ),
        ("video_source", "video:=[]", "video: got an empty list, expected text"),
        ("recorder", "image_topics:=[1, 2]", "image_topics: got [1, 2], expected a list of texts"),
        ("recorder", "humans_topic:=a b", "humans_topic: got 'a b', expected a topic: topic name"),
        ("recorder", "image_topics:=['/a//b']", "image_topics: got '/a//b', expected a topic"),
        ("node", "depth_topic:=a b", "depth_topic: got 'a b', expected a topic: topic name must"),
        ("node", "depth_info_topic:=/a//b", "depth_info_topic: got '/a//b', expected a topic"),
        ("node", "boxes_topic:=7up", "boxes_topic: got '7up', expected a topic: "),
        ("distance", "rate_hz:=fast", "rate_hz: got 'fast', expected a number."),
        ("view_node", "port:=80.0", "port: got 80.0, expected a whole number without a decimal"),
        pytest.param(
            "view_node",
            "host:=300.1.1.1",
            "The parameter host: got '300.1.1.1', expected an address",
            marks=pytest.mark.skipif(find_spec("viser") is None, reason="viser is not installed"),
        ),
        ("examples.stop_when_near", "stop_m:=near", "stop_m: got 'near', expected a number."),
        ("examples.stop_when_near", "stop_m:=4", "stop_m: got 4.0, expected less than slow_m"),
        ("examples.follow_wrist", "offset_m:=true", "offset_m: got True, expected a number."),
        ("examples.look_at_face", "max_speed:=-1", "max_speed: got -1, expected 0.0 to 100.0 rad"),
    ],
)
def test_a_parameter_of_the_wrong_type_ends_a_node_with_a_sentence(
    module: str, given: str, words: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", f"moro_ros.ros.{module}", "--ros-args", "-p", given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert words in said and "Traceback" not in said, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "given", "near"),
    [
        ("recorder", "overwrit:=true", "overwrite"),
        ("video_source", "vidoe:=walk.mp4", "video"),
        ("bag_source", "bags:=walk", "bag"),
        ("view_node", "prot:=80", "port"),
    ],
)
def test_a_parameter_that_no_option_answers_to_is_warned_of(
    module: str, given: str, near: str, tmp_path: Path
) -> None:
    # What ends each of them soon.
    end = {"recorder": "humans_topic:=//", "view_node": "body:=absent.npz"}.get(
        module, "loop:=true"
    )
    words = ["--ros-args", "-p", given, "-p", end]
    command = [sys.executable, "-m", f"moro_ros.ros.{module}", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    name = given.partition(":")[0]
    assert f"Parameter '{name}' is not known and has no effect; did you mean '{near}'?" in said
    assert done.returncode == 1 and "Traceback" not in said, said
