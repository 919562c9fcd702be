"""The dataclasses shared by the parts of the package.

Letters: F frames, J = 22 body joints (SMPL-X order), K keypoints (19), V vertices, T mesh tokens.
Camera frame = optical frame: x right, y down, z forward, metres (REP-103).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# The input keypoints of the open model: name -> landmark index of BlazePose.
# The order is fixed: trained weights depend on it.
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

# Landmarks of the face and the hands, which are no input of the motion model: name -> landmark
# index of BlazePose. left_mouth is the corner of the mouth on the person's left side.
DETAILS: dict[str, int] = {
    "left_eye": 2,
    "right_eye": 5,
    "left_mouth": 9,
    "right_mouth": 10,
    "left_pinky": 17,
    "right_pinky": 18,
    "left_index": 19,
    "right_index": 20,
    "left_thumb": 21,
    "right_thumb": 22,
}


@dataclass(frozen=True, slots=True)
class Camera:
    """A static pinhole camera.

    matrix: intrinsics K, (3, 3) float64, pixels of the full image.
    width, height: image size in pixels.
    distortion: coefficients D in OpenCV order, empty for a rectified image.
    distortion_model: "plumb_bob" (also for rational_polynomial: the number of coefficients, 4, 5,
        8, 12 or 14, defines it) or "equidistant", which distorts even with coefficients of 0.
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
    """2D keypoints of one person in the order of KEYPOINTS, or of DETAILS.

    points_px: (K, 2) float32, pixels of the full image.
    visibility: (K,) float32 in [0, 1], probability that the point is in view and not hidden.
    presence: (K,) float32 in [0, 1], probability that the point is inside the image.
    """

    points_px: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray


@dataclass(frozen=True, slots=True)
class HandPoints:
    """The 21 points of one hand seen in an image.

    Row 0 is the wrist; thumb, index, middle, ring and little finger follow with four rows each,
    from the palm to the tip.

    points_px: (21, 2) float64, pixels of the full image.
    points: (21, 3) float64 m, of a hand of unknown size; axes of a camera that looks straight at
        the hand: x right in the image, y down, z away from it.
    score: probability that it is a hand, in [0, 1].
    """

    points_px: np.ndarray
    points: np.ndarray
    score: float


@dataclass(frozen=True, slots=True)
class PersonObservation:
    """The front-end's observation of one tracked person in one image.

    track_id: positive, unique while the node runs, never reused.
    box_xyxy: (4,) float32 pixels, around the visible keypoints (or predicted while blind).
    score: detection confidence in [0, 1].
    keypoints: None while the front-end is blind and only the box is predicted.
    details: landmarks of face and hands in the order of DETAILS, or None.
    """

    track_id: int
    box_xyxy: np.ndarray
    score: float
    keypoints: Keypoints | None
    details: Keypoints | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The input of the motion stream for one image; image: RGB (H, W, 3) uint8 or None."""

    stamp_ns: int
    camera: Camera
    people: tuple[PersonObservation, ...]
    image: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The front-end's result for one image: the people in it, and the time per stage, s."""

    frame: Frame
    stage_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class SmplxParams:
    """SMPL-X parameters in the camera optical frame (of the body model in use, not always SMPL-X).

    betas: (10,); global_orient: (F, 3) rotation vectors, rad; body_pose: (F, 63) rotation vectors
    of joints 1..21, rad; transl: (F, 3) m. As in SMPL-X, the pelvis is at
    transl + pelvis_rest(betas).
    """

    betas: np.ndarray
    global_orient: np.ndarray
    body_pose: np.ndarray
    transl: np.ndarray


# Sources of the distance of a person, see Place; numbered as PLACE_* of Human.msg.
PLACE_SOURCES = ("stature prior", "stature", "floor", "depth", "triangulated")
PRIOR, STATURE, FLOOR, DEPTH, TRIANGULATED = range(len(PLACE_SOURCES))


@dataclass(frozen=True, slots=True)
class Place:
    """The source of a person's distance; see recover/place.py.

    source: the one of PLACE_SOURCES with the largest weight; sigma: of the distance, relative;
    floor_free: the distance without the floor, relative to this one; floor_free_sigma: its sigma.
    """

    source: int
    sigma: float
    floor_free: float = 1.0
    floor_free_sigma: float = 0.0


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """The recovered motion of one person over F frames, camera optical frame, metres.

    track_id: as in PersonObservation.
    stamps_ns: (F,) int64, acquisition stamps of the images described.
    joints: (F, J, 3) float32 joint positions.
    joint_rotations: (F, J, 3, 3) float32, rotation of each joint's body-part frame in the camera.
    velocity: (F, J, 3) float32 m/s, from the last image not held to this one; zero in a person's
    first image, and where a held pose is accepted because it persists.
    covariance: (F, J, 3, 3) float32 m^2, of the joint positions; all zero if the model in use has
    no measured uncertainty (the convention of sensor_msgs for "unknown").
    confidence: (F, J) float32 in [0, 1].
    observed: (F, J) bool, True where the joint was seen in the image, False where it is inferred.
    contact: (F, 4) float32 probability of ground contact: left ankle, left toe, right ankle,
        right toe.
    smplx: SMPL-X parameters of the same frames.
    vertices: (F, V, 3) float32 or None if no mesh was requested.
    token_ids: (F, T) int64 mesh tokens.
    keypoints_seen: True per frame where the front-end saw the person at all, (F,) bool.
    held: True per frame whose measured pose was unreachable from the one before and was replaced
    by a continuation of the motion, (F,) bool.
    shape_locked: whether the shape (betas) is locked instead of following the images.
    place: the source of the distance; None: the network alone.
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
    place: Place | None = None

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite; other motions are never published."""
        smplx = self.smplx
        parts = (
            self.joints, self.joint_rotations, self.velocity, self.covariance, self.confidence,
            self.contact, smplx.betas, smplx.global_orient, smplx.body_pose, smplx.transl,
            self.vertices,
        )  # fmt: skip
        return all(part is None or bool(np.isfinite(part).all()) for part in parts)


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The result of one image: the newest frame (F = 1) of all people in view, and the timings.

    lost: ids whose track ended with this image; each is listed once and never reused.
    refined: with motion.refined_lag, an older frame of the same people, refined with later frames,
    at its own stamp; without people who are not tracked for that long yet.
    """

    stamp_ns: int
    camera: Camera
    people: tuple[PersonObservation, ...]
    motions: tuple[BodyMotion, ...]
    stage_s: dict[str, float] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    refined: tuple[BodyMotion, ...] = ()
