"""Drawing recovered people over their image: shaded translucent meshes, skeletons, depth panels.

All colours are RGB; all points are in the camera optical frame, metres.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.geometry.lens import NEAREST_M, normalised_points, project_points
from moro_ros.geometry.mesh import vertex_normals
from moro_ros.types import Camera

Colour = tuple[float, float, float]

ALPHA = 0.68
SUPERSAMPLING = 2  # drawn this much finer, then averaged: smooth outlines
_SHIFT = 4  # sub-pixel bits of cv2's fixed-point coordinates
_HEAD = JOINT_NAMES.index("head")
_KEY_LIGHT = np.array([-0.35, -0.55, -0.76])  # from the upper left, behind the camera
_FILL_LIGHT = np.array([0.75, -0.10, -0.65])
_OBSERVED = (250, 250, 250)
_INFERRED = (255, 176, 59)


@dataclass(frozen=True, slots=True)
class Person:
    """The drawn data of one person.

    track_id: gives the colour. vertices: (V, 3) m or None. joints: (22, 3) m.
    observed: (22,) bool.
    """

    track_id: int
    joints: np.ndarray
    observed: np.ndarray
    vertices: np.ndarray | None = None


def colour_of(track_id: int) -> Colour:
    """A muted colour for an id, RGB 0..255; successive ids are far apart on the colour wheel."""
    hue = (0.56 + (track_id - 1) * 0.61803398875) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.64, 0.55)
    return 255 * red, 255 * green, 255 * blue


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Project points (N, 3) m, camera frame, to pixels (N, 2) float64, lens distortion included.

    Points nearer than 0.1 m, or so far outside the image that the distortion polynomial is not
    valid, become nan.
    """
    pixels = project_points(points, camera)
    if camera.distorted:
        radius = np.hypot(points[:, 0], points[:, 1]) / np.maximum(points[:, 2], NEAREST_M)
        pixels[radius >= _valid_radius(camera)] = np.nan
    return pixels


def _valid_radius(camera: Camera) -> float:
    """Normalised image radius up to which the distortion is valid: a third beyond the corners."""
    width, height = camera.width, camera.height
    rays, _ = normalised_points(
        np.array([[0, 0], [width, 0], [0, height], [width, height]]), camera
    )
    return float(1.33 * np.linalg.norm(rays, axis=1).max())


def draw_meshes(
    image: np.ndarray,
    people: tuple[Person, ...],
    faces: np.ndarray,
    camera: Camera,
    alpha: float = ALPHA,
) -> np.ndarray:
    """Draw the shaded meshes of all people on an image; nearer people hide farther ones.

    image: (H, W, 3) uint8 RGB. faces: (T, 3) int, counter-clockwise seen from outside.
    Returns a new image (H, W, 3) uint8 RGB.
    """
    layers = [_visible_faces(p, faces, camera) for p in people if p.vertices is not None]
    out = image.copy()
    if not any(len(depths) for _, depths, _ in layers):
        return out
    corners, depths, colours = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    low, high = corners.reshape(-1, 2).min(0), corners.reshape(-1, 2).max(0)
    left, top = np.maximum(np.floor(low).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(high).astype(int) + 2, (image.shape[1], image.shape[0]))
    far_to_near = np.argsort(-depths, kind="stable")
    canvas = _fill(
        corners[far_to_near] - (left, top), colours[far_to_near], right - left, bottom - top
    )
    # The canvas is black where nothing was drawn, so its colours are weighted by coverage already.
    region = out[top:bottom, left:right]
    keep = 1.0 - alpha / 255.0 * canvas[..., 3:].astype(np.float32)
    region[:] = np.clip(region * keep + alpha * canvas[..., :3] + 0.5, 0, 255).astype(np.uint8)
    return out


def _fill(corners: np.ndarray, colours: np.ndarray, width: int, height: int) -> np.ndarray:
    """Paint triangles (N, 3, 2) px in the order given; returns (height, width, 4) uint8.

    colours: (N, 4), of which the fourth channel becomes the coverage.
    """
    canvas = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 4), np.uint8)
    # The centre of pixel 0 is at 0, so the finer grid starts half a pixel earlier.
    fixed = (corners + 0.5) * (SUPERSAMPLING << _SHIFT) - (1 << _SHIFT) / 2
    polygons = np.rint(fixed).astype(np.int32)
    shades = np.rint(colours).astype(np.int64) @ [1 << 24, 1 << 16, 1 << 8, 1]
    # Few distinct colours occur: building one tuple per colour costs less than one per triangle.
    distinct, index = np.unique(shades, return_inverse=True)
    tuples = [tuple(shade.to_bytes(4, "big")) for shade in distinct.tolist()]
    fill = cv2.fillConvexPoly
    for polygon, which in zip(polygons, index.tolist(), strict=True):
        fill(canvas, polygon, tuples[which], cv2.LINE_8, _SHIFT)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)


def _visible_faces(
    person: Person, faces: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Front faces of one mesh: corners (N, 3, 2) px, depths (N,) m, colours (N, 4) 0..255."""
    vertices = np.asarray(person.vertices, dtype=np.float64)
    corners = project(vertices, camera)[faces]  # (T, 3, 2)
    # Clockwise on the screen (y down) = facing the camera; nan compares False.
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    for axis, size in enumerate((camera.width, camera.height)):
        a, b, c = corners[..., axis].T
        front &= (np.maximum(np.maximum(a, b), c) > -1) & (np.minimum(np.minimum(a, b), c) < size)
    seen = faces[front]
    colours = _shade(vertex_normals(vertices, faces), colour_of(person.track_id))[seen]
    depths = vertices[:, 2][seen].sum(1)
    return corners[front], depths, colours.mean(1)


def _shade(normals: np.ndarray, colour: Colour) -> np.ndarray:
    """Lit colours (V, 4) 0..255 of vertices with normals (V, 3); the fourth channel is 255."""
    normals = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)
    key, fill = np.maximum(normals @ _KEY_LIGHT, 0), np.maximum(normals @ _FILL_LIGHT, 0)
    gloss = 40 * np.maximum(-normals[:, 2], 0) ** 24
    colours = np.full((len(normals), 4), 255.0)
    colours[:, :3] = np.outer(0.42 + 0.50 * key + 0.16 * fill, colour) + gloss[:, None]
    return np.clip(colours, 0, 255)


def draw_skeleton(image: np.ndarray, person: Person, camera: Camera) -> None:
    """Draw the skeleton: white where observed, orange and hollow where inferred.

    image: (H, W, 3) uint8 RGB, drawn upon.
    """
    pixels = project(person.joints, camera) * 16
    drawable = np.isfinite(pixels).all(1) & (np.abs(pixels) < 2**24).all(1)
    points = np.rint(np.where(drawable[:, None], pixels, 0)).astype(int).tolist()
    thick = max(1, round(image.shape[0] / 500))
    layer = image.copy()
    for joint, parent in enumerate(PARENTS[: len(points)]):
        if parent >= 0 and drawable[joint] and drawable[parent]:
            colour = _OBSERVED if person.observed[joint] else _INFERRED
            cv2.line(layer, points[parent], points[joint], colour, thick, cv2.LINE_AA, 4)
    cv2.addWeighted(layer, 0.7, image, 0.3, 0, dst=image)
    for joint in np.flatnonzero(drawable).tolist():
        seen, centre = bool(person.observed[joint]), points[joint]
        colour = _OBSERVED if seen else _INFERRED
        radius = 16 * thick + 12
        cv2.circle(image, centre, radius + 10, (40, 40, 40), -1, cv2.LINE_AA, 4)
        cv2.circle(image, centre, radius, colour, -1 if seen else thick, cv2.LINE_AA, 4)


def draw_label(image: np.ndarray, person: Person, camera: Camera) -> None:
    """Write id and distance above the head of a person in view.

    image: (H, W, 3) uint8 RGB, drawn upon.
    """
    joints = project(person.joints, camera)
    in_view = ((joints >= 0) & (joints < (camera.width, camera.height))).all(1).any()
    place = project(person.joints[_HEAD : _HEAD + 1] - [[0.0, 0.28, 0.0]], camera)[0]
    if not in_view or not np.isfinite(place).all():
        return
    text = f"{person.track_id}  {np.linalg.norm(person.joints[0]):.1f} m"
    scale = max(0.4, image.shape[0] / 1300)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
    pad = max(3, height // 3)
    x = int(np.clip(place[0] - width / 2, pad, max(pad, image.shape[1] - width - pad)))
    y = int(np.clip(place[1], height + pad, image.shape[0] - pad))
    box = image[y - height - pad : y + pad, x - pad : x + width + pad]
    box[:] = (box * 0.35).astype(np.uint8)
    colour = colour_of(person.track_id)
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, colour, 1, cv2.LINE_AA)


def draw_top_view(
    image: np.ndarray, people: tuple[Person, ...], camera: Camera, reach_m: float
) -> None:
    """Draw the scene from above in the lower right corner: x to the right, depth z upwards.

    image: (H, W, 3) uint8 RGB, drawn upon. reach_m: depth at the panel's upper edge.
    """
    height = round(image.shape[0] * 0.28)
    if height < 60:  # too small to read
        return
    # As wide as the view at the far end, so that all people in view are inside the panel.
    half_view = camera.width / 2 / camera.matrix[0, 0]
    width = int(np.clip(2 * half_view * height, 0.7 * height, 1.4 * height))
    scale = min(height / (1.08 * reach_m), width / 2 / (1.04 * half_view * reach_m))
    panel = np.full((height, width, 3), 30, np.uint8)
    origin = np.array([width / 2, height * 0.96])

    def place(x: float, z: float) -> tuple[int, int]:
        return round((origin[0] + x * scale) * 16), round((origin[1] - z * scale) * 16)

    step = 1 if reach_m < 9 else 2 if reach_m < 18 else 5
    for metres in range(step, int(height / scale) + 1, step):
        row = place(0, metres)[1] // 16
        cv2.line(panel, (0, row), (width, row), (62, 62, 62), 1)
        text = f"{metres} m"
        cv2.putText(panel, text, (4, row - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (140,) * 3, 1, 16)
    for side in (-1, 1):
        edge = place(side * half_view * 3 * reach_m, 3 * reach_m)
        cv2.line(panel, place(0, 0), edge, (105, 105, 105), 1, cv2.LINE_AA, 4)
    for person in people:
        colour = colour_of(person.track_id)
        points = [place(x, z) for x, z in person.joints[:, [0, 2]].tolist()]
        for joint, parent in enumerate(PARENTS[: len(points)]):
            if parent >= 0:
                cv2.line(panel, points[parent], points[joint], colour, 2, cv2.LINE_AA, 4)
        cv2.circle(panel, points[0], 16 * 4, colour, -1, cv2.LINE_AA, 4)
    region = image[-height - 8 : -8, -width - 8 : -8]
    cv2.addWeighted(panel, 0.8, region, 0.2, 0, dst=panel)
    region[:] = panel


def draw_overlay(
    image: np.ndarray, people: tuple[Person, ...], faces: np.ndarray, camera: Camera
) -> np.ndarray:
    """Meshes, then skeletons and labels over one image.

    image: (H, W, 3) uint8 RGB. Returns a new image of the same shape.
    """
    out = draw_meshes(image, people, faces, camera)
    for person in sorted(people, key=lambda person: -float(person.joints[0, 2])):
        draw_skeleton(out, person, camera)
        draw_label(out, person, camera)
    return out


def sheet(
    images: Sequence[np.ndarray], columns: int, tile_width: int = 640, gap: int = 6
) -> np.ndarray:
    """Images of one size (H, W, 3) side by side in rows of `columns`; RGB in, RGB out.

    Raises: ValueError if there are no images.
    """
    if not images:
        raise ValueError("sheet() needs at least one image")
    height = round(images[0].shape[0] * tile_width / images[0].shape[1])
    rows = -(-len(images) // columns)
    page = np.full(
        (rows * (height + gap) + gap, columns * (tile_width + gap) + gap, 3), 24, np.uint8
    )
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (tile_width + gap)
        page[top : top + height, left : left + tile_width] = cv2.resize(
            image, (tile_width, height), interpolation=cv2.INTER_AREA
        )
    return page
