"""~/targets: made for subscribers alone, never of people who are gone, and the same in TF."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanTarget, HumanTargets
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation

from moro_ros.body.targets import Grade, Kind
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.outputs.tf import own_frames
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.options import PlannersConfig
from moro_ros.ros.planners.targets import (
    TargetFinder,
    TargetsOutput,
    details_of,
    mouth_reader,
    target_message,
)
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.types import DETAILS, Keypoints, PersonObservation

MakeScene = Callable[..., Scene]
FRAMES = NodeConfig(planners=PlannersConfig(target_frames=True))


def test_the_constants_of_the_message_are_those_of_the_code() -> None:
    for kind in Kind:
        assert getattr(HumanTarget, kind.name) == kind
    for grade in Grade:
        assert getattr(HumanTarget, f"GRADE_{grade.name}") == grade


def test_every_field_arrives(fake_node: ModuleType, make_scene: MakeScene) -> None:
    motion = fake_node.body_motion(7, 0)
    targets = TargetFinder(Describer()).find(motion, make_scene((motion,)))
    for target in targets:
        sent = serialize_message(target_message(7, target, 0.25, 0.75))
        message = deserialize_message(sent, HumanTarget)
        assert (message.id, message.kind, message.grade) == (7, target.kind, target.grade)
        p, q, v = message.pose.position, message.pose.orientation, message.velocity
        np.testing.assert_allclose([p.x, p.y, p.z], target.position)
        turn = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        np.testing.assert_allclose(turn, target.rotation, atol=1e-6)
        np.testing.assert_allclose([v.x, v.y, v.z], 0.25)
        assert message.sigma == pytest.approx(0.03, rel=1e-3)
        np.testing.assert_allclose(message.covariance, np.diag([1e-4, 2e-4, 9e-4]).ravel())
        assert message.skin == pytest.approx(target.skin_m)
        assert (message.opening, message.opening_score) == (0.25, 0.75)
        unread = target_message(7, target)
        assert np.isnan([unread.opening, unread.opening_score]).all()


def test_a_mouth_that_is_seen_is_read_and_no_other_target(
    client: Any, fake_node: ModuleType, make_scene: MakeScene
) -> None:
    class Reader:
        def read(self, image: np.ndarray, details: Keypoints) -> tuple[float, float]:
            return 0.25, 0.75

    motion = fake_node.body_motion(3, 9)
    scene = make_scene((motion,), stamp_ns=9)
    finder = TargetFinder(Describer())
    mouth = next(t for t in finder.find(motion, scene) if t.kind == Kind.MOUTH)
    points = np.tile(100.0 * mouth.position[:2] / mouth.position[2] + (32, 24), (len(DETAILS), 1))
    ones = np.ones(len(DETAILS), np.float32)
    details = Keypoints(points.astype(np.float32), ones, ones)
    person = PersonObservation(3, np.zeros(4, np.float32), 1.0, None, details)
    seen = dataclasses.replace(scene.result, people=(person,))
    for result, expected in ((seen, (0.25, 0.75)), (scene.result, (np.nan, np.nan))):
        output = TargetsOutput(client.node, TargetFinder(Describer()), Reader())
        (message,) = output.messages(dataclasses.replace(scene, result=result), NodeConfig())
        for target in message.targets:
            read = target.opening, target.opening_score
            wanted = expected if target.kind == HumanTarget.MOUTH else (np.nan, np.nan)
            np.testing.assert_equal(read, wanted)
        output.destroy(client.node)


def test_a_frame_is_described_once_for_all_outputs(
    fake_node: ModuleType, make_scene: MakeScene
) -> None:
    finder, motion = TargetFinder(Describer()), fake_node.body_motion(1, 5)
    scene = make_scene((motion,), stamp_ns=5)
    assert finder.find(motion, scene) is finder.find(motion, scene)
    later = fake_node.body_motion(1, 6)
    assert finder.find(later, scene) is not finder.find(motion, scene)


def test_landmarks_of_another_image_are_not_used(
    fake_node: ModuleType, make_scene: MakeScene
) -> None:
    """With motion.look_ahead the motion describes an earlier image."""
    ones = np.ones(len(DETAILS), np.float32)
    details = Keypoints(np.zeros((len(DETAILS), 2), np.float32), ones, ones)
    person = PersonObservation(3, np.zeros(4, np.float32), 1.0, None, details)
    result = dataclasses.replace(make_scene((), stamp_ns=9).result, people=(person,))
    assert details_of(fake_node.body_motion(3, 9), result) is details
    assert details_of(fake_node.body_motion(3, 8), result) is None
    assert details_of(fake_node.body_motion(4, 9), result) is None


def test_frames_are_named_by_kind_and_id_and_none_is_stale(
    fake_node: ModuleType, make_scene: MakeScene
) -> None:
    here, gone = fake_node.body_motion(1, 0), fake_node.body_motion(2, 0)
    gone = dataclasses.replace(gone, keypoints_seen=np.array([False]))
    scene = make_scene((here, gone))
    finder = TargetFinder(Describer())
    assert finder.transforms(scene, NodeConfig()) == []
    transforms = finder.transforms(scene, FRAMES)
    names = {t.child_frame_id for t in transforms}
    assert len(names) == len(transforms)
    assert {"mouth_target_b1", "left_palm_target_b1", "left_shoulder_target_b1"} <= names
    assert not [name for name in names if name.endswith("b2")]
    assert all(own_frames("b").fullmatch(name) for name in names)
    assert {t.header.frame_id for t in transforms} == {"lens"}


def test_mouths_are_read_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mouth_reader(NodeConfig()) is None
    monkeypatch.setattr("moro_ros.perception.mouth.load_mouth_reader", lambda: "a reader")
    wanted = NodeConfig(planners=PlannersConfig(mouth_opening=True))
    assert mouth_reader(wanted) == "a reader"


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any]) -> Any:
    bench = make_bench(**{"motion.max_gap_s": 0.5})
    bench.be_answered()
    return bench


def targets_of(received: list[HumanTargets], stamp_ns: int) -> HumanTargets | None:
    return next((m for m in received if stamp_to_ns(m.header.stamp) == stamp_ns), None)


@pytest.mark.ros
def test_targets_end_with_the_people_and_with_the_images(bench: Any) -> None:
    assert not bench.calls("rest_vertices"), "targets were found for nobody"
    received = bench.listen(HumanTargets, "/moro/targets")

    def heard() -> bool:
        bench.answer(bench.image(2))
        return bool(received)

    bench.client.wait(heard, "the subscription to match")
    stamp_ns = stamp_to_ns(bench.answer(bench.image(2)).header.stamp)
    both = bench.client.wait(lambda: targets_of(received, stamp_ns), "two people's targets")
    assert bench.calls("rest_vertices")
    assert {target.id for target in both.targets} == {1, 2} and not list(both.lost)
    assert both.ttl == 1.0 and 0.0 <= both.latency < 30.0
    # One leaves in the middle of a motion.
    stamp_ns = stamp_to_ns(bench.answer(bench.image(1)).header.stamp)
    one = bench.client.wait(lambda: targets_of(received, stamp_ns), "one person's targets")
    assert {target.id for target in one.targets} == {1} and list(one.lost) == [2]
    # The images stop.
    last = bench.client.wait(
        lambda: targets_of(received, stamp_ns + AFTER_LAST_NS), "the end of the targets"
    )
    assert not last.targets and list(last.lost) == [1]
    bench.client.spin(1.0)
    assert received[-1] is last
    bench.deafen("/moro/targets")


@pytest.mark.ros
def test_a_clock_that_jumps_back_leaves_no_target_of_before(bench: Any) -> None:
    received = bench.listen(HumanTargets, "/moro/targets")

    def heard() -> bool:
        bench.answer(bench.image(1))
        return bool(received)

    bench.client.wait(heard, "the subscription to match")
    now_ns = stamp_to_ns(bench.answer(bench.image(1)).header.stamp)
    early_ns = now_ns - 60_000_000_000
    bench.send(bench.image(0, bench.header(early_ns)))
    again = bench.client.wait(lambda: targets_of(received, early_ns), "the image of before")
    assert not again.targets
    bench.deafen("/moro/targets")
