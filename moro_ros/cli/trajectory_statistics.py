"""The trajectory statistics of a network without them, estimated from videos.

A network trained on normalised trajectories predicts (motion - mean) / std. Run on real videos from
a rough guess, its refined camera-frame trajectory is the motion itself; the line that leads from
the predictions to it has the slope std and the intercept mean. Better statistics give a better
trajectory, so this is repeated until it converges.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from moro_ros.cli.official_files import TrajectoryStatistics
from moro_ros.cli.video_options import VideoInput
from moro_ros.errors import CheckpointError
from moro_ros.geometry.camera import box_condition
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.io.video import open_video
from moro_ros.live.sampling import decode_masked
from moro_ros.network.inputs import BOX_PADDING, crop_person
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.perception.frontend import KeypointFrontend

log = logging.getLogger(__name__)

# From a small set of motion capture at 30 frames/s; the iteration starts from it.
ROUGH_GUESS = TrajectoryStatistics(
    np.array([0.9994, 0, 0, 0, 0.9996, 0, 0, 0, 0.0119], np.float32),
    np.array([0.0019, 0.0205, 0.0278, 0.0206, 0.0015, 0.0201, 0.0081, 0.0144, 0.0206], np.float32),
)
RATE_HZ = 30.0
CLIP_FRAMES = 60
MAX_ROUNDS = 12
SETTLED = 0.01  # relative change of every std
PASSES = 5
# Minimum number of frames for distinguishing nine slopes from noise.
MIN_FRAMES = 240


@dataclass(frozen=True, slots=True)
class Clip:
    """One person in consecutive frames: crops (F, 3, 256, 192) uint8, box condition (F, 3)."""

    crops: Tensor
    box_condition: Tensor


def person_clips(video: VideoInput, frontend: KeypointFrontend) -> Iterator[Clip]:
    """Crop all people from a video at about 30 frames/s, in clips of at most 60 frames."""
    camera = video.camera
    tracks: dict[int, list[tuple[Tensor, Tensor]]] = {}
    with open_video(video.path) as reader:
        step = max(1, round(reader.rate_hz / RATE_HZ))
        for number, frame in enumerate(reader):
            if number % step:
                continue
            rgb = frame.rgb
            if any(camera.distortion):
                rgb = cv2.undistort(rgb, camera.matrix, np.array(camera.distortion))
            people = frontend.observe(rgb, frame.stamp_ns)
            seen = {person.track_id for person in people if person.keypoints is not None}
            for track in [track for track in tracks if track not in seen]:
                yield from _finished(tracks.pop(track))
            for person in people:
                if person.keypoints is None:
                    continue
                low, high = person.box_xyxy[:2], person.box_xyxy[2:]
                center, side = (low + high) / 2, BOX_PADDING * float((high - low).max())
                crop = torch.from_numpy(crop_person(rgb, center, side / 200))
                box = box_condition(
                    torch.from_numpy(np.asarray(center, np.float32)),
                    torch.tensor(side),
                    torch.from_numpy(camera.matrix.astype(np.float32)),
                )
                frames = tracks.setdefault(person.track_id, [])
                frames.append((crop, box))
                if len(frames) == CLIP_FRAMES:
                    yield from _finished(tracks.pop(person.track_id))
        if missing := reader.report():
            log.warning(missing)
    for frames in tracks.values():
        yield from _finished(frames)


def _finished(frames: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Clip]:
    """A clip, unless it is too short for motion."""
    if len(frames) > 2:
        crops, boxes = zip(*frames, strict=True)
        yield Clip(torch.stack(crops), torch.stack(boxes))


@torch.no_grad()
def estimate_statistics(
    model: MoRo, clips: Sequence[Clip], start: TrajectoryStatistics = ROUGH_GUESS
) -> TrajectoryStatistics:
    """Estimate the statistics that a network was trained with; the network receives them.

    Raises: CheckpointError if the clips have too little motion or it does not converge.
    """
    total = sum(len(clip.crops) for clip in clips)
    if total < MIN_FRAMES:
        raise CheckpointError(
            f"The videos show people in {total} frames; at least {MIN_FRAMES} with varied "
            "motion are needed to estimate the trajectory statistics. Give more videos."
        )
    features = [model.encode_frames(clip.crops[None], clip.box_condition[None]) for clip in clips]
    statistics = start
    for number in range(MAX_ROUNDS):
        model.set_trajectory_statistics(
            torch.from_numpy(statistics.mean), torch.from_numpy(statistics.std)
        )
        predicted, motion = _collect(model, features)
        newer = regress(predicted, motion)
        change = float(np.abs(newer.std / statistics.std - 1).max())
        log.info("round %d: largest change of a std %.1f %%", number + 1, 100 * change)
        statistics = newer
        if change < SETTLED:
            break
    else:
        raise CheckpointError(
            f"The trajectory statistics still change by {100 * change:.0f} % after {MAX_ROUNDS} "
            "rounds. Give longer videos with more varied motion, or the original file to "
            "--trajectory-stats."
        )
    model.set_trajectory_statistics(
        torch.from_numpy(statistics.mean), torch.from_numpy(statistics.std)
    )
    return statistics


def _collect(model: MoRo, features: Sequence[FrameFeatures]) -> tuple[np.ndarray, np.ndarray]:
    """The network's normalised predictions and the motion of its refined trajectory, (N, 9)."""
    zero, one = torch.zeros(9), torch.ones(9)
    predicted, motion = [], []
    for clip in features:
        output = decode_masked(model, clip, PASSES).output
        moved = canonical_trajectory(output.rotation, output.translation, zero, one)
        # The last frame repeats the one before and adds no information.
        predicted.append(output.clean_trajectory[0, :-1].float())
        motion.append(moved[0, :-1].float())
    return torch.cat(predicted).numpy(), torch.cat(motion).numpy()


def regress(predicted: np.ndarray, motion: np.ndarray) -> TrajectoryStatistics:
    """Fit motion = std * predicted + mean per channel by least squares, (N, 9) each.

    Raises: CheckpointError for a channel without motion or whose slope is not positive.
    """
    x, y = predicted.astype(np.float64), motion.astype(np.float64)
    centred = x - x.mean(0)
    variance = (centred**2).mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (centred * (y - y.mean(0))).mean(0) / variance
    bad = [channel for channel in range(len(slope)) if not slope[channel] > 0]
    if bad:
        raise CheckpointError(
            f"Channels {bad} of the canonical trajectory (6 of rotation, 3 of translation) do not "
            "follow the network's prediction in these videos, so their statistics cannot be "
            "estimated. Give videos in which people walk, turn and bend."
        )
    return TrajectoryStatistics(
        (y.mean(0) - slope * x.mean(0)).astype(np.float32), slope.astype(np.float32)
    )
