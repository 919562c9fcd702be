"""A person in the image: region, cropped image and the 18 points of skeleton2d."""

from __future__ import annotations

import numpy as np
from hri_msgs.msg import NormalizedPointOfInterest2D, NormalizedRegionOfInterest2D, Skeleton2D
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.lens import project_points
from moro_ros.ros.bridge import image_message
from moro_ros.types import KEYPOINTS, BodyMotion, Camera, Keypoints, PersonObservation

# Points of the skeleton that are joints of the body: index in Skeleton2D and joint.
JOINT_POINTS: dict[int, str] = {
    Skeleton2D.RIGHT_SHOULDER: "right_shoulder",
    Skeleton2D.RIGHT_ELBOW: "right_elbow",
    Skeleton2D.RIGHT_WRIST: "right_wrist",
    Skeleton2D.LEFT_SHOULDER: "left_shoulder",
    Skeleton2D.LEFT_ELBOW: "left_elbow",
    Skeleton2D.LEFT_WRIST: "left_wrist",
    Skeleton2D.RIGHT_HIP: "right_hip",
    Skeleton2D.RIGHT_KNEE: "right_knee",
    Skeleton2D.RIGHT_ANKLE: "right_ankle",
    Skeleton2D.LEFT_HIP: "left_hip",
    Skeleton2D.LEFT_KNEE: "left_knee",
    Skeleton2D.LEFT_ANKLE: "left_ankle",
}
# Points that only the detector provides: index in Skeleton2D and name in types.KEYPOINTS.
FACE_POINTS: dict[int, str] = {
    Skeleton2D.NOSE: "nose",
    Skeleton2D.LEFT_EAR: "left_ear",
    Skeleton2D.RIGHT_EAR: "right_ear",
}
_JOINTS = [JOINT_NAMES.index(name) for name in JOINT_POINTS.values()]
_FACE = [list(KEYPOINTS).index(name) for name in FACE_POINTS.values()]
_SHOULDERS = [JOINT_NAMES.index("left_shoulder"), JOINT_NAMES.index("right_shoulder")]
# Margin around the joints of a person without a detected box, relative to the box's sides.
MARGIN = 0.15


def region(
    motion: BodyMotion, seen: PersonObservation | None, camera: Camera
) -> tuple[np.ndarray, float]:
    """The person's box relative to the image size, (4,) x0 y0 x1 y1, and its confidence.

    seen: the front-end's observation of the person; without it, the box contains the projected
    joints. The box of a person outside the image is empty.
    """
    if seen is not None:
        box, confidence = seen.box_xyxy.astype(np.float64), float(seen.score)
    else:
        confidence = float(motion.confidence[-1].mean())
        places = project_points(motion.joints[-1], camera)
        if np.isnan(places).all():
            return np.zeros(4), 0.0
        low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
        margin = MARGIN * (high - low)
        box = np.concatenate([low - margin, high + margin])
    size = np.array([camera.width, camera.height] * 2, dtype=np.float64)
    return np.clip(box / size, 0.0, 1.0), min(1.0, max(0.0, confidence))


def region_message(
    box: np.ndarray, confidence: float, header: Header
) -> NormalizedRegionOfInterest2D:
    """The message of a box (4,) x0 y0 x1 y1 in [0, 1]."""
    message = NormalizedRegionOfInterest2D(header=header, c=confidence)
    message.xmin, message.ymin, message.xmax, message.ymax = map(float, box)
    return message


def cropped_message(image: np.ndarray, box: np.ndarray, header: Header) -> Image | None:
    """The part of an RGB image (H, W, 3) in a box (4,) in [0, 1]; None if it has no pixels."""
    height, width = image.shape[:2]
    left, right = int(np.floor(box[0] * width)), int(np.ceil(box[2] * width))
    top, bottom = int(np.floor(box[1] * height)), int(np.ceil(box[3] * height))
    if right <= left or bottom <= top:
        return None
    return image_message(np.ascontiguousarray(image[top:bottom, left:right]), header)


def skeleton_message(
    motion: BodyMotion, keypoints: Keypoints | None, camera: Camera, header: Header
) -> Skeleton2D:
    """The 18 points of the newest frame, each in [0, 1]; c = 0 for unknown points.

    The joints of the recovered body are projected, so hidden ones are included, with their
    confidence. Nose and ears are the detector's while it sees them. Eyes are not detected.
    A point outside the image has c = 0.
    """
    size = np.array([camera.width, camera.height], dtype=np.float64)
    places, weights = np.zeros((18, 2)), np.zeros(18)
    confidence = motion.confidence[-1].astype(np.float64)
    joints = motion.joints[-1].astype(np.float64)
    neck = joints[_SHOULDERS].mean(axis=0)
    found = project_points(np.concatenate([joints[_JOINTS], neck[None]]), camera)
    own = [*JOINT_POINTS, Skeleton2D.NECK]
    places[own] = found
    sureness = np.append(confidence[_JOINTS], confidence[_SHOULDERS].min())
    weights[own] = sureness
    if keypoints is not None:
        places[list(FACE_POINTS)] = keypoints.points_px[_FACE]
        weights[list(FACE_POINTS)] = keypoints.visibility[_FACE]
    shares = places / size
    inside = ((shares >= 0.0) & (shares <= 1.0)).all(axis=1)
    weights = np.where(inside, np.clip(weights, 0.0, 1.0), 0.0)
    shares = np.where(weights[:, None] > 0.0, shares, 0.0)
    message = Skeleton2D(header=header)
    message.skeleton = [
        NormalizedPointOfInterest2D(x=x, y=y, c=c)
        for (x, y), c in zip(shares.tolist(), weights.tolist(), strict=True)
    ]
    return message
