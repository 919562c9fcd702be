"""fused/humans: people of several cameras once each, cameras without TF, lost and far apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from moro_ros.msg import Human, HumanArray  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from moro_ros.geometry.rotation import matrix_to_quaternion  # noqa: E402
from moro_ros.ros.conversions import ns_to_stamp, stamp_to_ns  # noqa: E402
from moro_ros.ros.outputs.base import Scene  # noqa: E402
from moro_ros.ros.outputs.fused import FusedPeople  # noqa: E402
from moro_ros.ros.parameters import NodeConfig  # noqa: E402
from moro_ros.types import PipelineResult  # noqa: E402

pytestmark = pytest.mark.ros
START_NS = 1_000_000_000_000


class Desk:
    """A node with the fusion of the stage's cameras, TF, and what it publishes."""

    def __init__(self, stage, skip: str = "", unit: float = 1.0, of: str = "") -> None:
        """skip: a camera without TF; unit: of the translations; of: only that camera's."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[], domain_id=100 + os.getpid() % 100)
        self.node = rclpy.create_node("cameras", context=self.context)
        self.stage = stage
        names = [view.name for view in stage.views]
        self.fused = FusedPeople(self.node, "", names, "map", ("l", "r"))
        for view in stage.views:
            if view.name != skip:
                self.place(view, unit if of in ("", view.name) else 1.0)
        self.humans: list[HumanArray] = []
        self.status: list[DiagnosticStatus] = []
        self.node.create_subscription(HumanArray, "/fused/humans", self.humans.append, 50)
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.status.extend(m.status), 10
        )
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.wait(lambda: self.fused.watched)

    def place(self, view, unit: float = 1.0) -> None:
        self.fused._placement.tree.take_static(TFMessage(transforms=[tf_of(view, unit)]))

    def wait(self, condition, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            self.executor.spin_once(timeout_sec=0.05)

    def show(self, number: int, names=("left", "middle", "right")) -> None:
        """One image of some cameras, the last in rank first."""
        for view in reversed(self.stage.views):
            if view.name in names:
                frame, motions = self.stage.look(view, number / 30)
                stamp_ns = START_NS + frame.stamp_ns
                motions = tuple(replace(m, stamps_ns=m.stamps_ns + START_NS) for m in motions)
                result = PipelineResult(stamp_ns, frame.camera, frame.people, motions)
                header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=f"{view.name}_optical")
                scene = Scene(
                    result, header, np.zeros((0, 0, 3), np.uint8), None,
                    # Of the people of this camera, whose ids are others than those in all cameras.
                    postures={1: Human.POSTURE_LAYING, 2: Human.POSTURE_LAYING},
                    fallen=frozenset({1, 2}), residuals_m={1: 0.5, 2: 0.5},
                )  # fmt: skip
                self.fused.take(view.name, self.stage.body, scene, NodeConfig())

    def newest(self, count: int) -> HumanArray:
        self.wait(lambda: len(self.humans) >= count)
        return self.humans[-1]

    def said(self, words: str) -> DiagnosticStatus:
        self.status.clear()
        self.wait(lambda: any(words in s.message for s in self.status))
        return next(s for s in self.status if words in s.message)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def tf_of(view, unit: float) -> TransformStamped:
    """The camera's optical frame in the map."""
    import torch

    message = TransformStamped(child_frame_id=f"{view.name}_optical")
    message.header.frame_id = "map"
    place = message.transform.translation
    place.x, place.y, place.z = (float(v) * unit for v in view.centre)
    turn = message.transform.rotation
    turn.x, turn.y, turn.z, turn.w = (
        float(v) for v in matrix_to_quaternion(torch.tensor(view.rotation.T)[None])[0]
    )
    return message


@pytest.fixture()
def desk(stage):
    opened: list[Desk] = []

    def make(**options) -> Desk:
        opened.append(Desk(stage, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_everybody_is_published_once_in_the_frame(desk, stage) -> None:
    cameras = desk()
    for number in range(8):
        cameras.show(number)
    message = cameras.newest(8)
    assert message.header.frame_id == "map"
    assert stamp_to_ns(message.header.stamp) == START_NS + round(7 / 30 * 1e9)
    assert len(message.humans) == 2
    assert {human.place_source for human in message.humans} == {Human.PLACE_TRIANGULATED}
    assert {human.posture for human in message.humans} == {Human.POSTURE_OTHER}
    assert not any(human.fall for human in message.humans)
    for number in (0, 1):
        true = stage.person(number, 7 / 30).joints[0, 0]
        pelvis = [human.joints[0].pose.position for human in message.humans]
        off = [np.linalg.norm(np.array([p.x, p.y, p.z]) - true) for p in pelvis]
        assert min(off) < 0.03
    for human in message.humans:
        covariance = np.reshape(human.joints[0].covariance, (3, 3))
        largest = np.sqrt(np.linalg.eigvalsh(covariance)[-1])
        assert human.place_sigma == pytest.approx(largest, rel=1e-3) and largest > 0.0
    values = {v.key: v.value for v in cameras.said("Cameras are fused").values}
    assert json.loads(values["people"]) == 2
    assert float(values["residual.left"]) < 0.02


def test_a_camera_without_tf_is_named_and_the_others_go_on(desk) -> None:
    cameras = desk(skip="middle")
    for number in range(8):
        cameras.show(number)
    assert len(cameras.newest(8).humans) == 2
    status = cameras.said("Camera middle is not used")
    assert "middle_optical" in status.message and "map" in status.message
    assert status.level == DiagnosticStatus.WARN


def test_transforms_in_millimetres_are_named(desk) -> None:
    cameras = desk(unit=1000.0)
    for number in range(3):
        cameras.show(number)
    assert "millimetres" in cameras.said("from the others").message


def test_one_camera_in_millimetres_is_named_and_the_others_go_on(desk, stage) -> None:
    """Also if it is the first one, which gives the time; it comes back when its TF is mended."""
    cameras = desk(unit=1000.0, of="left")
    for number in range(8):
        cameras.show(number)
    people = cameras.newest(7).humans
    assert {human.place_source for human in people} == {Human.PLACE_TRIANGULATED}
    assert len(people) == 2
    status = cameras.said("camera left is").message
    assert "millimetres" in status and "middle" not in status and "right" not in status
    cameras.place(stage.views[0])
    for number in range(8, 14):
        cameras.show(number)
    values = {v.key: v.value for v in cameras.said("Cameras are fused.").values}
    assert "left" in values["cameras"]
    # A camera that has gone is no longer reported.
    assert "residual.left" in values
    cameras.fused.drop("left")
    for number in range(14, 16):
        cameras.show(number, names=("middle", "right"))
    values = {v.key: v.value for v in cameras.said("Cameras are fused.").values}
    assert "residual.left" not in values and "residual.right" in values


def test_the_next_camera_gives_the_time_when_the_first_stops(desk) -> None:
    cameras = desk()
    for number in range(8):
        cameras.show(number)
    ids = {human.id for human in cameras.newest(8).humans}
    for number in range(8, 52, 4):
        cameras.show(number, names=("middle", "right"))
    last_ns = START_NS + round(48 / 30 * 1e9)
    cameras.wait(lambda: stamp_to_ns(cameras.humans[-1].header.stamp) == last_ns)
    message = cameras.humans[-1]
    assert {human.id for human in message.humans} == ids
    assert "left" in cameras.said("No images of camera left").message


def test_people_who_leave_are_lost_once(desk, stage) -> None:
    cameras = desk()
    for number in range(6):
        cameras.show(number)
    cameras.stage = SimpleNamespace(
        views=stage.views,
        body=stage.body,
        look=lambda view, seconds: stage.look(view, seconds, (1, 0)),
    )
    for number in range(6, 9):
        cameras.show(number)
    cameras.newest(9)
    assert len(cameras.humans[5].humans) == 2
    lost = [h for m in cameras.humans for h in m.humans if h.tracking_state == Human.TRACKING_LOST]
    assert len(lost) == 1
    assert len(cameras.humans[-1].humans) == 1


def test_frames_of_the_cameras_own_people_are_not_kept(desk, stage) -> None:
    cameras = desk()
    tree = cameras.fused._placement.tree
    before = len(tree)
    for name, kept in (("body_l3", 0), ("left_knee_r12", 0), ("body_b3", 1), ("gripper", 2)):
        message = tf_of(stage.views[0], 1.0)
        message.child_frame_id = name
        tree.take(TFMessage(transforms=[message]))
        assert len(tree) == before + kept, name


def test_poses_that_are_not_finite_are_left_out_counted_and_named(desk, monkeypatch) -> None:
    cameras = desk()
    for number in range(6):
        cameras.show(number)
    assert len(cameras.newest(6).humans) == 2
    solver = cameras.fused._fusion.solver
    solve, calls = solver.solve, []

    def broken(*arguments):
        solution = solve(*arguments)
        calls.append(solution)
        if len(calls) > 1:
            return solution
        body = replace(solution.body, translation=np.nan * solution.body.translation)
        return replace(solution, body=body)

    with monkeypatch.context() as patch:
        patch.setattr(solver, "solve", broken)
        cameras.show(6)
    assert len(calls) == 2 and len(cameras.newest(7).humans) == 1
    status = cameras.said("Poses that are not finite were not published.")
    assert {v.key: v.value for v in status.values}["unusable_poses"] == "1"
    # They are begun with again and keep their id.
    for number in range(7, 10):
        cameras.show(number)
    assert len(cameras.newest(10).humans) == 2
    for human in (h for m in cameras.humans for h in m.humans):
        assert human.tracking_state != Human.TRACKING_LOST
        assert np.isfinite([*human.transl, *human.joints[0].covariance]).all()
    assert len({human.id for m in cameras.humans for human in m.humans}) == 2
    cameras.said("Cameras are fused.")


def test_fusion_without_cameras_is_refused() -> None:
    words = ["-m", "moro_ros.ros.node", "--ros-args", "-p", "fusion_frame:=map"]
    result = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and "at least two cameras" in result.stdout + result.stderr
