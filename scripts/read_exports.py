#!/usr/bin/env python3
"""Reads exported files with programs of others, and compares every joint with the CSV table.

    python3.11 -m venv other
    other/bin/pip install bpy ezc3d mcap-ros2-support "numpy<2" "opencv-python-headless<4.12"
    other/bin/python scripts/read_exports.py FOLDER [PICTURES [RECORDED]]

FOLDER has what these commands write of one recording, without further options:
`moro export gltf`, `bvh`, `c3d`, `mcap --video VIDEO` and `csv`. PICTURES: a folder for a rendered
image of the GLB file and for the markers, drawn over an image of the mcap file. RECORDED: the
motion.mcap of `moro demo --markers`, of which the same is drawn.
"""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import cv2
import ezc3d
import numpy as np
from mathutils import Quaternion, Vector
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

# For each person, the time of each frame and the joints by name: [s], m, z up.
Table = dict[int, tuple[list[float], list[dict[str, Vector]]]]
# The moment of which pictures are made [s].
PICTURE_S = 3.0
MARKERS = {"RKnee": "right_knee", "LWrist": "left_wrist", "Neck": "neck"}


def main() -> None:
    """Check every file of a folder."""
    folder = Path(sys.argv[1])
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    table = read_table(folder / "motion_long.csv")
    print(f"{sum(len(times) for times, _ in table.values())} frames of people {list(table)}")
    check_c3d(folder, table)
    check_mcap(folder / "motion_markers.mcap", table, pictures)
    if len(sys.argv) > 3 and pictures:
        draw_recorded(Path(sys.argv[3]), pictures)
    check_bvh(folder, table)
    check_glb(folder / "motion.glb", table, pictures)


def read_table(path: Path) -> Table:
    """Read the table of `moro export csv`."""
    table: Table = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            times, poses = table.setdefault(int(row["id"]), ([], []))
            if not times or times[-1] != float(row["time"]):
                times.append(float(row["time"]))
                poses.append({})
            poses[-1][row["joint"]] = Vector(float(row[axis]) for axis in "xyz")
    return table


def told(program: str, what: str, differences: list[float], pelvis: list[float]) -> None:
    """Print how far joints are from those of the table [m]."""
    print(
        f"{program}: {what}: {len(differences)} joints, mean {1e3 * np.mean(differences):.2f}, "
        f"largest {1e3 * max(differences):.2f} mm; pelvis {1e3 * max(pelvis):.3f} mm"
    )


def check_c3d(folder: Path, table: Table) -> None:
    """Markers at joint centres."""
    for number, (times, poses) in table.items():
        file = ezc3d.c3d(str(folder / f"motion_person_{number}.c3d"))
        point = file["parameters"]["POINT"]
        assert point["UNITS"]["value"] == ["mm"], point["UNITS"]
        rate = point["RATE"]["value"][0]
        differences = []
        for marker, joint in MARKERS.items():
            places = file["data"]["points"][:3, point["LABELS"]["value"].index(marker)] / 1e3
            for time, pose in zip(times, poses):
                found = places[:, round((time - times[0]) * rate)]
                differences.append(float((Vector(found) - pose[joint]).length))
        told(f"ezc3d {ezc3d.__version__}", f"person {number}", differences, differences)


def check_bvh(folder: Path, table: Table) -> None:
    """Skeletons of the mean shape."""
    for number, (_times, poses) in table.items():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.import_anim.bvh(
            filepath=str(folder / f"motion_person_{number}.bvh"),
            global_scale=0.01,
            axis_forward="-Z",
            axis_up="Y",
            update_scene_fps=True,
        )
        compare(f"person {number} of BVH", bpy.context.object, range(1, len(poses) + 1), poses)


def check_glb(path: Path, table: Table, pictures: Path | None) -> None:
    """Skinned meshes and their armatures."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 30
    bpy.ops.import_scene.gltf(filepath=str(path))
    armatures = sorted((o for o in bpy.data.objects if o.type == "ARMATURE"), key=lambda o: o.name)
    for armature, (times, poses) in zip(armatures, table.values(), strict=True):
        frames = [time * bpy.context.scene.render.fps for time in times]
        compare(f"{armature.name} of GLB", armature, frames, poses)
    if pictures:
        render(table, pictures / "gltf_blender.png")


def compare(what: str, armature: Any, frames: Any, poses: list[dict[str, Vector]]) -> None:
    """Compare the heads of an armature's bones with the joints in every frame."""
    differences, pelvis = [], []
    bones = {bone.name.split("_", 2)[-1]: bone for bone in armature.pose.bones}
    bones |= dict(armature.pose.bones.items())
    for frame, pose in zip(frames, poses, strict=True):
        whole = math.floor(frame + 1e-4)
        bpy.context.scene.frame_set(whole, subframe=max(0.0, frame - whole))
        for name, place in pose.items():
            head = armature.matrix_world @ bones[name].head
            differences.append((head - place).length)
            if name == "pelvis":
                pelvis.append(differences[-1])
    told(f"Blender {bpy.app.version_string}", what, differences, pelvis)


def messages(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the topics and messages of an mcap file in the order of their stamps."""
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            yield channel.topic, message


def stamp_s(header: Any) -> float:
    """Return the stamp of a header [s]."""
    return float(header.stamp.sec + header.stamp.nanosec * 1e-9)


def check_mcap(path: Path, table: Table, pictures: Path | None) -> None:
    """Spheres of the joints; and the skeletons in an image, where they have to cover the people."""
    differences, pelvis = [], []
    names = list(next(iter(table.values()))[1][0])
    camera, image, place, first_s = np.eye(3), None, None, None
    for topic, message in messages(path):
        if topic == "/tf_static":
            place = message.transforms[0].transform
        elif topic == "/camera/camera_info":
            camera = np.array(message.k).reshape(3, 3)
            first_s = stamp_s(message.header) if first_s is None else first_s
        elif topic == "/camera/image_raw/compressed":
            image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        elif topic == "/moro/markers" and message.markers:
            time_s = stamp_s(message.markers[0].header) - first_s
            own = {(marker.ns, marker.id): marker for marker in message.markers}
            for number, (times, poses) in table.items():
                near = int(np.argmin(np.abs(np.array(times) - time_s)))
                if abs(times[near] - time_s) > 1e-3:
                    continue
                for name, point in zip(names, own["joints", number].points, strict=True):
                    found = Vector((point.x, point.y, point.z))
                    differences.append((found - poses[near][name]).length)
                    if name == "pelvis":
                        pelvis.append(differences[-1])
            if pictures and image is not None and abs(time_s - PICTURE_S) < 1e-2:
                drawn = over(image, message.markers, camera, place)
                cv2.imwrite(str(pictures / "mcap_exported.png"), drawn)
    told("mcap-ros2-support", "markers", differences, pelvis)


def draw_recorded(path: Path, pictures: Path) -> None:
    """The markers of a live run over the image that they describe, in the camera's frame."""
    camera, images, counts, drawn = np.eye(3), {}, Counter(), None
    for topic, message in messages(path):
        if topic == "/camera/camera_info":
            camera = np.array(message.k).reshape(3, 3)
        elif topic == "/camera/image_raw/compressed":
            images[stamp_s(message.header)] = message.data
        elif topic == "/moro/markers":
            counts.update(marker.ns for marker in message.markers)
            shown = [marker for marker in message.markers if marker.action == 0]
            people = {marker.id for marker in shown if marker.ns == "skeleton"}
            time_s = stamp_s(shown[0].header) if shown else 0.0
            if drawn is None and len(people) > 1 and time_s in images:
                data = np.frombuffer(images[time_s], np.uint8)
                drawn = over(cv2.imdecode(data, cv2.IMREAD_COLOR), shown, camera, None)
                cv2.imwrite(str(pictures / "mcap_recorded.png"), drawn)
    print(f"mcap-ros2-support: {path.name}: {dict(counts)}")


def over(image: np.ndarray, markers: list[Any], camera: np.ndarray, place: Any) -> np.ndarray:
    """Draw meshes and skeletons over an image; place: of the camera in the markers' frame."""

    def pixels(points: Any) -> np.ndarray:
        seen = np.array([(point.x, point.y, point.z) for point in points])
        if place is not None:
            move, turn = place.translation, place.rotation
            matrix = Quaternion((turn.w, turn.x, turn.y, turn.z)).to_matrix()
            seen = (seen - [move.x, move.y, move.z]) @ np.array(matrix)
        plane = seen @ camera.T
        return np.rint(plane[:, :2] / plane[:, 2:]).astype(int)

    for marker in (marker for marker in markers if marker.ns == "mesh"):
        whole = image.copy()
        color = [255 * value for value in (marker.color.b, marker.color.g, marker.color.r)]
        for triangle in pixels(marker.points).reshape(-1, 3, 2):
            cv2.fillConvexPoly(whole, triangle, color)
        image = cv2.addWeighted(whole, marker.color.a, image, 1 - marker.color.a, 0)
    for marker in (marker for marker in markers if marker.ns == "skeleton"):
        ends = pixels(marker.points).reshape(-1, 2, 2).tolist()
        for (start, end), color in zip(ends, marker.colors[::2], strict=True):
            bgr = [255 * value for value in (color.b, color.g, color.r)]
            cv2.line(image, start, end, bgr, 4, cv2.LINE_AA)
    return image


def render(table: Table, path: Path) -> None:
    """Render the frame in the middle, on a floor below the lowest foot, from the right."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 24, False
    scene.render.resolution_x, scene.render.resolution_y = 960, 540
    scene.frame_set(round(PICTURE_S * scene.render.fps))
    seen = [
        pose
        for times, poses in table.values()
        for time, pose in zip(times, poses)
        if abs(time - PICTURE_S) < 0.02
    ]
    points = [place for pose in seen for place in pose.values()]
    middle = sum(points, Vector()) / len(points)
    lowest = min(point.z for point in points)
    bpy.ops.mesh.primitive_plane_add(size=40, location=(middle.x, middle.y, lowest - 0.08))
    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.3, 0.0))
    bpy.context.object.data.energy = 3.0
    scene.world = bpy.data.worlds.new("world")
    background = scene.world.node_tree.nodes["Background"].inputs
    background["Color"].default_value, background["Strength"].default_value = (0.8, 0.9, 1, 1), 0.4
    reach = 5.6 * max((point - middle).length for point in points)
    eye = middle + reach * Vector((0.5, -0.85, 0.15))
    turn = (middle - eye).to_track_quat("-Z", "Y").to_euler()
    bpy.ops.object.camera_add(location=eye, rotation=turn)
    scene.camera = bpy.context.object
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


main()
