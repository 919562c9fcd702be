"""LiveDecoder: updates the decoding of all people for one image, in each decoding mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.config import MotionConfig
from moro_ros.live.backends.network_runner import NetworkRunner
from moro_ros.live.feature_cache import FeatureCache
from moro_ros.live.row_decoding import PersonRows, Step, StepPlan, decoded_tensors, plan_step
from moro_ros.live.sampling import KnownTokens
from moro_ros.live.track_state import TrackState
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.rows import Past

# Frames around one that its smoothed codes depend on (network.smoother), with a margin.
SMOOTHED = 8
# Frames of the past that the smoothing of the person box uses: six standard deviations.
BOXES = 40


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of a mode, in frames.

    rows: computed for every image; ahead: of the future that a row sees, None for all; reach: of
    the past; kept: whose keys and values are kept; ring: length of the arrays of frames.
    """

    rows: int
    ahead: int | None
    reach: int
    kept: int
    ring: int

    @staticmethod
    def of(motion: MotionConfig, span: int) -> Extent:
        """The extent of a configuration; span: of the network's temporal attention."""
        if motion.mode != "incremental":
            return Extent(motion.window, None, span, 0, motion.window)
        rows = max(motion.look_ahead, motion.refined_lag) + 1
        reach = min(span, motion.window - 1)
        return Extent(rows, rows - 1, reach, reach + rows, max(motion.window, rows + SMOOTHED))


class LiveDecoder:
    """Decodes the people of a FeatureCache image by image; rows_computed: total number of rows."""

    def __init__(self, moro: MoRo, motion: MotionConfig, runner: NetworkRunner) -> None:
        self.moro = moro
        self.motion = motion
        self.runner = runner
        self.extent = Extent.of(motion, moro.decoder.trunk.attention_span)
        self.cache = FeatureCache(self.extent.ring, self.extent.kept)
        self.rows_computed = 0

    def decode(self, tracks: list[TrackState], fresh: list[int]) -> None:
        """Decode the frames that the newest image changes; the tracks keep the result.

        tracks: of all people in the cache, in its order, with the features of their newest frames
        already stored; fresh: first new frame of each, time in frames.
        """
        plan, people = self._plan(tracks, fresh)
        count = plan.times.shape[1]
        self.rows_computed += int(plan.valid.sum())
        places = np.zeros((len(tracks), count + 1), np.int64)
        for index, (track, person) in enumerate(zip(tracks, people)):
            places[index, count + 1 - len(person.times) :] = track.places(person.times)
            if person.has_before:
                places[index, count - len(person.times)] = track.place(person.times[0] - 1.0)
        given = self.cache.features(places)
        features = _columns(given, slice(1, None))
        later = self._decoded_before(tracks, people, given)
        device = features.rotation.device
        step = Step(
            features=features,
            rows=plan.rows(
                self.moro.decoder.trunk.head_width,
                given.rotation[:, :1],
                given.translation[:, :1],
                device,
            ),
            later_rotation=later[0],
            later_translation=later[1],
            past=self.cache.past() if self.extent.kept else Past(),
            known=self._padding(plan, device),
        )
        decoding, made = self.runner.run(step, self.motion.passes)
        slots = np.floor(plan.times) == plan.times
        self.cache.put_past(made, plan.times, plan.valid & slots)
        arrays = to_host(decoded_tensors(decoding))
        for index, (track, person) in enumerate(zip(tracks, people)):
            first = count - len(person.times)
            track.keep(person.times, {name: a[index, first:] for name, a in arrays.items()})

    def _plan(
        self, tracks: list[TrackState], fresh: list[int]
    ) -> tuple[StepPlan, list[PersonRows]]:
        extent, incremental = self.extent, self.extent.kept > 0
        people = []
        for row, (track, new) in enumerate(zip(tracks, fresh)):
            first = track.now - extent.rows + 1
            times = track.frames(min(first, new) if incremental else first)
            around = track.frames(times[0] - BOXES) if incremental else times
            people.append(
                PersonRows(
                    times=times,
                    kept=self.cache.kept_times(row),
                    boxes=track.boxes[track.places(around)],
                    box_times=around,
                    has_before=incremental and math.ceil(times[0]) - 1 >= track.oldest,
                )
            )
        plan = plan_step(
            people,
            provisional=tracks[0].provisional,
            reach=extent.reach,
            ahead=extent.ahead,
            width=extent.rows if self.runner.fixed_shapes else 0,
        )
        return plan, people

    def _decoded_before(
        self, tracks: list[TrackState], people: list[PersonRows], given: FrameFeatures
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The decoded pose before the first row, if a later pass requires it."""
        rotation, translation = given.rotation[:, :1], given.translation[:, :1]
        if self.motion.passes == 1 or not any(person.has_before for person in people):
            return rotation, translation
        rotation, translation = rotation.clone(), translation.clone()
        for index, (track, person) in enumerate(zip(tracks, people)):
            if person.has_before:
                place = track.place(person.times[0] - 1.0)
                rotation[index, 0] = torch.from_numpy(track.decoded["rotation"][place])
                translation[index, 0] = torch.from_numpy(track.decoded["translation"][place])
        return rotation, translation

    def _padding(self, plan: StepPlan, device: torch.device) -> KnownTokens | None:
        """Padding rows of a step as known tokens, which are not masked."""
        if not (plan.padded or self.runner.fixed_shapes):
            return None
        shape = (*plan.valid.shape, self.moro.num_tokens)
        keep = torch.from_numpy(~plan.valid[..., None]).expand(shape).to(device)
        ids = torch.full(shape, self.moro.mask_id, device=device)
        codes = torch.zeros(*shape, self.moro.token_embedding.shape[1], device=device)
        return KnownTokens(ids, keep, codes, torch.zeros(shape, device=device))


def _columns(features: FrameFeatures, part: slice) -> FrameFeatures:
    return FrameFeatures(
        features.image_tokens[:, part],
        features.box_condition[:, part],
        features.rotation[:, part],
        features.translation[:, part],
    )


def to_host(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Copy tensors (B, K, ...) to the host, from a GPU at once; ids int64, others float32."""
    first = next(iter(tensors.values()))
    if first.device.type == "cpu":
        return {
            name: (part if name == "ids" else part.float()).numpy()
            for name, part in tensors.items()
        }
    packed = torch.cat([part.flatten(2).float() for part in tensors.values()], dim=2).cpu()
    parts = packed.split([part[0, 0].numel() for part in tensors.values()], dim=2)
    found = {name: part.reshape(tensors[name].shape).numpy() for name, part in zip(tensors, parts)}
    return {n: a.astype(np.int64) if n == "ids" else a for n, a in found.items()}
