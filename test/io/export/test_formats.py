"""What other programs read from exported files: every joint where it was recorded, within 1 mm."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.body.fitting import _smplfitter_body
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.cli import cli
from moro_ros.io.export.axes import axes
from moro_ros.io.export.bodies import body_shape
from moro_ros.io.recording import STATE_NAMES

NEAR_M = 0.001
# The markers that are joints.
MARKERS = {"RKnee": "right_knee", "LAnkle": "left_ankle", "Neck": "neck", "LWrist": "left_wrist"}
UNITS = {"m": 1.0, "cm": 100.0, "mm": 1000.0}


def export(recorded, form: str, *options: str) -> Path:
    pytest.importorskip({"gltf": "pygltflib", "c3d": "ezc3d"}.get(form, "numpy"))
    out = recorded.path.parent / "out"
    assert cli.main(["export", form, str(recorded.path), "--out", str(out), *options]) == 0
    return out


def largest(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest distance [m]; NaN where anything is not a number."""
    return float(np.linalg.norm(np.asarray(got) - wanted, axis=-1).max())


@pytest.mark.parametrize(("up", "units"), [("y", "cm"), ("y", "m"), ("z", "cm"), ("z", "mm")])
def test_bvh_as_bvhio_reads_it(recorded, up, units) -> None:
    bvhio = pytest.importorskip("bvhio")
    out = export(recorded, "bvh", "--up", up, "--units", units)
    # The short hole, frame 4, is filled; the long one splits the file.
    parts = {
        "walk_person_4_part_1.bvh": (4, 0, 7),
        "walk_person_4_part_2.bvh": (4, 40, 3),
        "walk_person_9.bvh": (9, 10, 10),
    }
    assert sorted(path.name for path in out.iterdir()) == sorted(parts)
    for name, (number, first, count) in parts.items():
        file = bvhio.readAsBvh(str(out / name))
        assert file.FrameCount == count
        assert pytest.approx(1 / 30, abs=1e-8) == file.FrameTime
        root = bvhio.readAsHierarchy(str(out / name))
        bones = {bone.Name: bone for bone, _, _ in root.layout()}
        for frame in set(range(first, first + count)) & recorded.joints[number].keys():
            root.loadPose(frame - first, recursive=True)
            got = np.array([tuple(bones[joint].PositionWorld) for joint in JOINT_NAMES])
            assert largest(got / UNITS[units], recorded.at(number, frame, up)) < NEAR_M


@pytest.mark.parametrize(("up", "axis"), [("y", 1), ("z", 2)])
def test_the_rest_pose_of_a_bvh_file_stands_upright(recorded, up, axis) -> None:
    bvhio = pytest.importorskip("bvhio")
    out = export(recorded, "bvh", "--up", up)
    root = bvhio.readAsHierarchy(str(out / "walk_person_9.bvh"))
    bones = {bone.Name: bone for bone, _, _ in root.layout()}
    root.loadRestPose(recursive=True)
    head, foot = (np.array(tuple(bones[name].PositionWorld)) for name in ("head", "left_ankle"))
    assert head[axis] - foot[axis] > 100.0
    assert bones["left_wrist"].PositionWorld[0] > bones["right_wrist"].PositionWorld[0] + 50.0


def gltf_values(document, number: int) -> np.ndarray:
    """The array of an accessor, (N, components)."""
    accessor = document.accessors[number]
    view = document.bufferViews[accessor.bufferView]
    kind = {5126: "<f4", 5121: "u1", 5123: "<u2"}[accessor.componentType]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
    data = np.frombuffer(document.binary_blob(), kind, accessor.count * width, view.byteOffset)
    return data.reshape(-1, width)


def gltf_scene(path: Path) -> SimpleNamespace:
    """The nodes in trimesh, which chains them, and the channels of the animation."""
    trimesh, pygltflib = pytest.importorskip("trimesh"), pytest.importorskip("pygltflib")
    document = pygltflib.GLTF2().load(str(path))
    channels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for channel in document.animations[0].channels:
        sampler = document.animations[0].samplers[channel.sampler]
        times = gltf_values(document, sampler.input)[:, 0]
        values = gltf_values(document, sampler.output)
        name = document.nodes[channel.target.node].name
        channels.setdefault(name, {})[channel.target.path] = (times, values)
    graph = trimesh.load(path).graph
    parents = {child: parent for parent, child, _ in graph.to_edgelist()}
    rest = {node.name: node.translation for node in document.nodes}

    def pose(time: float) -> None:
        for name, paths in channels.items():
            matrix = np.eye(4)
            matrix[:3, 3] = rest[name] or (0, 0, 0)
            for kind, (times, values) in paths.items():
                key = int(np.searchsorted(times, time + 1e-4)) - 1
                if kind == "translation":
                    matrix[:3, 3] = values[key]
                elif kind == "rotation":
                    matrix[:3, :3] = Rotation.from_quat(values[key]).as_matrix()
                else:
                    matrix[:3, :3] = np.diag(values[key])
            graph.update(name, parents[name], matrix=matrix)

    return SimpleNamespace(graph=graph, document=document, pose=pose)


def test_glb_as_trimesh_reads_it(recorded, open_body: BodyModel) -> None:
    scene = gltf_scene(export(recorded, "gltf") / "walk.glb")
    document = scene.document
    for person, (number, frames) in enumerate(recorded.joints.items()):
        names = [f"person_{number}_{joint}" for joint in JOINT_NAMES]
        for frame in frames:
            scene.pose(frame / 30)
            world = np.stack([scene.graph.get(name)[0] for name in names])
            assert largest(world[:, :3, 3], recorded.at(number, frame, "y")) < NEAR_M
        # The surface at the last frame, by the definition of glTF's skins.
        skin, mesh = document.skins[person], document.meshes[person]
        assert [document.nodes[joint].name for joint in skin.joints] == names
        inverse = gltf_values(document, skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        shared = mesh.primitives[0].attributes
        place = gltf_values(document, shared.POSITION)
        moved = np.einsum("jab,jbc->jac", world, inverse)
        joints, weights = (gltf_values(document, n) for n in (shared.JOINTS_0, shared.WEIGHTS_0))
        blended = (moved[joints] * weights[..., None, None]).sum(1)
        got = np.einsum("vab,vb->va", blended[:, :3, :3], place) + blended[:, :3, 3]
        wanted = surface(recorded, open_body, number)
        error = np.linalg.norm(got - wanted, axis=1)
        # Up to seven joints move a vertex, and glTF has room for four.
        assert np.quantile(error, 0.9) < NEAR_M and error.max() < 0.03


def surface(recorded, body: BodyModel, number: int) -> np.ndarray:
    """The body's vertices (V, 3) m at a person's last frame, y up."""
    row = recorded.recording.people()[number][-1:]
    arrays = [torch.from_numpy(row[name].copy()) for name in ("betas", "global_orient")]
    arrays += [torch.from_numpy(row[name].copy()) for name in ("body_pose", "transl")]
    return body(*arrays).vertices[0].numpy() * [1.0, -1.0, -1.0]


def test_people_of_a_glb_file_are_hidden_while_they_are_missing(recorded) -> None:
    scene = gltf_scene(export(recorded, "gltf") / "walk.glb")

    def shown(number: int, frame: float) -> bool:
        scene.pose(frame / 30)
        return bool(np.linalg.det(scene.graph.get(f"person_{number}_head")[0][:3, :3]) > 0.5)

    assert [shown(4, frame) for frame in (0, 4, 6, 20, 39, 40, 42)] == [
        *(True, True, True, False, False, True, True)
    ]
    assert [shown(9, frame) for frame in (0, 9, 10, 19, 21, 42)] == [
        *(False, False, True, True, False, False)
    ]


def test_a_glb_file_begins_in_the_pose_of_its_first_frames(recorded) -> None:
    """Programs that show no animations show people nevertheless."""
    trimesh = pytest.importorskip("trimesh")
    graph = trimesh.load(export(recorded, "gltf") / "walk.glb").graph
    for number, first in ((4, 0), (9, 10)):
        got = [graph.get(f"person_{number}_{joint}")[0][:3, 3] for joint in JOINT_NAMES]
        assert largest(got, recorded.at(number, first, "y")) < NEAR_M


@pytest.mark.parametrize("up", ["y", "z"])
def test_amass_as_smplfitter_reads_it(recorded, open_body: BodyModel, up) -> None:
    out = export(recorded, "amass", "--people", "9", "--up", up)
    with np.load(out / "walk_person_9_stageii.npz") as file:
        assert float(file["mocap_frame_rate"]) == 30.0
        assert str(file["gender"]) == "neutral" and str(file["surface_model_type"]) == "smplx"
        assert file["poses"].shape == (10, 165) and file["betas"].shape == (16,)
        whole = [file[key] for key in ("root_orient", "pose_body", "pose_jaw", "pose_eye")]
        assert np.array_equal(np.concatenate([*whole, file["pose_hand"]], 1), file["poses"])
        body = _smplfitter_body(open_body, open_body.joint_regressor.numpy())
        posed = body(
            pose_rotvecs=torch.from_numpy(file["poses"]),
            shape_betas=torch.from_numpy(file["betas"][None, :10]).expand(10, -1),
            trans=torch.from_numpy(file["trans"]).float(),
        )
    for frame in range(10):
        got = posed["joints"][frame, :22].numpy()
        assert largest(got, recorded.at(9, 10 + frame, up)) < NEAR_M


def test_the_long_table_has_what_was_recorded(recorded) -> None:
    with (export(recorded, "csv") / "walk_long.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 22 * sum(len(frames) for frames in recorded.joints.values())
    for line in lines:
        frame = round(float(line["time"]) * 30)
        joint = JOINT_NAMES.index(line["joint"])
        wanted = recorded.at(int(line["id"]), frame, "z")[joint]
        assert largest([float(line[axis]) for axis in "xyz"], wanted) < NEAR_M
        assert line["state"] in STATE_NAMES


def test_the_wide_table_has_what_was_recorded(recorded) -> None:
    out = export(recorded, "csv", "--layout", "wide", "--up", "y", "--people", "4,9")
    table = np.genfromtxt(out / "walk_wide.csv", delimiter=",", names=True)
    assert table.dtype.names == ("time", "id", *(f"{j}_{a}" for j in JOINT_NAMES for a in "xyz"))
    rows = np.array(table.tolist())
    wanted = [(n, f) for n, frames in recorded.joints.items() for f in frames]
    assert rows[:, 1].tolist() == [number for number, _ in wanted]
    assert rows[:, 0] == pytest.approx([frame / 30 for _, frame in wanted], abs=1e-6)
    joints = np.stack([recorded.at(number, frame, "y") for number, frame in wanted])
    assert largest(rows[:, 2:].reshape(-1, 22, 3), joints) < NEAR_M


def marker_error(recorded, read: dict[str, np.ndarray], up: str) -> float:
    """The largest distance [m] of the markers {name: (43, 3) mm} of person 4 that are joints."""
    assert all(np.isnan(read[name][7:40]).all() for name in read), "hidden in the long hole"
    assert all(np.isfinite(read[name][[4, 6, 40, 42]]).all() for name in read)
    return max(
        largest(
            read[marker][frame] / 1000,
            recorded.at(4, frame, up)[JOINT_NAMES.index(joint)],
        )
        for marker, joint in MARKERS.items()
        for frame in recorded.joints[4]
    )


@pytest.mark.parametrize("up", ["y", "z"])
def test_trc_as_trc_data_reader_reads_it(recorded, up) -> None:
    trc = pytest.importorskip("trc")
    file = trc.TRCData()
    file.load(str(export(recorded, "trc", "--up", up) / "walk_person_4.trc"))
    assert (file["Units"], float(file["DataRate"]), int(file["NumFrames"])) == ("mm", 30.0, 43)
    assert file["Time"] == pytest.approx(np.arange(43) / 30, abs=1e-6)
    assert len(file["Markers"]) == 22
    read = {name: np.array(file[name], dtype=float) for name in file["Markers"]}
    assert marker_error(recorded, read, up) < NEAR_M


def test_hidden_markers_of_a_trc_file_are_cells_to_opensim(recorded) -> None:
    """OpenSim counts the cells that a tab ends, and refuses a line with too few."""
    text = (export(recorded, "trc") / "walk_person_4.trc").read_text(encoding="ascii")
    lines = text.splitlines()[6:]
    assert len(lines) == 43
    assert {line.count("\t") for line in lines} == {2 + 3 * 22}


@pytest.mark.filterwarnings("ignore:No analog data")
@pytest.mark.parametrize("up", ["y", "z"])
def test_c3d_as_another_library_reads_it(recorded, up) -> None:
    c3d = pytest.importorskip("c3d")
    path = export(recorded, "c3d", "--up", up) / "walk_person_4.c3d"
    with path.open("rb") as stream:
        file = c3d.Reader(stream)
        frames = np.stack([points for _, points, _ in file.read_frames()])
        point = file.get("POINT")
        assert point.get("UNITS").string_value.strip() == "mm"
        assert point.get("Y_SCREEN").string_value.strip() == f"+{up.upper()}"
        assert file.point_rate == 30.0
        names = [label.strip() for label in file.point_labels]
    assert frames.shape[:2] == (43, 22)
    # What is invalid has a negative residual.
    frames[frames[..., 3] < 0] = np.nan
    read = {name: frames[:, index, :3] for index, name in enumerate(names)}
    assert marker_error(recorded, read, up) < NEAR_M


def test_markers_of_the_feet_and_the_head_lie_on_the_body(recorded, open_body: BodyModel) -> None:
    trc = pytest.importorskip("trc")
    file = trc.TRCData()
    file.load(str(export(recorded, "trc") / "walk_person_9.trc"))
    vertices = surface(recorded, open_body, 9)
    for name in ("Nose", "Head", "LHeel", "RHeel", "LBigToe", "RSmallToe"):
        place = np.array(file[name][-1]) / 1000
        assert np.linalg.norm(vertices - place, axis=1).min() < 0.03, name


def test_the_ends_of_the_skeleton_are_toes_fingers_and_the_top_of_the_head(
    open_body: BodyModel,
) -> None:
    shape = body_shape(open_body, np.zeros(10))
    top = shape.vertices[:, 1].max()
    assert shape.ends[JOINT_NAMES.index("head")][1] == pytest.approx(top, abs=0.02)
    assert shape.ends[JOINT_NAMES.index("left_wrist")][0] == pytest.approx(
        shape.vertices[:, 0].max(), abs=0.02
    )
    assert shape.ends[JOINT_NAMES.index("left_foot")][2] == pytest.approx(
        shape.vertices[:, 2].max(), abs=0.03
    )


@pytest.mark.parametrize(("up", "axis"), [("y", 1), ("z", 2)])
def test_the_floor_is_at_height_zero(recorded, up, axis) -> None:
    out = export(
        recorded, "csv", "--up", up, "--camera-height", "1.5", "--camera-pitch", "20"
    )  # fmt: skip
    with (out / "walk_long.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    down = np.array([0.0, np.cos(np.radians(20)), np.sin(np.radians(20))])
    ahead = np.array([0.0, -np.sin(np.radians(20)), np.cos(np.radians(20))])
    for line in lines:
        frame, joint = round(float(line["time"]) * 30), JOINT_NAMES.index(line["joint"])
        place = recorded.joints[int(line["id"])][frame][joint]
        got = [float(line[name]) for name in "xyz"]
        assert got[axis] == pytest.approx(1.5 - place @ down, abs=NEAR_M)
        assert got[0] == pytest.approx(place[0], abs=NEAR_M)
        towards = got[1] if up == "z" else -got[2]
        assert towards == pytest.approx(place @ ahead, abs=NEAR_M)


def test_the_axes_are_right_handed() -> None:
    for up in "yz":
        for frame in (axes(up), axes(up, (0.1, -np.sqrt(0.9), -0.3), 2.0)):
            assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
            assert frame.rotation @ frame.rotation.T == pytest.approx(np.eye(3))
