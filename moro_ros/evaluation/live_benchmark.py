"""The open benchmark as a live stream: image by image through MoRoStream, in every mode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.mocap import MotionSet
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.evaluation.metrics import accelerations, jitter, means, procrustes_errors
from moro_ros.evaluation.open_benchmark import (
    LIMB_JOINTS,
    RATE_HZ,
    OpenProtocol,
    Rows,
    observed_windows,
    shown_joints,
)
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.types import Camera, Frame, Keypoints, PersonObservation

# The camera of the synthetic frames; only its inverse is used.
FOCAL_PX, SIZE_PX = 1000.0, 2000
CAMERA = Camera(
    np.array([[FOCAL_PX, 0, SIZE_PX / 2], [0, FOCAL_PX, SIZE_PX / 2], [0, 0, 1]]), SIZE_PX, SIZE_PX
)
# A stream's first results, with hardly any past, are not scored.
WARM_UP = 20
# A third derivative requires four frames.
MIN_RUN = 4


@dataclass(frozen=True, slots=True)
class LiveProtocol:
    """people: sequences side by side, of `frames` images at 30 Hz; seed: see OpenProtocol."""

    people: int = 16
    frames: int = 96
    seed: int = 5


def live_sequences(
    stream: MoRoStream, motion: MotionSet, occlusion: float, protocol: LiveProtocol
) -> ObservedMotion:
    """Return the observed sequences, one batch; occlusion: share of people with an occluder."""
    windows = OpenProtocol(
        windows=protocol.people, frames=protocol.frames, batch=protocol.people, seed=protocol.seed
    )
    return next(observed_windows(motion, stream.body, occlusion, windows))


def images_of(observed: ObservedMotion) -> Iterator[Frame]:
    """Yield a detector's results, image by image: all people in front of one camera.

    The observation is in box units; it is converted back to the image plane.
    """
    half = observed.boxes.size[..., None, None] / 2
    points = observed.observation[..., :2] * half + observed.boxes.center[..., None, :]
    points_px = (points * FOCAL_PX + SIZE_PX / 2).numpy()
    scores = observed.observation[..., 2:].numpy()
    for frame in range(points_px.shape[1]):
        people = tuple(
            PersonObservation(
                person + 1,
                np.zeros(4, np.float32),
                1.0,
                Keypoints(
                    points_px[person, frame],
                    scores[person, frame, :, 0],
                    scores[person, frame, :, 1],
                ),
            )
            for person in range(len(points_px))
        )
        yield Frame(round(frame * 1e9 / RATE_HZ), CAMERA, people)


def run_stream(stream: MoRoStream, observed: ObservedMotion) -> tuple[np.ndarray, float]:
    """Return the stream's joints (B, F, 22, 3) m at their own stamps, NaN without a result.

    Also the processor time [ms] per person and image.
    """
    people, frames = observed.joints.shape[:2]
    joints = np.full((people, frames, NUM_JOINTS, 3), np.nan, np.float32)
    images = list(images_of(observed))
    index = {image.stamp_ns: number for number, image in enumerate(images)}
    stream.reset()
    start = time.process_time()
    for image in images:
        for motion in stream.push(image):
            joints[motion.track_id - 1, index[int(motion.stamps_ns[-1])]] = motion.joints[-1]
    return joints, 1e3 * (time.process_time() - start) / (people * frames)


def cost_ms(stream: MoRoStream, observed: ObservedMotion) -> float:
    """Return the median processor time [ms] of one image with only the first person."""
    stream.reset()
    times = []
    for image in images_of(observed):
        start = time.process_time()
        stream.push(replace(image, people=image.people[:1]))
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times[WARM_UP:]))


def evaluate_live(stream: MoRoStream, observed: ObservedMotion) -> dict[str, float]:
    """Return the metrics of a stream as it is configured.

    Keys: mpjpe_mm, pa_mpjpe_mm, visible_mm, hidden_mm (14 limb joints), root_mm,
    acceleration_error [m/s2], jitter and jitter_truth [10 m/s3], described (share of the images
    after the warm-up), ms_per_person.
    """
    joints, cost_ms = run_stream(stream, observed)
    joints, truth = joints[:, WARM_UP:], observed.joints.numpy()[:, WARM_UP:]
    shown = shown_joints(observed)[:, WARM_UP:]
    limbs, rows = list(LIMB_JOINTS), dict[str, list[np.ndarray]]()
    for found, true, seen in zip(joints, truth, shown):
        described = np.isfinite(found[:, 0, 0])
        score_run(rows, found[described], true[described], seen[described][:, limbs])
        rows.setdefault("described", []).append(described)
    return {**means(rows), "ms_per_person": cost_ms}


def score_run(rows: Rows, found: np.ndarray, truth: np.ndarray, shown: np.ndarray) -> None:
    """Append the metrics of one person's run; found, truth: (F, 22, 3) m; shown: (F, 14) bool."""
    limbs = list(LIMB_JOINTS)
    local, expected = found - found[:, :1], truth - truth[:, :1]
    error = 1e3 * np.linalg.norm(local - expected, axis=-1)
    samples = {
        "mpjpe_mm": error,
        "visible_mm": error[:, limbs][shown],
        "hidden_mm": error[:, limbs][~shown],
        "root_mm": 1e3 * np.linalg.norm(found[:, 0] - truth[:, 0], axis=-1),
    }
    if len(found):
        samples["pa_mpjpe_mm"] = procrustes_errors(local, expected)
    if len(found) >= MIN_RUN:
        samples["acceleration_error"] = accelerations(found - truth, RATE_HZ)
        samples["jitter"] = jitter(found, RATE_HZ)
        samples["jitter_truth"] = jitter(truth, RATE_HZ)
    for name, values in samples.items():
        rows.setdefault(name, []).append(values)
