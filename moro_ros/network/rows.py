"""Live decoding: the newest frames ("rows") of some people, with their kept past.

The attention of a clip identifies frames by their index. A live stream never ends, its newest image
may be between two frames, people appear at different times, and keys and values of the fixed past
need not be recomputed. So rows have times, a mask defines which rows see which frames, and keys and
values of earlier frames are inputs and outputs. This module has no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.network.decoder import DecoderOutput, ImageContext
from moro_ros.network.layers import attend
from moro_ros.network.moro import FrameFeatures, MoRo

# Keys and values (B, N, heads, K, head width) of one temporal attention.
KeyValue = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """K rows of B people, the newest last, after R kept frames.

    turn: (B, K, head width / 2, 2) cosine and sine of the rows' rotary positions; near: (B, K,
    R + K) bool, True where a row sees a kept frame or a row; box: (B, K, 3), the smoothed person
    box; moved: (B, K) bool, False where the step to a row is unknown; step_of: (B, K) int64, the
    row whose step is the input of each row (its own: causal); before_rotation, before_translation:
    (B, 1, 3, 3), (B, 1, 3) m, the pose of the frame before the first row.
    """

    turn: torch.Tensor
    near: torch.Tensor
    box: torch.Tensor
    moved: torch.Tensor
    step_of: torch.Tensor
    before_rotation: torch.Tensor
    before_translation: torch.Tensor


@dataclass(slots=True)
class RowTime:
    """The Time of rows in one stack of layers; passes the kept frames to each temporal attention.

    past: KeyValue of R frames for each temporal attention in the order of their calls, or empty;
    made: the same of the K rows, filled by the forward pass.
    """

    rows: Rows
    past: Sequence[KeyValue] = ()
    made: list[KeyValue] = field(default_factory=list)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate neighbouring channel pairs of x (B N, heads, K, head width) by the row's angle."""
        people, turn = self.rows.near.shape[0], self.rows.turn
        turn = turn.repeat_interleave(x.shape[0] // people, dim=0) if x.shape[0] > people else turn
        cosine, sine = turn[:, None].unbind(-1)
        first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = (first * cosine - second * sine, first * sine + second * cosine)
        return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of the rows to visible frames: (B N, heads, K, head width) -> the same."""
        near = self.rows.near
        tokens = query.shape[0] // near.shape[0]
        number, shape = len(self.made), (near.shape[0], tokens)
        self.made.append((key.unflatten(0, shape), value.unflatten(0, shape)))
        if self.past:
            old_key, old_value = self.past[number]
            key = torch.cat((old_key.flatten(0, 1), key), dim=-2)
            value = torch.cat((old_value.flatten(0, 1), value), dim=-2)
        seen = near if tokens == 1 else near.repeat_interleave(tokens, dim=0)
        return attend(query, key, value, seen[:, None])


@dataclass(frozen=True, slots=True)
class Past:
    """Keys and values of all temporal attentions, in the order of their calls in each stack.

    image: of the image tokens alone, in the paper's layout; encoder, decoder: of the two stacks.
    """

    image: tuple[KeyValue, ...] = ()
    encoder: tuple[KeyValue, ...] = ()
    decoder: tuple[KeyValue, ...] = ()

    def flat(self) -> list[torch.Tensor]:
        """Return all tensors in a fixed order."""
        return [part for pair in (*self.image, *self.encoder, *self.decoder) for part in pair]

    def like(self, tensors: Sequence[torch.Tensor]) -> Past:
        """Return other tensors, in the order of flat, in this one's form."""
        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        first, second = len(self.image), len(self.image) + len(self.encoder)
        return Past(tuple(pairs[:first]), tuple(pairs[first:second]), tuple(pairs[second:]))


class TorchRows:
    """One pass over rows by MoRo's own modules; the RowNetwork of live/row_decoding.py."""

    def __init__(self, moro: MoRo) -> None:
        self.moro = moro

    def look(
        self, features: FrameFeatures, rows: Rows, past: Past
    ) -> tuple[ImageContext, tuple[KeyValue, ...]]:
        """Prepare the rows' images for all passes; returns the context and Past.image of the rows.

        features: of the rows, (B, K, ...).
        """
        time, decoder = RowTime(rows, past.image), self.moro.decoder
        context = decoder.look(
            features.image_tokens,
            features.box_condition,
            features.rotation,
            features.translation,
            box=rows.box if decoder.box_trajectory else features.box_condition,
            time=time,
        )
        return context, tuple(time.made)

    def decode(
        self,
        codes: torch.Tensor,
        features: FrameFeatures,
        rotation: torch.Tensor,
        translation: torch.Tensor,
        context: ImageContext,
        rows: Rows,
        past: Past,
    ) -> tuple[DecoderOutput, Past]:
        """One pass over the rows; returns the output and their keys and values (without image).

        codes: (B, K, T, code width), zeros where masked; rotation (B, K, 3, 3) and translation
        (B, K, 3) m: the best trajectory so far, as in MoRo.decode_window; context: of look, which
        has used the features.
        """
        moro = self.moro
        steps = canonical_trajectory(
            torch.cat((rows.before_rotation, rotation), dim=1),
            torch.cat((rows.before_translation, translation), dim=1),
            moro.trajectory_mean,
            moro.trajectory_std,
            causal=True,
        )[:, 1:]
        steps = torch.where(rows.moved[..., None], steps, torch.zeros_like(steps))
        trajectory = steps.gather(1, rows.step_of[..., None].expand(-1, -1, steps.shape[-1]))
        encoding, decoding = RowTime(rows, past.encoder), RowTime(rows, past.decoder)
        motion = moro.motion_encoder(codes, trajectory, time=encoding)
        output: DecoderOutput = moro.decoder(motion, context, time=decoding)
        return output, Past((), tuple(encoding.made), tuple(decoding.made))


def rotary_turn(times: torch.Tensor, head_width: int, base: float) -> torch.Tensor:
    """Cosine and sine of rotary positions, (..., head width / 2, 2) float32.

    times: (...) frames, float64: a stream may run for days, and only differences matter.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64) / head_width
    angles = times[..., None] * base**-exponents
    return torch.stack((angles.cos(), angles.sin()), dim=-1).float()
