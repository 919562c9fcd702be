"""The collision geometry of a URDF, and what is said about one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

pytest.importorskip("coal")

from moro_ros.errors import RobotError
from moro_ros.robot.collision import load_robot

LINK = """<link name="{name}"><collision><origin xyz="0 0 0.5" rpy="0 1.5707963267948966 0"/>
<geometry>{geometry}</geometry></collision></link>"""
JOINT = """<joint name="j_{child}" type="revolute"><parent link="{parent}"/><child link="{child}"/>
<axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>"""


def urdf(*geometries: str) -> str:
    """A robot whose links base, link0, link1 ... have these shapes; base has none."""
    links = "".join(LINK.format(name=f"link{i}", geometry=g) for i, g in enumerate(geometries))
    joints = "".join(JOINT.format(parent="base", child=f"link{i}") for i in range(len(geometries)))
    return f'<robot name="arm"><link name="base"/>{links}{joints}</robot>'


def no_package(name: str) -> str:
    raise KeyError(name)


def test_primitives_are_taken_with_their_origin() -> None:
    robot = load_robot(
        urdf(
            '<box size="1 2 3"/>', '<cylinder radius="0.1" length="0.6"/>', '<sphere radius="2"/>'
        ),
        no_package,
    )
    assert robot.root == "base"
    assert [link.name for link in robot.links] == ["link0", "link1", "link2"]
    box, cylinder, sphere = (link.shapes[0].geometry for link in robot.links)
    np.testing.assert_allclose(box.halfSide, [0.5, 1.0, 1.5])
    assert (cylinder.radius, cylinder.halfLength) == (0.1, 0.3)
    assert sphere.radius == 2.0
    shape = robot.links[0].shapes[0]
    np.testing.assert_allclose(shape.place, [0.0, 0.0, 0.5])
    np.testing.assert_allclose(shape.rotation @ [0, 0, 1], [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("uri", ["{path}", "file://{path}", "package://arm/meshes/part.stl"])
def test_a_mesh_becomes_its_convex_hull_at_its_scale(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "meshes" / "part.stl"
    path.parent.mkdir()
    trimesh.creation.box((2.0, 2.0, 2.0)).export(path)
    mesh = f'<mesh filename="{uri.format(path=path)}" scale="0.1 0.2 0.3"/>'
    hull = load_robot(urdf(mesh), lambda name: str(tmp_path)).links[0].shapes[0].geometry
    hull.computeLocalAABB()
    np.testing.assert_allclose(hull.aabb_local.max_, [0.1, 0.2, 0.3], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as a URDF"),
        ("<robot name='a'", "cannot be read as a URDF"),
        ("<sdf/>", "cannot be read as a URDF"),
        ("<robot name='a'><link name='base'/></robot>", "has collision geometry"),
        (urdf('<mesh filename="/nowhere.stl"/>'), "'/nowhere.stl' of link 'link0' is not there"),
        (urdf('<mesh filename="package://arm/a.stl"/>'), "package 'arm', which is not installed"),
        (urdf('<box size="1 2"/>'), "cannot be read as a URDF"),
        (urdf('<capsule radius="0.1" length="1"/>'), "cannot be read as a URDF .*capsule"),
    ],
)
def test_an_unusable_description_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(RobotError, match=words):
        load_robot(text, no_package)


def test_a_file_that_is_no_mesh_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.stl"
    path.write_text("no mesh")
    with pytest.raises(RobotError, match=r"part.stl of link 'link0' cannot be used"):
        load_robot(urdf(f'<mesh filename="{path}"/>'), no_package)
