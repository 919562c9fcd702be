"""The surface of people: HumanMesh and its triangles, and a point cloud with uncertainty."""

from __future__ import annotations

import array
import zlib

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from moro_ros.msg import HumanMesh, HumanMeshFaces
from moro_ros.ros.outputs.base import Scene, TopicOutput, by_stamp, header_of
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_publisher
from moro_ros.types import BodyMotion

try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except ModuleNotFoundError:
    from moro_ros.ros.fallbacks import create_cloud

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CLOUD_FIELDS = [
    *(
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "sigma"))
    ),
    PointField(name="id", offset=16, datatype=PointField.UINT32, count=1),
    PointField(name="part", offset=20, datatype=PointField.UINT8, count=1),
]
CLOUD_DTYPE = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("sigma", "<f4"), ("id", "<u4"), ("part", "u1")]
)


def topology_of(faces: np.ndarray) -> int:
    """The CRC-32 of triangles (N, 3), by which meshes refer to them."""
    return zlib.crc32(np.ascontiguousarray(faces, dtype="<u4").tobytes())


def faces_message(faces: np.ndarray, num_vertices: int) -> HumanMeshFaces:
    """The triangles (N, 3) of meshes with a number of vertices."""
    message = HumanMeshFaces(topology=topology_of(faces), num_vertices=num_vertices)
    message.faces = flat(faces, "I")
    return message


def mesh_message(motion: BodyMotion, header: Header, topology: int) -> HumanMesh:
    """The vertices of one person's newest frame; the motion holds a mesh."""
    message = HumanMesh(header=header, id=motion.track_id, topology=topology)
    message.vertices = flat(motion.vertices[-1], "f")  # type: ignore[index]
    return message


def flat(values: np.ndarray, code: str) -> array.array:
    """An array's numbers, flattened, as array.array of a type code.

    rclpy checks any other kind of sequence element by element, which is a hundred times slower.
    """
    numbers = array.array(code)
    numbers.frombytes(np.ascontiguousarray(values, dtype=np.dtype(code)).tobytes())
    return numbers


def cloud_message(scene: Scene) -> PointCloud2:
    """The surface of all people as points with standard deviation, person and body part."""
    parts = scene.body.vertex_parts
    people = [motion for motion in scene.result.motions if motion.vertices is not None]
    points = np.zeros((len(people), len(parts)), dtype=CLOUD_DTYPE)
    for row, motion in zip(points, people, strict=True):
        row["x"], row["y"], row["z"] = motion.vertices[-1].T  # type: ignore[index]
        variance = np.trace(motion.covariance[-1], axis1=-2, axis2=-1) / 3.0
        row["sigma"] = np.sqrt(variance)[parts]
        row["id"], row["part"] = motion.track_id, parts
    return create_cloud(scene.header, CLOUD_FIELDS, points.ravel())


class MeshOutput(TopicOutput):
    """~/mesh: a HumanMesh per person and image, after the triangles on ~/mesh_faces."""

    needs_mesh = True

    def __init__(self, node: Node) -> None:
        super().__init__(node, HumanMesh, "~/mesh")
        self._faces = create_publisher(node, HumanMeshFaces, "~/mesh_faces", LATCHED)
        self._topology: int | None = None

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanMesh]:
        """The meshes of all people."""
        topology = self._told_topology(scene)
        return [
            mesh_message(motion, header_of(motion, scene.header), topology)
            for motion in scene.result.motions
            if motion.vertices is not None
        ]

    def destroy(self, node: Node) -> None:
        """Destroy both publishers."""
        super().destroy(node)
        node.destroy_publisher(self._faces)

    def _told_topology(self, scene: Scene) -> int:
        if self._topology is None:
            message = faces_message(scene.body.faces, len(scene.body.vertex_parts))
            self._faces.publish(message)
            self._topology = message.topology
        return self._topology


class CloudOutput(TopicOutput):
    """~/cloud: the surface of all people as a PointCloud2, at most at marker_rate_hz."""

    needs_mesh = True

    def __init__(self, node: Node) -> None:
        super().__init__(node, PointCloud2, "~/cloud", rate_hz=lambda o: o.marker_rate_hz)

    def messages(self, scene: Scene, options: NodeConfig) -> list[PointCloud2]:
        """One cloud per image that the motions describe; usually one."""
        return [cloud_message(part) for part in by_stamp(scene)]
