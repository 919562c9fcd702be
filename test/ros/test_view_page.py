"""`moro view --live` as a user has it: a process, its page in Chromium, people who come and go."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("viser", reason="viser is not installed")

from moro_ros.msg import Human, HumanArray

from moro_ros.cli.bench.chromium import Page, find_chromium
from moro_ros.errors import InstallationError

try:
    find_chromium()
except InstallationError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = [pytest.mark.ros, pytest.mark.slow]
SIZE, PANEL_PX, PATIENCE_S = (760, 480), 400, 120.0
# Coloured pixels of a person, at least; the grid is grey.
FEW = 150


@pytest.fixture
def page_of(start_node: Callable[..., Any]) -> Iterator[tuple[Any, Page]]:
    """moro_view and its page."""
    process = start_node(["-m", "moro_ros.ros.view_node"], "/", port=0)
    end = time.monotonic() + PATIENCE_S
    while not (found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", process.output())):
        assert time.monotonic() < end and process.process.poll() is None, "no address was logged"
        time.sleep(0.2)
    with Page(found.group(), SIZE) as page:
        page.wait_for("document.querySelector('canvas') !== null", PATIENCE_S)
        # It says that there is no GPU, in colours.
        hidden = "<style>[class*=Notification]{display:none}</style>"
        page.evaluate(f"document.head.insertAdjacentHTML('beforeend', '{hidden}')")
        yield process, page


def array_of(posed: Callable[..., Any], x: float | None) -> HumanArray:
    """One person at x, 3 m before the camera and 1.5 m below it; nobody for None."""
    message = HumanArray(ground_plane=[0.0, -1.0, 0.0, 1.5])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
    if x is not None:
        motion = posed(np.zeros((22, 3)), (x, 0.6, 3.0))
        human = Human(id=1, transl=motion.smplx.transl[0])
        for joint, place in zip(human.joints, motion.joints[0].tolist(), strict=True):
            joint.pose.position.x, joint.pose.position.y, joint.pose.position.z = place
        message.humans = [human]
    return message


def test_people_come_move_and_go(
    page_of: tuple[Any, Page], client: Any, posed: Callable[..., Any]
) -> None:
    process, page = page_of
    publisher = client.node.create_publisher(HumanArray, "/humans", 10)

    def columns(x: float | None, wanted: Callable[[np.ndarray], bool]) -> np.ndarray:
        """The columns of coloured pixels once they are as wanted, with somebody at x."""
        end = time.monotonic() + PATIENCE_S
        while True:
            for _ in range(5):
                publisher.publish(array_of(posed, x))
                time.sleep(0.05)
            scene = page.picture()[:, : SIZE[0] - PANEL_PX].astype(np.int16)
            found = np.nonzero(np.ptp(scene, axis=2) > 30)[1]
            if wanted(found):
                return found
            assert time.monotonic() < end, f"{len(found)} coloured pixels with somebody at {x}"

    # The view first turns to the people.
    medians: list[float] = []

    def settled(found: np.ndarray) -> bool:
        medians.append(float(np.median(found)) if len(found) > FEW else np.inf)
        return len(medians) > 3 and np.ptp(medians[-3:]) < 3.0

    columns(-0.5, settled)
    left = medians[-1]
    columns(0.7, lambda found: len(found) > FEW and np.median(found) > left + 20)
    columns(None, lambda found: len(found) < FEW / 5)
    assert process.end() == 0
