"""Masked decoding against a network whose answers are known beforehand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from moro_ros.live.sampling import KnownTokens, decode_masked
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.decoder import DecoderOutput

FRAMES, TOKENS, CODES = 10, 6, 20
CLIP = FRAMES * TOKENS


class Oracle:
    """A network that always gives the same logits and notes what it was asked."""

    num_tokens, num_codes, mask_id = TOKENS, CODES, CODES

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits
        codes = torch.randn(CODES, 9, generator=torch.Generator().manual_seed(5))
        self.codebook = codes
        self.token_embedding = torch.cat((codes, torch.zeros(1, 9)))
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.token_embedding[ids]

    def context(self, features):
        return features

    def decode_window(self, codes, features, rotation, translation, *, context):
        self.calls.append((codes.clone(), translation))
        count = float(len(self.calls))
        return DecoderOutput(
            logits=self.logits,
            contact=torch.zeros(len(codes), FRAMES, 4),
            rotation=rotation,
            translation=torch.full_like(translation, count),
            clean_trajectory=torch.zeros(len(codes), FRAMES, 9),
        )


def oracle(batch: int = 3) -> Oracle:
    generator = torch.Generator().manual_seed(0)
    return Oracle(3 * torch.randn(batch, FRAMES, TOKENS, CODES, generator=generator))


def features(batch: int = 3) -> SimpleNamespace:
    return SimpleNamespace(
        box_condition=torch.zeros(batch, FRAMES, 3),
        rotation=torch.eye(3).expand(batch, FRAMES, 3, 3),
        translation=torch.zeros(batch, FRAMES, 3),
    )


def masked(codes: torch.Tensor) -> torch.Tensor:
    return (codes == 0).all(-1).flatten(1)


@pytest.mark.parametrize("passes", [1, 2, 5])
@pytest.mark.parametrize("soft", [False, True])
def test_result_of_a_certain_network(passes, soft):
    model = oracle()
    result = decode_masked(model, features(), passes, soft=soft)
    probability = model.logits.softmax(-1)
    assert len(model.calls) == passes
    assert torch.equal(result.ids, model.logits.argmax(-1))
    torch.testing.assert_close(result.confidence, probability.amax(-1))
    expected = probability @ model.codebook if soft else model.embed(result.ids)
    torch.testing.assert_close(result.codes, expected)


def test_schedule_and_order():
    """Each pass masks the least sure tokens of the whole clip, in the published numbers."""
    model = oracle()
    decode_masked(model, features(), 5)
    confidence = model.logits.softmax(-1).amax(-1).flatten(1)
    rank = confidence.argsort(1).argsort(1)
    for number, (codes, _) in enumerate(model.calls):
        count = round((1 + math.cos(math.pi * number / 5)) / 2 * CLIP)
        assert torch.equal(masked(codes), rank < count)


def test_the_trajectory_of_a_pass_feeds_the_next():
    model = oracle()
    result = decode_masked(model, features(), 4)
    assert [float(t.unique()) for _, t in model.calls] == [0, 1, 2, 3]
    assert float(result.output.translation.unique()) == 4


@pytest.mark.parametrize("soft", [False, True])
def test_fed_codes(soft):
    model = oracle()
    decode_masked(model, features(), 5, soft=soft)
    codes = model.calls[3][0]
    expected = (
        model.logits.softmax(-1) @ model.codebook if soft else model.embed(model.logits.argmax(-1))
    )
    shown = ~masked(codes)
    torch.testing.assert_close(codes.flatten(1, 2)[shown], expected.flatten(1, 2)[shown])


def test_known_tokens_stay_and_are_never_masked():
    model = oracle()
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(CODES, (3, FRAMES, TOKENS), generator=generator)
    keep = torch.zeros_like(ids, dtype=torch.bool)
    keep[:, :6] = True
    sure = torch.rand(ids.shape, generator=generator)
    known = KnownTokens(ids, keep, model.embed(ids), sure)
    result = decode_masked(model, features(), 2, known=known)
    assert len(model.calls) == 2
    assert torch.equal(result.ids[:, :6], ids[:, :6])
    assert torch.equal(result.ids[:, 6:], model.logits.argmax(-1)[:, 6:])
    assert torch.equal(result.confidence[:, :6], sure[:, :6])
    assert torch.equal(masked(model.calls[0][0]), ~keep.flatten(1))
    assert int(masked(model.calls[1][0]).sum()) == 3 * CLIP * 4 // 10 // 2


def test_a_clip_does_not_depend_on_its_neighbours():
    together, alone = oracle(), oracle()
    alone.logits = alone.logits[1:2]
    whole = decode_masked(together, features(), 5)
    single = decode_masked(alone, features(1), 5)
    assert torch.equal(whole.ids[1:2], single.ids)
    for one, other in zip(together.calls, alone.calls):
        assert torch.equal(one[0][1:2], other[0])


def test_equally_sure_tokens_are_masked_in_their_order():
    model = oracle()
    model.logits = torch.zeros(1, FRAMES, TOKENS, CODES)
    decode_masked(model, features(1), 2)
    expected = torch.arange(CLIP) < CLIP // 2
    assert torch.equal(masked(model.calls[1][0])[0], expected)


@pytest.mark.parametrize(
    "options", [{"layout": "frame", "trajectory": "box", "rotation_head": True}, {}]
)
def test_a_real_network_repeats_itself_and_leaves_no_mask(options):
    torch.manual_seed(0)
    config = MoroConfig(
        image="keypoints", dim=32, heads=4, mlp_ratio=2, encoder_depth=1, decoder_depth=1,
        num_tokens=TOKENS, num_codes=CODES, keypoints=KeypointsConfig(hidden=32), **options,
    )  # fmt: skip
    model = build_moro(config).eval()
    model.set_codebook(torch.randn(CODES, 9))
    with torch.inference_mode():
        seen = model.encode_frames(torch.rand(2, 7, 19, 4), torch.full((2, 7, 3), 0.2))
        first, second = (decode_masked(model, seen, 3, soft=True) for _ in range(2))
    assert torch.equal(first.ids, second.ids) and torch.equal(first.codes, second.codes)
    assert int(first.ids.max()) < CODES
    assert ((first.confidence > 0) & (first.confidence <= 1)).all()
    assert torch.isfinite(first.output.translation).all()
