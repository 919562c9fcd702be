"""docs/interface.md is what a running node offers; run as a script, writes the parameter tables."""

from __future__ import annotations

import array
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hri_msgs.msg import IdsList
from moro_ros.msg import HumanArray
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from moro_ros.config import PipelineConfig
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.bag_source import BagConfig
from moro_ros.ros.conversions import camera_info_message
from moro_ros.ros.parameters import STANDARD as STANDARD_PARAMETERS
from moro_ros.ros.parameters import NodeConfig, options
from moro_ros.ros.recorder import RecorderConfig
from moro_ros.ros.video_source import VideoConfig
from moro_ros.ros.view_node import ViewConfig

pytestmark = pytest.mark.ros

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interface.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end of parameters -->\n"
COMMANDS = PAGE.with_name("commands.md")
# The other nodes, whose parameters are in COMMANDS.
TOOLS = {
    "moro_video": VideoConfig,
    "moro_recorder": RecorderConfig,
    "moro_bag": BagConfig,
    "moro_view": ViewConfig,
}
# What every lifecycle node offers (lifecycle_msgs), and every node (parameters, log).
STANDARD = re.compile(
    r".*/(change_state|get_state|get_available_states|get_available_transitions"
    r"|get_transition_graph|transition_event|[a-z_]*parameters?[a-z_]*|get_type_description)$"
    r"|.*/_action/[a-z_]+"  # what an action consists of
    r"|/rosout|/parameter_events|/clock"
)
# Whoever these tests watch: b1, in view of the camera.
PERSON = "b1"


def parameter_table() -> str:
    """The table of all parameters as Markdown."""
    lines = ["| parameter | default | values | may change | meaning |", "|---|---|---|---|---|"]
    for config_class in (PipelineConfig, NodeConfig):
        lines += [parameter_row(name, item) for name, item in options(config_class)]
    return "\n".join(lines) + "\n"


def parameter_row(name: str, item: dataclasses.Field[Any]) -> str:
    meta, default = item.metadata, item.default
    if isinstance(default, bool):
        default = str(default).lower()
    values = ", ".join(f"`{choice}`" for choice in meta["choices"])
    if isinstance(default, tuple):
        default = list(default)
    if meta["low"] is not None:
        values = f"{meta['low']:g} to {meta['high']:g}"
    cells = (
        f"`{name}`",
        "(empty)" if default == "" else f"`{default}`",
        f"{values} {meta['unit']}".strip(),
        "start" if meta["read_only"] else "any time, resets" if meta["resets"] else "any time",
        meta["description"],
    )
    return f"| {' | '.join(cells)} |"


def tool_tables() -> str:
    """A heading and a table of parameters for each of TOOLS, as Markdown."""
    sections = []
    for name, config_class in TOOLS.items():
        lines = [f"### {name}\n", "| parameter | default | meaning |", "|---|---|---|"]
        for option, item in options(config_class):
            _, default, _, _, meaning = parameter_row(option, item).strip("| ").split(" | ")
            unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
            lines.append(f"| `{option}` | {default} | {meaning}{unit} |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def page_without_table(page: Path = PAGE) -> tuple[str, str, str]:
    """A page before, in and after the table of parameters."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    table, after = rest.split(END)
    return before, table, after


def rows(heading: str, page: Path = PAGE) -> list[list[str]]:
    """Cells of the tables below a heading, up to the next one of its rank or above."""
    text = page.read_text(encoding="utf-8")
    rank = heading.split(" ")[0]
    section = text.split(f"\n{heading}\n")[1]
    section = re.split(rf"\n#{{1,{len(rank)}}} ", section)[0]
    found = []
    for line in section.splitlines():
        if line.startswith("| `"):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return found


def full_name(topic: str) -> str:
    """A name of the page as the node in the namespace / has it."""
    topic = topic.replace("~", "/moro").replace("<id>", PERSON)
    return topic if topic.startswith("/") else f"/{topic}"


def documented(heading: str) -> dict[str, tuple[str, ...]]:
    return {full_name(name): tuple(rest) for name, *rest in rows(heading)}


def offered(found: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    return {name: types for name, types in found if not STANDARD.fullmatch(name)}


def plain(value: Any) -> str:
    """The value of a parameter as a page writes it."""
    return f"[{', '.join(value)}]" if isinstance(value, (list, tuple)) else str(value)


def test_the_parameters_are_all_described() -> None:
    _, table, _ = page_without_table()
    assert table.splitlines() == parameter_table().splitlines(), (
        f"write the table anew: python {Path(__file__).name}"
    )


def test_the_parameters_of_the_other_nodes_are_all_described() -> None:
    _, tables, _ = page_without_table(COMMANDS)
    assert tables.splitlines() == tool_tables().splitlines(), (
        f"write the tables anew: python {Path(__file__).name}"
    )


def test_topics_types_and_qos_are_the_page_s(bench: Any) -> None:
    """With the humans and a list of ids subscribed to, so that bodies are in view."""
    node = bench.client.node
    bench.listen(IdsList, "/humans/bodies/tracked")
    expected = documented("## Publications")
    last = f"/humans/persons/anonymous_{PERSON}/location_confidence"

    def there() -> bool:
        bench.answer(bench.image(1))
        return node.count_publishers(last) > 0

    bench.client.wait(there, "the topics of a person")
    found = offered(node.get_publisher_names_and_types_by_node("moro", "/"))
    assert found.keys() == expected.keys()
    for topic, (kind, qos, *_) in expected.items():
        assert found[topic] == [kind], topic
        check_qos(node.get_publishers_info_by_topic(topic), qos, topic)
    expected = documented("## Subscriptions")
    found = offered(node.get_subscriber_names_and_types_by_node("moro", "/"))
    assert found.keys() == expected.keys()
    for topic, (kind, qos, *_) in expected.items():
        assert found[topic] == [kind], topic
        check_qos(node.get_subscriptions_info_by_topic(topic), qos, topic)


def check_qos(endpoints: list[Any], text: str, topic: str) -> None:
    reliability, durability = text.split(", ")
    own = [endpoint for endpoint in endpoints if endpoint.node_name == "moro"]
    assert own, topic
    for endpoint in own:
        profile = endpoint.qos_profile
        assert profile.reliability == ReliabilityPolicy[reliability.upper()], topic
        assert profile.durability == DurabilityPolicy[durability.upper()], topic


def test_services_and_types_are_the_page_s(bench: Any) -> None:
    expected = documented("## Services")
    found = offered(bench.client.node.get_service_names_and_types_by_node("moro", "/"))
    assert found == {name: [kind] for name, (kind, *_) in expected.items()}


def test_actions_and_types_are_the_page_s(bench: Any) -> None:
    expected = documented("## Actions")
    found = get_action_server_names_and_types_by_node(bench.client.node, "moro", "/")
    assert dict(found) == {name: [kind] for name, (kind, *_) in expected.items()}


def test_moro_distance_is_what_its_page_says(client: Any, start_node: Callable[..., Any]) -> None:
    pytest.importorskip("coal")
    table = rows("## Inputs and outputs", PAGE.with_name("distance.md"))
    topics = [row for row in table if "/msg/" in row[1]]
    node = start_node(["-m", "moro_ros.ros.distance"], namespace="/near")
    list_all = client.node.create_client(ListParameters, "/near/moro_distance/list_parameters")
    names = client.call(list_all, ListParameters.Request()).result.names
    ours = [name for name in names if name not in STANDARD_PARAMETERS]
    read = client.node.create_client(GetParameters, "/near/moro_distance/get_parameters")
    values = client.call(read, GetParameters.Request(names=ours)).values
    found = {n: plain(parameter_value_to_python(v)) for n, v in zip(ours, values, strict=True)}
    assert found == {name: default for name, default, *_ in table if "/msg/" not in default}
    for direction, ask in (
        ("published", client.node.get_publisher_names_and_types_by_node),
        ("subscribed", client.node.get_subscriber_names_and_types_by_node),
    ):
        expected = {
            name.replace("~", "/near/moro_distance")
            if name.startswith(("~", "/"))
            else f"/near/{name}": [kind]
            for name, kind, way, *_ in topics
            if way == direction
        }
        assert expected
        client.wait(
            lambda ask=ask, expected=expected: offered(ask("moro_distance", "/near")) == expected,
            f"{direction}: {sorted(expected)}\n{node.output()}",
        )


def test_compressed_images_are_heard_and_answered(
    client: Any, start_fake_node: Callable[..., Any]
) -> None:
    start_fake_node(namespace="/packed", image_transport="compressed")
    topic = "/packed/image/compressed"
    client.wait(lambda: client.node.count_subscribers(topic), "the node to listen")
    # A reader may be discovered before the node that it belongs to.
    names = client.node.get_node_names_and_namespaces
    client.wait(lambda: ("moro", "/packed") in names(), "the node's name")

    def types() -> dict[str, list[str]]:
        return dict(client.node.get_subscriber_names_and_types_by_node("moro", "/packed"))

    client.wait(lambda: topic in types(), "the node's subscription")
    found = types()
    assert found[topic] == ["sensor_msgs/msg/CompressedImage"]
    assert "/packed/image" not in found
    subscription, humans = client.subscribe(HumanArray, "/packed/moro/humans")
    create = client.node.create_publisher
    images, infos = (
        create(CompressedImage, topic, 10),
        create(CameraInfo, "/packed/camera_info", 10),
    )
    pixels = np.full((48, 64, 3), 2, np.uint8)  # two people, to the stand-in
    packed = array.array("B", cv2.imencode(".png", pixels)[1].tobytes())

    def answered() -> bool:
        header = Header(stamp=client.node.get_clock().now().to_msg(), frame_id="lens")
        infos.publish(camera_info_message(camera_from_focal(100.0, 64, 48), header))
        images.publish(CompressedImage(header=header, format="png", data=packed))
        client.spin(0.2)
        return bool(humans)

    client.wait(answered, "humans")
    assert [human.id for human in humans[-1].humans] == [1, 2]
    client.node.destroy_subscription(subscription)
    for publisher in (images, infos):
        client.node.destroy_publisher(publisher)


if __name__ == "__main__":
    for page, made in ((PAGE, parameter_table()), (COMMANDS, tool_tables())):
        start, _, end = page_without_table(page)
        page.write_text(start + BEGIN + made + END + end, encoding="utf-8")
