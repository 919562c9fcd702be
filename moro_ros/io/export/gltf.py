"""glTF: each person as a skinned mesh with joints and an animation, in one GLB file.

pygltflib writes the file, because trimesh, the other maintained library, has no skins and no
animations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS, PARENTS
from moro_ros.geometry.mesh import vertex_normals
from moro_ros.io.export.bodies import BodyShape, body_shape, joint_weights
from moro_ros.io.export.tracks import Track

# What every glTF viewer supports: the joints that move one vertex.
INFLUENCES = 4
# Colours of people, linear RGB, in turn.
COLORS = ((0.35, 0.55, 0.85), (0.85, 0.5, 0.3), (0.45, 0.7, 0.4), (0.7, 0.45, 0.7))
ROUGHNESS = 0.9


def write_gltf(
    path: Path, people: Sequence[Sequence[Track]], body: BodyModel, frame_s: float
) -> None:
    """Write the motion of all people at the recorded times, from 0 at the recording's first image.

    A person is scaled to zero before their first frame, in gaps and after their last frame.

    people: of each person the parts without gaps, axes with y up. frame_s: duration of one frame
    [s]. Raises: OSError; ModuleNotFoundError without pygltflib.
    """
    import pygltflib

    file = _Gltf(pygltflib, body)
    end_s = max(parts[-1].times_s[-1] for parts in people)
    for number, parts in enumerate(people):
        file.add_person(number, parts, end_s, frame_s)
    path.write_bytes(file.finished())


class _Gltf:
    """A glTF document under construction, and its buffer."""

    def __init__(self, pygltflib: Any, body: BodyModel) -> None:
        self._lib = pygltflib
        self._body = body
        self._blob = bytearray()
        self._document = pygltflib.GLTF2(
            asset=pygltflib.Asset(version="2.0", generator="moro_ros"),
            scene=0,
            scenes=[pygltflib.Scene(nodes=[])],
            animations=[pygltflib.Animation(name="motion")],
        )
        weights = joint_weights(body)
        strongest = np.argsort(-weights, axis=1)[:, :INFLUENCES]
        kept = np.take_along_axis(weights, strongest, 1)
        kept /= kept.sum(1, keepdims=True)
        self._faces = body.faces.numpy()
        self._shared = {
            "JOINTS_0": self._add(np.where(kept > 0, strongest, 0).astype("u1"), "VEC4", True),
            "WEIGHTS_0": self._add(kept.astype("<f4"), "VEC4", True),
        }
        size = "<u2" if body.num_vertices <= 65535 else "<u4"
        self._indices = self._add(
            self._faces.astype(size).reshape(-1), "SCALAR", target=pygltflib.ELEMENT_ARRAY_BUFFER
        )

    def add_person(self, number: int, parts: Sequence[Track], end_s: float, frame_s: float) -> None:
        """Add a person's nodes, mesh, skin and animation."""
        lib, document = self._lib, self._document
        name = f"person_{parts[0].track_id}"
        shape = body_shape(self._body, parts[0].betas)
        times = np.concatenate([part.times_s for part in parts])
        pelvis = np.concatenate([part.joints[:, 0] for part in parts])
        turns = quaternions(np.concatenate([part.pose for part in parts]))
        root = len(document.nodes)
        first = root + 1
        document.nodes.append(lib.Node(name=name, children=[first]))
        offsets = shape.offsets()
        for joint in range(NUM_JOINTS):
            place = pelvis[0] if joint == 0 else offsets[joint]
            children = [first + child for child in range(NUM_JOINTS) if PARENTS[child] == joint]
            document.nodes.append(
                lib.Node(
                    name=f"{name}_{JOINT_NAMES[joint]}",
                    translation=place.tolist(),
                    rotation=turns[0, joint].tolist(),
                    children=children,
                )
            )
        document.skins.append(
            lib.Skin(
                name=name,
                joints=list(range(first, first + NUM_JOINTS)),
                skeleton=first,
                inverseBindMatrices=self._add(inverse_bind(shape), "MAT4"),
            )
        )
        document.meshes.append(self._mesh(name, shape, number))
        mesh = lib.Node(
            name=f"{name}_body", mesh=len(document.meshes) - 1, skin=len(document.skins) - 1
        )
        document.nodes.append(mesh)
        # Only the joints move a skinned mesh: below the person's node it would move twice.
        document.scenes[0].nodes += [root, len(document.nodes) - 1]
        clock = self._add(times.astype("<f4"), "SCALAR", limits=True)
        self._animate(first, "translation", clock, pelvis)
        for joint in range(NUM_JOINTS):
            self._animate(first + joint, "rotation", clock, turns[:, joint])
        at, visible = visibility(parts, end_s, frame_s)
        if not visible.all():
            steps = self._add(at.astype("<f4"), "SCALAR", limits=True)
            scale = np.repeat(visible[:, None], 3, 1).astype(np.float64)
            self._animate(root, "scale", steps, scale, "STEP")

    def finished(self) -> bytes:
        """Return the GLB file."""
        self._document.buffers = [self._lib.Buffer(byteLength=len(self._blob))]
        self._document.set_binary_blob(bytes(self._blob))
        return b"".join(self._document.save_to_bytes())

    def _mesh(self, name: str, shape: BodyShape, number: int) -> Any:
        lib = self._lib
        self._document.materials.append(
            lib.Material(
                name=name,
                pbrMetallicRoughness=lib.PbrMetallicRoughness(
                    baseColorFactor=[*COLORS[number % len(COLORS)], 1.0],
                    metallicFactor=0.0,
                    roughnessFactor=ROUGHNESS,
                ),
            )
        )
        attributes = lib.Attributes(
            POSITION=self._add(shape.vertices.astype("<f4"), "VEC3", True, limits=True),
            NORMAL=self._add(normals(shape.vertices, self._faces).astype("<f4"), "VEC3", True),
            **self._shared,
        )
        primitive = lib.Primitive(
            attributes=attributes,
            indices=self._indices,
            material=len(self._document.materials) - 1,
        )
        return lib.Mesh(name=name, primitives=[primitive])

    def _animate(
        self, node: int, path: str, clock: int, values: np.ndarray, interpolation: str = "LINEAR"
    ) -> None:
        """Add a channel: values (F, 3) or (F, 4) of a node at the times of accessor `clock`."""
        lib, animation = self._lib, self._document.animations[0]
        output = self._add(values.astype("<f4"), f"VEC{values.shape[1]}")
        animation.samplers.append(
            lib.AnimationSampler(input=clock, output=output, interpolation=interpolation)
        )
        target = lib.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(
            lib.AnimationChannel(sampler=len(animation.samplers) - 1, target=target)
        )

    def _add(
        self,
        values: np.ndarray,
        kind: str,
        per_vertex: bool = False,
        limits: bool = False,
        target: int | None = None,
    ) -> int:
        """Append an array to the buffer; returns the number of its accessor."""
        lib, document = self._lib, self._document
        components = {"f4": lib.FLOAT, "u1": lib.UNSIGNED_BYTE, "u2": lib.UNSIGNED_SHORT}
        # Accessors start at multiples of their component's size.
        self._blob += bytes(-len(self._blob) % 4)
        view = lib.BufferView(
            buffer=0,
            byteOffset=len(self._blob),
            byteLength=values.nbytes,
            target=lib.ARRAY_BUFFER if per_vertex else target,
        )
        document.bufferViews.append(view)
        self._blob += values.tobytes()
        flat = values.reshape(len(values), -1)
        document.accessors.append(
            lib.Accessor(
                bufferView=len(document.bufferViews) - 1,
                componentType=components.get(values.dtype.str[1:], lib.UNSIGNED_INT),
                count=len(values),
                type=kind,
                min=flat.min(0).tolist() if limits else None,
                max=flat.max(0).tolist() if limits else None,
            )
        )
        return len(document.accessors) - 1


def quaternions(pose: np.ndarray) -> np.ndarray:
    """Return rotation vectors (F, 22, 3) as quaternions (F, 22, 4), x y z w, without sign flips."""
    turns = Rotation.from_rotvec(pose.reshape(-1, 3)).as_quat().reshape(*pose.shape[:2], 4)
    # Viewers interpolate the four numbers; q and -q are the same rotation, but not halfway.
    flips = np.sign((turns[1:] * turns[:-1]).sum(-1, keepdims=True))
    flips[flips == 0] = 1.0
    turns[1:] *= np.cumprod(flips, axis=0)
    return turns


def inverse_bind(shape: BodyShape) -> np.ndarray:
    """Return (22, 16) float32: from the T-pose's axes into each joint's, column by column."""
    matrices = np.tile(np.eye(4), (NUM_JOINTS, 1, 1))
    matrices[:, :3, 3] = -shape.joints
    return matrices.swapaxes(1, 2).reshape(NUM_JOINTS, 16).astype("<f4")


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the unit normals (V, 3) of a surface of triangles."""
    total = vertex_normals(vertices, faces)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    # A vertex of no triangle has none; any unit vector is valid.
    return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 1.0, 0.0])


def visibility(
    parts: Sequence[Track], end_s: float, frame_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (K,) s at which a person appears or disappears, and whether they do (K,).

    A part is shown until `frame_s` after its last frame, like in a video. A part that lasts until
    end_s, the end of the recording's motion, does not disappear.
    """
    at, visible = [], []
    if parts[0].times_s[0] > 0:
        at.append(0.0)
        visible.append(False)
    for part in parts:
        at.append(part.times_s[0])
        visible.append(True)
        if part.times_s[-1] < end_s:
            at.append(part.times_s[-1] + frame_s)
            visible.append(False)
    return np.array(at), np.array(visible)
