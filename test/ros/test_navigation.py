"""~/people, ~/detections, ~/capsules and ~/intents: what the messages say of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from moro_ros.msg import Human, HumanCapsules, HumanIntents
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import ConfigError
from moro_ros.recover.ground import GroundPlane
from moro_ros.ros import parameters
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.outputs.tf import transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.capsules import CapsulesOutput
from moro_ros.ros.planners.intents import IntentsOutput
from moro_ros.ros.planners.obstacles import POINT, ObstaclesOutput
from moro_ros.ros.planners.shapes import Shaper
from moro_ros.ros.planners.targets import TargetFinder
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.transforms import Placement

pytestmark = pytest.mark.ros
# The camera 1.5 m above the map's origin, level, looking along x.
LENS = (0.0, 0.0, 1.5), (-0.5, 0.5, -0.5, 0.5)
GROUND = GroundPlane(np.array([0.0, -1.0, 0.0]), 1.5)
IN_MAP = parameters.updated(NodeConfig(), {"planners.frame": "map"})
MakeScene = Callable[..., Any]
UPWARDS = np.array([0.0, 0.1, 0.0])


@pytest.fixture
def placement(client: Any) -> Iterator[Placement]:
    """TF that knows the map and a robot's gripper."""
    placement = Placement(client.node, "", "", None, ("map",))
    gripper = (1.0, 0.0, 1.5), (0.0, 0.0, 0.0, 1.0)
    links: list[TransformStamped] = [
        transform_message(Header(frame_id="map"), child, *pose)
        for child, pose in (("lens", LENS), ("gripper", gripper))
    ]
    placement.tree.take_static(TFMessage(transforms=links))
    yield placement
    placement.destroy(client.node)


@pytest.fixture
def shaper(client: Any, placement: Placement) -> Shaper:
    return Shaper(placement, client.node.get_clock())


@pytest.fixture
def made(client: Any, shaper: Shaper) -> Iterator[Callable[..., Any]]:
    """made(output class, scene, options): the message as it arrives."""
    outputs = []

    def make(cls: type, scene: Any, options: NodeConfig = IN_MAP, *more: Any) -> Any:
        output = cls(client.node, shaper, *more)
        outputs.append(output)
        (message,) = output.messages(scene, options)
        return deserialize_message(serialize_message(message), type(message))

    yield make
    for output in outputs:
        output.destroy(client.node)


def vector(point: Any) -> np.ndarray:
    return np.array([point.x, point.y, point.z])


def in_map(points: np.ndarray) -> np.ndarray:
    return Rotation.from_quat(LENS[1]).apply(points) + LENS[0]


def test_capsules_are_placed_grown_and_named(
    fake_node: ModuleType, make_scene: MakeScene, made: Any, client: Any
) -> None:
    stamp_ns = client.node.get_clock().now().nanoseconds - 300_000_000
    motion = fake_node.body_motion(7, stamp_ns)
    message = made(CapsulesOutput, make_scene((motion,), stamp_ns=stamp_ns))
    assert isinstance(message, HumanCapsules)
    assert (message.header.frame_id, message.ttl) == ("map", 1.0)
    assert stamp_to_ns(message.header.stamp) == stamp_ns and message.latency > 0.3
    assert [item.joint for item in message.capsules] == list(range(22))
    assert {item.id for item in message.capsules} == {7}
    for item in message.capsules:
        joint = motion.joints[0, item.joint].astype(float)
        np.testing.assert_allclose(vector(item.start), in_map(joint), atol=1e-5)
        # The stand-in's capsules reach 0.1 m up the body: -y of the lens.
        np.testing.assert_allclose(vector(item.end), in_map(joint - UPWARDS), atol=1e-5)
        assert item.body_radius == pytest.approx(0.05)
        assert item.sigma == pytest.approx(0.03, rel=1e-3)  # the largest of the three axes
        speed = 0.25 * 3**0.5
        least = 0.05 + 2 * 0.03 + speed * 0.4 + 0.03
        # Hardly uncertain: the axis is still that of the part.
        assert least - 1e-3 < item.clear_radius < least + 0.1
        np.testing.assert_allclose(vector(item.clear_start), vector(item.start), atol=0.01)
        assert np.linalg.norm(vector(item.velocity)) == pytest.approx(speed, rel=1e-5)


def test_parameters_change_the_growth_and_an_unknown_sigma_is_zero(
    fake_node: ModuleType, make_scene: MakeScene, made: Any
) -> None:
    motion = fake_node.body_motion(1, 0)
    unknown = replace(motion, track_id=2, covariance=np.zeros_like(motion.covariance))
    values = {"margin_m": 0.2, "sigmas": 3.0, "latency_s": 0.0}
    options = parameters.updated(NodeConfig(), {f"planners.{k}": v for k, v in values.items()})
    for person, sigma, radius in ((motion, 0.03, 0.34), (unknown, 0.0, 0.25)):
        # Stamps of another clock: their age is not known.
        (item, *_) = made(CapsulesOutput, make_scene((person,)), options).capsules
        assert item.sigma == pytest.approx(sigma, rel=1e-3)
        assert item.clear_radius == pytest.approx(radius, abs=5e-4)


def test_who_is_lost_is_named_once(client: Any, fake_node: ModuleType, make_scene: MakeScene,
                                   shaper: Shaper) -> None:  # fmt: skip
    output = CapsulesOutput(client.node, shaper)
    people = fake_node.body_motion(1, 0), fake_node.body_motion(2, 0)
    ids = []
    for scene in (
        make_scene(people), make_scene(people[:1], lost=(2, 9)), make_scene(people[:1]),
    ):  # fmt: skip
        (message,) = output.messages(scene, NodeConfig())
        ids.append((sorted({item.id for item in message.capsules}), list(message.lost)))
    assert ids == [([1, 2], []), ([1], [2]), ([1], [])]
    output.skip(make_scene((), lost=(1,)).result)
    (message,) = output.messages(make_scene(()), NodeConfig())
    assert (len(message.capsules), list(message.lost)) == (0, [1])
    output.destroy(client.node)


def test_people_stand_on_the_ground(
    fake_node: ModuleType, make_scene: MakeScene, made: Any
) -> None:
    navigation = pytest.importorskip("moro_ros.ros.planners.navigation")
    if navigation.People is None:
        pytest.skip("people_msgs is not installed")
    motion = fake_node.body_motion(3, 0)
    unseen = replace(motion, track_id=4, keypoints_seen=np.array([False]))
    scene = make_scene((motion,), ground=GROUND, postures={3: Human.POSTURE_SITTING})
    message = made(navigation.PeopleOutput, scene)
    (person,) = message.people
    assert (message.header.frame_id, person.name) == ("map", "b3")
    pelvis = in_map(motion.joints[0, 0].astype(float))
    np.testing.assert_allclose(vector(person.position), [*pelvis[:2], 0.0], atol=1e-5)
    turn = Rotation.from_quat(LENS[1])
    speed = turn.apply(motion.velocity[0, 0])
    np.testing.assert_allclose(vector(person.velocity), [*speed[:2], 0.0], atol=1e-5)
    assert person.reliability == pytest.approx(float(motion.confidence.mean()))
    tags = dict(zip(person.tagnames, person.tags, strict=True))
    assert tags == {"tracking": "observed", "posture": "sitting", "sigma_m": "0.030", "ttl_s": "1"}
    (person,) = made(navigation.PeopleOutput, make_scene((unseen,))).people
    assert "extrapolated" in person.tags
    np.testing.assert_allclose(vector(person.position), pelvis, atol=1e-5)
    assert made(navigation.PeopleOutput, make_scene(())).people == []


def test_whom_the_ground_does_not_carry_is_not_put_on_it(
    fake_node: ModuleType, make_scene: MakeScene, made: Any
) -> None:
    """Two people, of whom one stands on a step: no point of theirs is taken for the ground."""
    people = fake_node.body_motion(3, 5), fake_node.body_motion(4, 5)
    # The ground at the height of the pelvis: about half of all points lie below.
    middle = GroundPlane(np.array([0.0, -1.0, 0.0]), float(people[0].joints[0, 0, 1]))
    counts = []
    for groundless in (frozenset(), frozenset({3})):
        scene = make_scene(people, ground=middle, groundless=groundless)
        cloud = np.frombuffer(bytes(made(ObstaclesOutput, scene).data), POINT)
        counts.append([int((cloud["id"] == i).sum()) for i in (3, 4)])
    assert counts[0][0] < counts[1][0] and counts[0][1] == counts[1][1]
    navigation = pytest.importorskip("moro_ros.ros.planners.navigation")
    if navigation.People is None:
        pytest.skip("people_msgs is not installed")
    first, second = made(navigation.PeopleOutput, scene).people
    pelvis = in_map(people[0].joints[0, 0].astype(float))
    np.testing.assert_allclose(vector(first.position), pelvis, atol=1e-5)
    assert second.position.z == pytest.approx(1.5 - middle.offset, abs=1e-5)


def test_boxes_hold_the_person(
    fake_node: ModuleType, make_scene: MakeScene, made: Any, shaper: Shaper
) -> None:
    navigation = pytest.importorskip("moro_ros.ros.planners.navigation")
    if navigation.Detection3DArray is None:
        pytest.skip("vision_msgs is not installed")
    motion = fake_node.body_motion(4, 5)
    scene = make_scene((motion,))
    message = made(navigation.DetectionsOutput, scene)
    (item,) = message.detections
    assert (message.header.frame_id, item.header.frame_id, item.id) == ("map", "map", "b4")
    pose = item.bbox.center
    q = pose.orientation
    axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    # The person faces the camera, which looks along x.
    np.testing.assert_allclose(axes, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]], atol=1e-6)
    (shape,) = shaper.shapes(scene, IN_MAP)
    ends = np.concatenate([shape.body.starts, shape.body.ends])
    reach = np.abs((ends - vector(pose.position)) @ axes).max(axis=0) + 0.05
    np.testing.assert_allclose(2 * reach, vector(item.bbox.size), atol=1e-4)
    (result,) = item.results
    assert result.hypothesis.class_id == "person"
    turn = Rotation.from_quat(LENS[1]).as_matrix()
    covariance = np.reshape(result.pose.covariance, (6, 6))[:3, :3]
    expected = turn @ motion.covariance[0, 0] @ turn.T
    np.testing.assert_allclose(covariance, expected, atol=1e-7)


def test_intents_refer_to_the_frames_that_tf_knows(
    client: Any, fake_node: ModuleType, make_scene: MakeScene, shaper: Shaper, placement: Placement
) -> None:
    motion = fake_node.body_motion(5, 0)
    values = {"planners.robot_frame": "gripper", "planners.reach_frame": "spoon"}
    cases = [
        (NodeConfig(), "lens", "lens"),
        (parameters.updated(NodeConfig(), values), "gripper", ""),
    ]
    for options, robot, reach in cases:
        output = IntentsOutput(client.node, shaper, placement, TargetFinder(Describer()))
        (message,) = output.messages(make_scene((motion,)), options)
        assert isinstance(message, HumanIntents)
        (item,) = message.intents
        assert (message.header.frame_id, message.robot_frame, message.reach_frame) == (
            "lens", robot, reach,
        )  # fmt: skip
        place = np.zeros(3) if robot == "lens" else np.array([0.0, 0.0, 1.0])
        body, _ = shaper.in_camera(motion, make_scene((motion,)))
        assert item.distance == pytest.approx(body.distances(place[None]).min(), rel=1e-5)
        assert item.distance_sigma == pytest.approx(0.03, rel=1e-3)
        assert np.isnan(item.reach_distance) == (reach == "")
        # Everything moves away from the camera at 0.25 m/s.
        assert item.observed and item.closing_speed < 0.0 and np.isinf(item.time_to_contact)
        output.destroy(client.node)


def test_nothing_is_inferred_from_images_that_do_not_show_the_person(
    client: Any, fake_node: ModuleType, make_scene: MakeScene, shaper: Shaper, placement: Placement
) -> None:
    unseen = replace(fake_node.body_motion(5, 0), keypoints_seen=np.array([False]))
    output = IntentsOutput(client.node, shaper, placement, TargetFinder(Describer()))
    (message,) = output.messages(make_scene((unseen,)), NodeConfig())
    (item,) = message.intents
    assert not item.observed and np.isnan(item.closing_speed) and np.isnan(item.time_to_contact)
    assert item.distance > 0.0, "the last known distance still counts"
    (message,) = output.messages(make_scene((), lost=(5,)), NodeConfig())
    assert (message.intents, list(message.lost)) == ([], [5])
    output.destroy(client.node)


def test_each_frame_of_a_person_is_shaped_once(
    fake_node: ModuleType, make_scene: MakeScene, shaper: Shaper
) -> None:
    scene = make_scene((fake_node.body_motion(1, 0), fake_node.body_motion(2, 0)))
    for _ in range(3):
        shaper.shapes(scene, IN_MAP)
    assert shaper.shapes_made == 2
    shaper.keep([2])
    shaper.shapes(scene, IN_MAP)
    assert shaper.shapes_made == 3


@pytest.mark.parametrize("name", ["frame", "robot_frame", "reach_frame"])
def test_frames_have_no_leading_slash(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"planners\.{name}: got '/map'"):
        parameters.updated(NodeConfig(), {f"planners.{name}": "/map"})


def test_parts_that_may_be_touched_are_joints() -> None:
    with pytest.raises(ConfigError, match=r"planners\.touch_parts: got 'left_hand', .*left_wrist"):
        parameters.updated(NodeConfig(), {"planners.touch_parts": "left_wrist, left_hand"})
    parameters.updated(NodeConfig(), {"planners.touch_parts": ", ".join(JOINT_NAMES)})


def test_all_outputs_of_an_image_are_in_one_frame(
    client: Any, fake_node: ModuleType, make_scene: MakeScene
) -> None:
    """TF may come between two outputs."""
    scene = make_scene((fake_node.body_motion(1, 0),))
    placement = Placement(client.node, "", "", None, ("map",))
    shaper = Shaper(placement, client.node.get_clock())
    (shape,) = shaper.shapes(scene, IN_MAP)
    camera = scene.header.frame_id
    assert shape.header.frame_id == camera
    links = [transform_message(Header(frame_id="map"), "lens", *LENS)]
    placement.tree.take_static(TFMessage(transforms=links))
    assert shaper.header(scene, IN_MAP).frame_id == camera
    assert not shaper.camera(scene, IN_MAP).any()
    placement.destroy(client.node)
