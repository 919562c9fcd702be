"""MoRoStream: from one frame of observations to the newest motion of every person."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import load_body_model
from moro_ros.config import MotionConfig, resets
from moro_ros.live.backends.network_runner import NetworkRunner
from moro_ros.live.clock import SNAP, SNAP_PIXELS, FrameClock, Tick
from moro_ros.live.live_decoder import LiveDecoder
from moro_ros.live.placing import Placing
from moro_ros.live.track_state import TrackState
from moro_ros.network.build import LoadedModel
from moro_ros.network.inputs import (
    PersonBoxes,
    next_box,
    normalised_keypoints,
    observe,
    part_of_step,
    person_crop,
    rectified_image,
)
from moro_ros.network.moro import FrameFeatures
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.prediction import PredictionTable
from moro_ros.recover.recovery import MotionRecovery
from moro_ros.recover.sight import Sight
from moro_ros.recover.steady_pose import SteadyPose
from moro_ros.recover.uncertainty import UncertaintyTable
from moro_ros.types import BodyMotion, Frame, PersonObservation


@dataclass(frozen=True, slots=True)
class Pending:
    """One new frame of one person for the encoder; place: index in the person's ring.

    seen: whether any keypoint is seen.
    """

    track_id: int
    place: int
    observation: Tensor
    condition: Tensor
    seen: bool


class MoRoStream:
    """Keeps the recent past of each person, encodes each frame once, decodes all people at once."""

    def __init__(
        self,
        model: LoadedModel,
        motion: MotionConfig,
        device: str = "cpu",
        uncertainty: UncertaintyTable | None = None,
        runner: NetworkRunner | None = None,
        prediction: PredictionTable | None = None,
    ) -> None:
        self.model = model
        self.device = torch.device(device)
        shifted = model.config.moro.keypoints.detector_points
        self.body = load_body_model(model.body_model_path, shifted)
        self.recovery = MotionRecovery(model, self.body, uncertainty)
        self.prediction = prediction
        self.runner = runner or NetworkRunner(model.moro, model.config.moro.soft_tokens)
        self.tracks: dict[int, TrackState] = {}
        self.lost: tuple[int, ...] = ()  # ids whose track ended with the newest frame
        self._estimates: dict[int, tuple[Tensor, ...]] = {}  # see _carry_estimates
        self.refined: tuple[BodyMotion, ...] = ()  # see PipelineResult, of the newest frame
        self._ended: list[int] = []  # ids whose window ended and that are not listed as lost yet
        self._locked: dict[int, Tensor] = {}  # shapes that a user locked, by id
        self.unusable_poses = 0  # not finite, so not returned
        self.last_stamp_ns: int | None = None
        self.timings: dict[str, float] = {}
        self.placing = Placing(self.body, model.config.moro.keypoints.floor)
        self.sees_pixels = model.config.moro.image == "vit"
        faces = self.body.faces.numpy().astype(np.int32)
        self.faces = faces[(faces < self.recovery.mesh_vertices).all(axis=1)]
        self.vertex_parts = self.body.vertex_parts()[: self.recovery.mesh_vertices]
        self.model_name = model.name
        self.model_sha256 = model.sha256
        self._start(motion)

    def _start(self, motion: MotionConfig) -> None:
        self.motion = motion
        again_s = motion.refined_lag / motion.fps if motion.refined_lag else None
        self.placing.set_lag(motion.look_ahead / motion.fps, again_s)
        self.decoder = LiveDecoder(self.model.moro, motion, self.runner)
        self._restart_clock()

    def _restart_clock(self) -> None:
        self.clock = FrameClock(self.motion.fps, SNAP_PIXELS if self.sees_pixels else SNAP)

    def configure(self, motion: MotionConfig) -> None:
        """Apply new options; an option that resets (config.option) restarts all windows."""
        if resets(self.motion, motion):
            self.end(list(self.tracks))
            self.last_stamp_ns = None
            self._start(motion)
            return
        for track in self.tracks.values():
            track.steady.gain = track.refined.gain = motion.gain
        self.motion = self.decoder.motion = motion

    def reset(self, track_id: int | None = None) -> None:
        """Forget one person, or all people."""
        if track_id is None:
            self.end(list(self.tracks))
            self._forget(self._ended)
            self.last_stamp_ns = None
            self._restart_clock()
        else:
            self.end([track_id])
            self._forget([track_id])

    def set_floor(
        self, plane: GroundPlane | None, sigma: float = 0.0, to_network: bool = True
    ) -> None:
        """Set the floor, in the camera optical frame; see Placing.set_floor."""
        self.placing.set_floor(plane, sigma, to_network)

    def set_stature(self, track_id: int, stature_m: float) -> float | None:
        """Set a person's stature [m] as given by a user; 0: forget it.

        Returns the stature that is known now, or None for an unknown or not yet described person.
        """
        track = self.tracks.get(track_id)
        if track is None or track.steady.last is None:
            return None
        self.placing.set_stature(track_id, stature_m)
        return self.placing.stature(track_id) or 0.0

    def sibling(self, motion: MotionConfig) -> MoRoStream:
        """Return an empty stream for another camera with the same loaded network."""
        table = self.recovery.uncertainty
        return MoRoStream(self.model, motion, str(self.device), table, self.runner, self.prediction)

    def lock_shape(self, track_id: int, lock: bool) -> np.ndarray | None:
        """Lock a person's current shape, or let it follow the images again.

        Returns the running mean of the person's betas (10,), or None for an unknown or not yet
        described person.
        """
        track = self.tracks.get(track_id)
        if track is None or track.steady.last is None:
            return None
        betas = track.steady.last.betas
        track.keep_shape(betas if lock else None)
        self._locked.pop(track_id, None)
        if lock:
            self._locked[track_id] = betas
        return self.placing.shape(track_id, betas).numpy()

    @property
    def window_fill(self) -> float:
        """Mean fill of the windows of the people, 0 to 1; 0 without people."""
        tracks = self.tracks.values()
        return sum(len(track) / track.size for track in tracks) / max(1, len(tracks))

    def end(self, ids: list[int]) -> None:
        """End the windows of some people.

        The next frame lists those who are not in it as lost. Those who are in it start again, with
        the stature and the locked shape that a user gave them.
        """
        for track_id in ids:
            if self.tracks.pop(track_id, None) is not None:
                self.decoder.cache.forget(track_id)
                self._estimates.pop(track_id, None)
                self.placing.restart(track_id)
                if track_id not in self._ended:
                    self._ended.append(track_id)

    def _forget(self, ids: Iterable[int]) -> None:
        """Forget what a user gave some people."""
        for track_id in ids:
            self.placing.forget(track_id)
            self._locked.pop(track_id, None)

    def take_ended(self) -> tuple[int, ...]:
        """Return the ids ended since the newest frame; the next one does not list them as lost."""
        ended, self._ended = tuple(i for i in self._ended if i not in self.tracks), []
        return ended

    def forget_arrays(self) -> None:
        """Forget all people and reallocate all arrays, for instance after a change of precision."""
        self.reset()
        self._start(self.motion)

    @torch.inference_mode()
    def push(self, frame: Frame, mesh: bool = False) -> tuple[BodyMotion, ...]:
        """Process the observations of one image.

        Returns one frame (F = 1) of every person whose box is known, nearest first: the newest, or
        the one motion.look_ahead frames before it. A person who is no longer in frame.people is
        forgotten and listed once in `lost`. Stamps must increase; after a gap all windows restart.
        """
        start = time.perf_counter()
        gap_ns = frame.stamp_ns - (self.last_stamp_ns or frame.stamp_ns)
        if gap_ns < 0 or gap_ns > self.motion.max_gap_s * 1e9:
            self.end(list(self.tracks))
            self._restart_clock()
        self.last_stamp_ns = frame.stamp_ns
        present = {person.track_id for person in frame.people}
        self.end([known for known in self.tracks if known not in present])
        ended = [i for i in self._ended if i not in self.tracks]
        self.lost = tuple(i for i in ended if i not in present)
        self._ended = [i for i in ended if i in present]
        self._forget(self.lost)
        tick = self.clock.tick(frame.stamp_ns)
        self.encode(frame, tick)
        encoded = time.perf_counter()
        ids = self.decoder.cache.ids
        if ids:
            self.decoder.decode([self.tracks[i] for i in ids], [self.tracks[i].fresh for i in ids])
        decoded = time.perf_counter()
        motion = self.motion
        motions = [self.describe(i, motion.look_ahead, self.tracks[i].steady, mesh) for i in ids]
        refined: list[BodyMotion | None] = []
        if motion.refined_lag:
            refined = [self.describe(i, motion.refined_lag, self.tracks[i].refined) for i in ids]
        self._restart_unusable([*motions, *refined])
        self.refined = nearest_first(refined)
        self.timings = {
            "encode_s": encoded - start,
            "decode_s": decoded - encoded,
            "recover_s": time.perf_counter() - decoded,
        }
        return nearest_first(motions)

    def _restart_unusable(self, motions: list[BodyMotion | None]) -> None:
        """Restart the windows of people whose pose is not finite, and count them.

        Otherwise the running pose and the kept features would keep it for the life of the track.
        """
        unusable = {m.track_id for m in motions if m is not None and not m.finite}
        self.unusable_poses += len(unusable)
        self.end(list(unusable))

    def encode(self, frame: Frame, tick: Tick) -> None:
        """Encode the new frames of all people and store their features."""
        pending: list[Pending] = []
        image: np.ndarray | None = None
        for person in frame.people:
            sight = sight_of(person, frame, tick)
            track = self.tracks.get(person.track_id)
            if track is None:
                if next_box(None, *self._seen(sight)) is None:
                    continue
                lags = max(self.motion.look_ahead, self.motion.refined_lag)
                track = TrackState(self.decoder.extent.ring, self.motion.gain, lags)
                track.keep_shape(self._locked.get(person.track_id))
                self.tracks[person.track_id] = track
                self.decoder.cache.admit(person.track_id)
            if self.sees_pixels and image is None:
                image = rectified_image(frame)
            pending += self.observe(person.track_id, track, sight, tick, frame, image)
        if not pending:
            return
        observations = torch.stack([entry.observation for entry in pending])[None]
        conditions = torch.stack([entry.condition for entry in pending])[None]
        features = self.runner.encode(observations.to(self.device), conditions.to(self.device))
        if self.model.moro.decoder.update is not None:
            self._carry_estimates(pending, features)
        cache = self.decoder.cache
        rows = np.array([cache.row(entry.track_id) for entry in pending])
        cache.put_features(rows, np.array([entry.place for entry in pending]), features)

    def _carry_estimates(self, pending: list[Pending], features: FrameFeatures) -> None:
        """Let frames without keypoints start from the newest estimate that had one.

        The encoder cannot estimate the place of an unseen person, and after a second of such frames
        the decoder has no other estimate to start from.
        """
        parts = features.image_tokens[0, :, -1], features.rotation[0], features.translation[0]
        for number, entry in enumerate(pending):
            if entry.seen:
                self._estimates[entry.track_id] = tuple(part[number].clone() for part in parts)
            elif entry.track_id in self._estimates:
                for part, kept in zip(parts, self._estimates[entry.track_id], strict=True):
                    part[number] = kept

    def observe(
        self,
        track_id: int,
        track: TrackState,
        sight: Sight,
        tick: Tick,
        frame: Frame,
        image: np.ndarray | None,
    ) -> list[Pending]:
        """Advance a person to an image; returns the new frames to encode, the image's own last."""
        pending = []
        box: PersonBoxes | None = None
        for seen in track.observed(tick, sight, self.motion.window):
            points, visible = self._seen(seen)
            box = next_box(track.box, points, visible)
            assert box is not None  # a track starts with a box
            place = track.place(seen.time)
            if place < track.size or track.box is None:
                track.box = box
            if place == track.size:
                box = part_of_step(track.box, box, seen.time - tick.slots.stop + 1)
            condition = box.condition()
            track.boxes[place] = condition.numpy()
            if image is None:
                observation = self.observation(track_id, seen, box)
            elif seen is sight:
                observation = person_crop(image, box, frame.camera)
            else:
                height, width = self.model.config.moro.vit.image
                observation = torch.zeros(3, height, width, dtype=torch.uint8)
            pending.append(Pending(track_id, place, observation, condition, bool(visible.any())))
        assert box is not None
        track.see(replace(sight, box_size=float(box.size)))
        return pending

    def observation(self, track_id: int, seen: Sight, box: PersonBoxes) -> Tensor:
        """Return the input of a keypoint network for one person in a frame, (K, 4).

        A network that uses the floor has one more row, which is zero if the floor is unknown.
        """
        shown = torch.from_numpy(seen.visibility), torch.from_numpy(seen.presence)
        observation = observe(torch.from_numpy(seen.points), *shown, box)
        if not self.model.config.moro.keypoints.floor:
            return observation
        return torch.cat([observation, self.placing.row(track_id)[None]])

    def _seen(self, sight: Sight) -> tuple[Tensor, Tensor]:
        points = torch.from_numpy(sight.points)
        return points, torch.from_numpy(sight.visibility > self.motion.visibility)

    def describe(
        self, track_id: int, lag: int, steady: SteadyPose, mesh: bool = False
    ) -> BodyMotion | None:
        """Return the motion of one person at the image `lag` frames ago.

        None if the person was not tracked yet, or if that image was already described.
        """
        track = self.tracks[track_id]
        sight = track.seen_at(lag)
        if sight is None or track.described.get(steady, (0.0, -1))[1] == sight.stamp_ns:
            return None
        return self.describe_seen(track_id, sight, steady, mesh)

    def describe_seen(
        self, track_id: int, sight: Sight, steady: SteadyPose, mesh: bool = False
    ) -> BodyMotion | None:
        """Return the motion of one person at an image of track.sights; None if it is forgotten."""
        track = self.tracks[track_id]
        before = track.described.get(steady)
        decoded = track.decoded_at(sight.time, None if before is None else before[0])
        if decoded is None:
            return None
        track.described[steady] = sight.time, sight.stamp_ns
        motion = self.recovery.recover(
            track_id,
            decoded,
            sight,
            self.motion,
            steady,
            1.0 if before is None else sight.time - before[0],
            mesh,
            lambda seen: self.placing.place(track_id, seen, steady is track.steady),
        )
        if self.motion.shape_lock_s and steady is track.steady:
            visible = bool(motion.keypoints_seen[-1])
            track.settle_shape(sight.stamp_ns, visible, self.motion.shape_lock_s)
        return motion


def sight_of(person: PersonObservation, frame: Frame, tick: Tick) -> Sight:
    """Return the observation of a person in an image."""
    return Sight(tick.now, frame.stamp_ns, *normalised_keypoints(person, frame.camera))


def nearest_first(motions: list[BodyMotion | None]) -> tuple[BodyMotion, ...]:
    """Return the finite motions, in order of distance from the camera."""
    found = [motion for motion in motions if motion is not None and motion.finite]
    return tuple(sorted(found, key=lambda motion: float(motion.joints[-1, 0, 2])))
