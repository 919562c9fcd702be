"""moro_distance between processes: current distances, or a status that says why there are none."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coal")

from geometry_msgs.msg import TransformStamped
from moro_ros.msg import HumanCapsule, HumanCapsules, HumanDistance, HumanDistances
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.distance import DistanceNode
from moro_ros.ros.distance_messages import People, marker_array
from moro_ros.ros.distance_options import DistanceConfig

OK, NO_ROBOT, NO_TRANSFORM, NO_PEOPLE = range(4)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
URDF = """<robot name="arm"><link name="base"/>
<link name="hand"><collision><geometry><sphere radius="0.1"/></geometry></collision></link>
<joint name="slide" type="prismatic"><parent link="base"/><child link="hand"/><axis xyz="1 0 0"/>
<limit lower="0" upper="1" effort="1" velocity="1"/></joint></robot>"""
TTL_S = 0.6


def capsules(*ids: int, frame: str = "lens", ttl_s: float = TTL_S) -> HumanCapsules:
    """A person each: an upright capsule of 1 m at y = id in the camera's frame."""
    message = HumanCapsules(header=Header(frame_id=frame), latency=0.1, ttl=ttl_s)
    for number in ids:
        part = HumanCapsule(id=number, joint=20, body_radius=0.2, clear_radius=0.5, sigma=0.03)
        part.start.x = part.end.x = 1.0
        part.start.y = part.end.y = float(number)
        part.end.z = 1.0
        part.velocity.x = -0.25
        message.capsules += [part, HumanCapsule(id=number, joint=0)]  # a part without a volume
    return message


def transform(parent: str, child: str, x: float = 0.0) -> TransformStamped:
    message = TransformStamped(header=Header(frame_id=parent), child_frame_id=child)
    message.transform.translation.x = x
    message.transform.rotation.w = 1.0
    return message


def test_parts_without_a_volume_are_left_out_and_frames_are_changed() -> None:
    people = People.of(capsules(1, 2))
    assert people.ids.tolist() == [1, 2] and people.joints.tolist() == [20, 20]
    np.testing.assert_allclose(people.radii, 0.2)  # of the body, not what is to be kept clear
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    pose[:3, 3] = [0, 0, 5]
    moved = people.moved(pose)
    np.testing.assert_allclose(moved.starts[0], [-1, 1, 5])
    np.testing.assert_allclose(moved.velocities[0], [0, -0.25, 0])
    assert People.of(HumanCapsules()).starts.shape == (0, 3)


class Rig:
    """A robot, its TF and the people, that each may end; the same people on every topic."""

    def __init__(self, client: Any, namespace: str = "", *topics: str) -> None:
        self.client = client
        create = client.node.create_publisher
        self.robot = create(String, f"{namespace}/robot_description", LATCHED)
        self.topics = [f"{namespace}/{topic}" for topic in topics or ("moro/capsules",)]
        self.people = {topic: create(HumanCapsules, topic, 10) for topic in self.topics}
        self.sending = set(self.topics)
        self.tf, self.static = (
            create(TFMessage, "/tf", 10),
            create(TFMessage, "/tf_static", LATCHED),
        )
        self.x, self.speed, self.ids, self.moving = 0.0, 0.0, (1, 2), True
        self.stamp_ns = time.time_ns()
        places = [transform("base", frame, x) for frame, x in (("lens", 0.5), ("lens1", -2.0))]
        self.static.publish(TFMessage(transforms=places))
        _, self.received = client.subscribe(HumanDistances, f"{namespace}/moro_distance/distances")

    def play(self, seconds: float) -> None:
        """Publish at 50 Hz what goes on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, topic in enumerate(self.topics):
                if topic in self.sending:
                    message = capsules(*self.ids, frame=("lens", "lens1")[number])
                    message.header.stamp = ns_to_stamp(self.stamp_ns)
                    self.people[topic].publish(message)
            if self.moving:
                self.x += 0.02 * self.speed
                self.tf.publish(TFMessage(transforms=[transform("base", "hand", self.x)]))
            self.client.spin(0.02)

    def until(self, status: int, seconds: float = 20.0) -> HumanDistances:
        """Play until the newest message has a status."""
        end = time.monotonic() + seconds
        while not self.received or self.received[-1].status != status:
            assert time.monotonic() < end, [m.status for m in self.received[-5:]]
            self.play(0.1)
        return self.received[-1]


@pytest.fixture(scope="module")
def rig(client: Any, start_node: Callable[..., Any]) -> Iterator[Rig]:
    start_node(["-m", "moro_ros.ros.distance"], rate_hz=50.0, tf_timeout_s=0.5)
    yield Rig(client)


@pytest.mark.ros
def test_a_robot_that_cannot_be_used_is_not_called_missing(
    client: Any, start_node: Callable[..., Any]
) -> None:
    node = start_node(["-m", "moro_ros.ros.distance"], namespace="/bare", rate_hz=50.0)
    rig = Rig(client, "/bare")
    rig.until(NO_ROBOT)
    missing = "No distances are measured: no robot_description."
    client.wait(lambda: missing in node.output(), missing)
    rig.robot.publish(String(data="<robot name='arm'><link name='base'/></robot>"))
    # On arrival, and then again and again.
    said = "No link of robot_description has collision geometry"
    client.wait(lambda: rig.play(0.5) or node.output().count(said) > 1, "the reason", 30.0)
    assert missing not in node.output().partition(said)[2]


def check_empty(message: HumanDistances) -> None:
    assert not message.nearest and not message.distances and not message.ids


@pytest.mark.ros
def test_without_a_robot_there_are_none_and_it_says_so(rig: Rig) -> None:
    check_empty(rig.until(NO_ROBOT))


@pytest.mark.ros
def test_a_description_that_cannot_be_used_is_no_robot(rig: Rig) -> None:
    rig.robot.publish(String(data="<robot"))
    rig.play(0.5)
    check_empty(rig.until(NO_ROBOT))


@pytest.mark.ros
def test_the_distances_of_every_link_and_part_arrive(rig: Rig) -> None:
    rig.robot.publish(String(data=URDF))
    message = rig.until(OK)
    assert message.header.frame_id == "base"
    assert list(message.links) == ["hand"] and list(message.ids) == [1, 2]
    # The camera is 0.5 m in front of the base, the people 1 m before it, 1 and 2 m to the left.
    expected = [np.hypot(1.5, 1.0) - 0.3, np.hypot(1.5, 2.0) - 0.3]
    np.testing.assert_allclose(message.distances, expected, atol=1e-3)
    nearest = message.nearest[0]
    assert (nearest.id, nearest.link, nearest.joint) == (1, "hand", 20)
    assert nearest.distance == pytest.approx(expected[0], abs=1e-3)
    assert nearest.sigma == pytest.approx(0.03)
    points = nearest.robot_point, nearest.human_point
    a, b = (np.array([p.x, p.y, p.z]) for p in points)
    assert np.linalg.norm(a - b) == pytest.approx(nearest.distance, abs=1e-3)
    assert nearest.closing_speed == pytest.approx(0.25 * 1.5 / np.hypot(1.5, 1.0), abs=0.02)
    assert 0.1 <= message.age < 0.1 + TTL_S


@pytest.mark.ros
def test_a_person_who_is_lost_is_in_no_later_message(rig: Rig) -> None:
    rig.until(OK)
    rig.ids = (2,)
    rig.play(0.5)
    heard = len(rig.received)
    rig.play(0.5)
    assert len(rig.received) > heard
    for message in rig.received[heard:]:
        assert list(message.ids) == [2] and [pair.id for pair in message.nearest] == [2]
    rig.ids = ()
    rig.play(0.5)
    assert rig.received[-1].status == OK and not rig.received[-1].nearest
    rig.ids = (1, 2)


@pytest.mark.ros
def test_tf_that_ends_ends_the_distances(rig: Rig) -> None:
    rig.until(OK)
    rig.moving = False
    check_empty(rig.until(NO_TRANSFORM))
    rig.moving = True
    rig.until(OK)


@pytest.mark.ros
def test_people_who_are_not_renewed_end_the_distances(rig: Rig) -> None:
    rig.until(OK)
    heard = len(rig.received)

    def ended() -> bool:
        rig.tf.publish(TFMessage(transforms=[transform("base", "hand", rig.x)]))
        return rig.received[-1].status == NO_PEOPLE

    rig.client.wait(ended, "the end of the people")
    ages = [m.age for m in rig.received[heard:] if m.status == OK]
    assert max(ages) < 0.1 + TTL_S + 0.1
    check_empty(rig.received[-1])


@pytest.mark.ros
def test_a_clock_that_jumps_changes_nothing(rig: Rig) -> None:
    """Neither stamps of tomorrow nor of yesterday: what counts is when a message arrived."""
    for jump_ns in (86_400_000_000_000, -86_400_000_000_000):
        rig.stamp_ns = time.time_ns() + jump_ns
        rig.until(OK)
        rig.play(0.3)
        assert rig.received[-1].status == OK


@pytest.mark.ros
def test_a_robot_that_moves_towards_people_closes_in(rig: Rig) -> None:
    rig.ids, rig.speed = (1,), 0.5
    rig.until(OK)
    rig.play(0.6)
    speeds = [m.nearest[0].closing_speed for m in rig.received[-10:] if m.nearest]
    rig.speed = 0.0
    # 0.25 m/s of the person and most of the robot's: the machine may be slower than 50 Hz.
    assert np.median(speeds) > 0.3


@pytest.fixture(scope="module")
def cameras(client: Any, start_node: Callable[..., Any]) -> Iterator[tuple[Rig, Any]]:
    """A robot watched by two cameras that number their people alike, and its moro_distance."""
    topics = "left/moro/capsules", "right/moro/capsules"
    node = start_node(
        ["-m", "moro_ros.ros.distance"],
        namespace="/both",
        rate_hz=50.0,
        people_topics=f"[{', '.join(topics)}]",
    )
    rig = Rig(client, "/both", *topics)
    rig.robot.publish(String(data=URDF))
    yield rig, node


@pytest.mark.ros
def test_people_of_two_cameras_with_equal_ids_are_both_measured(cameras: tuple[Rig, Any]) -> None:
    rig, _ = cameras
    rig.ids = (1,)
    message = rig.until(OK)
    assert list(message.people_topics) == rig.topics
    assert (list(message.topics), list(message.ids)) == ([0, 1], [1, 1])
    # Both cameras have their person 1 m before them; they are 0.5 m before and 2 m behind the base.
    expected = [np.hypot(1.5, 1.0) - 0.3, np.hypot(1.0, 1.0) - 0.3]
    np.testing.assert_allclose(message.distances, expected, atol=1e-3)
    nearest = [(pair.topic, pair.id, pair.distance) for pair in message.nearest]
    assert nearest == [(n, 1, pytest.approx(expected[n], abs=1e-3)) for n in (0, 1)]
    rig.play(1.0)
    assert {tuple(m.topics) for m in rig.received[-10:]} == {(0, 1)}, "people come and go"


@pytest.mark.ros
@pytest.mark.parametrize("number", [0, 1])
def test_one_camera_of_two_that_ends_is_no_free_way(cameras: tuple[Rig, Any], number: int) -> None:
    rig, node = cameras
    rig.until(OK)
    rig.sending.discard(rig.topics[number])
    message = rig.until(NO_PEOPLE)
    check_empty(message)
    assert list(message.people_topics) == rig.topics
    said = f"no current message on {rig.topics[number]}."
    rig.client.wait(lambda: rig.play(0.5) or said in node.output(), said)
    rig.sending.add(rig.topics[number])
    rig.until(OK)


@pytest.mark.ros
def test_two_publishers_of_one_topic_are_refused_until_one_goes(cameras: tuple[Rig, Any]) -> None:
    """Each message would replace the people of the other node."""
    rig, node = cameras
    rig.until(OK)
    other = rig.client.node.create_publisher(HumanCapsules, rig.topics[1], 10)
    check_empty(rig.until(NO_PEOPLE))
    heard = len(rig.received)
    rig.play(1.0)
    assert {m.status for m in rig.received[heard:]} == {NO_PEOPLE}
    said = f"2 nodes publish on {rig.topics[1]}"
    rig.client.wait(lambda: rig.play(0.5) or said in node.output(), said)
    assert "people_topics" in node.output().partition(said)[2]
    rig.client.node.destroy_publisher(other)
    rig.until(OK)


@pytest.mark.ros
def test_a_node_and_its_distances_are_current_or_none(
    client: Any, start_node: Callable[..., Any], start_fake_node: Callable[..., Any],
    fake_node: ModuleType, crowd_camera: Any,
) -> None:  # fmt: skip
    """moro_node with stand-ins, moro_distance, a ball at the camera: three processes."""
    node, _ = start_fake_node(0.02, namespace="/seen", **{"planners.ttl_s": TTL_S})
    start_node(["-m", "moro_ros.ros.distance"], namespace="/seen", rate_hz=50.0)
    create = client.node.create_publisher
    robot = create(String, "/seen/robot_description", LATCHED)
    robot.publish(String(data=URDF.replace("base", "stand").replace("hand", "ball")))
    static = create(TFMessage, "/tf_static", LATCHED)
    static.publish(TFMessage(transforms=[transform("stand", "ball"), transform("ball", "eye")]))
    _, received = client.subscribe(HumanDistances, "/seen/moro_distance/distances")
    camera = crowd_camera.Camera(client, "/seen", "eye")

    def seen(people: int) -> HumanDistances | None:
        camera.show(people)
        message = received[-1] if received else None
        ids = list(range(1, people + 1))
        found = message and message.status == OK and [p.id for p in message.nearest] == ids
        return message if found else None

    message = client.wait(lambda: seen(2), "the distances of two people")
    for pair in message.nearest:
        motion = fake_node.body_motion(pair.id, 0, 2.0 + pair.id)
        starts = motion.joints[0].astype(float)
        # The stand-in's capsules reach 0.1 m up the body.
        places = starts + np.linspace(0.0, 1.0, 101)[:, None, None] * np.array([0.0, -0.1, 0.0])
        least = np.linalg.norm(places, axis=-1).min() - 0.05 - 0.1
        assert pair.distance == pytest.approx(least, abs=0.05)
    # Who is lost is gone, and stays so.
    client.wait(lambda: seen(1), "one person alone")
    for _ in range(10):
        assert seen(1)
    # Images that stop do not mean that the way is free.
    received.clear()
    client.spin(3.0)
    assert received[-1].status == NO_PEOPLE
    assert all(message.nearest for message in received if message.status == OK)
    client.wait(lambda: seen(1), "the person again")
    # A killed node says nothing about its end.
    node.end(signal.SIGKILL)
    ended_s = time.monotonic()
    client.wait(lambda: received[-1].status == NO_PEOPLE, "the end of the people", 10.0)
    check_empty(received[-1])
    assert time.monotonic() - ended_s < TTL_S + 2.0  # on a machine under load
    camera.close()
    for publisher in (robot, static):
        client.node.destroy_publisher(publisher)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ("moro/capsules", "expected a list of texts"),
        ("[]", "got an empty list, expected a list of texts such as ['moro/capsules']"),
        ("['']", "expected 1 to 255 topics"),
        ("[a, /a]", "each once"),
        ("[a b]", "expected names of topics"),
    ],
)
def test_topics_that_cannot_be_end_the_node_with_a_sentence(
    start_node: Callable[..., Any], topics: str, said: str
) -> None:
    node = start_node(["-m", "moro_ros.ros.distance"], people_topics=topics)
    assert node.end(None) == 1
    assert "people_topics: got" in node.output() and said in node.output()
    assert "Traceback" not in node.output()


def test_markers_are_red_when_near_and_those_of_before_go() -> None:
    message = HumanDistances(header=Header(frame_id="base"))
    for number, distance in ((1, 0.4), (2, 0.6)):
        message.nearest.append(HumanDistance(id=number, distance=distance))
    markers: MarkerArray = marker_array(message, DistanceConfig(near_m=0.5))
    assert markers.markers[0].action == Marker.DELETEALL
    lines = [m for m in markers.markers if m.ns == "distance"]
    assert [m.color.r > 0.5 for m in lines] == [True, False]
    texts = [m.text for m in markers.markers if m.ns == "distance_text"]
    assert texts == ["0.40 m", "0.60 m"]
    empty = marker_array(HumanDistances(status=NO_PEOPLE), DistanceConfig())
    assert [m.action for m in empty.markers] == [Marker.DELETEALL]


def test_the_robot_s_speed_is_known_at_low_rates() -> None:
    node: Any = SimpleNamespace(_poses=deque(), options=SimpleNamespace(rate_hz=1.0))
    pose = np.eye(4)[None]
    for second in range(3):
        before_s, _ = DistanceNode._remember(node, float(second), pose)
    assert before_s == 1.0
    # After a pause, the last pose tells nothing.
    assert DistanceNode._remember(node, 10.0, pose)[0] == 10.0
