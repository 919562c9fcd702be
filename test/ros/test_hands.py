"""Fingers are looked for where somebody wants them alone, and those seen reach the messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanArray, HumanTarget, HumanTargets
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from moro_ros.body.hand_pose import HandPose
from moro_ros.body.targets import SIDES, UNSEEN
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.options import PlannersConfig
from moro_ros.ros.planners.targets import TargetFinder, hand_reader
from moro_ros.ros.rep155.describer import Describer
from moro_ros.types import (
    DETAILS,
    KEYPOINTS,
    HandPoints,
    Keypoints,
    PersonObservation,
    PipelineResult,
)

WANTED = NodeConfig(planners=PlannersConfig(hand_landmarks=True))
STAMP_NS = 5 * 10**9
IMAGE = np.zeros((48, 64, 3), np.uint8)
FINGERS = np.linspace(-0.5, 0.5, 45)


class Reader:
    """Sees the right hand of everybody whose wrist is left of pixel 100."""

    def __init__(self) -> None:
        self.read_sides: list[str] = []

    def read(
        self, image_rgb: np.ndarray, keypoints: Keypoints, details: Keypoints, side: str
    ) -> HandPoints | None:
        assert image_rgb.ndim == 3 and len(details.points_px) == len(DETAILS)
        self.read_sides.append(side)
        if side == "left" or keypoints.points_px[0, 0] > 100:
            return None
        return HandPoints(keypoints.points_px[:1], np.zeros((21, 3)), 0.75)


def seen_person(track_id: int, x_px: float = 10.0) -> PersonObservation:
    points = [np.full((len(names), 2), x_px, np.float32) for names in (KEYPOINTS, DETAILS)]
    keypoints, details = (
        Keypoints(places, np.ones(len(places)), np.ones(len(places))) for places in points
    )
    return PersonObservation(track_id, np.zeros(4, np.float32), 1.0, keypoints, details)


@pytest.fixture
def posed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls of pose_hand, which finds a hand for all points."""
    calls: list[tuple[Any, ...]] = []

    def pose(points: HandPoints, *others: Any) -> HandPose:
        calls.append((points, *others))
        return HandPose(points.score, 0.25, np.array([0.1, 0.2, 3.0]), np.eye(3), FINGERS)

    monkeypatch.setattr("moro_ros.ros.planners.targets.pose_hand", pose)
    return calls


def test_the_network_is_loaded_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hand_reader(NodeConfig()) is None
    monkeypatch.setattr("moro_ros.perception.hands.load_hand_reader", lambda: "a reader")
    assert hand_reader(WANTED) == "a reader"


def test_hands_are_those_of_the_people_in_this_image(
    fake_node: ModuleType, make_scene: Callable[..., Scene], posed: list[tuple[Any, ...]]
) -> None:
    motions = tuple(fake_node.body_motion(i, STAMP_NS) for i in (1, 2, 3, 4))
    motions = (*motions, fake_node.body_motion(5, STAMP_NS - 1))
    scene = make_scene(motions, stamp_ns=STAMP_NS)
    blind = dataclasses.replace(seen_person(3), keypoints=None)
    people = seen_person(1), seen_person(2, 200.0), blind, seen_person(5)
    scene = dataclasses.replace(scene, result=dataclasses.replace(scene.result, people=people))
    assert TargetFinder(Describer()).hands(scene) == {}
    reader = Reader()
    found = TargetFinder(Describer(), reader).hands(scene)
    assert reader.read_sides == [*SIDES, *SIDES]
    left, right = found.pop(1)
    assert left is None and right is not None and right.score == 0.75
    assert found == {2: UNSEEN, 3: UNSEEN, 4: UNSEEN, 5: UNSEEN}
    ((_, wrist, hand, camera),) = posed
    np.testing.assert_allclose(wrist, motions[0].joints[-1, JOINT_NAMES.index("right_wrist")])
    assert hand.joints.shape == (15, 3) and camera is scene.result.camera


@pytest.mark.ros
def test_fingers_are_looked_for_where_somebody_wants_them(
    client: Any,
    fake_node: ModuleType,
    posed: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader()
    monkeypatch.setattr("moro_ros.perception.hands.load_hand_reader", lambda: reader)
    outputs = Outputs(client.node, WANTED, fake_node.FakePipeline(None, 0.0))
    motion = fake_node.body_motion(1, STAMP_NS)
    camera = camera_from_focal(100.0, 64, 48)
    result = PipelineResult(
        STAMP_NS, camera, (seen_person(1),), (motion,), refined=(fake_node.body_motion(1, 10),)
    )

    def publish(topic: str) -> None:
        name = client.node.resolve_topic_name(topic)
        client.wait(
            lambda: any(
                getattr(o, "topic", "") == name and o.watched(WANTED) for o in outputs.outputs
            ),
            f"a match on {topic}",
        )
        header = Header(stamp=ns_to_stamp(STAMP_NS), frame_id="lens")
        outputs.publish(result, IMAGE, header, outputs.wanted(STAMP_NS, WANTED), WANTED)

    try:
        for kind, topic in ((MarkerArray, "~/markers"), (HumanArray, "~/humans_refined")):
            other, received = client.subscribe(kind, client.node.resolve_topic_name(topic))
            publish(topic)
            client.wait(lambda heard=received: heard, f"a message on {topic}")
            assert not reader.read_sides, f"fingers were found for {topic}"
            client.node.destroy_subscription(other)
        assert not np.any(received[0].humans[0].right_hand_pose)
        for kind, topic in ((HumanArray, "~/humans"), (HumanTargets, "~/targets")):
            other, received = client.subscribe(kind, client.node.resolve_topic_name(topic))
            publish(topic)
            client.wait(lambda heard=received: heard, f"a message on {topic}")
            assert reader.read_sides == list(SIDES)
            reader.read_sides.clear()
            client.node.destroy_subscription(other)
            if kind is HumanArray:
                human = received[0].humans[0]
                assert not np.any(human.left_hand_pose)
                np.testing.assert_allclose(human.right_hand_pose, FINGERS, rtol=1e-6)
                continue
            targets = {target.kind: target for target in received[0].targets}
            palm = targets.pop(HumanTarget.RIGHT_PALM)
            assert (palm.grade, palm.grip, palm.grip_score) == (0, 0.25, 0.75)
            assert palm.pose.position.z == 3.0
            assert all(np.isnan([t.grip, t.grip_score]).all() for t in targets.values())
    finally:
        outputs.destroy(client.node)


@pytest.mark.ros
def test_a_node_without_the_file_says_how_to_fetch_it(
    start_node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    script = [str(Path(__file__).with_name("fake_node.py")), str(tmp_path / "calls"), "0"]
    node = start_node(script, **{"planners.hand_landmarks": True})
    assert node.end(None) != 0
    lines = [line for line in node.output().splitlines() if "hand_landmark_full.tflite" in line]
    assert len(lines) == 1 and "'moro fetch hand_landmark_full.tflite'" in lines[0]
    assert "Traceback" not in node.output()
