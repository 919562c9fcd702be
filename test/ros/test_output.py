"""Outputs work for subscribers alone, in time with their rates, each motion at its own stamp."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hri_msgs.msg import IdsList
from moro_ros.msg import Human, HumanArray, HumanMesh
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from moro_ros.errors import ConfigError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.recover.ground import GIVEN_SIGMA, GroundPlane
from moro_ros.ros.conversions import ns_to_stamp, stamp_to_ns
from moro_ros.ros.health import ground_state
from moro_ros.ros.outputs.base import Rhythm, TopicOutput, by_stamp
from moro_ros.ros.outputs.humans import NO_FIT
from moro_ros.ros.outputs.registry import Outputs, Wanted
from moro_ros.ros.outputs.tf import transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.body import KINDS as BODY_KINDS
from moro_ros.ros.rep155.lazy import LOOK_NS
from moro_ros.ros.rep155.persons import KINDS as PERSON_KINDS
from moro_ros.ros.services import fixed_words
from moro_ros.types import PipelineResult

pytestmark = pytest.mark.ros

HEADER = Header(stamp=ns_to_stamp(5 * 10**9), frame_id="lens")
NODE = "test_client", "/"
IMAGE = np.zeros((48, 64, 3), np.uint8)
EVERYTHING = NodeConfig(world_frame="map", ground_frame="", tf_level="smplx55")


@pytest.fixture
def outputs(client: Any, fake_node: ModuleType) -> Any:
    """The outputs of a node in the test's process; they are taken down afterwards."""
    outputs = Outputs(client.node, EVERYTHING, fake_node.FakePipeline(None, 0.0))
    yield outputs
    outputs.destroy(client.node)


def result_of(fake_node: ModuleType, *ids: int, lost: tuple[int, ...] = ()) -> PipelineResult:
    motions = tuple(fake_node.body_motion(i, 5 * 10**9, mesh=True) for i in ids)
    camera = camera_from_focal(100.0, 64, 48)
    return PipelineResult(5 * 10**9, camera, (), motions, {}, lost, motions)


def publish(outputs: Outputs, result: PipelineResult, options: NodeConfig = EVERYTHING) -> Any:
    wanted = outputs.wanted(stamp_to_ns(HEADER.stamp), options)
    outputs.publish(result, IMAGE, HEADER, wanted, options)
    return wanted


def test_who_is_above_no_known_ground_does_not_fall(
    outputs: Outputs, fake_node: ModuleType, client: Any, monkeypatch: Any
) -> None:
    """A ground that does not hold for a person is not used to see them fall."""
    outputs.ground.keep(GroundPlane(np.array([0.0, -1.0, 0.0]), 1.5))
    asked: list[int] = []
    describer = outputs._describer
    monkeypatch.setattr(describer, "fallen", lambda m, _: bool(asked.append(m.track_id)) or True)
    name = outputs.outputs[0].topic  # type: ignore[attr-defined]
    subscription, received = client.subscribe(HumanArray, name)
    client.wait(lambda: outputs.outputs[0].watched(EVERYTHING), "a match")

    def told(groundless: tuple[int, ...]) -> HumanArray:
        received.clear()
        wanted = outputs.wanted(stamp_to_ns(HEADER.stamp), EVERYTHING)
        result = result_of(fake_node, 1, 2)
        outputs.publish(result, IMAGE, HEADER, wanted, EVERYTHING, groundless)
        return client.wait(lambda: received and received[0], "the humans")

    message = told((2,))
    assert asked == [1] and any(message.ground_plane)
    assert [human.fall for human in message.humans] == [True, False]
    assert not any(told((1, 2)).ground_plane) and asked == [1]
    client.node.destroy_subscription(subscription)


def test_the_network_is_told_a_learned_ground_only_if_it_is_kept_and_sure(
    outputs: Outputs,
) -> None:
    ground, plane = outputs.ground, GroundPlane(np.array([0.0, -1.0, 0.0]), 1.5)
    assert outputs.trusted_ground("lens") == (None, 0.0, False)
    ground.plane, ground.sigma, ground.step_m = plane, 0.12, -0.17
    assert outputs.trusted_ground("lens") == (None, 0.0, False), "the network's own word"
    assert ground_state(outputs) == "learned; feet stand at two heights, 0.17 m apart"
    ground.people = 2
    assert outputs.trusted_ground("lens") == (plane, 0.12, False), "two people share one floor"
    ground.plane = GroundPlane(plane.normal, -0.5)
    assert outputs.trusted_ground("lens") == (None, 0.0, False), "above the camera"
    ground.plane, ground.people = plane, 1
    ground.sigma = 0.02
    assert outputs.trusted_ground("lens") == (plane, 0.02, False)
    ground.keep()
    assert outputs.trusted_ground("lens") == (plane, 0.02, True)
    ground.sigma = 0.12
    assert outputs.trusted_ground("lens") == (plane, 0.12, False)
    assert "known to 12.0 %" in fixed_words(0.12) and "not given to" in fixed_words(0.12)
    assert "not given to" not in fixed_words(0.02)
    ground.keep(plane)
    assert outputs.trusted_ground("lens") == (plane, GIVEN_SIGMA, True)
    assert ground_state(outputs) == "kept"


def test_nothing_is_made_without_a_subscriber(outputs: Outputs, fake_node: ModuleType) -> None:
    wanted = publish(outputs, result_of(fake_node, 1, 2))
    assert wanted.idle and not wanted.mesh and not wanted.outputs
    assert len(outputs.made()) >= len(outputs.outputs)
    assert set(outputs.made().values()) == {0}


def topics(outputs: Outputs) -> list[TopicOutput]:
    return [output for output in outputs.outputs if isinstance(output, TopicOutput)]


def test_a_subscriber_has_its_own_topic_made_and_no_other(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    for output in topics(outputs):
        before = outputs.made()
        kind = output.publisher.msg_type
        subscription = client.node.create_subscription(kind, output.topic, lambda _: None, 10)
        client.wait(lambda output=output: output.watched(EVERYTHING), f"a match on {output.topic}")
        wanted = publish(outputs, result_of(fake_node, 1, 2))
        # The bodies of REP-155 follow, but nothing is made for them.
        assert {o for o in wanted.outputs if isinstance(o, TopicOutput)} == {output}
        assert not wanted.idle
        assert wanted.mesh == output.needs_mesh
        changed = {t for t, made in outputs.made().items() if made > before.get(t, 0)}
        # Who a person is, is latched for those who come later.
        changed = {topic for topic in changed if not topic.startswith("/humans/persons/")}
        # The world's place is not known, so that nothing can be said there.
        world = output.topic.endswith("humans_world")
        assert changed == (set() if world else {output.topic})
        client.node.destroy_subscription(subscription)
        client.wait(lambda output=output: not output.watched(EVERYTHING), "the end of it")


def test_options_switch_outputs_off(outputs: Outputs, client: Any) -> None:
    names = {"/tf": {"tf_level": "none"}, "~/annotated": {"publish_images": False}}
    for topic, change in names.items():
        full = client.node.resolve_topic_name(topic)
        output = next(output for output in topics(outputs) if output.topic == full)
        kind = output.publisher.msg_type
        subscription = client.node.create_subscription(kind, full, lambda _: None, 10)
        client.wait(output.publisher.get_subscription_count, f"a match on {full}")
        assert output.watched(EVERYTHING)
        assert not output.watched(dataclasses.replace(EVERYTHING, **change))
        client.node.destroy_subscription(subscription)


def test_who_is_lost_is_said_once_with_the_last_pose(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    subscription, received = client.subscribe(HumanArray, "/test_client/humans")
    client.wait(topics(outputs)[0].publisher.get_subscription_count, "a match")
    for result in (
        result_of(fake_node, 1, 2),
        result_of(fake_node, 1, lost=(2, 77)),
        result_of(fake_node, 1),
    ):
        publish(outputs, result)
    client.wait(lambda: len(received) == 3, "three arrays")
    states = [[(human.id, human.tracking_state) for human in m.humans] for m in received]
    assert states[1:] == [[(1, 0), (2, Human.TRACKING_LOST)], [(1, 0)]]
    places = [m.humans[1].joints[3].pose for m in received[:2]]
    assert places[0] == places[1]
    client.node.destroy_subscription(subscription)


def test_who_is_lost_while_nobody_listens_is_reported_to_the_next_who_does(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    humans = next(o for o in topics(outputs) if o.topic.endswith("/humans"))
    subscription, received = client.subscribe(HumanArray, humans.topic)
    client.wait(lambda: humans.watched(EVERYTHING), "a match")
    publish(outputs, result_of(fake_node, 1, 2))
    client.wait(lambda: received, "humans")
    client.node.destroy_subscription(subscription)
    client.wait(lambda: not humans.watched(EVERYTHING), "the end of it")
    publish(outputs, result_of(fake_node, 1, lost=(2,)))
    assert humans._known.keys() == {1}, "whoever is gone is kept"
    subscription, received = client.subscribe(HumanArray, humans.topic)
    client.wait(lambda: humans.watched(EVERYTHING), "a match")
    for _ in range(2):
        publish(outputs, result_of(fake_node, 1))
    client.wait(lambda: len(received) == 2, "two arrays")
    states = [[(human.id, human.tracking_state) for human in m.humans] for m in received]
    assert states == [[(1, 0), (2, Human.TRACKING_LOST)], [(1, 0)]]
    client.node.destroy_subscription(subscription)


def test_with_look_ahead_everything_has_the_stamp_of_the_image_that_it_describes(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    kinds = {"humans": HumanArray, "mesh": HumanMesh, "cloud": PointCloud2, "markers": MarkerArray}
    heard = {name: client.subscribe(kind, f"/test_client/{name}") for name, kind in kinds.items()}
    for name in heard:
        output = next(o for o in topics(outputs) if o.topic.endswith(f"/{name}"))
        client.wait(lambda output=output: output.watched(EVERYTHING), f"a match on {name}")
    result = result_of(fake_node, 1)
    earlier = tuple(fake_node.body_motion(i, 4 * 10**9, mesh=True) for i in (1, 2))
    publish(outputs, dataclasses.replace(result, motions=earlier, refined=()))
    client.wait(lambda: all(received for _, received in heard.values()), "a message on each")
    stamps = {
        name: {stamp_to_ns(part.header.stamp) for part in getattr(received[0], "markers", received)}
        for name, (_, received) in heard.items()
    }
    assert stamps == {name: {4 * 10**9} for name in kinds}
    for subscription, _ in heard.values():
        client.node.destroy_subscription(subscription)


def test_asking_what_is_wanted_leaves_the_describer_to_the_thread_that_publishes(
    outputs: Outputs, fake_node: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker asks for the next image while another thread describes the one before."""
    callers = []
    keep = outputs._describer.keep
    monkeypatch.setattr(
        outputs._describer, "keep", lambda ids: (callers.append(threading.get_ident()), keep(ids))
    )
    wanted = Wanted(tuple(outputs.outputs[:1]), idle=False)
    outputs.publish(result_of(fake_node, 1), IMAGE, HEADER, wanted, EVERYTHING)
    asking = threading.Thread(target=lambda: outputs.wanted(6 * 10**9, EVERYTHING))
    asking.start()
    asking.join()
    assert set(callers) == {threading.get_ident()}


def test_the_world_is_told_once_tf_knows_the_camera(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    subscription, received = client.subscribe(HumanArray, "/test_client/humans_world")
    output = next(o for o in topics(outputs) if o.topic.endswith("humans_world"))
    client.wait(output.publisher.get_subscription_count, "a match")
    message = TFMessage()
    half = np.sqrt(0.5)
    mounting = transform_message(
        Header(frame_id="map"), "lens", (1.0, 2.0, 1.5), (-half, 0, 0, half)
    )
    message.transforms = [mounting]
    outputs.placement.tree.take(message)
    result = result_of(fake_node, 1)
    publish(outputs, result)
    client.wait(lambda: received, "humans in the world")
    assert received[0].header.frame_id == "map" and received[0].header.stamp == HEADER.stamp
    place = received[0].humans[0].joints[15].pose.position
    x, y, z = result.motions[0].joints[-1, 15]
    # Turned by -90 degrees about x, the optical axis points along the world's y, and down along -z.
    np.testing.assert_allclose([place.x, place.y, place.z], [1 + x, 2 + z, 1.5 - y], atol=1e-5)
    client.node.destroy_subscription(subscription)


def test_bodies_of_rep_155_follow_and_go_when_nobody_looks(
    outputs: Outputs, fake_node: ModuleType, client: Any
) -> None:
    subscription, received = client.subscribe(HumanArray, "/test_client/humans")
    client.wait(topics(outputs)[0].publisher.get_subscription_count, "a match")
    publish(outputs, result_of(fake_node, 1))
    assert not any("b1" in topic for topic in outputs.made()), "nobody asked for REP-155"
    client.wait(lambda: received, "humans")
    human = received[0].humans[0]
    assert human.joint_fit_residual == NO_FIT, "nobody asked for a fit"
    level = dataclasses.replace(EVERYTHING, tf_level="rep155")
    publish(outputs, result_of(fake_node, 1), level)
    client.wait(lambda: len(received) == 2, "more humans")
    assert received[1].humans[0].joint_fit_residual > 0.0
    rep155 = {f"/humans/bodies/b1/{name}" for name in BODY_KINDS}
    rep155 |= {f"/humans/persons/anonymous_b1/{name}" for name in PERSON_KINDS}
    for topic, kind in (
        # Whoever subscribes to a list of ids will want the topics of some; others know an id.
        ("/humans/persons/known", IdsList),
        ("/humans/bodies/tracked", IdsList),
        ("/humans/bodies/b1/urdf", String),
    ):
        client.node.destroy_subscription(subscription)
        client.wait(lambda: publish(outputs, result_of(fake_node, 1)).idle, "nobody to listen")
        assert not any("b1" in made for made in outputs.made())
        subscription, received = client.subscribe(HumanArray, "/test_client/humans")
        other = client.node.create_subscription(kind, topic, lambda _: None, 10)
        stamps = itertools.count(6 * 10**9, LOOK_NS)

        def asked(stamps: Any = stamps) -> bool:
            result = dataclasses.replace(result_of(fake_node, 1), stamp_ns=next(stamps))
            return not publish(outputs, result).idle and "b1" in " ".join(outputs.made())

        client.wait(asked, f"the topics of somebody, for {topic}")
        asked()
        only = "/humans/bodies/b1/" if "b1" in topic else ""
        expected = {name for name in rep155 if name.startswith(only)}
        assert {made for made in outputs.made() if "b1" in made} == expected
        client.node.destroy_subscription(other)
    client.node.destroy_subscription(subscription)
    client.wait(lambda: publish(outputs, result_of(fake_node, 1)).idle, "nobody to listen")


def test_a_level_that_the_body_cannot_serve_is_refused(client: Any, fake_node: ModuleType) -> None:
    body = fake_node.FakePipeline(None, 0.0)
    body.joint_parents = body.joint_parents[:22]
    topics_before = {name for name, _ in client.node.get_publisher_names_and_types_by_node(*NODE)}
    with pytest.raises(ConfigError, match="has 22 joints instead of 55"):
        Outputs(client.node, EVERYTHING, body)
    left = {name for name, _ in client.node.get_publisher_names_and_types_by_node(*NODE)}
    assert left == topics_before, "a refused start leaves topics behind"
    smaller = Outputs(client.node, dataclasses.replace(EVERYTHING, tf_level="smplx22"), body)
    try:
        with pytest.raises(ConfigError, match="tf_level"):
            smaller.check(EVERYTHING)
    finally:
        smaller.destroy(client.node)


def test_motions_of_other_stamps_go_out_at_their_own(
    fake_node: ModuleType, make_scene: Any
) -> None:
    motions = tuple(fake_node.body_motion(i, stamp) for i, stamp in ((1, 30), (2, 20), (3, 30)))
    scenes = by_stamp(make_scene(motions, lost=(9,), stamp_ns=40))
    told = [
        (stamp_to_ns(s.header.stamp), [m.track_id for m in s.result.motions], s.result.lost)
        for s in scenes
    ]
    assert told == [(20, [2], ()), (30, [1, 3], (9,))]
    (empty,) = by_stamp(make_scene((), lost=(9,), stamp_ns=40))
    assert stamp_to_ns(empty.header.stamp) == 40 and empty.result.lost == (9,)


def test_a_rhythm_thins_stamps_out_and_restarts_after_a_jump() -> None:
    rhythm = Rhythm()
    beats = [k for k in range(30) if rhythm.beat(round(k * 1e9 / 30), 10.0)]
    assert beats == list(range(0, 30, 3))
    assert rhythm.beat(100 * 10**9, 10.0) and not rhythm.beat(100 * 10**9 + 1, 10.0)
    assert rhythm.beat(10**9, 10.0)
