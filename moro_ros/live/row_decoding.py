"""The masked decoding of the rows of one live step, whatever runs the network."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from torch import Tensor

from moro_ros.live.sampling import KnownTokens, MaskedDecoding, decode_masked
from moro_ros.network.decoder import DecoderOutput, ImageContext
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.rows import KeyValue, Past, Rows, decode_rows, look_at_rows


@dataclass(frozen=True, slots=True)
class Step:
    """What a live step is made of, for B people and K rows.

    features: (B, K, ...); rows: with the coarse pose before the first row; later_rotation,
    later_translation: (B, 1, 3, 3), (B, 1, 3) m, the decoded one, for all passes but the first;
    past: of R frames; known: tokens that are given, or None.
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
        """One pass; returns the output and the rows' Past, without image where look gave it."""


class TorchRows:
    """The RowNetwork of a MoRo itself."""

    def __init__(self, moro: MoRo) -> None:
        self.moro = moro

    def look(
        self, features: FrameFeatures, rows: Rows, past: Past
    ) -> tuple[ImageContext, tuple[KeyValue, ...]]:
        """See RowNetwork."""
        return look_at_rows(self.moro, features, rows, past)

    def decode(
        self,
        codes: Tensor,
        features: FrameFeatures,
        rotation: Tensor,
        translation: Tensor,
        context: ImageContext,
        rows: Rows,
        past: Past,
    ) -> tuple[DecoderOutput, Past]:
        """See RowNetwork."""
        return decode_rows(self.moro, codes, rotation, translation, context, rows, past)


class RowModel:
    """One step's rows as a network for masked decoding; afterwards `made` is the rows' Past."""

    def __init__(self, moro: MoRo, network: RowNetwork, step: Step) -> None:
        self.network = network
        self.step = step
        self.num_tokens = moro.num_tokens
        self.mask_id = moro.mask_id
        self.token_embedding = moro.token_embedding
        self.codebook = moro.codebook
        self.made = Past()
        self._image: tuple[KeyValue, ...] = ()
        self._rows = step.rows

    def embed(self, ids: Tensor) -> Tensor:
        """Codes of token ids."""
        return self.token_embedding[ids]

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
        """One pass; the pose before the first row is coarse in the first one, as the rows' is."""
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
    """Return all of a step's tensors but its past, in a fixed order."""
    parts: list[Tensor] = []
    for group in (step.features, step.rows, step.known):
        if group is not None:
            parts += [getattr(group, item.name) for item in fields(group)]
    return [*parts, step.later_rotation, step.later_translation]


def step_like(step: Step, tensors: list[Tensor]) -> Step:
    """Return a step of other tensors, in the order of step_tensors, with the same past."""
    values = iter(tensors)

    def group(of: Any) -> Any:
        return None if of is None else type(of)(*(next(values) for _ in fields(of)))

    features, rows, known = group(step.features), group(step.rows), group(step.known)
    return Step(features, rows, next(values), next(values), step.past, known)


# What a description needs of a decoding, in this order.
DECODED = (
    "rotation", "translation", "contact", "confidence", "ids", "codes", "body_rotations", "betas",
)  # fmt: skip


def decoded_tensors(decoding: MaskedDecoding) -> dict[str, Tensor]:
    """Return the tensors of DECODED that there are, (B, K, ...) by name."""
    found = {}
    for name in DECODED:
        value = getattr(decoding, name, None)
        value = getattr(decoding.output, name, None) if value is None else value
        if value is not None:
            found[name] = value
    return found
