"""When the images stop, everybody is reported lost, between processes: no reader has to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hri_msgs.msg import IdsList
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from moro_ros.msg import Human, HumanArray
from moro_ros.srv import CalibrateGround
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.image_input import Worker
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.ros.statistics import NodeStatistics

pytestmark = pytest.mark.ros
LOST = Human.TRACKING_LOST


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any]) -> Any:
    bench = make_bench(**{"motion.max_gap_s": 0.5, "marker_rate_hz": 240.0})
    bench.be_answered()
    return bench


def test_a_floor_is_not_ignored_for_people_who_are_gone(bench: Any) -> None:
    service = bench.client.node.create_client(CalibrateGround, "/moro/calibrate_ground")
    # The stand-in's people doubt a floor that is far below.
    far = np.array([0.0, -1.0, 0.0, 9.0], np.float32)
    kinds = CalibrateGround.Request
    request = CalibrateGround.Request(mode=kinds.SET, ground_plane=far)
    assert bench.client.call(service, request).success
    last_ns = stamp_to_ns(bench.answer(bench.image(1)).header.stamp)
    bench.client.wait(lambda: bench.humans_of(last_ns + AFTER_LAST_NS), "the end of everybody")
    assert bench.fresh_status()[1]["floor_ignored"] == ""
    request = CalibrateGround.Request(mode=kinds.LEARN)
    assert bench.client.call(service, request).success


def states(message: HumanArray) -> list[tuple[int, int]]:
    return [(human.id, human.tracking_state) for human in message.humans]


def test_images_that_stop_end_everybody_once(bench: Any) -> None:
    markers = bench.listen(MarkerArray, "/moro/markers")

    def marked() -> bool:
        bench.answer(bench.image(2))
        return bool(markers)

    bench.client.wait(marked, "the markers' subscription to match")
    shown = bench.answer(bench.image(2))
    last_ns = stamp_to_ns(shown.header.stamp)
    lost = bench.client.wait(lambda: bench.humans_of(last_ns + AFTER_LAST_NS), "the news of it")
    assert states(lost) == [(1, LOST), (2, LOST)]
    assert [human.joints for human in lost.humans] == [human.joints for human in shown.humans]
    assert lost.header.frame_id == shown.header.frame_id
    assert lost.latency > 0.5
    gone = bench.client.wait(
        lambda: [m for m in markers if {x.action for x in m.markers} == {Marker.DELETE}],
        "the end of the markers",
    )
    assert {marker.id for marker in gone[-1].markers} >= {1, 2}
    bench.client.wait(lambda: bench.status()[1]["people"] == 0, "diagnostics without people")
    after = bench.status()[1]
    assert after["ids_lost"] == after["people_seen"]
    heard = len(bench.humans)
    bench.client.spin(2.5)
    assert len(bench.humans) == heard, "it is said once"
    assert states(bench.answer(bench.image(1))) == [(1, Human.TRACKING_OBSERVED)]
    bench.deafen("/moro/markers")


def test_persons_who_left_before_the_images_stop_end_with_them(bench: Any) -> None:
    known = bench.listen(IdsList, "/humans/persons/known")
    bench.client.wait(lambda: bench.answer(bench.image(1)) and known and known[-1].ids, "a person")
    bench.answer(bench.image(0))
    bench.client.spin(0.1)
    assert known[-1].ids == ["anonymous_b1"], "the memory of a person is longer"
    heard = len(bench.humans)
    bench.client.wait(lambda: not known[-1].ids, "the end of the person", 4.0)
    assert len(bench.humans) == heard, "nobody in view was lost"
    bench.deafen("/humans/persons/known")


@pytest.mark.parametrize("how", ["disable", "deactivate"])
def test_whoever_is_in_view_is_lost_when_the_node_stops_looking(bench: Any, how: str) -> None:
    node = bench.client.node
    enable = node.create_client(SetBool, "/moro/enable")
    change = node.create_client(ChangeState, "/moro/change_state")

    def work(on: bool) -> None:
        if how == "disable":
            assert bench.client.call(enable, SetBool.Request(data=on)).success
            return
        number = Transition.TRANSITION_ACTIVATE if on else Transition.TRANSITION_DEACTIVATE
        request = ChangeState.Request(transition=Transition(id=number))
        assert bench.client.call(change, request).success

    # A pause would end them, too.
    limits = node.create_client(SetParameters, "/moro/set_parameters")
    longer = Parameter("motion.max_gap_s", value=60.0).to_parameter_msg()
    request = SetParameters.Request(parameters=[longer])
    assert bench.client.call(limits, request).results[0].successful
    last_ns = stamp_to_ns(bench.answer(bench.image(1)).header.stamp)
    work(False)
    lost = bench.client.wait(lambda: bench.humans_of(last_ns + AFTER_LAST_NS), "the news of it")
    assert states(lost) == [(1, LOST)]
    work(True)

    def answered() -> bool:
        bench.info_publisher.publish(bench.info())
        return bench.answered(bench.image_publisher)

    bench.client.wait(answered, "the node to work again")


class Silent:
    """Stands where a logger would."""

    def fatal(self, text: str) -> None:
        raise AssertionError(text)


def test_a_pause_takes_its_turn_between_the_images_before_and_after_it() -> None:
    done: list[object] = []
    begun, go_on = threading.Event(), threading.Event()

    def process(image: Any, late: bool) -> None:
        begun.set()
        assert go_on.wait(5.0)
        done.append(image)

    statistics = NodeStatistics()
    faults = FaultLog(statistics, Silent(), lambda: None)  # type: ignore[arg-type]
    pause = lambda: done.append("pause")  # noqa: E731
    worker = Worker(process, pause, statistics, faults, Silent())  # type: ignore[arg-type]
    worker.put("first")  # type: ignore[arg-type]
    assert begun.wait(5.0)
    # While the first is in work another waits; the images stop, and return.
    worker.put("second")  # type: ignore[arg-type]
    worker.images_stopped()
    worker.put("third")  # type: ignore[arg-type]
    go_on.set()
    deadline = threading.Event()
    for _ in range(500):
        if len(done) == 3:
            break
        deadline.wait(0.01)
    worker.stop()
    assert done == ["first", "pause", "third"]
    assert statistics.snapshot()["dropped"] == 1
