"""Rows with a kept past say what whole clips say, in both layouts, and cost what rows cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.live.row_decoding import EMPTY, PersonRows, plan_step
from moro_ros.model_config import KeypointsConfig, MoroConfig, VitConfig
from moro_ros.network.build import build_moro
from moro_ros.network.moro import FrameFeatures
from moro_ros.network.rows import Past, TorchRows

SPAN, FRAMES = 5, 14
OPEN = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=2, decoder_depth=2, num_tokens=6, num_codes=16, logit_rank=8,
    attention_span=SPAN, keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip
ESTIMATED = replace(
    OPEN, dim=160, keypoints=KeypointsConfig(hidden=32, blocks=1, floor=True, estimate=True)
)
PAPER = MoroConfig(
    layout="mesh_tokens", image="vit", dim=32, heads=4, mlp_ratio=2, encoder_depth=2,
    decoder_depth=2, num_tokens=6, num_codes=16, attention_span=SPAN,
    vit=VitConfig(embed_dim=16, depth=1, heads=2, encoder_depth=1, image=(32, 32)),
)  # fmt: skip


def network(numbers):
    torch.manual_seed(0)
    moro = build_moro(numbers)
    for parameter in moro.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    moro.trajectory_std.fill_(0.1)
    return moro.eval()


def clip(numbers, batch=2, frames=FRAMES):
    generator = torch.Generator().manual_seed(1)
    shape = batch, frames

    def noise(*last):
        return torch.randn(*shape, *last, generator=generator)

    rotation = torch.linalg.qr(torch.eye(3) + 0.1 * noise(3, 3))[0]
    box = torch.cat((noise(2).cumsum(1) * 0.05, noise(1).mul(0.1).exp()), -1)
    tokens = noise(numbers.image_tokens, numbers.dim)
    return FrameFeatures(tokens, box, rotation, noise(3).cumsum(1) * 0.1 + 3)


def cut(features, start, stop):
    return FrameFeatures(
        *(getattr(features, name)[:, start:stop] for name in FrameFeatures.__dataclass_fields__)
    )


def same(first, second):
    for name in ("logits", "contact", "rotation", "translation", "body_rotations", "betas"):
        got, want = getattr(first, name), getattr(second, name)
        if want is not None:
            torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def rows_of(moro, features, plan, start, stop):
    ahead_of = max(start - 1, 0)
    return plan.rows(
        moro.decoder.trunk.head_width,
        features.rotation[:, ahead_of : ahead_of + 1],
        features.translation[:, ahead_of : ahead_of + 1],
        torch.device("cpu"),
    )


def boxes_of(features, person, stop):
    return features.box_condition[person, :stop].numpy(), np.arange(stop, dtype=float)


@pytest.mark.parametrize(
    "numbers", [OPEN, ESTIMATED, PAPER], ids=["frame", "estimated", "mesh_tokens"]
)
@pytest.mark.parametrize("ahead", [0, 2, None])
@torch.no_grad()
def test_a_whole_clip_as_rows(numbers, ahead):
    moro, features = network(numbers), clip(numbers)
    codes = 0.3 * torch.randn(2, FRAMES, 6, 9)
    want = moro.decode_window(codes, features, features.rotation, features.translation, ahead=ahead)
    time = np.arange(FRAMES, dtype=float)
    people = [
        PersonRows(time + 1e6, np.zeros(0), boxes_of(features, i, FRAMES)[0], time + 1e6, False)
        for i in range(2)
    ]
    plan = plan_step(people, provisional=False, reach=SPAN, ahead=ahead)
    rows = rows_of(moro, features, plan, 0, FRAMES)
    context, _ = TorchRows(moro).look(features, rows, Past())
    got, _ = TorchRows(moro).decode(
        codes, features, features.rotation, features.translation, context, rows, Past()
    )
    same(got, want)


@pytest.mark.parametrize(
    "numbers", [OPEN, ESTIMATED, PAPER], ids=["frame", "estimated", "mesh_tokens"]
)
@torch.no_grad()
def test_frame_by_frame_with_a_kept_past_equals_the_causal_clip(numbers):
    moro, features = network(numbers), clip(numbers)
    codes = torch.zeros(2, FRAMES, 6, 9)
    want = moro.decode_window(codes, features, features.rotation, features.translation, ahead=0)
    ring, past = SPAN + 1, Past()
    kept = np.full(ring, EMPTY)
    for frame in range(FRAMES):
        people = [
            PersonRows(
                np.array([float(frame)]), kept if frame else np.zeros(0),
                *boxes_of(features, i, frame + 1), frame > 0,
            )
            for i in range(2)
        ]  # fmt: skip
        plan = plan_step(people, provisional=False, reach=SPAN, ahead=0)
        now = cut(features, frame, frame + 1)
        rows = rows_of(moro, features, plan, frame, frame + 1)
        context, image = TorchRows(moro).look(now, rows, past)
        got, made = TorchRows(moro).decode(
            codes[:, :1], now, now.rotation, now.translation, context, rows, past
        )
        same(got, cut_output(want, frame))
        new = Past(image, made.encoder, made.decoder).flat()
        if frame == 0:
            old = [torch.zeros(*t.shape[:3], ring, t.shape[4]) for t in new]
        for tensor, value in zip(old, new):
            tensor[:, :, :, frame % ring] = value[:, :, :, 0]
        past = Past(image, made.encoder, made.decoder).like(old)
        kept[frame % ring] = frame


def cut_output(output, frame):
    values = {
        name: getattr(output, name)[:, frame : frame + 1]
        for name in output.__dataclass_fields__
        if getattr(output, name) is not None
    }
    return type(output)(**values)


@torch.no_grad()
def test_padding_changes_nothing():
    moro, features = network(OPEN), clip(OPEN)
    time = np.arange(4.0)

    def decode(width, part):
        people = [PersonRows(time, np.zeros(0), *boxes_of(features, 0, 4), False)]
        plan = plan_step(people, provisional=False, reach=SPAN, ahead=None, width=width)
        rows = rows_of(moro, part, plan, 0, 4)
        context, _ = TorchRows(moro).look(part, rows, Past())
        codes = torch.zeros(1, max(width, 4), 6, 9)
        return TorchRows(moro).decode(
            codes, part, part.rotation, part.translation, context, rows, Past()
        )[0]

    exact = FrameFeatures(
        *(getattr(features, name)[:1, :4] for name in FrameFeatures.__dataclass_fields__)
    )
    padded = FrameFeatures(
        *(
            torch.cat((getattr(features, name)[1:, :3], getattr(exact, name)), 1)
            for name in FrameFeatures.__dataclass_fields__
        )
    )
    wide = decode(7, padded)
    same(decode(0, exact), type(wide)(**{
        name: getattr(wide, name)[:, 3:] for name in wide.__dataclass_fields__
    }))  # fmt: skip
