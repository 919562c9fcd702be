"""Several calibrated cameras on one person: their calibration file and robust triangulation."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from moro_ros.errors import CalibrationError
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.geometry.camera import undistort_points
from moro_ros.types import KEYPOINTS, Camera, Frame, Keypoints

MIN_VISIBILITY = 0.5
MIN_VIEWS = 2
# At 3.5 m, 40 px of a 1080 x 1920 video are 8 cm: views differ by half of that on one point.
MAX_REPROJECTION_PX = 40.0
# Qualisys calibrations count 1/64 pixels and millimetres.
QCA_SUBPIXELS = 64.0


@dataclass(frozen=True, slots=True)
class View:
    """One calibrated camera: x_camera = rotation x_world + translation, (3, 3) and (3,) m."""

    name: str
    camera: Camera
    rotation: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True, slots=True)
class Truth:
    """Triangulated keypoints.

    points: (F, K, 3) m, world frame, NaN where no two views agree on the point.
    error_px: (F, K) largest reprojection error over the views used, pixels, NaN likewise.
    """

    points: np.ndarray
    error_px: np.ndarray


def load_calibration(path: Path) -> tuple[View, ...]:
    """Read a Qualisys calibration (Calib.qca.txt) as OpenCV cameras.

    Raises: CalibrationError when the file is not of that layout.
    """
    try:
        cameras = list(ElementTree.parse(path).getroot().iter("camera"))
        views = tuple(_view(camera) for camera in cameras)
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise CalibrationError(
            f"{path} is not a Qualisys calibration: {error!r}; expected Calib.qca.txt of Pose2Sim"
        ) from error
    if len(views) < MIN_VIEWS:
        raise CalibrationError(f"{path} holds {len(views)} cameras, expected at least {MIN_VIEWS}")
    return views


def _view(camera: ElementTree.Element) -> View:
    transform, intrinsic, area = (
        _numbers(camera, tag) for tag in ("transform", "intrinsic", "fov_video")
    )
    matrix = np.array(
        [
            [intrinsic["focalLengthU"], 0, intrinsic["centerPointU"]],
            [0, intrinsic["focalLengthV"], intrinsic["centerPointV"]],
            [0, 0, QCA_SUBPIXELS],
        ]
    )
    # Qualisys cameras look along -z with y up; OpenCV's look along +z with y down.
    rotation = np.diag([1.0, -1, -1]) @ [
        [transform[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)
    ]
    centre = np.array([transform[axis] for axis in "xyz"]) / MM_PER_M
    names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1")
    return View(
        name=camera.attrib["serial"],
        camera=Camera(
            matrix=matrix / QCA_SUBPIXELS,
            width=round(area["right"] - area["left"]) + 1,
            height=round(area["bottom"] - area["top"]) + 1,
            distortion=(*(intrinsic[name] for name in names), intrinsic["tangentalDistortion2"]),
        ),
        rotation=rotation,
        translation=-rotation @ centre,
    )


def _numbers(camera: ElementTree.Element, tag: str) -> dict[str, float]:
    element = camera.find(tag)
    if element is None:
        raise ValueError(f"no <{tag}> in <camera>")
    return {name: float(value) for name, value in element.attrib.items()}


def triangulate(views: Sequence[View], frames: Sequence[Sequence[Frame]]) -> Truth:
    """Triangulate all keypoints, each view weighted by the visibility it reports.

    A point takes as many views as agree on it: the largest set whose worst reprojection error is
    within MAX_REPROJECTION_PX (a view that confuses left and right disagrees and is left out).

    frames: of each view, synchronous; the first person of each is used.
    """
    point, weight = _observations(views, frames)
    world = np.full((*weight.shape[1:], 3), np.nan)
    error_px = np.full(weight.shape[1:], np.nan)
    for size in range(len(views), MIN_VIEWS - 1, -1):
        best_px = np.full(error_px.shape, float(MAX_REPROJECTION_PX))
        best_world = np.full_like(world, np.nan)
        for subset in combinations(range(len(views)), size):
            rows = list(subset)
            chosen = [views[row] for row in rows]
            found = intersect(chosen, point[rows], weight[rows])
            errors = reprojection_px(chosen, found, point[rows])
            better = (weight[rows] > 0).all(0) & (errors.max(0) <= best_px)
            best_px[better], best_world[better] = errors.max(0)[better], found[better]
        new = np.isnan(error_px) & np.isfinite(best_world[..., 0])
        world[new], error_px[new] = best_world[new], best_px[new]
    return Truth(world, error_px)


def _observations(
    views: Sequence[View], frames: Sequence[Sequence[Frame]]
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (C, F, K, 2) on the normalised plane and their weights (C, F, K), 0 if unseen."""
    count = min(len(of_view) for of_view in frames)
    weight = np.zeros((len(views), count, len(KEYPOINTS)))
    point = np.zeros((*weight.shape, 2))
    for row, (view, of_view) in enumerate(zip(views, frames, strict=True)):
        for number, frame in enumerate(of_view[:count]):
            keypoints = frame.people[0].keypoints if frame.people else None
            if keypoints is None:
                continue
            point[row, number] = normalised(keypoints, view)
            seen = keypoints.visibility >= MIN_VISIBILITY
            weight[row, number] = np.where(seen, keypoints.visibility, 0)
    return point, weight


def normalised(keypoints: Keypoints, view: View) -> np.ndarray:
    """Return keypoints (K, 2) on the normalised image plane, without lens distortion."""
    matrix = view.camera.matrix
    straight = undistort_points(keypoints.points_px.astype(np.float64), view.camera)
    return np.asarray((straight - matrix[:2, 2]) / matrix[[0, 1], [0, 1]])


def intersect(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The points (F, K, 3) m nearest to the weighted rays of all views, world frame.

    Two equations for each view: u P3 - P1 = 0 and v P3 - P2 = 0 (Hartley & Zisserman, 12.2).
    """
    projection = np.stack([np.column_stack([v.rotation, v.translation]) for v in views])
    equation = point[..., None] * projection[:, None, None, None, 2]
    equation = (equation - projection[:, None, None, :2]) * weight[..., None, None]
    system = equation.transpose(1, 2, 0, 3, 4).reshape(*weight.shape[1:], -1, 4)
    solution = np.linalg.svd(system)[2][..., -1, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(solution[..., :3] / solution[..., 3:])


def reprojection_px(views: Sequence[View], world: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distance in each view between a point and its observation, (C, F, K) px; inf behind it."""
    errors = []
    for view, observed in zip(views, point, strict=True):
        inside = world @ view.rotation.T + view.translation
        with np.errstate(divide="ignore", invalid="ignore"):
            planar = inside[..., :2] / inside[..., 2:]
        distance = np.linalg.norm(planar - observed, axis=-1) * view.camera.matrix[0, 0]
        errors.append(np.where(inside[..., 2] > 0, distance, np.inf))
    return np.array(errors)
