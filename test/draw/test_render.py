"""Meshes are drawn where the camera sees them, the near one over the far one."""

import cv2
import numpy as np
import pytest

from moro_ros.draw import render
from moro_ros.types import Camera

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0
CAMERA = Camera(
    np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]]), WIDTH, HEIGHT
)


def sphere(centre: tuple[float, float, float], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed mesh with outward faces: vertices (V, 3), faces (T, 3)."""
    rings, sides = 16, 24
    polar = np.linspace(0.02, np.pi - 0.02, rings)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    unit = np.stack(
        [
            np.outer(np.sin(polar), np.cos(turn)),
            np.outer(np.cos(polar), np.ones(sides)),
            np.outer(np.sin(polar), np.sin(turn)),
        ],
        -1,
    ).reshape(-1, 3)
    faces = []
    for ring in range(rings - 1):
        for side in range(sides):
            a, b = ring * sides + side, ring * sides + (side + 1) % sides
            c, d = a + sides, b + sides
            faces += [(a, b, c), (b, d, c)]
    return unit * radius + centre, np.array(faces)


def person(track_id: int, centre: tuple[float, float, float], radius: float) -> render.Person:
    vertices, _ = sphere(centre, radius)
    joints = np.tile(np.float32(centre), (22, 1))
    return render.Person(track_id, joints, np.ones(22, bool), vertices)


FACES = sphere((0, 0, 3), 0.5)[1]


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(-1)


@pytest.mark.parametrize("centre", [(0, 0, 3), (0.6, -0.3, 4), (-0.4, 0.35, 2.5)])
def test_a_sphere_covers_the_disc_that_geometry_says(centre: tuple[float, float, float]) -> None:
    background = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
    radius = 0.4
    image = render.draw_meshes(background, (person(1, centre, radius),), FACES, CAMERA)
    rows, columns = np.nonzero(changed(background, image))
    x, y, z = centre
    expected_x, expected_y = FOCAL * x / z + WIDTH / 2, FOCAL * y / z + HEIGHT / 2
    assert columns.mean() == pytest.approx(expected_x, abs=2.0)
    assert rows.mean() == pytest.approx(expected_y, abs=2.0)
    assert len(rows) == pytest.approx(np.pi * (FOCAL * radius / z) ** 2, rel=0.08)


def test_the_near_person_hides_the_far_one_whatever_the_order() -> None:
    background = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    near, far = person(1, (0, 0, 2), 0.3), person(2, (0, 0, 4), 0.9)
    alone = render.draw_meshes(background, (near,), FACES, CAMERA, alpha=1.0)
    both = render.draw_meshes(background, (far, near), FACES, CAMERA, alpha=1.0)
    swapped = render.draw_meshes(background, (near, far), FACES, CAMERA, alpha=1.0)
    middle = (HEIGHT // 2, WIDTH // 2)
    assert np.array_equal(both[middle], alone[middle])
    assert np.array_equal(both, swapped)
    assert changed(both, alone).any()  # the far one shows around the near one


def test_lit_from_the_upper_left() -> None:
    background = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image = render.draw_meshes(background, (person(1, (0, 0, 3), 0.8),), FACES, CAMERA)
    upper = image[HEIGHT // 2 - 50, WIDTH // 2 - 30].astype(int).sum()
    lower = image[HEIGHT // 2 + 50, WIDTH // 2 + 30].astype(int).sum()
    assert upper > lower + 60


def test_what_lies_behind_or_beside_the_camera_is_left_out() -> None:
    background = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for centre in [(0, 0, -3), (50, 0, 3), (0, 0, 0)]:
        hidden = person(1, centre, 0.05)
        out = render.draw_overlay(background, (hidden,), FACES, CAMERA)
        assert np.array_equal(out, background)
    around = person(1, (0, 0, 0), 0.5)  # the camera inside the mesh
    assert render.draw_meshes(background, (around,), FACES, CAMERA).shape == background.shape


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", (-0.25, 0.06, 0.001, -0.001, 0.0)), ("equidistant", (0.02, -0.01, 0.0, 0.0))],
)
def test_projection_follows_opencv_and_refuses_what_the_lens_cannot_see(
    model: str, distortion: tuple[float, ...]
) -> None:
    camera = Camera(CAMERA.matrix, WIDTH, HEIGHT, distortion, model)
    points = np.array([[0.2, -0.1, 2.0], [0.0, 0.0, 1.0], [9.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    pixels = render.project(points, camera)
    zero = np.zeros(3)
    function = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    expected, _ = function(points[None, :2], zero, zero, camera.matrix, np.array(distortion))
    assert np.allclose(pixels[:2], expected.reshape(2, 2))
    assert not np.allclose(pixels[0], render.project(points, CAMERA)[0])
    assert np.isnan(pixels[2:]).all()


def test_inferred_joints_look_different() -> None:
    joints = np.tile(np.float32([0, 0, 3]), (22, 1)) + np.linspace(-0.5, 0.5, 22)[:, None]
    pictures = []
    for observed in (True, False):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        render.draw_skeleton(image, render.Person(1, joints, np.full(22, observed)), CAMERA)
        pictures.append(image)
    seen, inferred = (image[image.any(-1)].mean(0) for image in pictures)
    assert np.ptp(seen) < 10 < 60 < np.ptp(inferred)  # white against orange


def test_sheet_places_every_picture_once() -> None:
    pictures = [np.full((20, 40, 3), 20 + 25 * i, np.uint8) for i in range(8)]
    page = render.sheet(pictures, columns=4, tile_width=40, gap=4)
    assert page.shape == (2 * 24 + 4, 4 * 44 + 4, 3)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, 4)
        assert (page[4 + 24 * row + 10, 4 + 44 * column + 20] == picture[0, 0]).all()
    with pytest.raises(ValueError, match="at least one"):
        render.sheet([], 4)


def test_ids_have_colours_that_can_be_told_apart() -> None:
    colours = np.array([render.colour_of(i) for i in range(1, 7)])
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distance[~np.eye(6, dtype=bool)].min() > 25
