"""What `ros2 param dump` writes starts an equal node; what may not be set is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from moro_ros.config import PipelineConfig
from moro_ros.ros import parameters
from moro_ros.ros.parameters import NodeConfig

pytestmark = pytest.mark.ros
CHANGED = {
    "motion.passes": 3, "motion.gain": 0.25, "tracker.hold_time_s": 2.5, "camera_guard": False,
}  # fmt: skip


class RemoteParameters:
    """The parameter services of a node."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name

    def call(self, kind: Any, service: str, **fields: Any) -> Any:
        client = self.client.node.create_client(kind, f"{self.name}/{service}")
        try:
            return self.client.call(client, kind.Request(**fields))
        finally:
            self.client.node.destroy_client(client)

    def dump(self) -> dict[str, Any]:
        """As `ros2 param dump` does: every name that is listed, with its value."""
        names = self.call(ListParameters, "list_parameters").result.names
        values = self.call(GetParameters, "get_parameters", names=names).values
        return {n: parameter_value_to_python(v) for n, v in zip(names, values, strict=True)}

    def set(self, name: str, value: Any) -> Any:
        message = Parameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, "set_parameters", parameters=[message]).results[0]


@pytest.fixture(scope="module")
def remote(client: Any, start_fake_node: Callable[..., Any]) -> RemoteParameters:
    start_fake_node(namespace="/first")
    return RemoteParameters(client, "/first/moro")


def test_a_dump_starts_an_equal_node(
    remote: RemoteParameters, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    for name, value in CHANGED.items():
        assert remote.set(name, value).successful, name
    dumped = remote.dump()
    assert {name: dumped[name] for name in CHANGED} == CHANGED
    known = {name for cls in (PipelineConfig, NodeConfig) for name, _ in parameters.options(cls)}
    assert known <= dumped.keys()
    path = tmp_path / "dump.yaml"
    path.write_text(yaml.safe_dump({"/second/moro": {"ros__parameters": dumped}}))
    script = [str(Path(__file__).with_name("fake_node.py")), str(tmp_path / "calls"), "0.0"]
    node = start_node([*script, "--ros-args", "--params-file", str(path)], namespace="/second")
    again = RemoteParameters(remote.client, "/second/moro").dump()
    # Its own topics have other names.
    assert {n: v for n, v in again.items() if not n.startswith("qos_overrides./second")} == dumped
    assert "has no effect" not in node.output()


def test_every_option_is_described_as_its_class_says(remote: RemoteParameters) -> None:
    for config_class in (PipelineConfig, NodeConfig):
        items = dict(parameters.options(config_class))
        answer = remote.call(DescribeParameters, "describe_parameters", names=list(items))
        for (name, item), found in zip(items.items(), answer.descriptors, strict=True):
            expected = parameters.descriptor(item)
            expected.name = name
            assert found == expected


def test_what_may_not_be_set_is_refused_with_the_reason(remote: RemoteParameters) -> None:
    before = remote.dump()
    for name, value, reason in (
        ("motion.gain", 2.0, "motion.gain"),
        ("motion.passes", 2.5, "type"),
        ("tf_level", "everything", "expected one of none"),
        ("model", "other", "read-only"),
        ("cameras", "a,b", "read-only"),
        ("planners.rate_hz", 0.5, "Set planners.rate_hz to 2 Hz or more, or planners.ttl_s to 4 s"),
        ("planners.ttl_s", 0.1, "got 15 Hz with planners.ttl_s 0.1 s"),
        ("camera_guard_shift", float("inf"), "camera_guard_shift"),
    ):
        result = remote.set(name, value)
        assert not result.successful, name
        assert reason in result.reason, result.reason
    assert remote.dump() == before
