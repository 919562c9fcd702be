#!/usr/bin/env python3
"""Draws hands of the open body before a video and measures how they are read: docs/targets.md.

The arm is held before the chest and the hand turned at random; fingers bend between flat and a
fist. The keypoints are those of the body, off by some pixels.
"""

import argparse
import time

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.assets import fetch
from moro_ros.body.anatomy import INDEX, Hand, measure_anatomy
from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.body.hand_pose import pose_hand
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.draw.render import Person, draw_meshes
from moro_ros.geometry.lens import image_points
from moro_ros.perception.hands import load_hand_reader
from moro_ros.resources import share_path
from moro_ros.types import DETAILS, KEYPOINTS, Camera, Keypoints

SIDES = ("left", "right")
CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]), 1280, 720)
# Bends of knuckle, middle and last joint of a fist [deg], and the shares of it that are drawn.
FIST_DEG = np.array([80.0, 95.0, 60.0])
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# The thresholds of docs/targets.md for open and closed hands.
OPEN, CLOSED = 0.4, 0.75
OFF_PX, DISTANCES_M = 3.0, (0.9, 1.7)


def fingers_of(hand: Hand, share: float) -> np.ndarray:
    """Rotation vectors (15, 3) rad of a hand that is closed so far."""
    out, turns = hand.axes[:, 0], []
    for finger in range(4):
        bones = np.diff(hand.joints[3 * finger : 3 * finger + 3], axis=0)
        along = bones[0] - (bones[0] @ out) * out
        along /= np.linalg.norm(along)
        rest = [np.arctan2(bone @ out, bone @ along) for bone in (*bones, bones[1])]
        bends = np.radians(share * FIST_DEG) - np.diff(rest, prepend=0.0)
        turns.append(bends[:, None] * np.cross(along, out))
    thumb = hand.joints[12:15]
    inwards = np.cross(thumb[1] - thumb[0], hand.joints[6] - thumb[0])
    turns.append(np.outer([0.3, 0.6, 0.9], share * inwards / np.linalg.norm(inwards)))
    return np.concatenate(turns)


def pose_body(
    body: BodyModel, side: int, fingers: np.ndarray, wrist: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (55, 3), vertices (V, 3) m and joint rotations of a body with the wrist at a place."""
    sign, pose = (1, -1)[side], np.zeros((55, 3))
    for name, turn in {
        "shoulder": (0.0, 0.0, -1.2 * sign),
        "elbow": (0.0, -1.9 * sign, 0.0),
        "wrist": wrist,
    }.items():
        pose[JOINT_NAMES.index(f"{SIDES[side]}_{name}")] = turn
    pose[0] = np.pi, 0.0, 0.0
    pose[INDEX + 15 * side : INDEX + 15 * side + 15] = fingers
    turns = torch.from_numpy(Rotation.from_rotvec(pose).as_matrix()).float()[None]
    posed = body.skin(turns, torch.zeros(1, 10))
    joints, vertices, rotations = (
        part[0].double().numpy() for part in (posed.joints, posed.vertices, posed.joint_rotations)
    )
    shift = place - joints[20 + side]
    return joints + shift, vertices + shift, rotations


def draw(
    body: BodyModel, joints: np.ndarray, vertices: np.ndarray, image: np.ndarray
) -> np.ndarray:
    """The body in blue, its arms and hands in the colour of skin."""
    person = (Person(1, joints[:22], np.ones(22, bool), vertices),)
    faces, parts = body.faces.numpy(), body.vertex_parts()
    arms = np.isin(parts[faces], (18, 19, 20, 21)).all(axis=1)
    clothed = draw_meshes(image, person, faces, CAMERA, alpha=1.0)
    skin = draw_meshes(np.ascontiguousarray(clothed[..., ::-1]), person, faces[arms], CAMERA, 1.0)
    return np.ascontiguousarray(skin[..., ::-1])


def keypoints_of(
    joints: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[Keypoints, Keypoints]:
    """What a detector says of one hand."""
    first = INDEX + 15 * side
    rows = {"wrist": 20 + side, "index": first, "pinky": first + 6}
    found = []
    for names in (KEYPOINTS, DETAILS):
        points, seen = np.zeros((len(names), 2)), np.zeros(len(names), np.float32)
        for part, row in rows.items():
            if (name := f"{SIDES[side]}_{part}") in names:
                number = list(names).index(name)
                points[number] = image_points(joints[row : row + 1], CAMERA)[0]
                points[number] += rng.normal(0.0, OFF_PX, 2)
                seen[number] = 1.0
        found.append(Keypoints(points.astype(np.float32), seen, seen))
    return found[0], found[1]


def backgrounds() -> list[np.ndarray]:
    """Two images of the sample video."""
    capture, images = cv2.VideoCapture(str(fetch("sports2d_demo.mp4"))), []
    for number in (40, 150):
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        image = cv2.resize(capture.read()[1], (CAMERA.width, CAMERA.height))
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return images


def degrees_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles [deg] between rotation vectors (N, 3)."""
    apart = Rotation.from_rotvec(a).inv() * Rotation.from_rotvec(b)
    return np.degrees(apart.magnitude())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hands", type=int, default=500)
    count = parser.parse_args().hands
    body = load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))
    betas = torch.zeros(1, 10)
    rest, vertices = body.skeleton(betas).joints[0].numpy(), body.rest_vertices(betas)[0].numpy()
    hands = measure_anatomy(rest, vertices, body.vertex_parts()).hands
    reader, images, rng = load_hand_reader(), backgrounds(), np.random.default_rng(7)
    grips: dict[float, list[float]] = {share: [] for share in SHARES}
    turned, fingers_off, thumbs_off, palms_mm, took_ms = [], [], [], [], []
    for number in range(count):
        side, share = number % 2, SHARES[number // 2 % len(SHARES)]
        hand, fingers = hands[side], fingers_of(hands[side], share)
        wrist = 0.5 * Rotation.random(random_state=1000 + number).as_rotvec()
        place = np.array([0.05, -0.05, rng.uniform(*DISTANCES_M)])
        joints, skin, rotations = pose_body(body, side, fingers, wrist, place)
        image = draw(body, joints, skin, images[number % 2])
        seen = keypoints_of(joints, side, rng)
        start = time.perf_counter()
        points = reader.read(image, *seen, SIDES[side])
        found = None if points is None else pose_hand(points, joints[20 + side], hand, CAMERA)
        took_ms.append(1e3 * (time.perf_counter() - start))
        if found is None:
            continue
        grips[share].append(found.grip)
        true = rotations[20 + side]
        turned.append(np.degrees(Rotation.from_matrix(found.turn.T @ true).magnitude()))
        palms_mm.append(1e3 * np.linalg.norm(found.palm - joints[20 + side] - true @ hand.palm))
        off = degrees_apart(found.fingers.reshape(15, 3), fingers)
        fingers_off.append(off[:12])
        thumbs_off.append(off[12:])
    for name, values in {
        "turn of the hand [deg]": turned,
        "palm [mm]": palms_mm,
        "finger joints [deg]": fingers_off,
        "thumb joints [deg]": thumbs_off,
        "time per hand [ms]": took_ms,
    }.items():
        print(f"{name}: median {np.median(values):.1f}, 90 % below {np.percentile(values, 90):.1f}")
    for share, found in grips.items():
        low, middle, high = np.percentile(found, (10, 50, 90))
        seen_share = len(found) / (count / len(SHARES))
        below, above = np.mean(np.less(found, OPEN)), np.mean(np.greater(found, CLOSED))
        print(
            f"closed by {share:.2f}: seen {seen_share:.0%}, grip {low:.2f} / {middle:.2f} / "
            f"{high:.2f}, below {OPEN} {below:.0%}, above {CLOSED} {above:.0%}"
        )


if __name__ == "__main__":
    main()
