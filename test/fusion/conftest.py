"""A stage of known people before known cameras, each with a network that errs in distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.views import View
from moro_ros.recover.ground import moved
from moro_ros.types import BodyMotion, Camera, Frame, Keypoints, PersonObservation

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]), 1280, 720)


def view_at(name: str, angle_deg: float, distance_m: float = 4.0) -> View:
    """A camera at 1 m height that looks level at the world's origin; the world has y down."""
    rotation = Rotation.from_euler("y", angle_deg, degrees=True).as_matrix()
    return View(name, CAMERA, rotation, np.array([0.0, 0.0, distance_m]))


@dataclass(frozen=True)
class Stage:
    """People on a stage; network: how much farther each camera's network puts everybody."""

    body: BodyModel
    posed: Callable[..., BodyMotion]
    views: tuple[View, ...]
    betas: tuple[tuple[float, ...], ...] = ((0.0,) * 10, (0.0,) * 10)
    network: float = 1.12
    noise_px: float = 0.0

    def person(self, number: int, seconds: float) -> BodyMotion:
        """The truth in the world: one walks to and fro, the other one stands and waves."""
        pose = np.zeros((22, 3))
        turn = 0.4 if number else 2.2
        pose[0] = (
            Rotation.from_euler("x", 180, degrees=True) * Rotation.from_euler("y", turn)
        ).as_rotvec()
        pose[16, 2], pose[17, 2] = -1.2, 1.2
        swing = np.sin(2 * np.pi * seconds / 1.5)
        if number:
            pose[17, 2] = 0.3 + 0.4 * swing
        else:
            pose[1, 0], pose[2, 0] = 0.3 * swing, -0.3 * swing
        places = [(-0.6 + 0.5 * seconds, 0.1, -0.4), (0.7, 0.1, 0.5)]
        motion = self.posed(pose, places[number], np.array(self.betas[number]), number + 1)
        return replace(motion, stamps_ns=np.array([round(seconds * 1e9)]))

    def keypoints(self, motion: BodyMotion) -> np.ndarray:
        """The body's own keypoints, (K, 3) m."""
        offsets = self.body.skeleton(torch.from_numpy(motion.smplx.betas)[None]).keypoint_offsets
        chain, joints = torch.from_numpy(motion.joint_rotations), torch.from_numpy(motion.joints)
        return self.body.keypoints(chain, joints, offsets)[0].numpy().astype(np.float64)

    def estimate(self, view: View, truth: BodyMotion, number: int) -> BodyMotion:
        """What a camera's network makes of somebody: mean shape, right pose, too far away."""
        turns = np.concatenate([truth.smplx.global_orient[0], truth.smplx.body_pose[0]])
        pose = turns.reshape(22, 3).copy()
        pose[0] = Rotation.from_matrix(
            view.rotation @ rotvec_to_matrix(torch.from_numpy(pose[:1]).float())[0].numpy()
        ).as_rotvec()
        pelvis = self.network * view.inside(truth.joints[0, 0].astype(np.float64))
        motion = self.posed(pose, tuple(pelvis), None, number)
        return replace(motion, stamps_ns=truth.stamps_ns)

    def look(
        self, view: View, seconds: float, ids: Sequence[int] = (1, 2)
    ) -> tuple[Frame, tuple[BodyMotion, ...]]:
        """One image of a camera and its network's motions; ids: of the two, 0 for unseen."""
        people, motions = [], []
        rng = np.random.default_rng([round(seconds * 1000), len(view.name)])
        for number, track_id in enumerate(ids):
            if not track_id:
                continue
            truth = self.person(number, seconds)
            pixels = image_points(view.inside(self.keypoints(truth)), view.camera)
            pixels += rng.normal(0, self.noise_px, pixels.shape) if self.noise_px else 0.0
            full = np.ones(len(pixels), np.float32)
            seen = Keypoints(pixels.astype(np.float32), full, full)
            people.append(PersonObservation(track_id, np.zeros(4, np.float32), 1.0, seen))
            motions.append(self.estimate(view, truth, track_id))
        return Frame(round(seconds * 1e9), view.camera, tuple(people)), tuple(motions)


@pytest.fixture()
def stage(open_body, posed) -> Stage:
    """Three cameras around two people."""
    views = (view_at("left", -40.0), view_at("middle", 10.0), view_at("right", 60.0))
    return Stage(open_body, posed, views)


@pytest.fixture()
def in_view_of() -> Callable[[View, BodyMotion], BodyMotion]:
    """in_view_of(view, motion): a motion of the world in a camera's frame."""
    return lambda view, motion: moved(motion, view.rotation, view.translation)
