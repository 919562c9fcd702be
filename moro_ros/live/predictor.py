"""Predicts the people of a live stream for the next second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from moro_ros.live.forecast import forecast
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.prediction import HORIZONS_S, PREDICTION_FILE, MotionPrediction, predict
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import BodyMotion


def why_not(stream: MoRoStream) -> str:
    """Return the reason why a stream has no prediction, as a sentence; empty if it has one."""
    if stream.model.moro.decoder.update is None:
        return (
            f"The network of {stream.model_name} has no estimates of single frames, which the "
            "prediction requires. Use a model that has them, such as moro_open."
        )
    if stream.prediction is None:
        return (
            f"{stream.model_name} has no {PREDICTION_FILE}. Create it with "
            "'moro evaluate prediction --fit'."
        )
    return ""


def predict_people(
    stream: MoRoStream, motions: Sequence[BodyMotion], samples: int = 0, temperature: float = 1.0
) -> tuple[MotionPrediction, ...]:
    """Predict people at HORIZONS_S after the newest image; the stream is not changed.

    motions: the result of the newest image; people who are no longer tracked and predictions that
    are not finite are omitted. samples, temperature: see recover.prediction.predict.
    Raises: ValueError if there is a reason not to (why_not).
    """
    if stream.prediction is None or why_not(stream):
        raise ValueError(why_not(stream))
    found = network_changes(stream, motions)
    predictions = [
        predict(stream.prediction, motion, *found[motion.track_id], samples, temperature)
        for motion in motions
        if motion.track_id in found
    ]
    return tuple(prediction for prediction in predictions if prediction.finite)


@torch.inference_mode()
def network_changes(
    stream: MoRoStream, motions: Sequence[BodyMotion]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the network's predicted displacement of the joints of people, by track id.

    motions: see predict_people. Each has (H, J, 3) m, from now until each horizon, and (J, 3) m,
    from the image described to now, which is zero unless motion.look_ahead describes an earlier
    one. Both have the scale of the published body, which may differ from the network's because of
    other sources (placing.py).
    """
    ids = stream.decoder.cache.ids
    if not ids:
        return {}
    ahead = forecast(stream, HORIZONS_S * stream.motion.fps)
    found = {}
    for motion in motions:
        track = stream.tracks.get(motion.track_id)
        if track is None or track.steady not in track.described or track.steady.last is None:
            continue
        row, steady = ids.index(motion.track_id), track.steady.last
        decoded = track.decoded_at(track.now, track.described[track.steady][0])
        assert decoded is not None  # the newest frame is always known
        before = stream.recovery.pose(decoded)
        root, turns, place = (
            torch.from_numpy(ahead[name][row])
            for name in ("rotation", "body_rotations", "translation")
        )
        pose = BodyPose(
            torch.cat([before.rotations, torch.cat([root[:, None], turns], 1)]),
            torch.cat([before.translation, place]),
            steady.betas,
        )
        joints = (stream.recovery.kinematics(pose)[2] + pose.translation[:, None]).numpy()
        if motion.place is not None:
            joints = joints * (motion.joints[-1, 0, 2] / float(steady.translation[0, 2]))
        now = len(decoded.marks) - 1
        found[motion.track_id] = joints[now + 1 :] - joints[now], joints[now] - joints[0]
    return found
