"""The collision geometry of a robot, from its URDF.

urdf_parser_py reads the URDF: it is the small parser included in ROS (urdfdom_py), without
geometry. coal loads the meshes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coal
import numpy as np
from scipy.spatial.transform import Rotation
from urdf_parser_py import urdf

from moro_ros.errors import RobotError

# Finds the folder of a package of the robot's meshes: package://NAME/...
FindPackage = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Shape:
    """One convex shape of a link: coal's geometry, its rotation (3, 3) and position (3,) m."""

    geometry: Any
    rotation: np.ndarray
    place: np.ndarray


@dataclass(frozen=True, slots=True)
class RobotLink:
    """A link with collision geometry."""

    name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class RobotModel:
    """A robot: the name of its root link, and its links with collision geometry."""

    root: str
    links: tuple[RobotLink, ...]


def load_robot(description: str, find_package: FindPackage) -> RobotModel:
    """Read the collision geometry of a URDF.

    description: the URDF as text; find_package: the folder of a package, KeyError if there is none.
    Boxes, cylinders and spheres are used unchanged, meshes as their convex hulls.
    Raises: RobotError if the text is not a URDF, if a mesh cannot be read, or if no link has
    collision geometry.
    """
    try:
        robot = urdf.URDF.from_xml_string(description.encode())
        root = robot.get_root()
    except Exception as error:  # urdf_parser_py raises plain Exception for unknown elements
        raise RobotError(
            f"robot_description cannot be read as a URDF ({error}). Publish the URDF as text, "
            "after xacro, as robot_state_publisher does."
        ) from error
    links = tuple(
        RobotLink(link.name, tuple(_shape(c, link.name, find_package) for c in link.collisions))
        for link in robot.links
        if link.collisions
    )
    if not links:
        raise RobotError(
            "No link of robot_description has collision geometry, to which distances could be "
            "measured. Add <collision> elements to the URDF."
        )
    return RobotModel(root, links)


def _shape(collision: Any, link: str, find_package: FindPackage) -> Shape:
    origin = collision.origin
    place = np.array(origin.xyz if origin and origin.xyz else (0.0, 0.0, 0.0), float)
    angles = origin.rpy if origin and origin.rpy else (0.0, 0.0, 0.0)
    rotation = Rotation.from_euler("xyz", angles).as_matrix()
    return Shape(_geometry(collision.geometry, link, find_package), rotation, place)


def _geometry(geometry: Any, link: str, find_package: FindPackage) -> Any:
    if isinstance(geometry, urdf.Box):
        return coal.Box(*map(float, geometry.size))
    if isinstance(geometry, urdf.Cylinder):
        return coal.Cylinder(float(geometry.radius), float(geometry.length))
    if isinstance(geometry, urdf.Sphere):
        return coal.Sphere(float(geometry.radius))
    if isinstance(geometry, urdf.Mesh):
        scale = np.array(geometry.scale or (1.0, 1.0, 1.0), float)
        return convex_hull(mesh_path(geometry.filename, link, find_package), scale, link)
    raise RobotError(
        f"The collision geometry of link '{link}' is of an unknown kind; expected box, cylinder, "
        "sphere or mesh."
    )


def mesh_path(uri: str, link: str, find_package: FindPackage) -> Path:
    """Return the file of a mesh named in a URDF: package://, file:// or an absolute path.

    Raises: RobotError if there is no such file.
    """
    path = uri.removeprefix("file://")
    if uri.startswith("package://"):
        package, _, inside = uri.removeprefix("package://").partition("/")
        try:
            path = f"{find_package(package)}/{inside}"
        except KeyError as error:
            raise RobotError(
                f"The mesh '{uri}' of link '{link}' is in the package '{package}', which is not "
                "installed. Install or source it."
            ) from error
    if not Path(path).is_file():
        raise RobotError(
            f"The mesh '{uri}' of link '{link}' is not there (looked for {path}). Expected an "
            "absolute path, file:// or package:// and a file on this machine."
        )
    return Path(path)


def convex_hull(path: Path, scale: np.ndarray, link: str) -> Any:
    """Return coal's convex hull of a mesh file, scaled by (3,); raises RobotError."""
    try:
        mesh = coal.MeshLoader(coal.NODE_TYPE.BV_OBBRSS).load(str(path), scale)
        mesh.buildConvexHull(True, "Qt")
    except (RuntimeError, ValueError) as error:
        raise RobotError(
            f"The mesh {path} of link '{link}' cannot be used: {error}. Expected a file such as "
            "STL, DAE or OBJ with a volume."
        ) from error
    return mesh.convex
