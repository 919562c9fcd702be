"""moro_node over real DDS between processes, its pipeline replaced by a stand-in."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Transform
from moro_ros.msg import Human, HumanArray, HumanJoint
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg

pytestmark = pytest.mark.ros

WIDTH, HEIGHT, FRAME = 64, 48, "test_optical_frame"
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE], ids=["best_effort", "reliable"])
def test_humans_carry_the_image_s_stamp_and_frame(bench: Any, qos: QoSProfile) -> None:
    publisher = bench.client.node.create_publisher(Image, "image", qos)
    bench.client.wait(lambda: bench.answered(publisher), "the node to hear this publisher")
    header = bench.header()
    message = bench.answer(bench.image(2, header), publisher)
    assert message.header == header
    assert [human.id for human in tracked(message)] == [1, 2]
    assert 0.02 < message.latency < 10.0
    bench.client.node.destroy_publisher(publisher)


def tracked(message: HumanArray) -> list[Human]:
    return [human for human in message.humans if human.tracking_state != Human.TRACKING_LOST]


def test_nobody_in_view_is_an_empty_array_after_who_left_was_lost_once(bench: Any) -> None:
    assert len(tracked(bench.answer(bench.image(1)))) == 1
    before = bench.fresh_status()[1]["ids_lost"]
    left = bench.answer(bench.image(0)).humans
    assert [(human.id, human.tracking_state) for human in left] == [(1, Human.TRACKING_LOST)]
    assert len(bench.answer(bench.image(0)).humans) == 0
    assert bench.fresh_status()[1]["ids_lost"] == before + 1


def test_people_beyond_the_limit_are_said_and_counted(bench: Any) -> None:
    status = bench.fresh_status()[1]
    before, pictures = status["ignored_people"], status["pictures"]
    assert len(tracked(bench.answer(bench.image(5)))) == 3
    limit = "people in view: the farthest are not tracked"
    bench.client.wait(lambda: limit in bench.node.output(), "the log of the limit")
    status = bench.fresh_status()[1]
    assert status["ignored_people"] == before + 2
    # What else the front-end notices is counted likewise.
    assert status["pictures"] == pictures + 1 and status["small_people"] == 0


def test_transforms_make_the_tree_of_rep_155(bench: Any) -> None:
    message = bench.answer(bench.image(2))
    stamp = message.header.stamp

    def of_image() -> list[Any]:
        found = [t for m in bench.transforms for t in m.transforms if t.header.stamp == stamp]
        return found if len(found) == 2 * (1 + len(JOINT_NAMES)) else []

    transforms = bench.client.wait(of_image, "all transforms")
    tree = {t.child_frame_id: (t.header.frame_id, pose_of(t.transform)) for t in transforms}
    assert len(tree) == len(transforms), "a frame has two parents"
    for human in tracked(message):
        parent, (body_rotation, body_place) = tree[f"body_b{human.id}"]
        assert parent == FRAME
        # The stand-in faces the camera: x_rep to the camera, y_rep to the image's right, z_rep up.
        expected = [[0, 1, 0], [0, 0, -1], [-1, 0, 0]]
        np.testing.assert_allclose(body_rotation.as_matrix(), expected, atol=1e-6)
        hips = [human.joints[i].pose.position for i in (1, 2)]
        middle = np.mean([[p.x, p.y, p.z] for p in hips], axis=0)
        np.testing.assert_allclose(body_place, middle, atol=1e-6)
        for name, joint in zip(JOINT_NAMES, human.joints):
            parent, (rotation, place) = tree[f"{name}_b{human.id}"]
            assert parent == f"body_b{human.id}"
            p, q = joint.pose.position, joint.pose.orientation
            np.testing.assert_allclose(
                body_rotation.apply(place) + body_place, [p.x, p.y, p.z], atol=1e-6
            )
            turned = body_rotation * rotation
            difference = turned.inv() * Rotation.from_quat([q.x, q.y, q.z, q.w])
            assert difference.magnitude() < 1e-6


def pose_of(transform: Transform) -> tuple[Rotation, np.ndarray]:
    q, t = transform.rotation, transform.translation
    return Rotation.from_quat([q.x, q.y, q.z, q.w]), np.array([t.x, t.y, t.z])


def test_markers_and_meshes_are_made_for_a_subscriber_alone(bench: Any) -> None:
    bench.answer(bench.image(1))
    assert not bench.calls("push")[-1]["mesh"]
    markers = bench.listen(MarkerArray, "/moro/markers")

    def answered_with_mesh() -> bool:
        bench.answer(bench.image(2))
        return bench.calls("push")[-1]["mesh"]

    bench.client.wait(answered_with_mesh, "the markers' subscription to match")

    def newest(people: int) -> dict[tuple[str, int], Marker]:
        header = bench.header()
        bench.answer(bench.image(people, header))
        stamp = header.stamp

        def of_image() -> list[MarkerArray]:
            return [m for m in markers if m.markers and m.markers[0].header.stamp == stamp]

        array = bench.client.wait(of_image, "markers")[0]
        return {(marker.ns, marker.id): marker for marker in array.markers}

    both = newest(2)
    parts = ("skeleton", "joints", "label", "trail", "mesh")
    ends = (0, 7, 8, 15, 20, 21)
    expected = {i: {(ns, i) for ns in parts} for i in (1, 2)}
    for i, own in expected.items():
        own |= {("covariance", 100 * i + joint) for joint in ends}
    assert set(both) == expected[1] | expected[2]
    assert all(marker.header.frame_id == FRAME for marker in both.values())
    assert len(both["mesh", 2].points) == 48
    one = newest(1)
    gone = {key for key, marker in one.items() if marker.action == Marker.DELETE}
    assert gone == expected[2]
    bench.deafen("/moro/markers")

    def answered_without_mesh() -> bool:
        bench.answer(bench.image(1))
        return not bench.calls("push")[-1]["mesh"]

    bench.client.wait(answered_without_mesh, "the node to stop making meshes")


def bad_images(bench: Any) -> dict[str, tuple[Image, CameraInfo]]:
    """An image and a camera_info for each reason to refuse an image."""
    encoding, empty, short, layout = (bench.image(1) for _ in range(4))
    encoding.encoding = "rgb323"
    empty.width = empty.height = empty.step = 0
    short.data = short.data[: WIDTH * 3]
    layout.step = WIDTH
    zero, nan, distortion = bench.info(), bench.info(), bench.info()
    zero.k = np.zeros(9)
    nan.k = np.full(9, np.nan)
    distortion.distortion_model, distortion.d = "polynomial_of_mine", [0.1, 0.2]
    millimetres = bench.info()
    millimetres.k = [4.2, 0.0, WIDTH / 2, 0.0, 4.2, HEIGHT / 2, 0.0, 0.0, 1.0]
    good = bench.info()
    return {
        "unknown_encoding": (encoding, good),
        "empty_image": (empty, good),
        "short_data": (short, good),
        "image_layout": (layout, good),
        "camera_info_zero": (bench.image(1), zero),
        "camera_info_not_finite": (bench.image(1), nan),
        "camera_info_distortion": (bench.image(1), distortion),
        "camera_info_implausible": (bench.image(1), millimetres),
        "camera_info_size": (bench.image(1), bench.info(2 * WIDTH, 2 * HEIGHT)),
    }


REASONS = (
    "unknown_encoding", "empty_image", "short_data", "image_layout", "camera_info_zero",
    "camera_info_not_finite", "camera_info_distortion", "camera_info_implausible",
    "camera_info_size",
)  # fmt: skip


def test_bad_input_is_named_counted_and_survived(bench: Any) -> None:
    before = bench.fresh_status()[1]
    refused = []
    for reason, (image, info) in bad_images(bench).items():
        bench.info_publisher.publish(info)
        bench.client.spin(0.1)
        image.header.stamp = bench.header().stamp
        refused.append(bench.send(image))
        bench.client.wait(
            lambda reason=reason: f"Image skipped ({reason}," in bench.node.output(), reason
        )
        bench.info_publisher.publish(bench.info())
        bench.client.spin(0.1)
        assert len(tracked(bench.answer(bench.image(1)))) == 1, f"dead after {reason}"
    assert not any(map(bench.humans_of, refused))
    after = bench.fresh_status()[1]
    for reason in REASONS:
        assert after[f"bad.{reason}"] - before.get(f"bad.{reason}", 0) == 1, reason


def test_stamps_that_go_back_restart_and_equal_ones_are_skipped(bench: Any) -> None:
    before = bench.fresh_status()[1]
    now_ns = time.time_ns()
    resets = len(bench.calls("reset"))
    bench.answer(bench.image(1, bench.header(now_ns)))
    bench.send(bench.image(1, bench.header(now_ns)))
    bench.client.wait(lambda: "repeated_stamp" in bench.node.output(), "the log of the fault")
    assert len(bench.calls("reset")) == resets
    old = bench.answer(bench.image(1, bench.header(now_ns - 10**10)))
    assert old.latency > 10.0
    assert len(bench.calls("reset")) == resets + 1
    jump = "Stamps went back by 10.000 s"
    bench.client.wait(lambda: jump in bench.node.output(), "the log of the jump")
    after = bench.fresh_status()[1]
    assert after["resets"] == before["resets"] + 1
    assert after["bad.repeated_stamp"] == before.get("bad.repeated_stamp", 0) + 1


def test_another_calibration_restarts_the_windows(bench: Any) -> None:
    bench.answer(bench.image(1))
    resets = len(bench.calls("reset"))
    for focal_px, expected in ((100.0, resets), (123.0, resets + 1), (100.0, resets + 2)):
        bench.info_publisher.publish(bench.info(focal_px=focal_px))
        bench.client.spin(0.1)
        bench.answer(bench.image(1))
        assert bench.calls("push")[-1]["focal"] == focal_px
        assert len(bench.calls("reset")) == expected


def test_a_stream_that_stops_and_returns_is_said_so(bench: Any) -> None:
    bench.answer(bench.image(1))
    said = bench.node.output().count("Images are received again")
    # A slow machine may have been warned already: the state is asked for, not the moment.
    bench.client.wait(lambda: "No image for" in bench.fresh_status()[0].message, "the warning")
    assert bench.fresh_status()[0].level == DiagnosticStatus.WARN
    assert "sends nothing" in bench.node.output()
    bench.answer(bench.image(1))
    bench.client.wait(
        lambda: bench.node.output().count("Images are received again") > said, "the all-clear"
    )


def test_a_burst_is_answered_with_its_newest_image(bench: Any) -> None:
    before = bench.fresh_status()[1]
    start_ns = time.time_ns()
    stamps = [bench.send(bench.image(1, bench.header(start_ns + i))) for i in range(10)]
    bench.client.wait(lambda: bench.humans_of(stamps[-1]), "the newest image's humans")
    after = bench.fresh_status()[1]
    grown = {name: after[name] - before[name] for name in ("received", "processed", "dropped")}
    assert grown["received"] == grown["processed"] + grown["dropped"]
    assert grown["dropped"] > 0
    published = [stamp_to_ns(m.header.stamp) for m in bench.humans if m.humans]
    assert [s for s in stamps if s in published] == [s for s in published if s >= start_ns]


def test_parameters_are_described_checked_and_applied(bench: Any) -> None:
    node = bench.client.node
    describe = node.create_client(DescribeParameters, "/moro/describe_parameters")
    change = node.create_client(SetParameters, "/moro/set_parameters")

    def set_one(name: str, value: Any) -> Any:
        parameter = Parameter(name, value=value).to_parameter_msg()
        return bench.client.call(change, SetParameters.Request(parameters=[parameter])).results[0]

    request = DescribeParameters.Request(names=["tracker.hold_time_s", "model", "motion.passes"])
    hold, model, passes = bench.client.call(describe, request).descriptors
    assert hold.description.endswith("[s]") and hold.floating_point_range[0].to_value == 10.0
    assert model.read_only and not passes.read_only
    assert passes.integer_range[0].from_value == 1

    assert set_one("motion.passes", 5).successful
    bench.answer(bench.image(1))
    assert bench.calls("configure")[-1]["passes"] == 5
    for name, value, reason in (
        ("motion.passes", 1000, "motion.passes"),
        ("motion.passes", "many", "type"),
        ("motion.visibility", float("nan"), "motion.visibility"),
        ("model", "other", "read-only"),
        ("image_reliability", "reliable", "read-only"),
    ):
        result = set_one(name, value)
        assert not result.successful, name
        assert reason in result.reason
    bench.answer(bench.image(1))
    assert bench.calls("configure")[-1]["passes"] == 5


def test_diagnostics_and_log_tell_the_state(bench: Any) -> None:
    bench.answer(bench.image(2))
    _, values = bench.status()
    assert values["model"] == "fake" and len(values["model_sha256"]) == 64

    def healthy() -> bool:
        bench.answer(bench.image(3))
        return bench.status()[0].message == "3 people in view."

    bench.client.wait(healthy, "healthy diagnostics")
    status, values = bench.status()
    assert status.level == DiagnosticStatus.OK and status.name == "/moro: human motion"
    assert values["people"] == 3
    assert values["latency_s.p95"] >= values["latency_s.p50"] > 0.02
    assert values["stages_s.motion_s.p50"] == pytest.approx(0.02)
    # The stand-in uses its ids again, which count as new ones each time.
    assert values["people_seen"] - values["ids_lost"] == 3
    bench.client.wait(lambda: "latency p50" in bench.node.output(), "a line of statistics")


def test_nothing_is_computed_when_nobody_listens(bench: Any) -> None:
    bench.answer(bench.image(1))
    for topic in ("/moro/humans", "/tf"):
        bench.deafen(topic)

    def idle() -> bool:
        bench.send(bench.image(1))
        return bench.fresh_status()[1]["idle"] > 0

    bench.client.wait(idle, "the node to go idle")
    pushed = len(bench.calls("push"))
    bench.send(bench.image(1))
    before = bench.status()[1]["idle"]
    bench.client.wait(lambda: bench.status()[1]["idle"] > before, "another idle image")
    assert len(bench.calls("push")) == pushed
    bench.humans = bench.listen(HumanArray, "/moro/humans")
    bench.client.wait(lambda: bench.answered(bench.image_publisher), "the node to work again")


def test_states_of_joints_follow_the_observation(bench: Any) -> None:
    human = bench.answer(bench.image(1)).humans[0]
    states = [joint.state for joint in human.joints]
    inferred = {i for i, state in enumerate(states) if state == HumanJoint.STATE_INFERRED}
    assert inferred == {4, 5, 7, 8}


def test_ends_and_refusals(client: Any, start_fake_node: Callable[..., Any]) -> None:
    refused = {
        "No model 'missing'": start_fake_node(model="missing")[0],
        "motion.window: got 1, expected 2": start_fake_node(**{"motion.window": 1})[0],
    }
    stopped, calls = start_fake_node(**{"motion.windw": 5})
    for remedy, process in refused.items():
        assert process.end(None) == 1
        assert remedy in process.output()
        assert "Traceback" not in process.output()
    client.wait(lambda: "is ready" in stopped.output(), "the node's start")
    assert "'motion.windw' is not known and has no effect; did you mean 'motion.window'?" in (
        stopped.output()
    )
    assert stopped.end(signal.SIGTERM) == 0
    assert "Done: 0 images received" in stopped.output()
    assert [json.loads(line)["call"] for line in calls.open()] == ["lose_everybody", "reset"]


def test_simulated_time_is_the_only_clock(client: Any, start_fake_node: Callable[..., Any]) -> None:
    """Latency is told by /clock, and a bag that loops only restarts the windows."""
    node, calls = start_fake_node(namespace="/sim", use_sim_time=True)
    create = client.node.create_publisher
    clock, images = create(ClockMessage, "/clock", 10), create(Image, "/sim/image", RELIABLE)
    infos = create(CameraInfo, "/sim/camera_info", RELIABLE)
    subscription, humans = client.subscribe(HumanArray, "/sim/moro/humans")
    camera = camera_from_focal(100.0, WIDTH, HEIGHT)

    def answered(now_s: float, age_s: float) -> bool:
        clock.publish(ClockMessage(clock=ns_to_stamp(round(now_s * 1e9))))
        client.spin(0.1)
        header = Header(stamp=ns_to_stamp(round((now_s - age_s) * 1e9)), frame_id=FRAME)
        infos.publish(camera_info_message(camera, header))
        images.publish(cv2_to_imgmsg(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "bgr8", header))
        client.spin(0.1)
        # Before /clock is heard, the node's time is 0.
        expected = pytest.approx(age_s, abs=1e-6)
        return (
            bool(humans)
            and humans[-1].header.stamp == header.stamp
            and (humans[-1].latency == expected)
        )

    times = iter(np.arange(1000.0, 2000.0))
    client.wait(lambda: answered(next(times), 0.25), "humans in simulated time")
    times = iter(np.arange(10.0, 900.0))
    client.wait(lambda: answered(next(times), 0.5), "humans after the jump back")
    assert sum(json.loads(line)["call"] == "reset" for line in calls.open()) == 1
    client.node.destroy_subscription(subscription)
    assert node.end(signal.SIGINT) == 0


def test_a_fault_of_the_program_ends_the_node_with_status_1(bench: Any) -> None:
    bench.send(bench.image(1, red=255))
    assert bench.node.process.wait(30.0) == 1
    bench.client.wait(lambda: "a fault of the program" in bench.node.output(), "its log")
