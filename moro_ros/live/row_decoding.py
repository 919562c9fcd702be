"""The rows of one live step: which are computed, what each attends to, and their decoding.

A step computes, for several people at once, the new frames of an image and as many before them as
the decoding mode requires. People appear at different times, so their rows are aligned at the
newest, and missing ones in front are padding, which no row attends to.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from moro_ros.live.sampling import KnownTokens, MaskedDecoding, decode_masked
from moro_ros.network.decoder import BOX_SPREAD, DecoderOutput
from moro_ros.network.layers import ROPE_BASE
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.rows import KeyValue, Past, Rows, rotary_turn

EMPTY = -np.inf  # time of a slot without a frame


@dataclass(frozen=True, slots=True)
class PersonRows:
    """One person's share of a step.

    times: (k,) frames of the rows, the slots in order and then the provisional one, if any;
    kept: (R,) frames whose keys and values are kept, EMPTY elsewhere; boxes: (m, 3) box conditions
    of the frames at box_times (m,), which end with the rows' own; has_before: whether the slot
    before the first row is known.
    """

    times: np.ndarray
    kept: np.ndarray
    boxes: np.ndarray
    box_times: np.ndarray
    has_before: bool


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Arrays of a step for B people and K rows; see network.rows.Rows.

    valid: (B, K) bool, False for padding; times: (B, K) float64.
    """

    times: np.ndarray
    valid: np.ndarray
    near: np.ndarray
    box: np.ndarray
    moved: np.ndarray
    step_of: np.ndarray

    @property
    def padded(self) -> bool:
        """Whether any row is padding."""
        return not self.valid.all()

    def rows(
        self,
        head_width: int,
        before_rotation: torch.Tensor,
        before_translation: torch.Tensor,
        device: torch.device,
    ) -> Rows:
        """Return the plan as the network's input; before_*: see Rows."""

        def on(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        turn = rotary_turn(torch.from_numpy(self.times), head_width, ROPE_BASE)
        return Rows(
            turn=turn.to(device, non_blocking=True),
            near=on(self.near),
            box=on(self.box),
            moved=on(self.moved),
            step_of=on(self.step_of),
            before_rotation=before_rotation,
            before_translation=before_translation,
        )


def plan_step(
    people: list[PersonRows], *, provisional: bool, reach: int, ahead: int | None, width: int = 0
) -> StepPlan:
    """Lay out a step.

    provisional: whether the last row is not a slot; reach: frames of the past, and at most of the
    future, that a row sees; ahead: fewer frames of the future, or None; width: minimum rows.
    """
    count = max([width, *(len(person.times) for person in people)])
    kept = len(people[0].kept)
    shape = len(people), count
    times = np.zeros(shape)
    valid = np.zeros(shape, bool)
    near = np.zeros((*shape, kept + count), bool)
    near[:, :, kept:] = np.eye(count, dtype=bool)
    box = np.zeros((*shape, 3), np.float32)
    box[..., 2] = 1.0
    moved = np.zeros(shape, bool)
    limit = np.inf if ahead is None else ahead
    for index, person in enumerate(people):
        first = count - len(person.times)
        row = person.times
        times[index, first:], valid[index, first:] = row, True
        old = np.where(person.kept < row[0], person.kept, EMPTY)
        key = np.concatenate([old, np.full(first, EMPTY), row])
        offset = key - row[:, None]
        near[index, first:] = (offset >= -reach) & (offset <= min(limit, reach))
        box[index, first:] = smooth_boxes(person.boxes, person.box_times, row, limit)
        moved[index, first + 1 :] = True
        moved[index, first] = person.has_before
    return StepPlan(times, valid, near, box, moved, step_rows(shape, provisional, ahead == 0))


def step_rows(shape: tuple[int, int], provisional: bool, causal: bool) -> np.ndarray:
    """Return the row whose step is the input of each row, (B, K) int64.

    A causal row gets the step that led to it, others the next one, as in geometry.trajectory. The
    last frame of the grid has no next step and repeats its own. So does the provisional row, whose
    own step is shorter than a frame.
    """
    count = shape[1]
    last = max(count - 2, 0) if provisional else count - 1
    own = np.arange(count) + (0 if causal else 1)
    return np.tile(np.minimum(own, last), (shape[0], 1))


def smooth_boxes(
    boxes: np.ndarray, times: np.ndarray, at: np.ndarray, ahead: float = np.inf
) -> np.ndarray:
    """Return the boxes smoothed as in network.decoder.steady_box, (k, 3) at the times `at` (k,).

    boxes: (m, 3) at times (m,), in any spacing; ahead: frames of the future that count.
    """
    offset = times - at[:, None]  # (k, m)
    weight = np.exp(-0.5 * (offset / BOX_SPREAD) ** 2) * (offset <= ahead)
    moment = weight * offset
    mass, first, second = weight.sum(1), moment.sum(1), (moment * offset).sum(1)
    spread = mass * second - first**2
    alone = spread < 1e-6
    line = weight * second[:, None] - moment * first[:, None]
    line = line / np.where(alone, 1.0, spread)[:, None]
    kernel = np.where(alone[:, None], weight / mass[:, None], line)
    logarithm = np.concatenate([boxes[:, :2], np.log(boxes[:, 2:])], 1)
    smooth = kernel @ logarithm
    smooth[:, 2] = np.exp(smooth[:, 2])
    return smooth


@dataclass(frozen=True, slots=True)
class Step:
    """The inputs of a live step, for B people and K rows.

    features: (B, K, ...); rows: with the coarse pose before the first row; later_rotation,
    later_translation: (B, 1, 3, 3), (B, 1, 3) m, the decoded one, for all passes but the first;
    past: of R frames; known: given tokens, or None.
    """

    features: FrameFeatures
    rows: Rows
    later_rotation: Tensor
    later_translation: Tensor
    past: Past
    known: KnownTokens | None = None


class RowNetwork(Protocol):
    """One pass over rows: torch, or an exported network."""

    def look(
        self, features: FrameFeatures, rows: Rows, past: Past
    ) -> tuple[Any, tuple[KeyValue, ...]]:
        """Prepare the images for all passes; returns a context and Past.image of the rows."""

    def decode(
        self,
        codes: Tensor,
        features: FrameFeatures,
        rotation: Tensor,
        translation: Tensor,
        context: Any,
        rows: Rows,
        past: Past,
    ) -> tuple[DecoderOutput, Past]:
        """One pass; returns the output and the rows' Past, without image if look returned it."""


class RowModel:
    """One step's rows as a network for masked decoding; afterwards `made` is the rows' Past."""

    def __init__(self, moro: MoRo, network: RowNetwork, step: Step) -> None:
        self.network = network
        self.step = step
        self.num_tokens = moro.num_tokens
        self.token_embedding = moro.token_embedding
        self.made = Past()
        self._image: tuple[KeyValue, ...] = ()
        self._rows = step.rows

    def context(self, features: FrameFeatures) -> Any:
        """Prepare the rows' images."""
        context, self._image = self.network.look(features, self.step.rows, self.step.past)
        return context

    def decode_window(
        self,
        codes: Tensor,
        features: FrameFeatures,
        rotation: Tensor,
        translation: Tensor,
        *,
        context: Any,
    ) -> DecoderOutput:
        """One pass; in the first one the pose before the first row is coarse, like the rows'."""
        output, made = self.network.decode(
            codes, features, rotation, translation, context, self._rows, self.step.past
        )
        self.made = replace(made, image=made.image or self._image)
        self._rows = replace(
            self.step.rows,
            before_rotation=self.step.later_rotation,
            before_translation=self.step.later_translation,
        )
        return output


def decode_step(
    moro: MoRo, network: RowNetwork, step: Step, passes: int, soft: bool
) -> tuple[MaskedDecoding, Past]:
    """Decode the rows of a step; returns the decoding and the rows' keys and values."""
    model = RowModel(moro, network, step)
    decoding = decode_masked(model, step.features, passes, soft=soft, known=step.known)
    return decoding, model.made


def step_tensors(step: Step) -> list[Tensor]:
    """Return all of a step's tensors except its past, in a fixed order."""
    parts: list[Tensor] = []
    for group in (step.features, step.rows, step.known):
        if group is not None:
            parts += [getattr(group, item.name) for item in fields(group)]
    return [*parts, step.later_rotation, step.later_translation]


def step_like(step: Step, tensors: list[Tensor]) -> Step:
    """Return a step with other tensors, in the order of step_tensors, and the same past."""
    values = iter(tensors)

    def group(of: Any) -> Any:
        return None if of is None else type(of)(*(next(values) for _ in fields(of)))

    features, rows, known = group(step.features), group(step.rows), group(step.known)
    return Step(features, rows, next(values), next(values), step.past, known)


# The fields of a decoding that a description requires, in this order.
DECODED = (
    "rotation", "translation", "contact", "confidence", "ids", "codes", "body_rotations", "betas",
)  # fmt: skip


def decoded_tensors(decoding: MaskedDecoding) -> dict[str, Tensor]:
    """Return the available tensors of DECODED, (B, K, ...) by name."""
    found = {}
    for name in DECODED:
        value = getattr(decoding, name, None)
        value = getattr(decoding.output, name, None) if value is None else value
        if value is not None:
            found[name] = value
    return found
