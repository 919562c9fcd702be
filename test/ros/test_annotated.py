"""The annotated image: bodies where the lens sees them, coloured by state, ids beside them."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np
import pytest
from moro_ros.msg import HumanJoint

from moro_ros.geometry.lens import image_points
from moro_ros.io.marker_style import STATE_COLORS
from moro_ros.ros.outputs.annotated import annotated_image
from moro_ros.types import Camera

WIDTH, HEIGHT = 640, 480
MATRIX = np.array([[500.0, 0, 330.0], [0, 510.0, 235.0], [0, 0, 1]])
CAMERAS = {
    "plumb_bob": Camera(MATRIX, WIDTH, HEIGHT, (-0.2, 0.05, 0.001, 0.0, 0.0)),
    "equidistant": Camera(MATRIX, WIDTH, HEIGHT, (0.02, -0.01, 0.0, 0.0), "equidistant"),
    "rectified": Camera(MATRIX, WIDTH, HEIGHT),
}


def spread(fake_node: ModuleType, hidden: tuple[int, ...] = ()):
    """A person whose joints lie apart in the image."""
    motion = fake_node.body_motion(4, 0)
    joints = np.zeros((1, 22, 3), np.float32)
    joints[0, :, 0] = np.linspace(-1.2, 1.2, 22)
    joints[0, :, 1] = 0.5 * np.sin(np.arange(22) * 2.0)
    joints[0, :, 2] = 3.0
    observed = np.ones((1, 22), bool)
    observed[0, list(hidden)] = False
    return dataclasses.replace(motion, joints=joints, observed=observed)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_joints_are_drawn_where_the_lens_sees_them(name: str, fake_node: ModuleType) -> None:
    camera, image = CAMERAS[name], np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    motion = spread(fake_node, hidden=(3, 9))
    drawn = annotated_image(image, camera, (motion,))
    assert (image == 90).all(), "the image itself was drawn on"
    places = np.rint(image_points(motion.joints[-1], camera)).astype(int)
    for joint, (column, row) in enumerate(places):
        state = HumanJoint.STATE_INFERRED if joint in (3, 9) else HumanJoint.STATE_OBSERVED
        expected = np.round(255 * np.array(STATE_COLORS[state][:3]))
        np.testing.assert_allclose(drawn[row, column], expected, atol=2)
    assert (drawn == 255).all(-1).any(), "no id"


def test_a_body_is_tinted_and_its_surroundings_are_not(fake_node: ModuleType) -> None:
    camera = CAMERAS["rectified"]
    rng = np.random.default_rng(0)
    vertices = rng.uniform([-0.3, -0.5, 2.9], [0.3, 0.5, 3.1], (4000, 3)).astype(np.float32)
    motion = dataclasses.replace(
        spread(fake_node), joints=np.full((1, 22, 3), -5.0, np.float32), vertices=vertices[None]
    )
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    changed = (annotated_image(image, camera, (motion,)) != 90).any(-1)
    low, high = (
        image_points(np.array([[x, y, 3.0]]), camera)[0] for x, y in ((-0.3, -0.5), (0.3, 0.5))
    )
    inner = changed[int(low[1]) + 5 : int(high[1]) - 5, int(low[0]) + 5 : int(high[0]) - 5]
    assert inner.all()
    assert changed.sum() < 1.3 * inner.size


def test_nobody_and_people_behind_the_lens_leave_the_image(fake_node: ModuleType) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for camera in CAMERAS.values():
        np.testing.assert_array_equal(annotated_image(image, camera, ()), image)
        behind = fake_node.body_motion(1, 0, depth_m=-3.0, mesh=True)
        np.testing.assert_array_equal(annotated_image(image, camera, (behind,)), image)
        # At the edge of what numbers can hold: no crash, and no wrapped coordinates.
        beside = spread(fake_node)
        beside.joints[..., 0] = 1e7
        np.testing.assert_array_equal(annotated_image(image, camera, (beside,)), image)
