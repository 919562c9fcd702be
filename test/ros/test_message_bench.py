"""The bench of messages times what the node's outputs make, and tells how much that is."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import Header, String

from moro_ros.ros.message_bench import LEVELS, WARM_UP, bench, measure
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import PipelineResult

IMAGES = 2


class Slow:
    """An output that takes 2 ms, and ten times as long for the images of the warm-up."""

    def __init__(self) -> None:
        self.calls = 0

    def messages(self, scene: Scene, options: NodeConfig) -> list[Any]:
        self.calls += 1
        time.sleep(0.02 if self.calls <= WARM_UP else 0.002)
        return [String(data="four"), b"wire"]


def test_filling_and_serialising_are_told_apart_and_the_warm_up_is_left_out() -> None:
    scene = Scene(PipelineResult(0, None, (), (), {}), Header(), None, None)  # type: ignore[arg-type]
    output = Slow()
    cost = measure("slow", output, NodeConfig(), [scene] * (WARM_UP + 5))  # type: ignore[arg-type]
    assert output.calls == WARM_UP + 5
    # std_msgs/String: 4 bytes of encapsulation, 4 of length, the text with its zero.
    assert (cost.name, cost.people, cost.count, cost.size_bytes) == ("slow", 0, 2, 4 + 4 + 5 + 4)
    assert 2.0 <= cost.fill_ms[0] < 18.0
    assert cost.serialise_ms[0] < cost.fill_ms[0]


@pytest.mark.slow
@pytest.mark.weights
def test_every_topic_is_measured_for_every_number_of_people(ros_context: None) -> None:
    for package in ("moveit_msgs", "people_msgs", "vision_msgs"):
        pytest.importorskip(package)
    costs = bench([1, 3], IMAGES)
    names = ["~/humans", "~/mesh", "~/cloud", "~/markers", "~/targets"]
    planners = ["~/capsules", "~/planning_scene", "~/obstacles", "~/people", "~/detections"]
    planners.append("~/intents")
    levels = [f"/tf, {level}" for level in LEVELS]
    names += [*planners, *levels]
    assert [(cost.people, cost.name) for cost in costs] == [(n, x) for n in (1, 3) for x in names]
    one, three = ({c.name: c for c in costs if c.people == number} for number in (1, 3))
    assert (one["~/mesh"].count, three["~/mesh"].count) == (1, 3)
    for name in names:
        assert one[name].size_bytes < three[name].size_bytes
        # The other people of the play have capsules of other sizes and changes.
        if name not in ("~/obstacles", "~/planning_scene"):
            assert three[name].size_bytes <= 3 * one[name].size_bytes
        assert three[name].fill_ms[0] > 0.0
    # 10,475 vertices or so of three float32.
    assert three["~/mesh"].size_bytes > 3 * 12 * 9_000
