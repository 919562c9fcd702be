"""Motion of any length: the windows, their seams, and what one window alone would give."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from moro_ros.live.offline import OVERLAP, WINDOW, decode_long, windows
from moro_ros.live.sampling import decode_masked
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures, MoRo

FRAME_LAYOUT = {"layout": "frame", "trajectory": "box", "rotation_head": True}


def tiny(**options: object) -> MoRo:
    torch.manual_seed(0)
    config = MoroConfig(
        image="keypoints", dim=32, heads=4, mlp_ratio=2, encoder_depth=1, decoder_depth=1,
        num_tokens=4, num_codes=20, logit_rank=8, keypoints=KeypointsConfig(hidden=32), **options,
    )  # fmt: skip
    model = build_moro(config).eval()
    model.set_codebook(torch.randn(20, 9))
    return model


def seen(model: MoRo, frames: int) -> FrameFeatures:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, frames, 19, 4, generator=generator)
    return model.encode_frames(points, torch.rand(2, frames, 3, generator=generator) + 0.1)


def part_of(features: FrameFeatures, start: int, stop: int) -> FrameFeatures:
    names = [field.name for field in fields(features)]
    return FrameFeatures(**{name: getattr(features, name)[:, start:stop] for name in names})


@pytest.mark.parametrize("frames", [1, 61, 499, 500, 501, 880, 881, 1000, 3000])
def test_every_frame_is_taken_once_and_far_from_the_seams(frames):
    parts = list(windows(frames))
    assert [frame for *_, kept in parts for frame in kept] == list(range(frames))
    for start, stop, kept in parts:
        assert stop - start == min(WINDOW, frames - start)
        assert kept.start == start == 0 or kept.start - start == OVERLAP // 2
        assert kept.stop == stop == frames or stop - kept.stop == OVERLAP // 2


def test_published_windows():
    assert [(start, stop) for start, stop, _ in windows(1000)] == [
        (0, 500),
        (380, 880),
        (760, 1000),
    ]


@pytest.mark.parametrize("overlap", [-2, 3, 10, 12])
def test_impossible_overlaps(overlap):
    with pytest.raises(ValueError, match=str(overlap)):
        list(windows(30, 10, overlap))


@pytest.mark.parametrize("options", [{}, FRAME_LAYOUT])
def test_a_short_clip_is_one_window(options):
    model = tiny(**options)
    features = seen(model, 12)
    long = decode_long(model, features, 3, soft=True)
    plain = decode_masked(model, features, 3, soft=True)
    assert torch.equal(long.decoding.ids, plain.ids)
    torch.testing.assert_close(long.decoding.codes, plain.codes)
    torch.testing.assert_close(long.decoding.output.translation, plain.output.translation)
    torch.testing.assert_close(long.smoothed, model.smoother(plain.codes))
    assert not long.smoothed.requires_grad


@pytest.mark.parametrize("options", [{}, FRAME_LAYOUT])
def test_a_frame_is_what_its_window_says(options):
    """Merge rule: the last 2 stored frames go, the next window counts from its frame 2 on."""
    model = tiny(**options)
    features = seen(model, 26)
    long = decode_long(model, features, 2, window=12, overlap=4)
    stored: list[torch.Tensor] = []
    for start in (0, 8, 16):
        part = decode_masked(model, part_of(features, start, start + 12), 2)
        smoothed = model.smoother(part.codes)
        stored = stored[:-2] + list(smoothed.unbind(1)[2 if start else 0 :])
    torch.testing.assert_close(long.smoothed, torch.stack(stored, 1))
    second = decode_masked(model, part_of(features, 8, 20), 2)
    for field in fields(DecoderOutput):
        ours = getattr(long.decoding.output, field.name)
        theirs = getattr(second.output, field.name)
        if theirs is None:
            assert ours is None
        else:
            assert ours.shape[1] == 26
            torch.testing.assert_close(ours[:, 10:18], theirs[:, 2:10])
    assert torch.equal(long.decoding.ids[:, 10:18], second.ids[:, 2:10])
    torch.testing.assert_close(long.decoding.confidence[:, 10:18], second.confidence[:, 2:10])
