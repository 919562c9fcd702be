"""MoRo as a whole: frames and contexts are reused without loss, and both layouts train."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.moro import FrameFeatures, MoRo

LAYOUTS = {
    "mesh_tokens": {"layout": "mesh_tokens"},
    "frame": {"layout": "frame", "trajectory": "box", "rotation_head": True},
}
TINY = {"image": "keypoints", "dim": 32, "heads": 4, "mlp_ratio": 2, "encoder_depth": 1}
TINY |= {"decoder_depth": 2, "num_tokens": 6, "num_codes": 20, "logit_rank": 8}


def tiny(layout: str) -> MoRo:
    torch.manual_seed(0)
    config = MoroConfig(**TINY, **LAYOUTS[layout], keypoints=KeypointsConfig(hidden=32))
    model = build_moro(config)
    model.set_codebook(torch.randn(20, 9))
    return model


def observed(frames: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, frames, 19, 4, generator=generator)
    return points, torch.rand(2, frames, 3, generator=generator) + 0.1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_may_be_encoded_one_by_one(layout):
    model, (points, boxes) = tiny(layout).eval(), observed()
    whole = model.encode_frames(points, boxes)
    parts = [model.encode_frames(points[:, i : i + 1], boxes[:, i : i + 1]) for i in range(8)]
    for field in dataclasses.fields(FrameFeatures):
        joined = torch.cat([getattr(part, field.name) for part in parts], dim=1)
        torch.testing.assert_close(joined, getattr(whole, field.name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_context_serves_many_passes(layout):
    model, (points, boxes) = tiny(layout).eval(), observed()
    features = model.encode_frames(points, boxes)
    codes = model.embed(torch.randint(0, 21, (2, 8, 6)))
    arguments = (codes, features, features.rotation, features.translation)
    alone = model.decode_window(*arguments)
    shared = model.decode_window(*arguments, context=model.context(features))
    torch.testing.assert_close(shared.logits, alone.logits)
    torch.testing.assert_close(shared.translation, alone.translation)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_causal_frames_do_not_know_the_future(layout):
    """With ahead=0 a clip's beginning decodes as if the rest did not exist; otherwise not."""
    model, (points, boxes) = tiny(layout).eval(), observed()
    whole = model.encode_frames(points, boxes)
    codes = model.embed(torch.full((2, 8, 6), model.mask_id))

    def decode(frames: int, ahead: int | None) -> torch.Tensor:
        part = FrameFeatures(
            *(getattr(whole, field.name)[:, :frames] for field in dataclasses.fields(whole))
        )
        arguments = (codes[:, :frames], part, part.rotation, part.translation)
        return model.decode_window(*arguments, ahead=ahead).translation[:, :5]

    torch.testing.assert_close(decode(5, 0), decode(8, 0), rtol=1e-5, atol=1e-6)
    assert (decode(5, None) - decode(8, None)).abs().max() > 1e-4
    # Enough look-ahead is the whole window.
    torch.testing.assert_close(decode(8, 8), decode(8, None), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduced", [False, True])
def test_learns_one_sample(layout, reduced):
    """The loss falls in few steps, also in bfloat16, and geometry stays in full precision."""
    model, (points, boxes) = tiny(layout), observed()
    ids = torch.randint(0, 20, (2, 8, 6), generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            masked = torch.full_like(ids, model.mask_id)
            features, output = model(points, boxes, masked)
        assert output.rotation.dtype is output.translation.dtype is torch.float32
        assert features.translation.dtype is torch.float32
        loss = torch.nn.functional.cross_entropy(output.logits.float().flatten(0, 2), ids.flatten())
        loss = loss + (output.translation - 3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_mask_row_is_zero_and_saved():
    model = tiny("frame")
    assert not model.embed(torch.tensor([model.mask_id])).any()
    torch.testing.assert_close(model.embed(torch.arange(20)), model.codebook)
    assert {"token_embedding", "trajectory_mean", "trajectory_std"} <= set(model.state_dict())


def test_frames_without_a_keypoint_start_from_the_newest_estimate_that_had_one():
    torch.manual_seed(0)
    keypoints = KeypointsConfig(hidden=32, estimate=True)
    config = MoroConfig(**{**TINY, "dim": 160}, **LAYOUTS["frame"], keypoints=keypoints)
    model, (points, boxes) = build_moro(config).eval(), observed()
    points[..., 2] = 1.0
    points[0, 3:6, :, 2] = points[1, :2, :, 2] = 0.0
    features = model.encode_frames(points, boxes)
    carried = model.carry_estimates(features, points)
    for frame in range(8):
        source = 2 if 3 <= frame <= 5 else frame
        assert torch.equal(carried.translation[0, frame], features.translation[0, source])
        assert torch.equal(carried.rotation[0, frame], features.rotation[0, source])
        assert torch.equal(carried.image_tokens[0, frame, -1], features.image_tokens[0, source, -1])
        own = features.image_tokens[0, frame, :-1]
        assert torch.equal(carried.image_tokens[0, frame, :-1], own)
    # Nobody was seen before: the frame's own estimate stays.
    assert torch.equal(carried.translation[1], features.translation[1])


def test_networks_without_estimates_carry_nothing():
    model, (points, boxes) = tiny("frame").eval(), observed()
    features = model.encode_frames(points * 0.0, boxes)
    assert model.carry_estimates(features, points * 0.0) is features
