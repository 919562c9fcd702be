"""The dataclasses that cross the boundaries between the parts of the package.

Letters: F frames, J = 22 body joints (SMPL-X order), K keypoints (19), V vertices, T mesh tokens.
Camera frame = optical frame: x right, y down, z forward, metres (REP-103).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# The 2D keypoints the open model is fed with: name -> landmark index of BlazePose.
# Order is fixed: trained weights depend on it.
KEYPOINTS: dict[str, int] = {
    "nose": 0,
    "left_ear": 7,
    "right_ear": 8,
    "left_shoulder": 11,
    "right_shoulder": 12,
    "left_elbow": 13,
    "right_elbow": 14,
    "left_wrist": 15,
    "right_wrist": 16,
    "left_hip": 23,
    "right_hip": 24,
    "left_knee": 25,
    "right_knee": 26,
    "left_ankle": 27,
    "right_ankle": 28,
    "left_heel": 29,
    "right_heel": 30,
    "left_foot_index": 31,
    "right_foot_index": 32,
}
NUM_KEYPOINTS = len(KEYPOINTS)


@dataclass(frozen=True, slots=True)
class Camera:
    """A static pinhole camera.

    matrix: intrinsics K, (3, 3) float64, pixels of the full image.
    width, height: image size in pixels.
    distortion: coefficients D in OpenCV order, empty for a rectified image.
    distortion_model: "plumb_bob" (also for rational_polynomial: the number of coefficients, 4, 5,
        8, 12 or 14, says which) or "equidistant", which bends the image with coefficients of 0 too.
    frame_id: name of the camera optical frame.
    """

    matrix: np.ndarray
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"
    frame_id: str = "camera_optical_frame"

    @property
    def distorted(self) -> bool:
        """Whether the image differs from that of an ideal pinhole."""
        return self.distortion_model == "equidistant" or any(self.distortion)


@dataclass(frozen=True, slots=True)
class Keypoints:
    """2D keypoints of one person in the order of KEYPOINTS.

    points_px: (K, 2) float32, pixels of the full image.
    visibility: (K,) float32 in [0, 1], probability that the point is in view and not hidden.
    presence: (K,) float32 in [0, 1], probability that the point lies inside the image.
    """

    points_px: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray


@dataclass(frozen=True, slots=True)
class PersonObservation:
    """What the front-end says of one tracked person in one image.

    track_id: positive, unique while the node runs, never reused.
    box_xyxy: (4,) float32 pixels, around the visible keypoints (or predicted while blind).
    score: detection confidence in [0, 1].
    keypoints: None while the front-end is blind and only the box is predicted.
    """

    track_id: int
    box_xyxy: np.ndarray
    score: float
    keypoints: Keypoints | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One image's worth of input for the motion stream. image is RGB (H, W, 3) uint8 or None."""

    stamp_ns: int
    camera: Camera
    people: tuple[PersonObservation, ...]
    image: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One image after the front-end: who is where in it, and the time that took by stage, s."""

    frame: Frame
    stage_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class SmplxParams:
    """SMPL-X parameters in the camera optical frame (of the body model in use, not always SMPL-X).

    betas: (10,); global_orient: (F, 3) rotation vectors, rad; body_pose: (F, 63) rotation vectors
    of joints 1..21, rad; transl: (F, 3) m. As in SMPL-X, the pelvis lies at
    transl + pelvis_rest(betas).
    """

    betas: np.ndarray
    global_orient: np.ndarray
    body_pose: np.ndarray
    transl: np.ndarray


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """The recovered motion of one person over F frames, camera optical frame, metres.

    track_id: as in PersonObservation.
    stamps_ns: (F,) int64, acquisition stamps of the images described.
    joints: (F, J, 3) float32 joint positions.
    joint_rotations: (F, J, 3, 3) float32, rotation of each joint's body-part frame in the camera.
    velocity: (F, J, 3) float32 m/s, from the last image not held to this one; zero in a person's
        first, and where a pose that was held is told because it persists.
    covariance: (F, J, 3, 3) float32 m^2, of the joint positions; all zero where the model in use
        has no measured uncertainty (the convention of sensor_msgs for "unknown").
    confidence: (F, J) float32 in [0, 1].
    observed: (F, J) bool, True where the joint was seen in the image, False where it is inferred.
    contact: (F, 4) float32 probability of ground contact: left ankle, left toe, right ankle,
        right toe.
    smplx: SMPL-X parameters of the same frames.
    vertices: (F, V, 3) float32 or None when no mesh was asked for.
    token_ids: (F, T) int64 mesh tokens.
    keypoints_seen: True per frame where the front-end saw the person at all, (F,) bool.
    held: True per frame whose measured pose no body could reach from the one before, so that this
        one continues the motion before in its place, (F,) bool.
    shape_locked: whether the shape (betas) is kept as it is instead of following the images.
    """

    track_id: int
    stamps_ns: np.ndarray
    joints: np.ndarray
    joint_rotations: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray
    confidence: np.ndarray
    observed: np.ndarray
    contact: np.ndarray
    smplx: SmplxParams
    vertices: np.ndarray | None
    token_ids: np.ndarray
    keypoints_seen: np.ndarray
    held: np.ndarray
    shape_locked: bool = False

    @property
    def finite(self) -> bool:
        """Whether every number of it is finite; nothing else may leave the package."""
        smplx = self.smplx
        parts = (
            self.joints, self.joint_rotations, self.velocity, self.covariance, self.confidence,
            self.contact, smplx.betas, smplx.global_orient, smplx.body_pose, smplx.transl,
            self.vertices,
        )  # fmt: skip
        return all(part is None or bool(np.isfinite(part).all()) for part in parts)


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What one image gave: the newest frame (F = 1) of everybody in view, and where time went.

    lost: ids whose track ended with this image; each is named once and never comes back.
    refined: with motion.refined_lag, an older frame of the same people, described again from what
    followed it, at its own stamp; nobody who is not yet followed for that long.
    """

    stamp_ns: int
    camera: Camera
    people: tuple[PersonObservation, ...]
    motions: tuple[BodyMotion, ...]
    stage_s: dict[str, float] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    refined: tuple[BodyMotion, ...] = ()
