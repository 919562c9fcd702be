"""Boxes of another detector: which of its detections are people, and when they are used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from moro_ros.errors import ConfigError
from moro_ros.ros import boxes as boxes_module
from moro_ros.ros.boxes import BoxesInput, boxes_input, boxes_of
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.silence import SILENT_S


def detection(x: float, y: float, width: float, height: float, **scores: float) -> Any:
    """A Detection2D, of vision_msgs where it is installed."""
    if boxes_module.Detection2DArray is None:
        results = [
            SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score))
            for name, score in scores.items()
        ]
        center = SimpleNamespace(position=SimpleNamespace(x=x, y=y), theta=0.0)
        box = SimpleNamespace(center=center, size_x=width, size_y=height)
        return SimpleNamespace(bbox=box, results=results)
    from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

    message = Detection2D()
    message.bbox.center.position.x, message.bbox.center.position.y = x, y
    message.bbox.size_x, message.bbox.size_y = width, height
    for name, score in scores.items():
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        message.results.append(result)
    return message


def array(*detections: Any) -> Any:
    return SimpleNamespace(detections=detections)


def test_people_are_those_whose_best_class_is_asked_for() -> None:
    message = array(
        detection(100.0, 50.0, 20.0, 60.0, person=0.8, chair=0.3),
        detection(10.0, 10.0, 5.0, 5.0, chair=0.9, person=0.5),
        detection(30.0, 40.0, 10.0, 20.0),
    )
    np.testing.assert_allclose(
        boxes_of(message, "person"), [[90.0, 20.0, 110.0, 80.0], [25.0, 30.0, 35.0, 50.0]]
    )
    assert len(boxes_of(message, "")) == 3


@pytest.mark.parametrize(
    "values", [(float("nan"), 0.0, 5.0, 5.0), (0.0, 0.0, 0.0, 5.0), (0.0, 0.0, 5.0, float("inf"))]
)
def test_what_is_no_box_is_left_out(values: tuple[float, ...]) -> None:
    good = detection(5.0, 5.0, 4.0, 4.0)
    assert len(boxes_of(array(detection(*values), good), "person")) == 1
    assert boxes_of(array(), "person").shape == (0, 4)


class Recorder:
    """What of a node the input uses."""

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> Any:
        self.topic, self.callback = topic, callback
        return self

    def resolve_topic_name(self, topic: str) -> str:
        return f"/{topic}"

    def count_publishers(self, topic: str) -> int:
        return int(topic != "/people")

    def destroy_subscription(self, subscription: Any) -> None:
        assert subscription is self
        self.topic = None


def test_boxes_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "Detection2DArray", object)
    node = Recorder()
    boxes = BoxesInput(node, "people", "person")  # type: ignore[arg-type]
    assert node.topic == "people"
    assert len(boxes.take()) == 0
    monkeypatch.undo()
    node.callback(array(detection(5.0, 5.0, 4.0, 4.0)))
    assert len(boxes.take()) == 1
    assert len(boxes.take()) == 0
    boxes.destroy(node)  # type: ignore[arg-type]
    assert node.topic is None


def test_boxes_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "Detection2DArray", object)
    node = Recorder()
    boxes = BoxesInput(node, "people", "person")  # type: ignore[arg-type]
    monkeypatch.undo()
    assert boxes.silence == ""
    boxes._silence.received_s -= SILENT_S
    assert boxes.silence.startswith(
        "No message on /people for 5 s (no publisher). Without the boxes "
    )
    node.callback(array())
    assert boxes.silence == "", "an empty array says that nobody is there"


@pytest.mark.ros
def test_a_misspelt_topic_of_boxes_is_said(make_bench: Any) -> None:
    pytest.importorskip("vision_msgs")
    bench = make_bench(boxes_topic="peple", image_timeout_s=60.0)
    bench.be_answered()
    quiet = "No message on /peple for "
    bench.client.wait(lambda: quiet in bench.status()[0].message, "the silence")
    assert bench.status()[0].level == DiagnosticStatus.WARN
    assert "(no publisher)" in bench.node.output().partition(quiet)[2]


def test_vision_msgs_is_needed_for_boxes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "Detection2DArray", None)
    assert boxes_input(Recorder(), NodeConfig()) is None  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"vision_msgs is not installed. Install it"):
        boxes_input(Recorder(), NodeConfig(boxes_topic="people"))  # type: ignore[arg-type]
