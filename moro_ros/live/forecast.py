"""The network's forecast: blind frames after the newest image, decoded from the kept past.

A blind frame is the frame of an image in which nothing of a person is seen: masked tokens, and the
newest estimate extrapolated (MoRoStream). The stream is not changed.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from moro_ros.live.live_decoder import BOXES, to_host
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.row_decoding import PersonRows, Step, StepPlan, decoded_tensors, plan_step
from moro_ros.live.track_state import TrackState
from moro_ros.network.moro import FrameFeatures
from moro_ros.network.rows import Past
from moro_ros.recover.sight import Sight


@torch.inference_mode()
def forecast(stream: MoRoStream, ahead: np.ndarray) -> dict[str, np.ndarray]:
    """Decode times after the newest image, in one pass.

    stream: with people, of a network that updates estimates of single frames (model.yaml,
    moro.keypoints.estimate); ahead: (K,) frames after the newest image, increasing. Returns
    row_decoding.DECODED by name, (B, K, ...), of the people of stream.decoder.cache in its order.
    """
    decoder, ids = stream.decoder, stream.decoder.cache.ids
    tracks = [stream.tracks[track_id] for track_id in ids]
    plan = _plan(stream, tracks, ahead)
    seen_rows = plan.times.shape[1] - len(ahead)
    places = np.zeros((len(tracks), seen_rows + 1), np.int64)
    for index, track in enumerate(tracks):
        seen = _not_kept(stream, track)
        first = seen_rows + 1 - len(seen)
        places[index, first:] = track.places(seen)
        places[index, first - 1] = track.place(float(track.newest))  # before the first row
    given = decoder.cache.features(places)
    now = decoder.cache.features(np.array([[track.place(track.now)] for track in tracks]))
    blind = _blind_features(stream, tracks, now, len(ahead))
    features = FrameFeatures(
        *(
            torch.cat([getattr(given, item.name)[:, 1:], getattr(blind, item.name)], 1)
            for item in fields(FrameFeatures)
        )
    )
    before = given.rotation[:, :1], given.translation[:, :1]
    width, device = decoder.moro.decoder.trunk.head_width, features.rotation.device
    step = Step(
        features=features,
        rows=plan.rows(width, *before, device),
        later_rotation=before[0],
        later_translation=before[1],
        past=decoder.cache.past() if decoder.extent.kept else Past(),
    )
    decoding, _ = stream.runner.run(step, 1)
    found = to_host(decoded_tensors(decoding))
    return {name: values[:, seen_rows:] for name, values in found.items()}


def _not_kept(stream: MoRoStream, track: TrackState) -> np.ndarray:
    """The frames up to now, (n,), whose keys and values are not kept: all or none.

    If the newest image is between two frames, it is that image's frame.
    """
    if stream.decoder.extent.kept:
        return track.frames(track.newest + 0.5)
    return track.frames(track.now - stream.decoder.extent.rows + 1)


def _plan(stream: MoRoStream, tracks: list[TrackState], ahead: np.ndarray) -> StepPlan:
    extent, cache = stream.decoder.extent, stream.decoder.cache
    people = []
    for row, track in enumerate(tracks):
        seen, later = _not_kept(stream, track), track.now + ahead
        around = track.frames(track.now - BOXES)
        boxes = track.boxes[track.places(around)]
        people.append(
            PersonRows(
                times=np.concatenate([seen, later]),
                kept=cache.kept_times(row),
                boxes=np.concatenate([boxes, np.repeat(boxes[-1:], len(ahead), 0)]),
                box_times=np.concatenate([around, later]),
                has_before=extent.kept > 0,
            )
        )
    return plan_step(people, provisional=False, reach=extent.reach, ahead=extent.ahead)


def _blind_features(
    stream: MoRoStream, tracks: list[TrackState], now: FrameFeatures, count: int
) -> FrameFeatures:
    """Features (B, count, ...) of frames in which nothing is seen.

    now: (B, 1, ...), of the newest image, whose estimate is extrapolated.
    """
    nothing, boxes = Sight.nothing(0.0), [track.box for track in tracks]
    observations = [
        stream.observation(track_id, nothing, box)
        for track_id, box in zip(stream.decoder.cache.ids, boxes, strict=True)
        if box is not None
    ]
    conditions = [box.condition() for box in boxes if box is not None]
    device = now.rotation.device
    blind = stream.runner.encode(
        torch.stack(observations)[None].to(device), torch.stack(conditions)[None].to(device)
    )
    tokens = torch.cat([blind.image_tokens[0, :, None, :-1], now.image_tokens[:, :, -1:]], 2)
    parts = (tokens, blind.box_condition[0, :, None], now.rotation, now.translation)
    return FrameFeatures(*(part.expand(-1, count, *part.shape[2:]) for part in parts))
