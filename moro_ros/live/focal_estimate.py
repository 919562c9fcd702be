"""The focal length of a camera from the people in its images.

Perspective makes near limbs larger than far ones. A person of natural proportions explains the
keypoints of an image best at the true focal length: the images are decoded with several focal
lengths, and the one whose bodies are nearest to the keypoints is used. The difference is small, so
usual focal lengths are preferred (USUAL, PULL).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.config import MotionConfig
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.types import BodyMotion, Camera, Frame, PersonObservation

# Candidate focal lengths, relative to the longer side of the image: 112 to 28 degrees.
TRIED = tuple(0.34 * 1.25**k for k in range(9))
# The usual focal length, relative to the longer side, and the penalty on a residual per squared
# natural logarithm of the distance from it (see docs/predict.md for the results).
USUAL, PULL = 0.8, 0.2
# Frames at the start of a track that are skipped, because the network knows too little yet.
WARM_UP = 5
# A pose with fewer seen keypoints is ignored.
LEAST_SEEN = 8
# Minimum number of poses for an estimate.
LEAST_POSES = 15


@dataclass(frozen=True, slots=True)
class FocalEstimate:
    """An estimated focal length.

    focal_px: pixels. poses: number of poses used.
    """

    focal_px: float
    poses: int


def estimate_focal(
    frames: Sequence[Frame], stream: MoRoStream, longer_px: float | None = None
) -> FocalEstimate | None:
    """Return the focal length that explains the people in some images best.

    frames: successive images of one camera without distortion, whose focal length is not used.
    stream: a sibling of it decodes them; longer_px: image side to which the usual focal length is
    relative, None for the longer one. Returns None if there are too few poses.
    """
    if not frames:
        return None
    own = stream.sibling(MotionConfig(refine_steps=0, max_speed_mps=0.0))
    longer = longer_px or max(frames[0].camera.width, frames[0].camera.height)
    found = [residuals(frames, own, share * longer) for share in TRIED]
    poses = min((len(values) for values in found), default=0)
    if poses < LEAST_POSES:
        return None
    shares = np.log(np.array(TRIED) / USUAL)
    means = np.array([values.mean() for values in found]) * (1.0 + PULL * shares**2)
    return FocalEstimate(lowest(means) * longer, poses)


def lowest(means: np.ndarray) -> float:
    """Return the minimum of a parabola through the smallest residuals of TRIED."""
    best = int(np.clip(means.argmin(), 1, len(means) - 2))
    before, least, after = means[best - 1 : best + 2]
    bend = before - 2 * least + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    step = math.log(TRIED[1] / TRIED[0])
    return TRIED[best] * math.exp(step * float(np.clip(shift, -1.0, 1.0)))


def residuals(frames: Sequence[Frame], stream: MoRoStream, focal_px: float) -> np.ndarray:
    """Return each pose's mean distance from its seen keypoints at a focal length, relative."""
    stream.reset()
    found: list[float] = []
    ages: dict[int, int] = {}
    for frame in frames:
        camera = with_focal(frame.camera, focal_px)
        people = {person.track_id: person for person in frame.people}
        for motion in stream.push(dataclasses.replace(frame, camera=camera)):
            ages[motion.track_id] = ages.get(motion.track_id, 0) + 1
            if ages[motion.track_id] > WARM_UP:
                distance = misfit(motion, people[motion.track_id], camera, stream)
                if math.isfinite(distance):
                    found.append(distance)
    return np.array(found)


def with_focal(camera: Camera, focal_px: float) -> Camera:
    """Return a camera with another focal length and its principal point at the image centre."""
    width, height = camera.width, camera.height
    matrix = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    return dataclasses.replace(camera, matrix=matrix, distortion=(), distortion_model="plumb_bob")


def misfit(
    motion: BodyMotion, person: PersonObservation, camera: Camera, stream: MoRoStream
) -> float:
    """Return the mean distance of a pose from its seen keypoints, relative to their extent."""
    if person.keypoints is None:
        return math.nan
    seen = person.keypoints.visibility > stream.motion.visibility
    if seen.sum() < LEAST_SEEN:
        return math.nan
    offsets = stream.body.skeleton(torch.from_numpy(motion.smplx.betas)[None]).keypoint_offsets
    points = stream.body.keypoints(
        torch.from_numpy(motion.joint_rotations), torch.from_numpy(motion.joints), offsets
    )[0].numpy()
    pixels = (
        points[:, :2] / np.maximum(points[:, 2:], 0.1) @ camera.matrix[:2, :2]
        + camera.matrix[:2, 2]
    )
    targets = person.keypoints.points_px[seen]
    size = float(np.ptp(targets, axis=0).max())
    return float(np.linalg.norm(pixels[seen] - targets, axis=1).mean()) / max(size, 1.0)
