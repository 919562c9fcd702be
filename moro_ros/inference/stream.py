"""MoRoStream: one frame of observations in, the newest motion of every person out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import load_body_model
from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.errors import CheckpointError
from moro_ros.inference.observation import normalised_keypoints, person_crop, rectified_image
from moro_ros.inference.preprocess import PersonBoxes, next_box, observe
from moro_ros.inference.recover import Evidence, MotionRecovery
from moro_ros.inference.sampling import MaskedDecoding, decode_masked
from moro_ros.inference.uncertainty import (
    UNCERTAINTY_FILE,
    UncertaintyTable,
    load_uncertainty,
)
from moro_ros.inference.window import Sight, TrackWindow, WindowFrame, concatenate
from moro_ros.network.build import LoadedModel, load_model
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.resources import share_path
from moro_ros.types import NUM_KEYPOINTS, BodyMotion, Frame


class MoRoStream:
    """Keeps a window per person, encodes each frame once and decodes all windows together."""

    def __init__(
        self,
        model: LoadedModel,
        motion: MotionConfig,
        device: str = "cpu",
        uncertainty: UncertaintyTable | None = None,
    ) -> None:
        self.model = model
        self.motion = motion
        self.device = torch.device(device)
        self.body = load_body_model(model.body_model_path)
        self.recovery = MotionRecovery(model, self.body, uncertainty)
        self.tracks: dict[int, TrackWindow] = {}
        self.lost: tuple[int, ...] = ()  # ids whose track ended with the newest frame
        self._ended: list[int] = []  # since the newest frame
        self.last_stamp_ns: int | None = None
        self.timings: dict[str, float] = {}
        self.sees_pixels = model.config.moro.image == "vit"
        faces = self.body.faces.numpy().astype(np.int32)
        self.faces = faces[(faces < self.recovery.mesh_vertices).all(axis=1)]
        self.model_name = model.name
        self.model_sha256 = model.sha256

    def configure(self, motion: MotionConfig) -> None:
        """Apply new options; a new window length starts every window anew."""
        if motion.window != self.motion.window:
            self.reset()
        for track in self.tracks.values():
            track.steady.gain = motion.gain
        self.motion = motion

    def reset(self, track_id: int | None = None) -> None:
        """Forget one person, or everybody."""
        if track_id is None:
            self.end(list(self.tracks))
            self.last_stamp_ns = None
        else:
            self.end([track_id])

    def end(self, ids: list[int]) -> None:
        """Forget some people; those who were ever placed are named lost with the next frame."""
        for track_id in ids:
            track = self.tracks.pop(track_id, None)
            if track is not None and track.box is not None:
                self._ended.append(track_id)

    @torch.no_grad()
    def push(self, frame: Frame, mesh: bool = False) -> tuple[BodyMotion, ...]:
        """Process the observations of one image.

        Returns the newest frame (F = 1) of every person whose box is known, nearest first.
        A person who is no longer in frame.people is forgotten, and named in `lost` this once;
        stamps must increase.
        """
        gap_ns = frame.stamp_ns - (self.last_stamp_ns or frame.stamp_ns)
        if gap_ns < 0 or gap_ns > self.motion.max_gap_s * 1e9:
            self.end(list(self.tracks))
        self.last_stamp_ns = frame.stamp_ns
        present = {person.track_id for person in frame.people}
        self.end([known for known in self.tracks if known not in present])
        self.lost, self._ended = tuple(i for i in self._ended if i not in present), []
        start = time.perf_counter()
        skipped = max(0, round(gap_ns * 1e-9 * self.motion.fps) - 1) if self.tracks else 0
        ids = self.encode(frame, min(skipped, self.motion.window))
        encoded = time.perf_counter()
        decoded = self.decode(ids)
        done = time.perf_counter()
        motions = [self.recover(i, decoded[i], mesh) for i in ids]
        self.timings = {
            "encode_s": encoded - start,
            "decode_s": done - encoded,
            "recover_s": time.perf_counter() - done,
        }
        return tuple(sorted(motions, key=lambda motion: float(motion.joints[-1, 0, 2])))

    def encode(self, frame: Frame, skipped: int = 0) -> list[int]:
        """Encode every person's observation and push it to their window; return their ids.

        skipped: how many frames of the motion model's rate lie between the last image and this one
        without an image: known people get blind frames there, so that time runs evenly.
        """
        ids: list[int] = []
        pending: list[tuple[int, Tensor, PersonBoxes, Sight]] = []
        image: np.ndarray | None = None
        for person in frame.people:
            fresh = TrackWindow(self.motion.window, self.motion.gain)
            track = self.tracks.setdefault(person.track_id, fresh)
            track.stride = 1
            if track.box is not None and skipped:
                blind = self.blind(track.box), track.box, Sight.nothing(frame.stamp_ns)
                pending += [(person.track_id, *blind)] * skipped
                track.stride += skipped
            points, visibility, presence = normalised_keypoints(person, frame.camera)
            track.box = next_box(track.box, points, visibility > self.motion.visibility)
            if track.box is None:
                continue
            if self.sees_pixels:
                image = rectified_image(frame) if image is None else image
                observation = person_crop(image, track.box, frame.camera)
            else:
                observation = observe(points, visibility, presence, track.box)
            ids.append(person.track_id)
            sight = Sight(frame.stamp_ns, visibility.numpy(), points.numpy())
            pending.append((person.track_id, observation, track.box, sight))
        if ids:
            self.push_features(pending)
        return ids

    def blind(self, box: PersonBoxes) -> Tensor:
        """Return the observation of a frame in which nothing is seen: no keypoint, a black crop."""
        if self.sees_pixels:
            height, width = self.model.config.moro.vit.image
            return torch.zeros(3, height, width, dtype=torch.uint8)
        nothing = torch.zeros(NUM_KEYPOINTS)
        return observe(torch.zeros(NUM_KEYPOINTS, 2), nothing, nothing, box)

    def push_features(self, pending: list[tuple[int, Tensor, PersonBoxes, Sight]]) -> None:
        """Encode observations of any people together and push each to its person's window."""
        observations = torch.stack([entry[1] for entry in pending])[:, None]
        conditions = torch.stack([entry[2].condition() for entry in pending])[:, None]
        features = self.model.moro.encode_frames(
            observations.to(self.device), conditions.to(self.device)
        )
        for index, (track_id, _, box, sight) in enumerate(pending):
            one = FrameFeatures(
                **{
                    name: getattr(features, name)[index : index + 1]
                    for name in FrameFeatures.__dataclass_fields__
                }
            )
            self.tracks[track_id].push(WindowFrame(one, sight, float(box.size)))

    def decode(self, ids: list[int]) -> dict[int, MaskedDecoding]:
        """Decode the windows of some people; windows of one length go through in one batch."""
        result: dict[int, MaskedDecoding] = {}
        for length in sorted({len(self.tracks[i]) for i in ids}):
            group = [i for i in ids if len(self.tracks[i]) == length]
            features = concatenate([self.tracks[i].stacked() for i in group], dim=0)
            decoding = decode_masked(
                self.model.moro,
                features,
                passes=self.motion.passes,
                soft=self.model.config.moro.soft_tokens,
            )
            for row, track_id in enumerate(group):
                result[track_id] = one_person(decoding, row)
        return result

    def recover(self, track_id: int, decoding: MaskedDecoding, mesh: bool) -> BodyMotion:
        """Return the newest frame of one decoded window."""
        frames = self.tracks[track_id].frames
        evidence = Evidence(
            np.stack([frame.sight.visibility for frame in frames]),
            np.stack([frame.sight.points for frame in frames]),
            np.array([frame.box_size for frame in frames], dtype=np.float32),
            np.array([frame.sight.stamp_ns for frame in frames], dtype=np.int64),
        )
        track = self.tracks[track_id]
        return self.recovery.recover(
            track_id, decoding, evidence, self.motion.visibility, track.steady, track.stride, mesh,
            self.motion.refine_steps,
        )  # fmt: skip


def one_person(decoding: MaskedDecoding, row: int) -> MaskedDecoding:
    """Cut one row out of a batched decoding and bring it to the CPU."""

    def cut(value: Tensor) -> Tensor:
        return value[row : row + 1].float().cpu()

    given = {name: getattr(decoding.output, name) for name in DecoderOutput.__dataclass_fields__}
    output = DecoderOutput(**{name: cut(v) for name, v in given.items() if v is not None})
    return MaskedDecoding(
        ids=decoding.ids[row : row + 1].cpu(),
        confidence=decoding.confidence[row : row + 1].float().cpu(),
        codes=decoding.codes[row : row + 1].float().cpu(),
        output=output,
    )


def model_folder(model: str) -> Path:
    """Find the folder of a model given by its path or by its name under models/.

    Raises: CheckpointError if there is no such model.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = share_path("models", model)
    if not (folder / "model.yaml").is_file():
        raise CheckpointError(
            f"No model '{model}': expected a folder with model.yaml, or a name under "
            f"{share_path('models')} such as moro_open."
        )
    return folder


def body_model_file(folder: Path, name: str) -> Path:
    """Find the body model that a model folder names: beside it, or shipped under models/."""
    beside = folder / name
    return beside.resolve() if beside.is_file() else share_path("models", name)


def load_stream(config: PipelineConfig) -> MoRoStream:
    """Load a model folder and build the stream around it.

    Raises: CheckpointError if there is no such model, or its files are damaged.
    """
    folder = model_folder(config.model)
    model = load_model(folder, config.device)
    body = body_model_file(folder, model.config.body_model)
    uncertainty = load_uncertainty(folder / UNCERTAINTY_FILE)
    return MoRoStream(
        replace(model, body_model_path=body), config.motion, config.device, uncertainty
    )
