"""The services of moro_node, called over DDS while images come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from moro_ros.msg import HumanArray
from moro_ros.srv import CalibrateGround, GetBodyModel, LockShape, SetRoi, SetStature
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg

pytestmark = pytest.mark.ros
LEVEL = [0.0, -1.0, 0.0, 1.5]  # the ground 1.5 m below a level camera


@pytest.fixture(scope="module")
def call(bench: Any) -> Any:
    clients: dict[str, Any] = {}

    def call(kind: Any, name: str, **fields: Any) -> Any:
        if name not in clients:
            clients[name] = bench.client.node.create_client(kind, f"/moro/{name}")
        return bench.client.call(clients[name], kind.Request(**fields))

    return call


def test_enable_stops_the_work_and_not_the_node(bench: Any, call: Any) -> None:
    bench.answer(bench.image(1))
    resets = len(bench.calls("reset"))
    assert call(SetBool, "enable", data=False).success
    assert len(bench.calls("reset")) == resets + 1
    pushed = len(bench.calls("push"))

    def said() -> bool:
        # Images keep coming: their absence would be the more urgent message.
        bench.send(bench.image(1))
        bench.client.spin(0.1)
        status, values = bench.status()
        return status.message == "Disabled by ~/enable." and values["disabled"] > 0

    bench.client.wait(said, "the diagnostics to say so")
    assert len(bench.calls("push")) == pushed
    assert call(SetBool, "enable", data=True).success
    assert len(bench.answer(bench.image(2)).humans) == 2


def test_reset_forgets_everybody(bench: Any, call: Any) -> None:
    resets = len(bench.calls("reset"))
    response = call(Trigger, "reset")
    assert response.success and "forgotten" in response.message
    assert len(bench.calls("reset")) == resets + 1
    assert len(bench.answer(bench.image(1)).humans) >= 1


def test_outside_of_the_region_nothing_is_seen(bench: Any, call: Any) -> None:
    # The stand-in sees as many people as the first pixel says.
    bench.answer(bench.image(2))
    assert call(SetRoi, "set_roi", x_offset=8, y_offset=0, width=16, height=48).success
    answer = bench.answer(bench.image(2))
    assert all(human.tracking_state == human.TRACKING_LOST for human in answer.humans)
    assert call(SetRoi, "set_roi", width=16, height=16).success
    assert len(bench.answer(bench.image(2)).humans) == 2
    refused = call(SetRoi, "set_roi", x_offset=64, width=16, height=16)
    assert not refused.success and "outside the images of 64x48" in refused.message
    assert call(SetRoi, "set_roi").success
    assert len(bench.answer(bench.image(1)).humans) >= 1


def test_a_region_outlives_the_life_cycle_but_not_another_image_size(bench: Any, call: Any) -> None:
    def observed(answer: HumanArray) -> int:
        return sum(human.tracking_state != human.TRACKING_LOST for human in answer.humans)

    def answered(size: tuple[int, int] = (64, 48)) -> HumanArray | None:
        """The humans of an image of that size with two people."""
        pixels = np.zeros((*size[::-1], 3), np.uint8)
        pixels[0, 0, 0] = 2
        bench.info_publisher.publish(bench.info(*size))
        stamp_ns = bench.send(cv2_to_imgmsg(pixels, "bgr8", bench.header()))
        bench.client.spin(0.2)
        return bench.humans_of(stamp_ns)

    assert call(SetRoi, "set_roi", x_offset=8, y_offset=0, width=16, height=48).success
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        assert call(ChangeState, "change_state", transition=Transition(id=number)).success
    assert observed(bench.client.wait(answered, "the node to work again")) == 0
    small = bench.client.wait(lambda: answered((32, 24)), "an image of another size")
    assert observed(small) == 2
    assert "The region of ~/set_roi is not of images of 32x24 pixels" in bench.node.output()
    assert observed(bench.client.wait(answered, "an image of the first size")) == 2


def test_shapes_are_locked_by_id_or_all_together(bench: Any, call: Any) -> None:
    bench.answer(bench.image(2))
    one = call(LockShape, "lock_shape", id=2, lock=True)
    assert one.success and list(one.ids) == [2] and list(one.betas) == [2.0] * 10
    everybody = call(LockShape, "lock_shape", lock=False)
    assert sorted(everybody.ids) == [1, 2] and len(everybody.betas) == 20
    assert [(c["id"], c["lock"]) for c in bench.calls("lock_shape")] == [
        (2, True), (1, False), (2, False),
    ]  # fmt: skip
    nobody = call(LockShape, "lock_shape", id=77, lock=True)
    assert not nobody.success and "id: got 77" in nobody.message


def test_a_stature_is_set_and_forgotten(bench: Any, call: Any) -> None:
    bench.answer(bench.image(2))
    known = call(SetStature, "set_stature", id=2, stature=1.1)
    assert known.success and known.message == "Person 2 is 1.10 m tall."
    assert call(SetStature, "set_stature", id=2, stature=0.0).success
    assert [(c["id"], round(c["stature"], 3)) for c in bench.calls("set_stature")] == [
        (2, 1.1), (2, 0.0),
    ]  # fmt: skip
    for wrong in (0.2, 110.0, -1.0, float("nan")):
        refused = call(SetStature, "set_stature", id=2, stature=wrong)
        assert not refused.success and "expected 0.4 to 2.6 metres" in refused.message
    nobody = call(SetStature, "set_stature", id=77, stature=1.1)
    assert not nobody.success and "id: got 77" in nobody.message


def test_a_stature_that_depth_contradicts_is_said(bench: Any, call: Any) -> None:
    bench.answer(bench.image(1))
    assert call(SetStature, "set_stature", id=1, stature=0.9).success
    bench.answer(bench.image(1))
    bench.answer(bench.image(1))
    told = "Person 1 was set to be 0.90 m tall, but depth measures 1.70 m."
    assert told in bench.fresh_status()[0].message
    assert call(SetStature, "set_stature", id=1, stature=0.0).success
    bench.answer(bench.image(1))
    bench.answer(bench.image(1))
    assert told not in bench.fresh_status()[0].message
    assert bench.node.output().count(told) == 1


def test_a_floor_that_does_not_hold_is_said(bench: Any, call: Any) -> None:
    far = np.array([0.0, -1.0, 0.0, 9.0], np.float32)
    kinds = CalibrateGround.Request
    assert call(CalibrateGround, "calibrate_ground", mode=kinds.SET, ground_plane=far).success
    bench.answer(bench.image(1))
    bench.answer(bench.image(1))
    values = bench.fresh_status()[1]
    assert "person 1 (it would make them 3.00 m tall)" in values["floor_ignored"]
    assert "The floor is ignored for person 1" in bench.node.output()
    # It holds for nobody in view: it is not known.
    alone = bench.answer(bench.image(1))
    assert not any(alone.ground_plane) and not any(j.height for j in alone.humans[0].joints)
    # It holds for the second person alone.
    both = bench.answer(bench.image(2))
    assert list(both.ground_plane) == far.tolist()
    first, second = sorted(both.humans, key=lambda human: human.id)
    assert not any(joint.height for joint in first.joints)
    assert all(joint.height > 5.0 for joint in second.joints)
    assert call(Trigger, "reset").success
    assert bench.fresh_status()[1]["floor_ignored"] == "", "of people who are forgotten"
    assert call(CalibrateGround, "calibrate_ground", mode=kinds.LEARN).success
    bench.answer(bench.image(1))
    bench.answer(bench.image(1))
    assert bench.fresh_status()[1]["floor_ignored"] == ""


def test_the_ground_can_be_set_kept_and_learned(bench: Any, call: Any) -> None:
    kinds = CalibrateGround.Request
    assert call(CalibrateGround, "calibrate_ground", mode=kinds.LEARN).success
    unknown = call(CalibrateGround, "calibrate_ground", mode=kinds.FIX)
    assert not unknown.success and "not known yet" in unknown.message
    for wrong in ([0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 1.0], [0.0, -1.0, 0.0, float("nan")]):
        request = {"mode": kinds.SET, "ground_plane": np.array(wrong, np.float32)}
        assert "unit vector" in call(CalibrateGround, "calibrate_ground", **request).message
    for below in (0.0, -1.5):
        request = {"mode": kinds.SET, "ground_plane": np.array([0.0, -1.0, 0.0, below], np.float32)}
        refused = call(CalibrateGround, "calibrate_ground", **request)
        assert not refused.success and "m below the ground" in refused.message
    request = {"mode": kinds.SET, "ground_plane": np.array(LEVEL, np.float32)}
    given = call(CalibrateGround, "calibrate_ground", **request)
    assert given.success and list(given.ground_plane) == LEVEL
    assert list(bench.answer(bench.image(1)).ground_plane) == LEVEL
    assert bench.calls("set_floor")[-1]["plane"] == LEVEL, "a network may use a given floor"
    assert bench.fresh_status()[1]["ground"] == "kept"
    fixed = call(CalibrateGround, "calibrate_ground", mode=kinds.FIX)
    assert fixed.success and list(fixed.ground_plane) == LEVEL
    request["ground_plane"] = np.array([0.0, -1.0, 0.0, 1500.0], np.float32)
    millimetres = call(CalibrateGround, "calibrate_ground", **request)
    assert not millimetres.success and "expected at most 20 m" in millimetres.message
    assert list(millimetres.ground_plane) == LEVEL, "the plane that stays in use"
    assert not call(CalibrateGround, "calibrate_ground", mode=9).success
    learned = call(CalibrateGround, "calibrate_ground", mode=kinds.LEARN)
    assert learned.success and not any(learned.ground_plane)
    assert not any(bench.answer(bench.image(1)).ground_plane)
    assert bench.calls("set_floor")[-1]["plane"] is None


def test_the_body_model_is_described(bench: Any, call: Any) -> None:
    body = call(GetBodyModel, "get_body_model")
    assert body.success and body.model == "fake" and len(body.model_sha256) == 64
    assert tuple(body.joint_names[:22]) == JOINT_NAMES
    assert tuple(body.joint_parents[:22]) == tuple(PARENTS)
    assert len(body.joint_names) == len(body.joint_parents) == len(body.rest_joints) == 55
    assert len(body.faces) == 48 and max(body.faces) < len(body.vertex_parts) == 50
    wrong = np.array([float("nan"), *[0.0] * 9], np.float32)
    assert not call(GetBodyModel, "get_body_model", betas=wrong).success


def room(bench: Any, shift: int) -> Any:
    """An image of one person before a background, which is shifted by some pixels."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 32), np.uint8)
    fine = np.kron(coarse, np.ones((4, 4), np.uint8))
    pixels = np.repeat(fine[:48, shift : shift + 64, None], 3, axis=2).copy()
    pixels[0, 0] = 1, 0, 0
    return cv2_to_imgmsg(pixels, "bgr8", bench.header())


@pytest.fixture
def on_the_ground(bench: Any, call: Any) -> None:
    """The ground is set and the camera sees the room."""
    # The images before may have been from another place, which resets the ground.
    for _ in range(6):
        bench.answer(room(bench, 0))
        bench.client.spin(0.21)
    request = {"mode": CalibrateGround.Request.SET, "ground_plane": np.array(LEVEL, np.float32)}
    assert call(CalibrateGround, "calibrate_ground", **request).success
    assert any(bench.answer(room(bench, 0)).ground_plane)


def changed(bench: Any, before: dict[str, Any]) -> tuple[int, int]:
    """How often the camera was moved and tracking restarted, after an image of a moved camera."""
    for _ in range(6):
        bench.answer(room(bench, 6))
        bench.client.spin(0.21)
    after = bench.fresh_status()[1]
    moved, resets = (after[name] - before[name] for name in ("camera_moved", "resets"))
    return moved, resets


def test_a_moved_camera_is_said_and_starts_anew(bench: Any, on_the_ground: None) -> None:
    assert changed(bench, bench.fresh_status()[1]) == (1, 1)
    assert "The camera was moved" in bench.node.output() and "WARN" in bench.node.output()
    assert not any(bench.answer(room(bench, 6)).ground_plane)


def test_a_camera_that_is_moved_while_nobody_looks_is_said(
    bench: Any, call: Any, on_the_ground: None
) -> None:
    before = bench.fresh_status()[1]
    assert call(SetBool, "enable", data=False).success
    assert call(SetBool, "enable", data=True).success
    assert changed(bench, before) == (1, 2), "one by ~/enable"
    assert not any(bench.answer(room(bench, 6)).ground_plane)


def test_the_ground_of_another_camera_is_not_used(
    bench: Any, call: Any, on_the_ground: None
) -> None:
    image = bench.image(1)
    image.header.frame_id = "other_lens"
    assert not any(bench.answer(image).ground_plane)
    bench.answer(bench.image(1))
    said = "from the frame 'other_lens' instead of 'test_optical_frame'. The estimate of the "
    bench.client.wait(lambda: said in bench.node.output(), "the warning")


def test_the_ground_waits_for_the_image_in_work(
    client: Any, start_fake_node: Callable[..., Any], bench: Any
) -> None:
    """A plane that is set holds from the next image on, and not in the middle of one."""
    _, calls = start_fake_node(1.0, namespace="/slow")
    create = client.node.create_publisher
    images, infos = create(Image, "/slow/image", 10), create(CameraInfo, "/slow/camera_info", 10)
    subscription, humans = client.subscribe(HumanArray, "/slow/moro/humans")

    def begun(stamp_ns: int) -> bool:
        return calls.exists() and f'"push", "stamp_ns": {stamp_ns},' in calls.read_text()

    def show() -> int:
        image = bench.image(1)
        images.publish(image)
        return stamp_to_ns(image.header.stamp)

    def humans_of(stamp_ns: int) -> HumanArray | None:
        return next((m for m in humans if stamp_to_ns(m.header.stamp) == stamp_ns), None)

    def answered() -> bool:
        infos.publish(bench.info())
        stamp_ns = show()
        client.spin(2.5)
        return humans_of(stamp_ns) is not None

    client.wait(answered, "an answer")
    first_ns = show()
    client.wait(lambda: begun(first_ns), "the image to be in work")
    service = client.node.create_client(CalibrateGround, "/slow/moro/calibrate_ground")
    plane = np.array(LEVEL, np.float32)
    request = CalibrateGround.Request(mode=CalibrateGround.Request.SET, ground_plane=plane)
    start_s = time.monotonic()
    assert client.call(service, request).success
    assert time.monotonic() - start_s > 0.4, "the answer comes after the image"
    first = client.wait(lambda: humans_of(first_ns), "the image's humans", seconds=0.5)
    assert not any(first.ground_plane)
    next_ns = show()
    following = client.wait(lambda: humans_of(next_ns), "the next image's humans")
    assert list(following.ground_plane) == LEVEL
    client.node.destroy_subscription(subscription)
    for publisher in (images, infos):
        client.node.destroy_publisher(publisher)
