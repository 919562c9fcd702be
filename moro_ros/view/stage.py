"""Stage: one result in the browser's scene, with its ground, camera and people."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.io.export.axes import Axes
from moro_ros.io.pictures import decode
from moro_ros.view.people import Figure, PersonNodes, Shown
from moro_ros.view.result import Moment, Result

TRAIL_NS = 3_000_000_000
# Margin of the ground beyond the people [m].
MARGIN_M = 2.0
LEAST_GROUND_M = 6.0
# Height of titles above all joints [m].
TITLE_M = 0.7


class Stage:
    """Shows moments of a result.

    scene: of viser; path: the name of its root; titled: whether its name is shown above it;
    grid: whether it has its own, or uses that of another stage. frustum_m: depth of the camera's
    pyramid.
    """

    def __init__(
        self,
        scene: Any,
        path: str,
        result: Result,
        body: BodyModel,
        titled: bool = False,
        grid: bool = True,
    ) -> None:
        self.result = result
        self._scene, self._path, self._body = scene, path, body
        self._faces = body.faces.numpy()
        self._root = scene.add_frame(path, show_axes=False)
        self._has_grid = grid
        self._grid = scene.add_grid(
            f"{path}/grid", plane="xy", cell_size=0.5, section_size=1.0, shadow_opacity=0.25
        )
        self._title = scene.add_label(f"{path}/title", result.name, visible=titled)
        self._camera: Any = None
        self.frustum_m = 0.6
        self._picture_ns = -1
        self._slots: list[PersonNodes] = []
        self._owners: dict[int, int] = {}  # id -> its slot
        self._grid_box: tuple[float, ...] = ()

    def place(self, x_m: float) -> None:
        """Move all of it to the right."""
        self._root.position = (x_m, 0.0, 0.0)

    def seen(self, stamp_ns: int) -> tuple[object, ...]:
        """Return a key of the picture at a stamp, which only changes with the picture."""
        moments, index = self.result.near(stamp_ns)
        pictures = self.result.pictures
        moment_ns = None if index is None else moments[index].stamp_ns
        return moment_ns, id(self.result.ground), pictures.at(stamp_ns) if pictures else None

    def show(self, stamp_ns: int, shown: Shown) -> Moment | None:
        """Show the moment nearest to a stamp; returns it, None if there is none near."""
        moments, index = self.result.near(stamp_ns)
        moment = None if index is None else moments[index]
        frame = self.result.axes()
        self._show_camera(stamp_ns, frame, shown)
        self._grid.visible = shown.grid and self._has_grid
        figures = [] if index is None else self._figures(moments, index, frame, shown)
        self._assign([figure.track_id for figure in figures])
        for figure in figures:
            self._slots[self._owners[figure.track_id]].show(figure, shown)
        return moment

    def fit_ground(self, low: np.ndarray, high: np.ndarray, more_m: float = 0.0) -> None:
        """Place the grid below the space from low to high, (3,) m, and the camera; whole metres.

        more_m: extension to the right, for the result next to it.
        """
        self._title.position = ((low[0] + high[0]) / 2, high[1], high[2] + TITLE_M)
        high = high + np.array([more_m, 0.0, 0.0])
        low = np.floor(np.minimum(low[:2], 0.0) - MARGIN_M)
        high = np.ceil(np.maximum(high[:2], 0.0) + MARGIN_M)
        size = np.maximum(high - low, LEAST_GROUND_M)
        size += size % 2  # the lines of an even grid are on whole metres
        box = (*size, *np.round((low + high) / 2))
        if box != self._grid_box:
            self._grid_box = box
            self._grid.width, self._grid.height = float(size[0]), float(size[1])
            self._grid.position = (float(box[2]), float(box[3]), 0.0)

    def _figures(
        self, moments: list[Moment], index: int, frame: Axes, shown: Shown
    ) -> list[Figure]:
        people = moments[index].people
        if shown.only and shown.person:
            people = {i: pose for i, pose in people.items() if i == shown.person}
        meshes = self._meshes([pose.row for pose in people.values()] if shown.mesh else [])
        trails = self._trails(moments, index, set(people)) if shown.trails else {}
        figures = []
        for place, (track_id, pose) in enumerate(people.items()):
            row, covariance = pose
            if covariance is not None:
                covariance = frame.rotation @ covariance @ frame.rotation.T
            figures.append(
                Figure(
                    track_id=track_id,
                    vertices=frame.points(meshes[place]) if shown.mesh else None,
                    joints=frame.points(row["joints"].astype(np.float64)),
                    state=np.minimum(row["state"], 3),
                    contacts=row["contacts"],
                    trail=frame.points(np.array(trails.get(track_id, [])).reshape(-1, 3)),
                    covariance=covariance,
                    dimmed=shown.person not in (0, track_id),
                )
            )
        return figures

    def _meshes(self, rows: list[np.ndarray]) -> np.ndarray:
        """Vertices (P, V, 3) m of people, camera frame."""
        if not rows:
            return np.zeros((0, 0, 3))
        names = ("betas", "global_orient", "body_pose", "transl")
        parameters = [torch.from_numpy(np.stack([row[name] for row in rows])) for name in names]
        with torch.inference_mode():
            return np.asarray(self._body(*parameters).vertices.numpy())

    def _trails(
        self, moments: list[Moment], index: int, ids: set[int]
    ) -> dict[int, list[np.ndarray]]:
        """The recent positions of people's pelvis, camera frame."""
        trails: dict[int, list[np.ndarray]] = {}
        first_ns = moments[index].stamp_ns - TRAIL_NS
        start = index
        while start > 0 and moments[start - 1].stamp_ns >= first_ns:
            start -= 1
        for moment in moments[start : index + 1]:
            for track_id in ids & moment.people.keys():
                trails.setdefault(track_id, []).append(moment.people[track_id].row["joints"][0])
        return trails

    def _assign(self, ids: list[int]) -> None:
        """Assign each person a slot of nodes, the same one as before, and hide the others."""
        self._owners = {i: slot for i, slot in self._owners.items() if i in ids}
        free = [k for k in range(len(self._slots)) if k not in self._owners.values()]
        for track_id in ids:
            if track_id in self._owners:
                continue
            if not free:
                free.append(len(self._slots))
                self._slots.append(
                    PersonNodes(self._scene, f"{self._path}/person{free[0]}", self._faces)
                )
            self._owners[track_id] = free.pop(0)
        for slot in free:
            self._slots[slot].hide()

    def _show_camera(self, stamp_ns: int, frame: Axes, shown: Shown) -> None:
        camera = self.result.camera
        if camera is None:
            if self._camera is not None:
                self._camera.visible = False
            return
        if self._camera is None:
            self._camera = self._scene.add_camera_frustum(
                f"{self._path}/camera",
                fov=2.0 * float(np.arctan(camera.height / 2.0 / camera.matrix[1, 1])),
                aspect=camera.width / camera.height,
                scale=self.frustum_m,
                color=(40, 90, 160),
                cast_shadow=False,
            )
        self._camera.visible, self._camera.scale = shown.camera, self.frustum_m
        self._camera.wxyz = Rotation.from_matrix(frame.rotation).as_quat()[[3, 0, 1, 2]]
        self._camera.position = frame.translation
        pictures = self.result.pictures
        found = pictures.at(stamp_ns) if pictures is not None and shown.camera else None
        if found is not None and found[0] != self._picture_ns:
            self._picture_ns = found[0]
            self._camera.image = decode(found[1])
