"""Recorded motion of any length: overlapping windows are decoded in turn and joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch

from moro_ros.live.sampling import MaskedDecoding, decode_masked
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures, MoRo

# The published values. Half of the overlap is dropped on either side of a seam.
WINDOW, OVERLAP = 500, 120


@dataclass(frozen=True, slots=True)
class LongDecoding:
    """The decoding of B clips of F frames, F of any length.

    decoding: of all frames, see MaskedDecoding; smoothed: (B, F, T, code width), its codes after
    the temporal smoother, each window smoothed by itself, ready for MeshTokenizer.decode_codes.
    """

    decoding: MaskedDecoding
    smoothed: torch.Tensor


@torch.no_grad()
def decode_long(
    model: MoRo,
    features: FrameFeatures,
    passes: int = 5,
    *,
    window: int = WINDOW,
    overlap: int = OVERLAP,
    soft: bool = False,
) -> LongDecoding:
    """Decode B clips of F frames in windows of at most `window` frames.

    features: on any device; each window is copied to the model's device and its result back.
    overlap: frames that two windows share, even; passes, soft: see decode_masked. Frames join
    without blending, as in the paper's evaluation. Meshes are not decoded here: decode `smoothed`
    for them, so that no frame's mesh is decoded twice.
    Raises: ValueError for an overlap that is odd, negative or not below the window.
    """
    device = model.token_embedding.device
    home = features.box_condition.device
    parts: list[LongDecoding] = []
    for start, stop, keep in windows(features.box_condition.shape[1], window, overlap):
        part = decode_masked(model, _frames(features, start, stop, device), passes, soft=soft)
        smoothed = model.smoother(part.codes)
        kept = slice(keep.start - start, keep.stop - start)
        parts.append(LongDecoding(_cut(part, kept, home), smoothed[:, kept].to(home)))
    if len(parts) == 1:
        return parts[0]
    return LongDecoding(
        _join([part.decoding for part in parts]), torch.cat([part.smoothed for part in parts], 1)
    )


def windows(
    frames: int, window: int = WINDOW, overlap: int = OVERLAP
) -> Iterator[tuple[int, int, range]]:
    """The windows of a clip: first frame, frame after the last, and the frames used from it.

    Windows start every `window - overlap` frames; the last one ends with the clip. Of the frames
    that two windows share, the first half is from the earlier and the second half from the later
    one, so every frame is used exactly once.
    Raises: ValueError for an overlap that is odd, negative or not below the window.
    """
    if not 0 <= overlap < window or overlap % 2:
        raise ValueError(f"overlap {overlap} is not an even number from 0 to below {window}")
    start = 0
    while True:
        stop = min(start + window, frames)
        first = start + overlap // 2 if start else 0
        last = stop if stop == frames else stop - overlap // 2
        yield start, stop, range(first, last)
        if stop == frames:
            return
        start += window - overlap


def _frames(features: FrameFeatures, start: int, stop: int, device: torch.device) -> FrameFeatures:
    return FrameFeatures(
        **{f.name: getattr(features, f.name)[:, start:stop].to(device) for f in fields(features)}
    )


def _cut(decoding: MaskedDecoding, part: slice, device: torch.device) -> MaskedDecoding:
    def cut(value: Any) -> Any:
        return None if value is None else value[:, part].to(device)

    output = decoding.output
    return MaskedDecoding(
        ids=decoding.ids[:, part].to(device),
        confidence=decoding.confidence[:, part].to(device),
        codes=decoding.codes[:, part].to(device),
        output=DecoderOutput(**{f.name: cut(getattr(output, f.name)) for f in fields(output)}),
    )


def _join(parts: list[MaskedDecoding]) -> MaskedDecoding:
    """Join decodings along the frames."""

    def join(values: list[Any]) -> Any:
        given = [value for value in values if value is not None]
        return torch.cat(given, dim=1) if given else None

    outputs = [part.output for part in parts]
    return MaskedDecoding(
        ids=torch.cat([part.ids for part in parts], dim=1),
        confidence=torch.cat([part.confidence for part in parts], dim=1),
        codes=torch.cat([part.codes for part in parts], dim=1),
        output=DecoderOutput(
            **{
                field.name: join([getattr(output, field.name) for output in outputs])
                for field in fields(DecoderOutput)
            }
        ),
    )
