"""Meshes and clouds: the numbers arrive, the triangles are told once, and the way is a fast one."""

from __future__ import annotations

import array
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanMesh
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from moro_ros.ros import fallbacks
from moro_ros.ros.outputs.mesh import (
    CLOUD_DTYPE,
    CLOUD_FIELDS,
    MeshOutput,
    cloud_message,
    faces_message,
    flat,
    mesh_message,
    topology_of,
)
from moro_ros.ros.parameters import NodeConfig

try:
    from sensor_msgs_py import point_cloud2
except ModuleNotFoundError:
    point_cloud2 = None

FACES = np.arange(48, dtype=np.int32).reshape(16, 3)


def test_vertices_and_faces_arrive(fake_node: ModuleType) -> None:
    motion = fake_node.body_motion(5, 0, mesh=True)
    sent = mesh_message(motion, Header(frame_id="lens"), topology_of(FACES))
    message = deserialize_message(serialize_message(sent), HumanMesh)
    assert (message.id, message.header.frame_id) == (5, "lens")
    np.testing.assert_array_equal(np.reshape(message.vertices, (-1, 3)), motion.vertices[-1])
    faces = faces_message(FACES, 50)
    np.testing.assert_array_equal(np.reshape(faces.faces, (-1, 3)), FACES)
    assert faces.topology == message.topology and faces.num_vertices == 50


def test_other_triangles_are_another_topology() -> None:
    assert topology_of(FACES) == topology_of(FACES.astype(np.int64))
    assert topology_of(FACES) != topology_of(FACES[::-1])


def test_numbers_go_as_array_array_from_any_layout() -> None:
    """Any other sequence is checked number by number by rclpy's setters."""
    values = np.arange(12.0).reshape(3, 4).T[::2]
    numbers = flat(values, "f")
    assert isinstance(numbers, array.array)
    np.testing.assert_array_equal(np.array(numbers), values.ravel())
    message = HumanMesh()
    message.vertices = numbers
    assert message.vertices == numbers


class Publisher:
    def __init__(self, topic: str, qos: Any) -> None:
        self.topic_name, self.qos, self.sent = topic, qos, []

    def publish(self, message: Any) -> None:
        self.sent.append(message)


class Publishers:
    """What of a node an output uses."""

    def __init__(self) -> None:
        self.made: dict[str, Publisher] = {}

    def create_publisher(self, kind: type, topic: str, qos: Any, **_: Any) -> Publisher:
        return self.made.setdefault(topic, Publisher(topic, qos))


def test_triangles_are_published_once_and_before_the_first_mesh(
    fake_node: ModuleType, make_scene: Any
) -> None:
    node = Publishers()
    output = MeshOutput(node)  # type: ignore[arg-type]
    faces, meshes = node.made["~/mesh_faces"], node.made["~/mesh"]
    assert faces.qos.durability.name == "TRANSIENT_LOCAL"
    people = tuple(fake_node.body_motion(i, 0, mesh=True) for i in (1, 2))
    for _ in range(3):
        output.publish(make_scene(people), NodeConfig())
    assert len(faces.sent) == 1 and len(meshes.sent) == sum(output.made().values()) == 6
    assert {mesh.topology for mesh in meshes.sent} == {faces.sent[0].topology}
    output.publish(make_scene((fake_node.body_motion(1, 0),)), NodeConfig())
    assert len(meshes.sent) == 6, "a person without a mesh"


@pytest.fixture(params=["point_cloud", "sensor_msgs_py"])
def create_cloud(request: pytest.FixtureRequest) -> Any:
    """The two that offer create_cloud."""
    if request.param == "point_cloud":
        return fallbacks.create_cloud
    if point_cloud2 is None:
        pytest.skip("sensor_msgs_py is not installed")
    return point_cloud2.create_cloud


def read(cloud: PointCloud2) -> np.ndarray:
    """The points by the cloud's own description of its fields."""
    kinds = {7: "<f4", 6: "<u4", 2: "u1"}
    description = {
        "names": [field.name for field in cloud.fields],
        "formats": [kinds[field.datatype] for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_step,
    }
    return np.frombuffer(cloud.data, np.dtype(description))


def test_clouds_are_read_by_their_fields(create_cloud: Any) -> None:
    points = np.zeros(9, CLOUD_DTYPE)
    rng = np.random.default_rng(0)
    for name in CLOUD_DTYPE.names:
        points[name] = rng.integers(0, 200, 9)
    sent = create_cloud(Header(frame_id="lens"), CLOUD_FIELDS, points)
    cloud = deserialize_message(serialize_message(sent), PointCloud2)
    assert (cloud.height, cloud.width, cloud.header.frame_id) == (1, 9, "lens")
    assert cloud.row_step == len(cloud.data) == 9 * cloud.point_step
    found = read(cloud)
    for name in CLOUD_DTYPE.names:
        np.testing.assert_array_equal(found[name], points[name])


def test_a_cloud_knows_person_part_and_doubt(fake_node: ModuleType, make_scene: Any) -> None:
    people = tuple(fake_node.body_motion(i, 0, mesh=True) for i in (3, 4))
    scene = make_scene((*people, fake_node.body_motion(9, 0)))
    points = read(cloud_message(scene))
    assert set(points["id"]) == {3, 4}
    mine = points[points["id"] == 4]
    xyz = np.stack([mine["x"], mine["y"], mine["z"]], 1)
    np.testing.assert_array_equal(xyz, people[1].vertices[-1])
    np.testing.assert_array_equal(mine["part"], scene.body.vertex_parts)
    # Standard deviation of one axis, of equal volume of doubt: the root of the mean variance.
    np.testing.assert_allclose(
        mine["sigma"], np.sqrt(np.trace(fake_node.COVARIANCE) / 3), rtol=1e-5
    )
