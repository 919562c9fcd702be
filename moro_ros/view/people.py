"""PersonNodes: the nodes of one person in the browser's scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
import viser
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.draw.render import colour_of
from moro_ros.io.marker_style import BONE_ENDS, ELLIPSOID_JOINTS, HEAD, STATE_COLORS
from moro_ros.recover.ground import CONTACT

JOINT_RADIUS_M, BONE_WIDTH_M, TRAIL_WIDTH_M, CONTACT_RADIUS_M = 0.025, 0.022, 0.02, 0.07
ABOVE_HEAD_M, ABOVE_GROUND_M = 0.3, 0.006
# With the skeleton inside, and of a person who is not selected.
MESH_ALPHA, DIMMED_ALPHA, ELLIPSOID_ALPHA = 0.45, 0.2, 0.35
CONTACT_COLOR = (255, 210, 60)
BONES = np.reshape(BONE_ENDS, (-1, 2))
FEET = list(CONTACT_JOINTS)
COLORS = np.array([np.round(255 * np.array(STATE_COLORS[s][:3])) for s in sorted(STATE_COLORS)])
COLORS = COLORS.astype(np.uint8)
IDENTITY = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Shown:
    """A switch for each part of the scene.

    apart: two results are side by side, not in the same place. person: the selected id, 0: all
    people; only: the others are hidden.
    """

    mesh: bool = True
    skeleton: bool = True
    covariance: bool = True
    trails: bool = True
    ids: bool = True
    contacts: bool = True
    camera: bool = True
    grid: bool = True
    apart: bool = True
    person: int = 0
    only: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """The displayed data of one person, in the frame of the result (z up, the ground at 0), m.

    vertices: (V, 3) or None. joints: (22, 3). state: (22,). contacts: (4,). trail: (N, 3).
    covariance: (22, 3, 3) m^2 or None. dimmed: whether another person is selected.
    """

    track_id: int
    vertices: np.ndarray | None
    joints: np.ndarray
    state: np.ndarray
    contacts: np.ndarray
    trail: np.ndarray
    covariance: np.ndarray | None
    dimmed: bool


class PersonNodes:
    """Scene nodes below a path, which are created once and then moved.

    scene: of viser. faces: (T, 3).
    """

    def __init__(self, scene: Any, path: str, faces: np.ndarray) -> None:
        self._scene, self._path, self._faces = scene, path, faces
        self._root = scene.add_frame(path, show_axes=False)
        ball = trimesh.creation.icosphere(subdivisions=2)
        disc = trimesh.creation.cylinder(radius=CONTACT_RADIUS_M, height=0.004, sections=24)
        self._joints = self._batch("joints", ball, len(JOINT_NAMES))
        self._contacts = self._batch("contacts", disc, len(FEET))
        self._contacts.batched_colors = np.array(CONTACT_COLOR, np.uint8)
        self._ellipsoids = self._batch("covariance", ball, len(ELLIPSOID_JOINTS))
        self._ellipsoids.opacity = ELLIPSOID_ALPHA
        none = np.zeros((len(BONES), 2, 3))
        self._bones = scene.add_line_segments(
            f"{path}/bones", none, none.astype(np.uint8), thickness=BONE_WIDTH_M
        )
        self._trail = scene.add_line_segments(
            f"{path}/trail", none, (0, 0, 0), thickness=TRAIL_WIDTH_M
        )
        self._label = scene.add_label(f"{path}/id", "", anchor="bottom-center")
        self._mesh: viser.MeshHandle | None = None
        self._track_id = 0

    def hide(self) -> None:
        """Show nobody."""
        self._root.visible = False

    def show(self, figure: Figure, shown: Shown) -> None:
        """Show a person."""
        self._root.visible = True
        self._show_mesh(figure, shown)
        colors = COLORS[figure.state]
        self._bones.visible = self._joints.visible = shown.skeleton
        if shown.skeleton:
            self._bones.points = figure.joints[BONES].astype(np.float32)
            self._bones.colors = np.repeat(colors[BONES[:, 1], None], 2, axis=1)
            self._joints.batched_positions = figure.joints.astype(np.float32)
            self._joints.batched_colors = colors
        self._show_ellipsoids(figure, shown)
        self._show_feet(figure, shown)
        self._label.visible = shown.ids
        if shown.ids:
            self._label.position = figure.joints[HEAD] + [0.0, 0.0, ABOVE_HEAD_M]
        if figure.track_id != self._track_id:
            self._track_id = figure.track_id
            self._label.text = f"{figure.track_id}"
            self._trail.colors = np.array(colour_of(figure.track_id)).astype(np.uint8)
            if self._mesh is not None:
                self._mesh.color = rgb(figure.track_id)

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        self._root.remove()

    def _batch(self, name: str, mesh: trimesh.Trimesh, count: int) -> Any:
        return self._scene.add_batched_meshes_simple(
            f"{self._path}/{name}",
            mesh.vertices,
            mesh.faces,
            np.tile(IDENTITY, (count, 1)),
            np.zeros((count, 3)),
            batched_scales=np.full((count, 3), JOINT_RADIUS_M),
            batched_colors=np.zeros((count, 3), np.uint8),
            lod="off",
            cast_shadow=False,
            receive_shadow=False,
        )

    def _show_mesh(self, figure: Figure, shown: Shown) -> None:
        if figure.vertices is None or not shown.mesh:
            if self._mesh is not None:
                self._mesh.visible = False
            return
        vertices = figure.vertices.astype(np.float32)
        if self._mesh is None:
            self._mesh = self._scene.add_mesh_simple(
                f"{self._path}/mesh", vertices, self._faces, color=rgb(figure.track_id)
            )
        self._mesh.visible = True
        self._mesh.vertices = vertices
        whole = None if not shown.skeleton else MESH_ALPHA
        self._mesh.opacity = DIMMED_ALPHA if figure.dimmed else whole

    def _show_ellipsoids(self, figure: Figure, shown: Shown) -> None:
        self._ellipsoids.visible = shown.covariance and figure.covariance is not None
        if figure.covariance is None or not shown.covariance:
            return
        joints = list(ELLIPSOID_JOINTS)
        variances, turns = np.linalg.eigh(figure.covariance[joints].astype(np.float64))
        turns[np.linalg.det(turns) < 0.0, :, 0] *= -1.0
        quaternions = Rotation.from_matrix(turns).as_quat()[:, [3, 0, 1, 2]]
        self._ellipsoids.batched_positions = figure.joints[joints].astype(np.float32)
        self._ellipsoids.batched_wxyzs = quaternions.astype(np.float32)
        scales = np.sqrt(np.maximum(variances, 1e-8))
        self._ellipsoids.batched_scales = scales.astype(np.float32)
        self._ellipsoids.batched_colors = COLORS[figure.state[joints]]

    def _show_feet(self, figure: Figure, shown: Shown) -> None:
        """The contacts of the feet with the ground, and the trail of the person."""
        stands = figure.contacts > CONTACT
        self._contacts.visible = bool(shown.contacts and stands.any())
        if shown.contacts:
            places = figure.joints[FEET] * [1.0, 1.0, 0.0] + [0.0, 0.0, ABOVE_GROUND_M]
            self._contacts.batched_positions = places.astype(np.float32)
            # A disc without a contact has no size.
            self._contacts.batched_scales = np.repeat(stands[:, None], 3, 1).astype(np.float32)
        self._trail.visible = bool(shown.trails and len(figure.trail) > 1)
        if shown.trails and len(figure.trail) > 1:
            way = figure.trail * [1.0, 1.0, 0.0] + [0.0, 0.0, ABOVE_GROUND_M]
            self._trail.points = np.stack([way[:-1], way[1:]], 1).astype(np.float32)


def rgb(track_id: int) -> tuple[int, int, int]:
    """The colour of an id, 0 to 255."""
    red, green, blue = colour_of(track_id)
    return round(red), round(green), round(blue)
