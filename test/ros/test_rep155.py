"""Conformance with REP-155, over DDS and from another process, the way its clients listen.

The tables restate the REP's own (sections "Topics structure", "Body frames", "Person frame") and
the subscriptions of libhri, which asks for the system's default QoS.
"""

import importlib.util
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hri_msgs.msg import (
    BodyPosture,
    Gesture,
    IdsList,
    NormalizedRegionOfInterest2D,
    Skeleton2D,
)
from rclpy.qos import (
    DurabilityPolicy,
    QoSPresetProfiles,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_system_default,
)
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float32, String
from tf2_msgs.msg import TFMessage

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.lens import image_points
from moro_ros.ros.conversions import stamp_to_ns

pytestmark = pytest.mark.ros
SCRIPT = Path(__file__).with_name("rep155_people.py")
# What libhri subscribes with, and pyhri through it.
SYSTEM_DEFAULT = qos_profile_system_default
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
RELIABLE, VOLATILE = ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE
TRANSIENT_LOCAL = DurabilityPolicy.TRANSIENT_LOCAL
BODY_TOPICS = {
    "roi": ("hri_msgs/msg/NormalizedRegionOfInterest2D", VOLATILE),
    "cropped": ("sensor_msgs/msg/Image", VOLATILE),
    "skeleton2d": ("hri_msgs/msg/Skeleton2D", VOLATILE),
    "joint_states": ("sensor_msgs/msg/JointState", VOLATILE),
    "posture": ("hri_msgs/msg/BodyPosture", VOLATILE),
    "gesture": ("hri_msgs/msg/Gesture", VOLATILE),
    "urdf": ("std_msgs/msg/String", TRANSIENT_LOCAL),
}
PERSON_TOPICS = {
    "anonymous": ("std_msgs/msg/Bool", TRANSIENT_LOCAL),
    "body_id": ("std_msgs/msg/String", TRANSIENT_LOCAL),
    "location_confidence": ("std_msgs/msg/Float32", VOLATILE),
}
MEMORY_S = 3.0
OPTIONS = {"person_memory_s": MEMORY_S}


def load_people():
    spec = importlib.util.spec_from_file_location("rep155_people", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rep155_people"] = module
    spec.loader.exec_module(module)
    return module


people = load_people()


class Stage:
    """The process with the imagined people, and what a client of REP-155 hears of it."""

    def __init__(self, client, process) -> None:
        self.client, self.process = client, process
        self._show = client.node.create_publisher(String, "/people/show", 10)
        _, self.lists = client.subscribe(IdsList, "/humans/bodies/tracked", SYSTEM_DEFAULT)
        client.wait(self._show.get_subscription_count, "the people")

    def show(self, *ids: str) -> list[str]:
        """Have some people in view, "(1)" for a hidden one; returns their bodies' ids."""
        self._show.publish(String(data=" ".join(ids)))

        wanted = [name.strip("()") for name in ids]

        def listed() -> bool:
            # An id is a prefix and the number of the track.
            return bool(self.lists) and [i.lstrip("b") for i in self.lists[-1].ids] == wanted

        self.client.wait(
            listed, f"a list of {len(ids)}; the process said:\n{self.process.output()}"
        )
        return list(self.lists[-1].ids)

    def hear(self, msg_type: type, topic: str, count: int = 1, qos=SYSTEM_DEFAULT) -> list:
        """The first messages of a topic after this call."""
        subscription, received = self.client.subscribe(msg_type, topic, qos)
        self.client.wait(lambda: len(received) >= count, f"{count} of {topic}")
        self.client.node.destroy_subscription(subscription)
        return received


@pytest.fixture(scope="module")
def stage(client, start_node) -> Stage:
    return Stage(client, start_node([str(SCRIPT), json.dumps(OPTIONS)]))


@pytest.fixture(scope="module")
def imagined():
    return people.People()


def test_nobody_is_an_empty_list(stage):
    assert stage.show() == []
    assert stage.lists[-1].header.frame_id == people.FRAME


def test_ids_are_short_valid_names_and_unique(stage):
    ids = stage.show("1", "2")
    assert len(set(ids)) == 2
    for body in ids:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,9}", body)


@pytest.mark.parametrize("name", BODY_TOPICS)
def test_topics_of_a_body_have_type_and_qos(stage, name):
    expected, durability = BODY_TOPICS[name]
    for body in stage.show("1", "2"):
        check_publisher(stage, f"/humans/bodies/{body}/{name}", expected, durability)


@pytest.mark.parametrize("name", PERSON_TOPICS)
def test_topics_of_a_person_have_type_and_qos(stage, name):
    stage.show("1")
    (persons, *_) = stage.hear(IdsList, "/humans/persons/tracked")
    expected, durability = PERSON_TOPICS[name]
    for person in persons.ids:
        check_publisher(stage, f"/humans/persons/{person}/{name}", expected, durability)


@pytest.mark.parametrize("name", ["bodies/tracked", "persons/tracked", "persons/known"])
def test_lists_have_type_and_qos(stage, name):
    check_publisher(stage, f"/humans/{name}", "hri_msgs/msg/IdsList", VOLATILE)


def check_publisher(stage, topic: str, expected: str, durability: DurabilityPolicy) -> None:
    """One publisher, which a reliable subscription matches."""
    infos = stage.client.wait(
        lambda: stage.client.node.get_publishers_info_by_topic(topic), f"a publisher of {topic}"
    )
    assert [info.topic_type for info in infos] == [expected]
    assert infos[0].qos_profile.reliability == RELIABLE
    assert infos[0].qos_profile.durability == durability


def test_libhri_hears_region_crop_and_skeleton(stage):
    """With the subscriptions that libhri makes when it hears of a body."""
    (body,) = stage.show("1")
    kinds = {"roi": NormalizedRegionOfInterest2D, "cropped": Image, "skeleton2d": Skeleton2D}
    heard = {}
    for name, kind in kinds.items():
        heard[name] = stage.client.subscribe(kind, f"/humans/bodies/{body}/{name}", SYSTEM_DEFAULT)
    stamps = {}

    def together() -> set[int]:
        for name, (_, received) in heard.items():
            stamps[name] = {stamp_to_ns(message.header.stamp): message for message in received}
        return stamps["roi"].keys() & stamps["cropped"].keys() & stamps["skeleton2d"].keys()

    stamp_ns = max(stage.client.wait(together, "the three of one image"))
    for subscription, _ in heard.values():
        stage.client.node.destroy_subscription(subscription)
    region, crop = stamps["roi"][stamp_ns], stamps["cropped"][stamp_ns]
    assert 0.0 <= region.xmin < region.xmax <= 1.0
    assert 0.0 <= region.ymin < region.ymax <= 1.0
    assert 0.0 <= region.c <= 1.0
    assert region.header.frame_id == crop.header.frame_id == people.FRAME
    check_crop(crop, region)
    check_inside(stamps["skeleton2d"][stamp_ns], region)


def check_crop(crop: Image, region: NormalizedRegionOfInterest2D) -> None:
    """The part of the image that the region names; each pixel says where it was."""
    assert crop.encoding == "rgb8"
    width, height = people.CAMERA.width, people.CAMERA.height
    pixels = np.frombuffer(crop.data, np.uint8).reshape(crop.height, crop.width, 3).astype(int)
    left, top = pixels[0, 0, 1] + 256 * pixels[0, 0, 2], pixels[0, 0, 0]
    assert abs(left - region.xmin * width) <= 1
    assert abs(top - region.ymin * height) <= 1
    assert abs(left + crop.width - region.xmax * width) <= 1
    assert abs(top + crop.height - region.ymax * height) <= 1


def check_inside(skeleton: Skeleton2D, region: NormalizedRegionOfInterest2D) -> None:
    """Most points of a person lie in the person's region."""
    assert len(skeleton.skeleton) == 18
    known = [point for point in skeleton.skeleton if point.c > 0]
    inside = [
        region.xmin <= point.x <= region.xmax and region.ymin <= point.y <= region.ymax
        for point in known
    ]
    assert sum(inside) > 0.6 * len(inside)


def test_skeleton_has_its_points_in_the_image(stage, imagined):
    stage.show("1", "2")
    order = ("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow")
    order += ("left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee")
    order += ("left_ankle",)
    for message in stage.hear(Skeleton2D, "/humans/bodies/b2/skeleton2d", count=2):
        motion = imagined.motion(2, stamp_to_ns(message.header.stamp), True)
        joints = [motion.joints[0, JOINT_NAMES.index(name)] for name in order]
        pixels = image_points(np.array(joints), people.CAMERA)
        size = np.array([people.CAMERA.width, people.CAMERA.height])
        for point, pixel in zip(message.skeleton[2:14], pixels, strict=True):
            assert 0.0 <= point.x <= 1.0
            assert 0.0 <= point.y <= 1.0
            if ((pixel >= 0) & (pixel <= size)).all():
                np.testing.assert_allclose((point.x, point.y), pixel / size, atol=1e-4)
                assert point.c == pytest.approx(0.9)
            else:
                assert point.c == 0.0
        # No detector of ours sees eyes.
        assert [message.skeleton[i].c for i in (Skeleton2D.LEFT_EYE, Skeleton2D.RIGHT_EYE)] == [
            0,
            0,
        ]
        assert message.skeleton[Skeleton2D.NOSE].c > 0.5


def test_urdf_reaches_a_late_reader_and_fits_joint_states(stage):
    """The latched URDF first, then joint_states of its very joints."""
    (body,) = stage.show("2")
    (first, *_) = stage.hear(String, f"/humans/bodies/{body}/urdf", qos=LATCHED)
    # Later, from the publisher's history, not made anew.
    (late, *_) = stage.hear(String, f"/humans/bodies/{body}/urdf", qos=LATCHED)
    assert late.data == first.data
    moving = set(re.findall(r'<joint name="(\w+)" type="revolute"', first.data))
    (state, *_) = stage.hear(JointState, f"/humans/bodies/{body}/joint_states")
    assert set(state.name) == moving
    assert len(state.name) == len(state.position) == 20
    assert all(name.endswith(f"_{body}") for name in state.name)
    angles = dict(zip(state.name, state.position, strict=True))
    # Sitting on a chair, which the reference model's limits forbid.
    assert angles[f"l_r_hip_{body}"] == pytest.approx(1.5, abs=0.05)
    assert angles[f"l_knee_{body}"] == pytest.approx(-1.5, abs=0.05)


@pytest.mark.parametrize(("person", "posture"), [("1", "STANDING"), ("2", "SITTING")])
def test_posture_and_gesture(stage, person, posture):
    (body,) = stage.show(person)
    (message, *_) = stage.hear(BodyPosture, f"/humans/bodies/{body}/posture")
    assert message.posture == getattr(BodyPosture, posture)
    (message, *_) = stage.hear(Gesture, f"/humans/bodies/{body}/gesture")
    assert message.gesture == Gesture.OTHER


def test_stamps_are_those_of_the_images_and_rise(stage):
    (body,) = stage.show("1")
    received = stage.hear(JointState, f"/humans/bodies/{body}/joint_states", count=5)
    stamps = [stamp_to_ns(message.header.stamp) for message in received]
    assert stamps == sorted(set(stamps))


def test_topics_vanish_with_the_body(stage):
    (body,) = stage.show("1")
    topic = f"/humans/bodies/{body}/roi"
    stage.client.wait(lambda: stage.client.node.count_publishers(topic), topic)
    stage.show()
    for name in BODY_TOPICS:
        topic = f"/humans/bodies/{body}/{name}"
        gone = lambda topic=topic: stage.client.node.count_publishers(topic) == 0  # noqa: E731
        stage.client.wait(gone, f"the end of {topic}")


def test_an_anonymous_person_for_the_body(stage):
    (body,) = stage.show("1")
    (tracked, *_) = stage.hear(IdsList, "/humans/persons/tracked")
    (person,) = [i for i in tracked.ids if i.endswith(body)]
    (known, *_) = stage.hear(IdsList, "/humans/persons/known")
    assert set(tracked.ids) <= set(known.ids)
    base = f"/humans/persons/{person}"
    # As libhri subscribes, and after they were published.
    assert stage.hear(Bool, f"{base}/anonymous", qos=LATCHED)[0].data is True
    assert stage.hear(String, f"{base}/body_id", qos=LATCHED)[0].data == body
    assert stage.hear(Float32, f"{base}/location_confidence")[-1].data == 1.0


def frames_of(stage, name: str, count: int = 1) -> list:
    subscription, received = stage.client.subscribe(TFMessage, "/tf", 100)

    def found() -> list:
        transforms = [t for message in received for t in message.transforms]
        return [t for t in transforms if t.child_frame_id == name]

    stage.client.wait(lambda: len(found()) >= count, f"the frame {name}")
    stage.client.node.destroy_subscription(subscription)
    return found()


def test_the_persons_frame_lies_at_the_head(stage, imagined):
    stage.show("2")
    for transform in frames_of(stage, "person_anonymous_b2", 2):
        assert transform.header.frame_id == people.FRAME
        motion = imagined.motion(2, stamp_to_ns(transform.header.stamp), True)
        head = JOINT_NAMES.index("head")
        place = transform.transform.translation
        np.testing.assert_allclose((place.x, place.y, place.z), motion.joints[0, head], atol=1e-5)
        turn = transform.transform.rotation
        axes = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
        smplx = motion.joint_rotations[0, head]
        # x out of the face, z to the scalp.
        np.testing.assert_allclose(axes[:, 0], smplx[:, 2], atol=1e-5)
        np.testing.assert_allclose(axes[:, 2], smplx[:, 1], atol=1e-5)


def test_an_unseen_person_fades_stays_in_place_and_is_forgotten(stage):
    (body,) = stage.show("1")
    (person,) = [
        i for i in stage.hear(IdsList, "/humans/persons/tracked")[-1].ids if i.endswith(body)
    ]
    base = f"/humans/persons/{person}"
    _, confidence = stage.client.subscribe(Float32, f"{base}/location_confidence", SYSTEM_DEFAULT)
    _, matched = stage.client.subscribe(String, f"{base}/body_id", LATCHED)
    stage.client.wait(lambda: confidence and matched, "the person")
    assert confidence[-1].data == 1.0
    stage.show("(1)")  # the body is followed but not seen
    stage.client.wait(lambda: confidence[-1].data < 0.9, "less confidence")
    assert matched[-1].data == body
    stage.show()  # and now lost
    stage.client.wait(lambda: matched[-1].data == "", "the end of the match")
    assert person not in stage.hear(IdsList, "/humans/persons/tracked")[-1].ids
    assert person in stage.hear(IdsList, "/humans/persons/known")[-1].ids
    kept = [t.transform.translation for t in frames_of(stage, f"person_{person}", 3)]
    assert len({(place.x, place.y, place.z) for place in kept}) == 1
    stage.client.wait(lambda: confidence[-1].data == 0.0, "no confidence")
    values = [message.data for message in confidence]
    falling = values[values.index(next(v for v in values if v < 1.0)) : values.index(0.0) + 1]
    assert all(a > b for a, b in pairwise(falling))
    # A word that is sent as the topic closes can be lost: the last one is repeated.
    stage.client.wait(lambda: [m.data for m in confidence].count(0.0) > 1, "its repetition")
    assert person not in stage.hear(IdsList, "/humans/persons/known")[-1].ids
    gone = lambda: stage.client.node.count_publishers(f"{base}/anonymous") == 0  # noqa: E731
    stage.client.wait(gone, "the end of the person")
    assert not any(message.data for message in confidence[len(values) :])


def counters(stage) -> dict[str, int]:
    return json.loads(stage.hear(String, "/people/made")[-1].data)


def test_nothing_is_made_without_a_subscriber(stage):
    stage.show()
    stage.show("1", "2")
    stage.client.spin(0.5)
    before = counters(stage)
    lazy = [name for name in before if "/b1/" in name or "/b2/" in name]
    lazy = [name for name in lazy if not name.endswith(("/anonymous", "/body_id"))]
    assert len(lazy) >= 2 * len(BODY_TOPICS)
    assert {name: before[name] for name in lazy} == dict.fromkeys(lazy, 0)
    stage.hear(JointState, "/humans/bodies/b2/joint_states", count=3)
    after = counters(stage)
    made = {name for name in lazy if after[name]}
    assert made == {"/humans/bodies/b2/joint_states"}
    assert after["fits"] - before["fits"] == after["/humans/bodies/b2/joint_states"]
    assert after["behaviours"] == before["behaviours"]


def test_a_second_camera_and_a_person_manager_beside_it(client, start_node):
    """Other names keep two cameras apart; persons are left to somebody else."""
    options = {"persons": False, "namespace": "/left/humans", "id_prefix": "left_"}
    process = start_node([str(SCRIPT), json.dumps(options)], "/second")
    show = client.node.create_publisher(String, "/second/people/show", 10)
    client.wait(show.get_subscription_count, "the second people")
    _, lists = client.subscribe(IdsList, "/left/humans/bodies/tracked", SYSTEM_DEFAULT)
    show.publish(String(data="1"))
    shown = lambda: lists and list(lists[-1].ids) == ["left_1"]  # noqa: E731
    client.wait(shown, f"the body; the process said:\n{process.output()}")

    def names() -> list[str]:
        return [name for name, _ in client.node.get_topic_names_and_types()]

    client.wait(lambda: "/left/humans/bodies/left_1/roi" in names(), "the topics of the body")
    assert not any(name.startswith("/left/humans/persons") for name in names())
    assert process.end() == 0, process.output()


def test_system_default_is_what_these_tests_listen_with():
    assert QoSPresetProfiles.SYSTEM_DEFAULT.value == SYSTEM_DEFAULT
    assert SYSTEM_DEFAULT.reliability == ReliabilityPolicy.SYSTEM_DEFAULT
