"""Several calibrated cameras: where each stands, where their rays meet, where a point is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from moro_ros.errors import CalibrationError
from moro_ros.types import Camera

# Cameras that see one person are no farther apart, m; a calibration in millimetres is.
MOST_APART_M = 50.0
# Cameras at one place see no distance, m.
LEAST_APART_M = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """One calibrated camera: x_camera = rotation x_world + translation, (3, 3) and (3,) m."""

    name: str
    camera: Camera
    rotation: np.ndarray
    translation: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Where the camera is, (3,) m, world frame."""
        return np.asarray(-self.rotation.T @ self.translation)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) m of the world frame in the camera's frame."""
        with np.errstate(invalid="ignore"):  # unknown points are NaN, of which some BLAS warn
            return np.asarray(points @ self.rotation.T + self.translation)

    def world(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) m of the camera's frame in the world frame."""
        return np.asarray((points - self.translation) @ self.rotation)


def intersect(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The points (F, K, 3) m nearest to the weighted rays of all views, world frame.

    point: (C, F, K, 2) on the normalised planes; weight: (C, F, K).
    Two equations for each view: u P3 - P1 = 0 and v P3 - P2 = 0 (Hartley & Zisserman, 12.2).
    """
    projection = np.stack([np.column_stack([v.rotation, v.translation]) for v in views])
    equation = point[..., None] * projection[:, None, None, None, 2]
    equation = (equation - projection[:, None, None, :2]) * weight[..., None, None]
    system = equation.transpose(1, 2, 0, 3, 4).reshape(*weight.shape[1:], -1, 4)
    solution = np.linalg.svd(system)[2][..., -1, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(solution[..., :3] / solution[..., 3:])


def projected(view: View, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a view sees points (..., 3) m: (..., 2) on its normalised plane, and depth.

    The depth (...) is in metres; points behind the camera have none above zero.
    """
    inside = view.inside(world)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(inside[..., :2] / inside[..., 2:]), inside[..., 2]


def check_views(views: Sequence[View], source: str) -> None:
    """Check that cameras are as far apart as cameras that see one person.

    source: what the message begins with.
    Raises: CalibrationError naming the cameras, and what was probably meant.
    """
    for words in misplaced(views, source).values():
        raise CalibrationError(words)


def misplaced(views: Sequence[View], source: str) -> dict[str, str]:
    """Return the cameras too far from the others, or at the place of another one, with the text.

    source: what the texts begin with.
    """
    centres = {view.name: view.centre for view in views}
    found = {}
    for name, centre in centres.items():
        away = sorted(float(np.linalg.norm(centre - c)) for n, c in centres.items() if n != name)
        nearest = away[len(away) // 2 if len(away) > 2 else 0] if away else 0.0
        if nearest > MOST_APART_M:
            whose = "all cameras" if len(views) == 2 else f"camera {name}"
            found[name] = (
                f"{source}: camera {name} is {nearest:.0f} m from the others, expected less than "
                f"{MOST_APART_M:.0f} m. Probably the translation of {whose} is in millimetres; "
                "expected metres."
            )
    for (first, one), (second, two) in combinations(centres.items(), 2):
        if np.linalg.norm(one - two) < LEAST_APART_M:
            found[first] = found[second] = (
                f"{source}: cameras {first} and {second} are at the same place, expected at least "
                f"{LEAST_APART_M} m between them. Are these the extrinsics of both?"
            )
    return found
