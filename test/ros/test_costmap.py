"""~/obstacles and ~/obstacles_clear between processes: a costmap marks people and clears them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from moro_ros.msg import HumanCapsules
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from moro_ros.ros.planners.obstacles import ring

pytestmark = pytest.mark.ros
CELL_M, SIDE = 0.05, 400
ROBOT = np.array([-4.0, 2.0])  # where the rays begin, sensor_frame of the configuration
UPDATE_S = 1.0  # expected_update_rate of the configuration
LENS_HEIGHT_M = 1.5
STATIC = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def points(cloud: PointCloud2) -> np.ndarray:
    """The points (N, 3) of a cloud."""
    fields = {"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [0, 4, 8]}
    table = np.frombuffer(bytes(cloud.data), np.dtype(fields | {"itemsize": cloud.point_step}))
    return np.stack([table["x"], table["y"], table["z"]], axis=1).astype(np.float64)


def ray(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, ...]:
    """The cells of a line in the grid as Bresenham's algorithm has them."""
    first, last = (np.floor(place / CELL_M) + SIDE // 2 for place in (start, end))
    steps = int(np.abs(last - first).max())
    line = np.rint(first + np.linspace(0.0, 1.0, steps + 1)[:, None] * (last - first))
    return tuple(line[((line >= 0) & (line < SIDE)).all(axis=1)].astype(int).T)


class Costmap:
    """A grid around the origin of the map with the rules of Nav2's obstacle layer.

    The newest cloud of each source counts. With each update the cells along the rays to the
    clearing points are freed, and then those of the marking points are occupied.
    """

    def __init__(self, client: Any, namespace: str) -> None:
        self.client = client
        self.grid = np.zeros((SIDE, SIDE), bool)
        self.clouds: dict[str, PointCloud2] = {}
        self.arrived_s: dict[str, float] = {}
        self.frames: list[str] = []
        create = client.node.create_subscription
        self._subscriptions = [
            create(PointCloud2, f"{namespace}/moro/{topic}", self._taker(topic), 1)
            for topic in ("obstacles", "obstacles_clear")
        ]

    def _taker(self, topic: str) -> Callable[[PointCloud2], None]:
        def take(cloud: PointCloud2) -> None:
            # Without TF people stay in the frame of the camera, which Nav2 cannot transform then.
            self.frames.append(cloud.header.frame_id)
            if cloud.header.frame_id == "map":
                self.clouds[topic], self.arrived_s[topic] = cloud, time.monotonic()

        return take

    @property
    def current(self) -> bool:
        """Whether Nav2 relies on it: both sources came within expected_update_rate."""
        oldest_s = time.monotonic() - UPDATE_S
        return len(self.clouds) == 2 and min(self.arrived_s.values()) > oldest_s

    def update(self) -> None:
        """Clear and mark, as Nav2 does at its update frequency."""
        if "obstacles_clear" in self.clouds:
            for end in self._used("obstacles_clear"):
                self.grid[ray(ROBOT, end)] = False
        if "obstacles" in self.clouds:
            marked = self._cells(self._used("obstacles"))
            self.grid[tuple(marked.T)] = True

    def _used(self, topic: str) -> np.ndarray:
        found = points(self.clouds[topic])
        return found[(found[:, 2] >= 0.0) & (found[:, 2] <= 2.2), :2]

    def _cells(self, places: np.ndarray) -> np.ndarray:
        cells = np.floor(places / CELL_M).astype(int) + SIDE // 2
        return cells[((cells >= 0) & (cells < SIDE)).all(axis=1)]

    def close(self) -> None:
        for subscription in self._subscriptions:
            self.client.node.destroy_subscription(subscription)


def mounting(frame: str, x: float = 0.0) -> TransformStamped:
    """A camera that looks level along the x axis of the map."""
    link = TransformStamped(child_frame_id=frame)
    link.header.frame_id = "map"
    link.transform.translation.x, link.transform.translation.z = x, LENS_HEIGHT_M
    turn = link.transform.rotation
    turn.x, turn.y, turn.z, turn.w = -0.5, 0.5, -0.5, 0.5
    return link


@pytest.fixture(scope="module")
def node(client: Any, start_fake_node: Any, crowd_camera: Any) -> Iterator[Any]:
    """A node whose camera looks level along the x axis of the map, over its origin."""
    start_fake_node(
        0.02,
        namespace="/nav",
        **{"planners.frame": "map", "ground_frame": "map", "planners.rate_hz": 240.0},
        **{"motion.max_gap_s": 0.5},
    )
    broadcaster = client.node.create_publisher(TFMessage, "/tf_static", STATIC)
    broadcaster.publish(TFMessage(transforms=[mounting("lens")]))
    camera = crowd_camera.Camera(client, "/nav")
    yield camera
    camera.close()
    client.node.destroy_publisher(broadcaster)


@pytest.fixture
def costmap(client: Any) -> Iterator[Costmap]:
    costmap = Costmap(client, "/nav")
    yield costmap
    costmap.close()


def marked(costmap: Costmap, node: Any, people: int) -> np.ndarray:
    """Cells (N, 2) m within the range that are occupied after an image of so many people."""
    node.show(people)
    costmap.update()
    cells = (np.argwhere(costmap.grid) - SIDE // 2) * CELL_M
    return cells[np.linalg.norm(cells, axis=1) < 9.9]  # planners.clear_range_m


def test_people_are_marked_and_cleared_when_they_are_gone(costmap: Costmap, node: Any) -> None:
    """The three stand-ins are 3, 4 and 5 m before the camera."""
    wait = costmap.client.wait

    def span(people: int) -> tuple[float, float]:
        cells = marked(costmap, node, people)
        return (cells[:, 0].min(), cells[:, 0].max()) if len(cells) else (0.0, 0.0)

    wait(lambda: span(3)[1] > 5.0, "the third person")
    nearest, _ = span(3)
    assert nearest > 1.0
    costmap.grid[:] = True  # whatever an earlier run may have left, all over the map
    wait(lambda: span(1)[0] > 1.0 and span(1)[1] < 4.5, "the first person alone")
    wait(lambda: not len(marked(costmap, node, 0)), "an empty map")


def test_images_that_stop_leave_the_marks_and_the_map_out_of_date(
    costmap: Costmap, node: Any
) -> None:
    subscription, capsules = costmap.client.subscribe(HumanCapsules, "/nav/moro/capsules")
    costmap.client.wait(lambda: len(marked(costmap, node, 2)) > 0, "two people")
    costmap.client.wait(lambda: marked(costmap, node, 2) is not None and capsules, "capsules")
    costmap.client.spin(0.2)
    costmap.update()
    before, heard = costmap.grid.copy(), len(costmap.frames)
    costmap.client.wait(lambda: not capsules[-1].ttl, "the end of everybody")
    assert list(capsules[-1].lost) == [1, 2]
    costmap.client.spin(UPDATE_S)
    costmap.update()
    assert len(costmap.frames) == heard, "clouds without an image"
    assert np.array_equal(costmap.grid, before) and not costmap.current
    costmap.client.node.destroy_subscription(subscription)


def test_the_ground_is_left_out_and_nothing_else(costmap: Costmap, node: Any) -> None:
    """The stand-in's points go down to 1.5 m below the lens, which is the ground of the map."""
    costmap.client.wait(lambda: len(marked(costmap, node, 1)) > 0, "one person")
    heights = points(costmap.clouds["obstacles"])[:, 2]
    assert heights.min() > 0.05
    rays = points(costmap.clouds["obstacles_clear"])
    reach = np.linalg.norm(rays[:, :2], axis=1)
    assert reach.min() > 10.0 - 1e-3 and reach.max() < 10.25 and np.ptp(reach) < 1e-3
    np.testing.assert_allclose(rays[:, 2], 0.5, atol=1e-3)


def test_tf_that_ends_makes_the_map_out_of_date_and_tf_that_returns_mends_it(
    client: Any, start_fake_node: Any, crowd_camera: Any
) -> None:
    """The camera is mounted by /tf: once that ends, nobody may be placed where it was."""
    options = {"planners.frame": "map", "planners.rate_hz": 240.0, "motion.max_gap_s": 20.0}
    start_fake_node(0.02, namespace="/moved", **options)
    broadcaster = client.node.create_publisher(TFMessage, "/tf", 10)
    camera, costmap = crowd_camera.Camera(client, "/moved", "eye"), Costmap(client, "/moved")

    def span(x: float | None) -> tuple[float, float]:
        """What is marked along x, with one person before a camera that is mounted at x."""
        if x is not None:
            broadcaster.publish(TFMessage(transforms=[mounting("eye", x)]))
        cells = marked(costmap, camera, 1)
        return (cells[:, 0].min(), cells[:, 0].max()) if len(cells) else (0.0, 0.0)

    client.wait(lambda: 0.0 < span(0.0)[0] < span(0.0)[1] < 5.0, "a person 3 m before the camera")
    client.wait(lambda: span(0.0) and costmap.current, "a current map")
    before = costmap.grid.copy()
    client.wait(lambda: span(None) and costmap.frames[-1] == "eye", "the end of TF")
    heard = len(costmap.frames)
    client.wait(lambda: span(None) and not costmap.current, "a map that is out of date")
    # Neither marked nor cleared: what is marked stays, and Nav2 stops the robot.
    assert set(costmap.frames[heard:]) == {"eye"}
    assert costmap.grid[before].any()
    # The camera stands 4 m further back now, and so does the person.
    client.wait(lambda: -4.0 < span(-4.0)[0] < span(-4.0)[1] < 1.0, "the person's new place alone")
    client.wait(lambda: span(-4.0) and costmap.current, "a current map")
    for thing in (camera, costmap):
        thing.close()
    client.node.destroy_publisher(broadcaster)


@pytest.mark.parametrize("robot", [(-4.0, 2.0), (0.01, 0.01), (6.0, -6.0)])
def test_eight_circles_clear_every_cell_within_them(robot: tuple[float, float]) -> None:
    """One alone misses about one cell in twenty-five."""
    grid = np.ones((SIDE, SIDE), bool)
    inside = np.linalg.norm((np.indices(grid.shape) - SIDE // 2 + 0.5) * CELL_M, axis=0) < 9.9
    for number in range(8):
        for end in ring(np.zeros(3), np.array([0.0, 0.0, 1.0]), 10.0, 0.04, number)[:, :2]:
            grid[ray(np.array(robot), end)] = False
        if number == 0:
            assert 0.01 < grid[inside].mean() < 0.06
    assert not grid[inside].any()
