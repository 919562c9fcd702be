"""Batches from published data sets (data/sets.py): bodies, meshes and, if required, crops."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.bedlam import well_seen
from moro_ros.data.cropping import crop_boxes, jitter_boxes
from moro_ros.data.dataset import Clip, ClipSet, read_image
from moro_ros.data.image_labels import POINT_NAMES
from moro_ros.data.posed import PosedClip, pose_clip, project_clip, smpl_as_smplx
from moro_ros.errors import ConfigError, DataError
from moro_ros.geometry.camera import box_condition
from moro_ros.geometry.trajectory import trajectory_statistics
from moro_ros.network.inputs import BOX_UNIT_PX, crop_person
from moro_ros.training.clips import DATA, Draw, TrainingClips, View
from moro_ros.training.open_source import contact_labels

log = logging.getLogger(__name__)
T = TypeVar("T", TrainingClips, View)
TRIES = 50  # maximum draws for one item before a set is unusable
SAMPLE = 500  # number of windows for the statistics of trajectories
FPS, RATE_TOLERANCE = 30.0, 0.5  # Hz
# The labelled points that correspond to Human3.6M's 17, in the order of REGRESSOR_ORDER.
POINTS_17 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18, 14, 16, 17)


@dataclass(frozen=True, slots=True)
class Person:
    """Bodies of one gender: whole, and with only the tokenizer's vertices."""

    whole: BodyModel
    tokens: BodyModel


@dataclass(frozen=True, slots=True)
class Item:
    """One clip to read: its contents depend only on its draw and its number in the pass."""

    draw: Draw
    number: int


class SetItems(Dataset[TrainingClips]):
    """Reads single clips (B = 1), each set as often as the others.

    sets: the data sets; people: bodies by gender; filmed: whether to cut crops. extreme: share of
    clips whose crop contains only a part of the body; jitter: whether crops are shifted, like a
    tracker's.
    """

    def __init__(
        self,
        sets: Sequence[ClipSet],
        people: Mapping[str, Person],
        *,
        filmed: bool,
        extreme: float = 0.0,
        jitter: bool = False,
    ) -> None:
        self.sets, self.people, self.filmed = sets, people, filmed
        self.extreme, self.jitter = extreme, jitter
        self.lengths = [np.asarray(some.lengths) for some in sets]

    def __getitem__(self, item: Item) -> TrainingClips:
        """Draw and read a clip; one that does not fit the stage is drawn again."""
        draw = item.draw
        rng = np.random.default_rng([draw.seed, draw.step, draw.part, DATA, item.number])
        return self.read(draw.frames, rng)

    def read(self, frames: int, rng: np.random.Generator) -> TrainingClips:
        """Draw a clip and convert it to training clips (B = 1)."""
        clip = self.drawn(frames, rng)
        person, posed = self.posed(clip)
        with torch.no_grad():
            mesh = person.tokens.local_mesh(posed.body_rotations, posed.betas.expand(frames, -1))
        joints = posed.joints[None]
        return TrainingClips(
            rotation=posed.rotation[None],
            translation=posed.pelvis[None],
            body_rotations=posed.body_rotations[None],
            betas=posed.betas[None],
            joints=joints,
            contact=contact_labels(joints, clip.fps),
            mesh=mesh[None],
            view=seen(self.boxed(clip, posed, rng)) if self.filmed else None,
        )

    def boxed(self, clip: Clip, posed: PosedClip, rng: np.random.Generator) -> Clip:
        """Apply the stage's crops and jitter to the boxes of a clip."""
        if clip.boxes_px is None or clip.camera is None:
            return clip
        boxes, points, names = clip.boxes_px, clip.points_px, clip.point_names
        if points is None:
            joints = project_clip(clip, posed.joints).numpy()
            points, names = np.pad(joints, ((0, 0), (0, 0), (0, 1)), constant_values=1), JOINT_NAMES
        boxes = crop_boxes(boxes, points, names, rng, self.extreme)
        if self.jitter:
            boxes = jitter_boxes(boxes, clip.camera.width, clip.camera.height, rng)
        return dataclasses.replace(clip, boxes_px=boxes)

    def drawn(self, frames: int, rng: np.random.Generator) -> Clip:
        """Draw a window that has a body, the right rate and, in a video, the person in view.

        Raises: DataError if none is found in TRIES draws.
        """
        chosen = int(rng.integers(len(self.sets)))
        source, places = self.sets[chosen], np.maximum(0, self.lengths[chosen] - frames + 1)
        ends = np.cumsum(places)
        if not len(ends) or ends[-1] == 0:
            raise DataError(
                f"Data set {source.name} has no clip of {frames} frames; remove it from the "
                "stage's data, or train on shorter clips (phases)."
            )
        for _ in range(TRIES):
            place = int(rng.integers(ends[-1]))
            index = int(np.searchsorted(ends, place, side="right"))
            first = place - int(ends[index] - places[index])
            clip = source.clip(index, slice(first, first + frames))
            if usable(clip, frames):
                return clip
        raise DataError(
            f"Of {TRIES} clips of {source.name} none has a body, {FPS:g} frames per second and the "
            "person in view; remove the set, or this part of it, from the stage's data."
        )

    def posed(self, clip: Clip) -> tuple[Person, PosedClip]:
        """Pose a clip's bodies; SMPL's rotations are used as SMPL-X's.

        Raises: DataError if there is no body model of the person's gender.
        """
        assert clip.fit is not None  # usable
        fit = smpl_as_smplx(clip.fit)
        gender = fit.gender if clip.fit.model == "smplx" else "neutral"
        if gender not in self.people:
            raise DataError(
                f"Clip {clip.name} is of a {gender} body; set data.{gender} to the SMPL-X file of "
                f"that gender (SMPLX_{gender.upper()}.npz)."
            )
        person = self.people[gender]
        return person, pose_clip(dataclasses.replace(clip, fit=fit), person.whole)


class SetSource:
    """Batches of published data sets, read in advance by worker processes.

    workers: number of reading processes; 0 reads in this one.
    """

    def __init__(self, items: SetItems, workers: int) -> None:
        self.items, self.workers = items, workers

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw, on the CPU."""
        keys = ([Item(draw, number) for number in range(draw.clips)] for draw in draws)
        yield from DataLoader(
            self.items,
            batch_sampler=keys,  # type: ignore[arg-type]
            num_workers=self.workers,
            collate_fn=joined,
        )

    def statistics(self, frames: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (9,) of canonical trajectories over a sample of windows."""
        rng = np.random.default_rng([seed, SAMPLE])
        posed = [self.items.posed(self.items.drawn(frames, rng))[1] for _ in range(SAMPLE)]
        return trajectory_statistics(
            torch.stack([one.rotation for one in posed]), torch.stack([one.pelvis for one in posed])
        )


class SetMeshes:
    """Batches of single meshes (B, M, 3) m, for the tokenizer."""

    def __init__(self, source: SetSource) -> None:
        self.source = source

    def batches(self, draws: Iterator[Draw]) -> Iterator[Tensor]:
        """Yield meshes for each draw, whose frames are 1."""
        for clips in self.source.batches(draws):
            assert clips.mesh is not None
            yield clips.mesh[:, 0]


def usable(clip: Clip, frames: int) -> bool:
    """Return whether a clip can be used for training; only videos need a rate and a view."""
    if clip.fit is None:
        return False
    return frames == 1 or (abs(clip.fps - FPS) <= RATE_TOLERANCE and well_seen(clip))


def seen(clip: Clip) -> View:
    """Cut a clip's crops, and describe its camera and boxes, B = 1.

    Raises: ConfigError if the clip has no images.
    """
    if clip.camera is None or clip.images is None or clip.boxes_px is None:
        raise ConfigError(
            f"data: clip {clip.name} has no images; a stage of task 'image' or 'video' needs sets "
            "that have."
        )
    boxes = clip.boxes_px.astype(np.float32)
    crops = [
        crop_person(picture(clip, frame), box[:2], float(box[2]) / BOX_UNIT_PX)
        for frame, box in enumerate(boxes)
    ]
    center, side = torch.from_numpy(boxes[:, :2]), torch.from_numpy(boxes[:, 2])
    matrix = torch.as_tensor(clip.camera.matrix, dtype=torch.float32)
    placed = clip.fit is not None and smpl_as_smplx(clip.fit).placed
    return View(
        observation=torch.from_numpy(np.stack(crops))[None],
        box=box_condition(center, side, matrix)[None],
        matrix=matrix[None],
        box_center=center[None],
        box_side=side[None],
        placed=torch.tensor([placed]),
        points_2d=labelled_17(clip, boxes)[None],
    )


def picture(clip: Clip, frame: int) -> np.ndarray:
    """Read a frame's picture, (H, W, 3) uint8 RGB, upright and rectified.

    A missing or damaged frame of a video is black: the network then infers the person from the
    other frames. Raises: DataError if it is the clip's first.
    """
    try:
        return read_image(clip, frame)
    except DataError as error:
        if frame == 0 or clip.camera is None:
            raise
        log.warning("%s It is black in this pass.", error)
        return np.zeros((clip.camera.height, clip.camera.width, 3), np.uint8)


def labelled_17(clip: Clip, boxes: np.ndarray) -> Tensor:
    """Return the labelled points (F, 17, 3): x, y in the box and confidence, 0 without labels."""
    count = len(POINT_NAMES)
    if clip.points_px is None or clip.point_names[:count] != POINT_NAMES:
        return torch.zeros(len(clip), len(POINTS_17), 3)
    points = clip.points_px[:, list(POINTS_17)].astype(np.float32)
    points[..., :2] = (points[..., :2] - boxes[:, None, :2]) / (boxes[:, None, 2:] / 2)
    return torch.from_numpy(points)


def joined(parts: Sequence[T]) -> T:
    """Concatenate dataclasses of tensors (B = 1); all have the same fields."""
    names = [item.name for item in dataclasses.fields(parts[0])]  # type: ignore[arg-type]
    whole: dict[str, Any] = {}
    for name in names:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], Tensor):
            whole[name] = torch.cat(values)
        else:
            whole[name] = None if values[0] is None else joined(values)
    return type(parts[0])(**whole)
