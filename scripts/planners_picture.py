#!/usr/bin/env python3
"""Draws what planners receive from moro_node, and prints the figures of docs/planners.md.

Starts a blank camera 1 m above the floor and moro_node with simulated people, and draws what
arrives for one image, from above and from the side: the pictures of docs/planners.md and
docs/targets.md.
"""

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose, Vector3
from moro_ros.msg import (
    HumanCapsules,
    HumanMesh,
    HumanMeshFaces,
    HumanPredictionArray,
    HumanTarget,
    HumanTargets,
)
from moro_ros.srv import CalibrateGround
from people_msgs.msg import People
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray

from moro_ros.body.capsules import Capsules
from moro_ros.body.extent import surface_points
from moro_ros.draw.render import Person, draw_meshes
from moro_ros.io.camera_file import camera_from_focal

WIDTH, HEIGHT, FAR_M = 760, 560, 100.0
HEIGHT_OF_CAMERA_M, WAIT_S = 1.0, 8.0
CLEAR, POINTS, PREDICTED, SIGHT = (120, 120, 225), (205, 205, 205), (20, 130, 60), (120, 120, 120)
BOX, VELOCITY, AXES = (190, 120, 20), (180, 40, 140), ((210, 40, 40), (40, 150, 40), (40, 70, 220))
LEGENDS = {
    "shape": {
        "clear capsules": CLEAR,
        "~/obstacles": (150, 150, 150),
        "pelvis in 1 s, 1 sigma": PREDICTED,
        "line of sight, floor": SIGHT,
    },
    "targets": {
        "~/detections": BOX,
        "~/people, 1 s of velocity": VELOCITY,
        "~/targets: x red, z blue": AXES[0],
        "line of sight, floor": SIGHT,
    },
}
TARGETS = {
    getattr(HumanTarget, name): name
    for name in dir(HumanTarget)
    if name.isupper() and not name.startswith(("GRADE_", "SLOT_"))
}
Colour = tuple[int, int, int]
# A view's axes: rows of x, y and depth in the camera optical frame.
ABOVE = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
SIDE = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
# Views and pixels per metre.
VIEWS = {
    "shape": ({"from above": ABOVE, "from the side": SIDE}, 150.0),
    "targets": ({"from the camera": np.eye(3), "from the side": SIDE}, 230.0),
}


def collect(scene: str, floor_known: bool) -> dict[str, object]:
    """The messages of the first image that is complete once the node has run for WAIT_S."""
    arguments = [
        "people:=synthetic",
        f"synthetic_scene:={scene}",
        "planners.prediction_rate_hz:=30.0",
    ]
    arguments += ["marker_rate_hz:=30.0", "planners.rate_hz:=30.0"]
    options = [word for argument in arguments for word in ("-p", argument)]
    programs = [
        [sys.executable, "-m", "moro_ros.ros.examples.blank_camera"],
        [sys.executable, "-m", "moro_ros.ros.node", "--ros-args", *options],
    ]
    running = [subprocess.Popen(program) for program in programs]
    rclpy.init()
    node = rclpy.create_node("planners_picture")
    found: dict[str, dict[int, object]] = {}
    topics = {
        "capsules": HumanCapsules,
        "obstacles": PointCloud2,
        "mesh": HumanMesh,
        "humans_predicted": HumanPredictionArray,
        "mesh_faces": HumanMeshFaces,
        "people": People,
        "detections": Detection3DArray,
        "targets": HumanTargets,
    }
    for name, kind in topics.items():

        def take(message: object, name: str = name) -> None:
            stamp = message.header.stamp if hasattr(message, "header") else None
            key = 0 if stamp is None else stamp.sec * 10**9 + stamp.nanosec
            found.setdefault(name, {})[key] = message

        kept = (
            DurabilityPolicy.TRANSIENT_LOCAL if name == "mesh_faces" else DurabilityPolicy.VOLATILE
        )
        node.create_subscription(kind, f"moro/{name}", take, QoSProfile(depth=50, durability=kept))
    floor = node.create_client(CalibrateGround, "moro/calibrate_ground")
    try:
        end = time.monotonic() + 60.0
        while not floor.wait_for_service(0.5):
            check_running(running)
            if time.monotonic() > end:
                raise SystemExit("moro_node did not start within 60 s; see its log.")
        plane = np.array([0.0, -1.0, 0.0, HEIGHT_OF_CAMERA_M], np.float32)
        if floor_known:
            floor.call_async(
                CalibrateGround.Request(mode=CalibrateGround.Request.SET, ground_plane=plane)
            )
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end or not complete(found):
            rclpy.spin_once(node, timeout_sec=0.1)
            check_running(running)
            if time.monotonic() > end + 60.0:
                raise SystemExit(f"No image is complete; got {sorted(found)}.")
        stamp = complete(found)[-1]
        return {name: kept.get(stamp, kept.get(0)) for name, kept in found.items()}
    finally:
        for program in running:
            program.terminate()
        for program in running:
            program.wait()
        rclpy.try_shutdown()


def check_running(programs: list[subprocess.Popen[bytes]]) -> None:
    """End with an error if one of the programs has ended."""
    for program in programs:
        if program.poll() is not None:
            words = " ".join(map(str, program.args))
            raise SystemExit(f"'{words}' ended with status {program.returncode}; see its log.")


def check_out(path: Path) -> None:
    """End with an error if the picture cannot be written to a path."""
    if path.suffix not in (".jpg", ".png"):
        raise SystemExit(f"Got the picture {path}, expected a name that ends with .jpg or .png.")
    if not path.parent.is_dir():
        raise SystemExit(f"There is no folder {path.parent} for the picture: create it first.")


def complete(found: dict[str, dict[int, object]]) -> list[int]:
    """Stamps of the images of which everything has arrived."""
    if len(found) < 8:
        return []
    return sorted(
        set.intersection(*(set(kept) for name, kept in found.items() if name != "mesh_faces"))
    )


def capsules_of(message: HumanCapsules, clear: bool) -> Capsules:
    """The capsules of a message: those of the bodies, or those to keep clear of."""
    names = (
        ("clear_start", "clear_end", "clear_radius") if clear else ("start", "end", "body_radius")
    )
    starts, ends = (
        np.array([(p.x, p.y, p.z) for p in (getattr(item, name) for item in message.capsules)])
        for name in names[:2]
    )
    return Capsules(starts, ends, np.array([getattr(item, names[2]) for item in message.capsules]))


def points_of(cloud: PointCloud2) -> np.ndarray:
    """x, y, z (N, 3) m of a cloud of moro_node, whose first three fields they are."""
    words = np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_step // 4)
    return words[:, :3].astype(float)


class View:
    """One picture (HEIGHT, WIDTH, 3) of what arrived, without perspective."""

    def __init__(
        self, messages: dict[str, object], axes: np.ndarray, title: str, px_per_m: float
    ) -> None:
        self.messages, self.axes, self.px_per_m = messages, axes, px_per_m
        self.vertices = np.array(messages["mesh"].vertices).reshape(-1, 3)
        self.middle = self.vertices.mean(axis=0)
        self.image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        self.text(title, (12, 26), (40, 40, 40), 0.6)
        self.lines([self.middle * 0.2, self.middle], SIGHT)
        if axes[1, 1] == 1.0:
            self.lines([[-9.0, HEIGHT_OF_CAMERA_M, -9.0], [9.0, HEIGHT_OF_CAMERA_M, 9.0]], SIGHT)

    def seen(self, points: object) -> np.ndarray:
        """Where points (N, 3) m are in the picture, (N, 2) px."""
        flat = (np.asarray(points) - self.middle) @ self.axes[:2].T * self.px_per_m
        return np.rint(flat + np.array([WIDTH / 2, HEIGHT / 2])).astype(np.int32)

    def text(self, words: str, place: tuple[int, int], colour: Colour, size: float = 0.4) -> None:
        """Write some words."""
        cv2.putText(self.image, words, place, cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)

    def lines(self, points: object, colour: Colour, closed: bool = False, thick: int = 1) -> None:
        """Connect points (N, 3) m."""
        cv2.polylines(self.image, [self.seen(points)], closed, colour, thick, cv2.LINE_AA)

    def outline(self, points: np.ndarray, colour: Colour) -> None:
        """Draw the convex outline of points (N, 3) m."""
        flat = self.seen(points)
        cv2.polylines(self.image, [flat[ConvexHull(flat).vertices]], True, colour, 1, cv2.LINE_AA)

    def body(self) -> None:
        """Draw the mesh."""
        faces = np.array(self.messages["mesh_faces"].faces).reshape(-1, 3)
        turned = ((self.vertices - self.middle) @ self.axes.T + (0.0, 0.0, FAR_M)).astype(
            np.float32
        )
        person = Person(track_id=1, joints=turned[:22], vertices=turned, observed=np.ones(22, bool))
        far = camera_from_focal(self.px_per_m * FAR_M, WIDTH, HEIGHT)
        self.image = draw_meshes(self.image, (person,), faces, far, alpha=0.9)

    def shape(self) -> None:
        """Draw the clear capsules, the obstacles and the prediction."""
        for x, y in self.seen(points_of(self.messages["obstacles"])).tolist():
            cv2.circle(self.image, (x, y), 1, POINTS, -1)
        clear = capsules_of(self.messages["capsules"], True)
        for row in range(len(clear.radii)):
            self.outline(surface_points(clear.rows(np.array([row])), 0.03), CLEAR)
        self.body()
        (human, *_) = self.messages["humans_predicted"].humans
        horizons = len(self.messages["humans_predicted"].horizons)
        positions = np.array(human.positions).reshape(horizons, 22, 3)[:, 0]
        spread = np.array(human.covariances).reshape(horizons, 22, 3, 3)[:, 0]
        turn = np.linspace(0.0, 2.0 * np.pi, 40)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        axes = self.axes[:2]
        for place, covariance in zip(positions[4::5], spread[4::5], strict=True):
            root = np.linalg.cholesky(axes @ covariance @ axes.T + 1e-9 * np.eye(2))
            self.lines(place + circle @ root.T @ axes, PREDICTED, closed=True)
        self.lines(positions, PREDICTED, thick=2)

    def targets(self) -> None:
        """Draw the boxes, the velocities and the targets."""
        self.body()
        corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
        for detection in self.messages["detections"].detections:
            box = detection.bbox
            turn, center = turn_and_place(box.center)
            size = np.array([box.size.x, box.size.y, box.size.z])
            self.outline((corners * size) @ turn.T + center, BOX)
        for person in self.messages["people"].people:
            place, speed = xyz(person.position), xyz(person.velocity)
            self.lines([place, place + speed], VELOCITY, thick=2)
        for target in self.messages["targets"].targets:
            turn, place = turn_and_place(target.pose)
            for axis in (0, 2):
                self.lines([place, place + 0.12 * turn[:, axis]], AXES[axis], thick=2)
            (x, y), name = self.seen(place[None])[0].tolist(), TARGETS[target.kind]
            self.text(name.lower(), (x + 6, y - 4), (70, 70, 70), 0.35)


def xyz(item: Point | Vector3) -> np.ndarray:
    """The numbers of a message."""
    return np.array([item.x, item.y, item.z])


def turn_and_place(pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and position (3,) m of a pose."""
    q = pose.orientation
    return Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), xyz(pose.position)


def main() -> None:
    """Draw the picture and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the picture, .jpg or .png")
    parser.add_argument("--scene", default="walk_by", help="synthetic_scene of moro_node")
    parser.add_argument("--targets", action="store_true", help="draw boxes, velocity and targets")
    parser.add_argument("--no-floor", action="store_true", help="leave the floor unknown")
    options = parser.parse_args()
    check_out(options.out)
    messages = collect(options.scene, not options.no_floor)
    what = "targets" if options.targets else "shape"
    directions, px_per_m = VIEWS[what]
    views = [View(messages, axes, title, px_per_m) for title, axes in directions.items()]
    for view in views:
        getattr(view, what)()
    picture = np.concatenate([view.image for view in views], axis=1)
    for number, (text, colour) in enumerate(LEGENDS[what].items()):
        place = (12 + 250 * number, HEIGHT - 14)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.5, colour, 1, cv2.LINE_AA)
    if not cv2.imwrite(str(options.out), picture[..., ::-1]):
        raise SystemExit(f"Cannot write {options.out}. Is the disk full, or the folder read-only?")
    clear, own = (capsules_of(messages["capsules"], which) for which in (True, False))
    sigma = max(item.sigma for item in messages["capsules"].capsules)
    print(f"latency {messages['capsules'].latency:.3f} s, largest sigma {sigma:.3f} m")
    print(f"radius of the bodies {own.radii.min():.2f} to {own.radii.max():.2f} m")
    print(f"clear_radius {clear.radii.min():.2f} to {clear.radii.max():.2f} m")
    points = points_of(messages["obstacles"])
    extent = np.ptp(points, axis=0)
    print(
        f"~/obstacles: {len(points)} points, {extent[0]:.2f} x {extent[1]:.2f} x {extent[2]:.2f} m"
    )


if __name__ == "__main__":
    main()
