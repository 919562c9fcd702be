"""The camera's image with the recovered bodies of all people drawn on it."""

from __future__ import annotations

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from moro_ros.body.topology import JOINT_NAMES, PARENTS
from moro_ros.geometry.lens import NEAREST_M, image_points, project_points
from moro_ros.io.marker_style import PERSON_COLORS, STATE_COLORS
from moro_ros.ros.bridge import image_message
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.outputs.humans import joint_states
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import BodyMotion, Camera

BODY_ALPHA = 0.45
# Maximum distance of neighbouring vertices of a mesh [m].
SPACING_M = 0.05
# The same distance in the mask in which they are joined [px].
KERNEL_PX = 4
# Image height for which the widths of lines and letters are given.
ROWS = 480
_HEAD = JOINT_NAMES.index("head")


def annotated_image(
    image: np.ndarray, camera: Camera, motions: tuple[BodyMotion, ...]
) -> np.ndarray:
    """A copy of an RGB image (H, W, 3) with bodies, skeletons coloured by state, and ids.

    The farthest person is drawn first.
    """
    canvas = image.copy()
    scale = max(1, round(image.shape[0] / ROWS))
    for motion in sorted(motions, key=lambda m: -float(m.joints[-1, 0, 2])):
        color = PERSON_COLORS[motion.track_id % len(PERSON_COLORS)]
        if motion.vertices is not None:
            _draw_body(canvas, camera, motion.vertices[-1], color)
        _draw_skeleton(canvas, camera, motion, scale)
    return canvas


def _draw_body(
    canvas: np.ndarray,
    camera: Camera,
    vertices: np.ndarray,
    color: tuple[float, float, float],
) -> None:
    if vertices[:, 2].min() < NEAREST_M:
        return
    corners = np.rint(image_points(vertices, camera)).astype(np.int32)
    low = np.clip(corners.min(axis=0), 0, (camera.width, camera.height))
    high = np.clip(corners.max(axis=0) + 1, 0, (camera.width, camera.height))
    width, height = (high - low).tolist()
    if width <= 0 or height <= 0:
        return
    # Closing the gaps between the vertices, in a mask in which they are a few pixels wide, is far
    # cheaper than filling the triangles.
    gap = SPACING_M * max(camera.matrix[0, 0], camera.matrix[1, 1]) / float(vertices[:, 2].mean())
    step = max(1, int(gap // KERNEL_PX))
    mask = np.zeros((-(-height // step), -(-width // step)), np.uint8)
    inside = ((corners >= low) & (corners < high)).all(axis=1)
    column, row = (corners[inside] - low).T // step
    mask[row, column] = 1
    side = 2 * int(np.ceil(gap / step / 2)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    mask = np.repeat(np.repeat(mask, step, axis=0), step, axis=1)[:height, :width]
    part = canvas[low[1] : high[1], low[0] : high[0]]
    plain = np.full_like(part, _rgb(color))
    tinted = cv2.addWeighted(part, 1.0 - BODY_ALPHA, plain, BODY_ALPHA, 0.0)
    np.copyto(part, tinted, where=mask[..., None].astype(bool))


def _draw_skeleton(canvas: np.ndarray, camera: Camera, motion: BodyMotion, scale: int) -> None:
    places = project_points(motion.joints[-1], camera)
    # cv2's integers overflow far outside of the image.
    limit = 4.0 * max(camera.width, camera.height)
    shown = (np.abs(places) < limit).all(axis=1)
    points = [tuple(map(int, place)) for place in np.rint(np.nan_to_num(places))]
    colors = [_rgb(STATE_COLORS[int(state)][:3]) for state in joint_states(motion)]
    for child, parent in enumerate(PARENTS):
        if parent >= 0 and shown[child] and shown[parent]:
            cv2.line(canvas, points[parent], points[child], colors[child], 2 * scale, cv2.LINE_AA)
    for joint, point in enumerate(points):
        if shown[joint]:
            cv2.circle(canvas, point, 3 * scale, colors[joint], cv2.FILLED, cv2.LINE_AA)
    if shown[_HEAD]:
        place = points[_HEAD][0] + 8 * scale, points[_HEAD][1] - 8 * scale
        font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale
        cv2.putText(
            canvas, str(motion.track_id), place, font, size, (255, 255, 255), 2 * scale, cv2.LINE_AA
        )


def _rgb(color: tuple[float, ...]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in color)
    return red, green, blue


class AnnotatedOutput(TopicOutput):
    """~/annotated: the drawn image, at most at annotated_rate_hz, if publish_images is on."""

    needs_mesh = True
    needs_image = True

    def __init__(self, node: Node) -> None:
        super().__init__(node, Image, "~/annotated", rate_hz=lambda o: o.annotated_rate_hz)

    def watched(self, options: NodeConfig) -> bool:
        """Whether images may be published and there is a subscriber."""
        return options.publish_images and super().watched(options)

    def messages(self, scene: Scene, options: NodeConfig) -> list[Image]:
        """One rgb8 image of the camera's size."""
        result = scene.result
        drawn = annotated_image(scene.image, result.camera, result.motions)
        return [image_message(drawn, scene.header)]
