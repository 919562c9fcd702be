"""What a parameter holds back, between processes: frames beyond tf_rate_hz, images of people."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from moro_ros.ros.conversions import stamp_to_ns

pytestmark = pytest.mark.ros
PERIOD_NS = 50_000_000
BODY = "/humans/bodies/b1"
LAST_SHOWN: dict[int, int] = {}  # stamp of the newest image, by bench


@pytest.fixture(scope="module")
def set_parameter(bench: Any) -> Callable[[str, Any], Any]:
    service = bench.client.node.create_client(SetParameters, "/moro/set_parameters")

    def set_parameter(name: str, value: Any) -> Any:
        message = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        return bench.client.call(service, request).results[0]

    return set_parameter


def show(bench: Any, count: int) -> list[int]:
    """Show a person at 20 Hz by the stamps; returns the stamps, each of which was answered.

    Stamps run ahead of the clock, and an image of before the last one would be left out.
    """
    now_ns = bench.client.node.get_clock().now().nanoseconds
    start_ns = max(now_ns, LAST_SHOWN.get(id(bench), 0) + PERIOD_NS)
    stamps = [start_ns + index * PERIOD_NS for index in range(count)]
    LAST_SHOWN[id(bench)] = stamps[-1]
    for stamp_ns in stamps:
        bench.answer(bench.image(1, bench.header(stamp_ns)))
    bench.client.spin(0.2)
    return stamps


def test_frames_come_no_faster_than_their_rate(bench: Any, set_parameter: Any) -> None:
    """And the humans with every image all the same."""

    def framed(stamps: list[int]) -> list[int]:
        sent = [item for message in bench.transforms for item in message.transforms]
        # person_<id>, of REP-155, is not one of them.
        told = {stamp_to_ns(t.header.stamp) for t in sent if t.child_frame_id == "body_b1"}
        return [stamp for stamp in stamps if stamp in told]

    stamps = show(bench, 6)
    assert framed(stamps) == stamps
    assert set_parameter("tf_rate_hz", 5.0).successful
    show(bench, 1)  # the parameter is in force from here on
    stamps = show(bench, 13)
    found = framed(stamps)
    # The first may come late, where the first image did; those after it are on time.
    gaps = {later - earlier for earlier, later in pairwise(found[1:])}
    assert len(found) >= 3 and gaps == {4 * PERIOD_NS}
    assert not set_parameter("tf_rate_hz", -1.0).successful
    assert set_parameter("tf_rate_hz", 0.0).successful
    show(bench, 1)
    stamps = show(bench, 4)
    assert framed(stamps) == stamps


def test_people_are_cut_out_unless_images_are_held_back(bench: Any, set_parameter: Any) -> None:
    """Regions, which are numbers, go out in any case."""
    bench.listen(IdsList, "/humans/bodies/tracked")
    show(bench, 2)
    crops = bench.listen(Image, f"{BODY}/cropped")
    regions = bench.listen(NormalizedRegionOfInterest2D, f"{BODY}/roi")

    def crops_of(stamps: list[int]) -> set[int]:
        return {stamp_to_ns(m.header.stamp) for m in crops} & set(stamps)

    bench.client.wait(lambda: show(bench, 1) and crops and regions, "crop and region of the body")
    stamps = show(bench, 3)
    assert crops_of(stamps) == set(stamps)
    assert crops[-1].encoding == "rgb8" and 0 < crops[-1].width <= 64
    try:
        assert set_parameter("publish_images", False).successful
        show(bench, 1)
        stamps = show(bench, 3)
        assert crops_of(stamps) == set()
        assert {stamp_to_ns(m.header.stamp) for m in regions} >= set(stamps)
    finally:
        assert set_parameter("publish_images", True).successful
    show(bench, 1)
    stamps = show(bench, 2)
    assert crops_of(stamps) == set(stamps)
