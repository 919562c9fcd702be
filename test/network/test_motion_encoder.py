"""The motion encoder in both layouts: shapes, masks, and what its features know."""

from __future__ import annotations

import pytest
import torch

from moro_ros.network.layers import DSTFormer
from moro_ros.network.motion_encoder import LogitHead, MotionEncoder

LAYOUTS = ("mesh_tokens", "frame")


def encoder(layout: str) -> MotionEncoder:
    torch.manual_seed(0)
    return MotionEncoder(
        layout=layout,
        trunk=DSTFormer(
            dim=32,
            depth=2,
            heads=4,
            mlp_ratio=2,
            attention_span=60,
            branches="temporal" if layout == "frame" else "dual",
        ),
        num_tokens=6,
        num_codes=20,
        code_dim=9,
        logit_rank=4,
    ).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 7, 6, 9, generator=generator),
        torch.randn(2, 7, 9, generator=generator),
    )


@pytest.mark.parametrize(("layout", "pose_tokens"), [("mesh_tokens", 6), ("frame", 1)])
def test_shapes(layout, pose_tokens):
    module = encoder(layout)
    features = module(*inputs())
    assert features.pose.shape == (2, 7, pose_tokens, 32)
    assert features.trajectory.shape == (2, 7, 1, 32)
    assert features.clean_trajectory.shape == (2, 7, 9)
    assert module.logits(features).shape == (2, 7, 6, 20)
    assert module.contact(features).shape == (2, 7, 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_and_trajectory_reach_each_other(layout):
    module, (codes, trajectory) = encoder(layout), inputs()
    base = module(codes, trajectory)
    turned = module(codes, trajectory + 1)
    assert (turned.pose - base.pose).abs().max() > 1e-4
    posed = module(codes + 1, trajectory)
    assert (posed.clean_trajectory - base.clean_trajectory).abs().max() > 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_mesh_token_has_its_place(layout):
    module, (codes, trajectory) = encoder(layout), inputs()
    swapped = codes[:, :, [1, 0, 2, 3, 4, 5]]
    change = module(swapped, trajectory).trajectory - module(codes, trajectory).trajectory
    assert change.abs().max() > 1e-5


def test_a_mask_is_not_a_small_code():
    """In the frame layout a flag tells the mask from a code that happens to be nearly zero."""
    module, (codes, trajectory) = encoder("frame"), inputs()
    masked, tiny = codes.clone(), codes.clone()
    masked[:, :, 2], tiny[:, :, 2] = 0, 1e-12
    change = module(masked, trajectory).pose - module(tiny, trajectory).pose
    assert change.abs().max() > 1e-3


def test_split_logits_give_each_token_its_own():
    torch.manual_seed(0)
    head = LogitHead(32, num_tokens=6, num_codes=20, rank=4)
    logits = head(torch.randn(2, 3, 1, 32))
    assert logits.shape == (2, 3, 6, 20)
    assert (logits[:, :, 0] - logits[:, :, 1]).abs().max() > 1e-3
