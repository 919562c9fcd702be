"""Fixtures shared by all tests: the open body, in any pose, and a small synthetic motion."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.data.mocap import MotionSet
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.resources import share_path
from moro_ros.types import BodyMotion, SmplxParams

# Tests of several folders import depth_bag.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def open_body() -> BodyModel:
    """The open body model."""
    return load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


@pytest.fixture(scope="session")
def posed(open_body: BodyModel) -> Callable[..., BodyMotion]:
    """posed(pose, pelvis=(0, 0, 3), betas=None, track_id=1, stamp_ns=0): one frame of a person.

    pose: (22, 3) rotation vectors, the first in the camera frame; pelvis: m in the camera frame.
    """

    def pose_body(
        pose: np.ndarray,
        pelvis: tuple[float, float, float] = (0.0, 0.0, 3.0),
        betas: np.ndarray | None = None,
        track_id: int = 1,
        stamp_ns: int = 0,
        seen: bool = True,
    ) -> BodyMotion:
        shape = torch.zeros(1, 10) if betas is None else torch.tensor(betas).float()[None]
        turns = rotvec_to_matrix(torch.tensor(pose).float())[None]
        rest = open_body.skeleton(shape).joints[:, :22]
        rotations, joints = open_body.forward_kinematics(turns, rest)
        vectors = np.asarray(pose, np.float32)
        return BodyMotion(
            track_id=track_id,
            stamps_ns=np.array([stamp_ns], np.int64),
            joints=(joints + torch.tensor(pelvis)).numpy(),
            joint_rotations=rotations.numpy(),
            velocity=np.zeros((1, 22, 3), np.float32),
            covariance=np.zeros((1, 22, 3, 3), np.float32),
            confidence=np.full((1, 22), 0.9, np.float32),
            observed=np.full((1, 22), seen),
            contact=np.zeros((1, 4), np.float32),
            smplx=SmplxParams(
                betas=shape[0].numpy(),
                global_orient=vectors[None, 0],
                body_pose=vectors[1:].reshape(1, 63),
                transl=np.array([pelvis], np.float32) - rest[0, :1].numpy(),
            ),
            vertices=None,
            token_ids=np.zeros((1, 1), np.int64),
            keypoints_seen=np.array([seen]),
            held=np.zeros(1, bool),
        )

    return pose_body


@pytest.fixture(scope="session")
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """A closed triangle mesh: vertices (V, 3), faces (M, 3)."""
    rows, columns = 9, 12
    polar = np.linspace(0, np.pi, rows + 2)[1:-1]
    azimuth = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(columns)], 1)
    rings = [ring * np.sin(p) + [0, 0, np.cos(p)] for p in polar]
    vertices = np.concatenate([*rings, [[0, 0, 1.0], [0, 0, -1.0]]])
    faces = []
    for column in range(columns):
        right = (column + 1) % columns
        for row in range(rows - 1):
            a, b = row * columns + column, row * columns + right
            faces += [[a, a + columns, b], [b, a + columns, b + columns]]
        last = (rows - 1) * columns
        faces += [[column, right, rows * columns]]
        faces += [[last + right, last + column, rows * columns + 1]]
    return vertices, np.array(faces)


@pytest.fixture()
def walking() -> MotionSet:
    """Two clips of a person who swings arms and legs and walks along y at 1 m/s, 30 Hz."""
    frames, clips = 90, 2
    phase = np.linspace(0, 6 * np.pi, frames)
    rotations = np.zeros((frames, 22, 3), np.float32)
    rotations[:, 0] = (np.pi / 2, 0, 0)  # the body's y axis onto the world's z axis
    for joint, sign in ((1, 1), (2, -1), (16, -1), (17, 1)):
        rotations[:, joint, 0] = 0.5 * sign * np.sin(phase)
    translation = np.zeros((frames, 3), np.float32)
    translation[:, 1] = np.arange(frames) / 30
    translation[:, 2] = 0.95
    return MotionSet(
        np.concatenate([rotations] * clips),
        np.concatenate([translation] * clips),
        np.array([0, frames]),
        np.array([frames, frames]),
        np.array(["a", "b"]),
        np.array(["walk_run", "daily_reach_sit"]),
        np.array(["a_1", "b_1"]),
        30.0,
    )


@pytest.fixture()
def motion_file(tmp_path, walking):
    """The walking person as a file of open motion."""
    path = tmp_path / "motion.npz"
    np.savez(
        path, rot=walking.rotations, trans=walking.translation, lengths=walking.lengths,
        subjects=walking.subjects, category=walking.categories, names=walking.names, fps=30,
    )  # fmt: skip
    return path


def stripes(index: int, width: int, height: int) -> np.ndarray:
    """An image (H, W, 3) BGR of its own for every index: columns grow brighter, blue on top."""
    image = np.zeros((height, width, 3), np.uint8)
    image[...] = np.linspace(40, 200, width)[None, :, None] + index % 8 * 5
    image[: height // 4, :, 1:] = 30
    return image


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """make_video(path, times_s, size=(64, 48), rate=30, tick=1/90000, codec="mpeg4", aspect=None).

    Writes a video of stripes whose frames have these times [s], in ticks of the codec; every tenth
    frame can be decoded alone. The container is known by the name.
    """

    def write(
        path: Path,
        times_s: Sequence[Fraction | float],
        size: tuple[int, int] = (64, 48),
        rate: Fraction | int = 30,
        tick: Fraction = Fraction(1, 60_000),
        codec: str = "mpeg4",
        aspect: Fraction | None = None,
        image: Callable[[int, int, int], np.ndarray] = stripes,
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.bit_rate = 4_000_000
            stream.gop_size = 10
            stream.codec_context.time_base = tick
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            for index, time_s in enumerate(times_s):
                frame = av.VideoFrame.from_ndarray(image(index, *size), format="bgr24")
                frame.pts, frame.time_base = round(Fraction(time_s) / tick), tick
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
