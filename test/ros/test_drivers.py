"""What real drivers do, each before a node of its own: clocks, latched calibrations, loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.ros.outputs.tf import transform_message

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
FRAME = "test_optical_frame"  # of the bench's images
CAMERA = str(Path(__file__).with_name("lossy_camera.py"))


def test_stamps_of_the_clock_since_boot_are_named_once_and_give_no_latency(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench()
    bench.listen_to_all()
    bench.info_publisher.publish(bench.info())

    def answered() -> Any:
        bench.info_publisher.publish(bench.info())
        stamp_ns = bench.send(bench.image(1, bench.header(time.monotonic_ns())))
        bench.client.spin(0.2)
        return bench.humans_of(stamp_ns)

    message = bench.client.wait(answered, "an answer")
    assert math.isnan(message.latency)
    name = "the time since boot (CLOCK_MONOTONIC)"
    bench.client.wait(lambda: name in bench.node.output(), "the log")
    bench.client.wait(answered, "another answer")
    status, values = bench.fresh_status()
    assert values["stamp_clock"] == name and name in status.message
    assert status.level == DiagnosticStatus.WARN
    assert values["latency_s.p50"] is None and values["processed"] >= 2
    assert bench.node.output().count(name) == 1
    bench.node.end()


def test_a_latched_camera_info_is_heard_also_after_a_reactivation_which_keeps_the_counters(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench()
    client = bench.client
    client.node.destroy_publisher(bench.info_publisher)
    latched = client.node.create_publisher(CameraInfo, "camera_info", LATCHED)
    latched.publish(bench.info())
    bench.info_publisher = latched
    bench.listen_to_all()
    client.wait(lambda: bench.answered(bench.image_publisher), "an answer")
    bench.answer(bench.image(5, red=64))
    first = bench.fresh_status()[1]
    # The stand-in has counted 40 before this node was there: they are not this node's.
    counted = {"ignored_people": 2, "pictures": 1, "carried": 1, "unusable_poses": 1}
    assert {name: first[name] for name in counted} == counted
    change = client.node.create_client(ChangeState, "/moro/change_state")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert client.call(change, request).success
    client.wait(lambda: bench.answered(bench.image_publisher), "an answer after reactivation")
    again = bench.fresh_status()[1]
    assert {name: again[name] for name in counted} == counted
    assert again["processed"] > first["processed"]
    assert bench.node.output().count("people in view: the farthest are not tracked") == 1
    # What comes after is counted on.
    bench.answer(bench.image(5, red=64))
    later = bench.fresh_status()[1]
    assert {name: later[name] for name in counted} == {k: 2 * n for k, n in counted.items()}
    # A volatile publisher that takes the other's place is heard, too.
    client.node.destroy_publisher(latched)
    bench.info_publisher = client.node.create_publisher(CameraInfo, "camera_info", 10)

    def followed() -> bool:
        bench.info_publisher.publish(bench.info(focal_px=200.0))
        return bench.answered(bench.image_publisher) and bench.calls("push")[-1]["focal"] == 200.0

    client.wait(followed, "the volatile camera_info")
    client.node.destroy_publisher(bench.info_publisher)
    client.node.destroy_publisher(bench.image_publisher)
    bench.node.end()


def test_the_failure_of_the_last_image_is_counted_and_logged_at_once(
    make_bench: Callable[..., Any],
) -> None:
    # The end of a pause would bring it to light, too.
    bench = make_bench(**{"motion.max_gap_s": 60.0})
    bench.be_answered()
    before = bench.fresh_status()[1].get("bad.rejected", 0)
    bench.send(bench.image(1, red=128))
    said = "The motion of this image is beyond recovery."
    bench.client.wait(lambda: said in bench.node.output(), "the log, without another image")
    assert bench.fresh_status()[1]["bad.rejected"] == before + 1
    # The next image is not charged with it.
    assert len(bench.answer(bench.image(1)).humans) == 1
    assert bench.fresh_status()[1]["bad.rejected"] == before + 1
    bench.node.end()


def test_a_pose_that_is_not_finite_is_counted_and_named(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    bench.be_answered()
    assert bench.fresh_status()[1]["unusable_poses"] == 0
    said = "Poses that are not finite were not published."

    def told() -> bool:
        # The last image before the diagnostics counts, too.
        bench.answer(bench.image(1, red=64))
        return bench.fresh_status()[0].message == said

    bench.client.wait(told, "the diagnostics")
    status, values = bench.status()
    assert status.level == DiagnosticStatus.WARN and values["unusable_poses"] >= 1
    log = "A recovered pose has values that are not finite. It was not published"
    assert bench.node.output().count(log) == 1
    # Named as long as there are more of them.
    bench.answer(bench.image(1))
    bench.client.wait(lambda: bench.fresh_status()[0].level == DiagnosticStatus.OK, "no more")
    assert bench.fresh_status()[1]["unusable_poses"] == values["unusable_poses"]
    bench.node.end()


def mounting(child: str, height_m: float) -> TFMessage:
    """The transform floor -> child of a camera that looks ahead, above the floor."""
    turn = Rotation.from_euler("x", -90, degrees=True).as_quat()
    header = Header(frame_id="floor")
    return TFMessage(transforms=[transform_message(header, child, (0.0, 0.0, height_m), turn)])


def test_a_mounting_that_is_not_finite_is_left_out_counted_and_named(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench(ground_frame="floor")
    bench.be_answered()
    mount = bench.client.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    mount.publish(mounting(FRAME, 1.25))

    def floor() -> Any:
        bench.answer(bench.image(1))
        return bench.calls("set_floor")[-1]["plane"]

    plane = bench.client.wait(floor, "the floor")
    assert plane == pytest.approx([0.0, -1.0, 0.0, 1.25])
    # A driver that writes the frame with a slash means the same one.
    header = bench.header()
    header.frame_id = f"/{FRAME}"
    message = bench.answer(bench.image(1, header))
    assert message.header.frame_id == FRAME
    assert list(message.ground_plane) == pytest.approx(plane)
    before = bench.fresh_status()[1]["unusable_transforms"]
    for height_m in (math.nan, math.inf):
        mount.publish(mounting(FRAME, height_m))
    said = "Transforms of TF that are not finite were ignored"

    def told() -> bool:
        assert floor() == plane, bench.node.output()
        return said in bench.fresh_status()[0].message

    bench.client.wait(told, "the diagnostics")
    message = bench.answer(bench.image(1))
    assert all(math.isfinite(joint.height) for joint in message.humans[0].joints)
    assert list(message.ground_plane) == pytest.approx(plane)

    def both_counted() -> bool:
        bench.answer(bench.image(1))
        return bench.fresh_status()[1]["unusable_transforms"] == before + 2

    bench.client.wait(both_counted, "both to be counted")
    assert bench.node.output().count(f"TF of frame '{FRAME}': got the translation") == 1
    bench.client.node.destroy_publisher(mount)
    bench.node.end()


def statuses(client: Any, namespace: str) -> Callable[[], dict[str, str]]:
    """A function that returns the newest diagnostics of a node: its values, and the message."""
    _, received = client.subscribe(DiagnosticArray, "/diagnostics")

    def newest() -> dict[str, str]:
        for array in reversed(received):
            status = array.status[0]
            if status.name.startswith(namespace):
                return {v.key: v.value for v in status.values} | {"message": status.message}
        return {}

    return newest


def test_an_unmodified_reliable_driver_is_heard_without_loss_after_a_moment(
    client: Any, start_fake_node: Callable[..., Any], start_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(namespace="/reliable_one")
    camera = start_node([CAMERA, "reliable"], "/reliable_one")
    status = statuses(client, "/reliable_one")
    client.wait(lambda: int(status().get("received", 0)) > 30, "images")
    before = status()
    client.spin(5.0)
    after = status()
    received, lost = (int(after[k]) - int(before[k]) for k in ("received", "lost_in_transport"))
    assert received >= 20 and lost <= 0.1 * received, (received, lost, node.output())
    camera.end()
    node.end()


def test_an_unmodified_best_effort_driver_s_loss_is_told_with_remedies(
    client: Any, start_fake_node: Callable[..., Any], start_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(namespace="/best_effort_one")
    camera = start_node([CAMERA, "best_effort"], "/best_effort_one")
    lost = (
        "images, the rest was lost in transport. "
        "To receive all images: configure the driver to publish reliable"
    )
    client.wait(lambda: lost in node.output(), "the log of the loss")
    status = statuses(client, "/best_effort_one")
    client.wait(lambda: lost in status().get("message", ""), "the diagnostics of the loss")
    assert "fastdds_images.xml" in status()["message"]
    assert "image_transport to compressed" in status()["message"]
    assert "sends nothing" not in node.output()
    camera.end()
    node.end()
