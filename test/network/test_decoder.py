"""The decoder in both layouts and with each of its heads."""

from __future__ import annotations

import pytest
import torch

from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.decoder import MotionDecoder, TemporalSmoother, trajectory_vector
from moro_ros.network.layers import DSTFormer
from moro_ros.network.motion_encoder import MotionFeatures

LAYOUTS = ("mesh_tokens", "frame")
DIM, TOKENS, IMAGE_TOKENS = 32, 6, 3


def decoder(layout: str, trajectory: str = "absolute", rotation_head: bool = False):
    torch.manual_seed(0)
    return MotionDecoder(
        layout=layout,
        trajectory=trajectory,
        rotation_head=rotation_head,
        trunk=DSTFormer(
            dim=DIM,
            depth=2,
            heads=4,
            mlp_ratio=2,
            attention_span=60,
            branches="temporal" if layout == "frame" else "dual",
        ),
        num_tokens=TOKENS,
        num_codes=20,
        image_tokens=IMAGE_TOKENS,
        logit_rank=4,
    ).eval()


def motion(layout: str, seed: int = 1) -> MotionFeatures:
    generator = torch.Generator().manual_seed(seed)
    pose_tokens = 1 if layout == "frame" else TOKENS
    pose = torch.randn(2, 5, pose_tokens, DIM, generator=generator)
    return MotionFeatures(pose, pose[:, :, :1], torch.randn(2, 5, 9, generator=generator))


def images(box=(0.2, -0.1, 0.4)) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(2, 5, IMAGE_TOKENS, DIM, generator=generator)
    rotation = rotvec_to_matrix(torch.randn(2, 5, 3, generator=generator))
    return (
        tokens,
        torch.tensor(box).expand(2, 5, 3),
        rotation,
        torch.randn(2, 5, 3, generator=generator),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rotation_head", [False, True])
def test_shapes(layout, rotation_head):
    module = decoder(layout, rotation_head=rotation_head)
    output = module(motion(layout), module.look(*images()))
    assert output.logits.shape == (2, 5, TOKENS, 20)
    assert output.contact.shape == (2, 5, 4)
    assert output.rotation.shape == (2, 5, 3, 3)
    assert output.translation.shape == (2, 5, 3)
    assert output.clean_trajectory.shape == (2, 5, 9)
    if rotation_head:
        assert output.body_rotations.shape == (2, 5, 21, 3, 3)
        assert output.betas.shape == (2, 5, 10)
    else:
        assert output.body_rotations is None and output.betas is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", [0, 2, 3])
def test_image_and_coarse_pose_reach_the_answer(layout, which):
    module, parts = decoder(layout), list(images())
    base = module(motion(layout), module.look(*parts))
    parts[which] = parts[which].roll(1, dims=1)
    other = module(motion(layout), module.look(*parts))
    assert (other.logits - base.logits).abs().max() > 1e-5
    assert (other.rotation - base.rotation).abs().max() > 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropped_motion_is_not_seen(layout):
    module = decoder(layout)
    context = module.look(*images())
    one = module(motion(layout, 1), context, drop_motion=True)
    other = module(motion(layout, 5), context, drop_motion=True)
    torch.testing.assert_close(one.logits, other.logits)
    torch.testing.assert_close(one.translation, other.translation)
    shown = module(motion(layout, 1), context)
    assert (shown.logits - one.logits).abs().max() > 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_box_trajectory_keeps_the_person_in_his_box(layout):
    module = decoder(layout, trajectory="box")
    torch.nn.init.zeros_(module.trajectory_head.weight)
    for box in ((0.2, -0.1, 0.4), (-0.3, 0.2, 0.1)):
        output = module(motion(layout), module.look(*images(box)))
        depth = 2 / box[2]
        expected = torch.tensor([depth * box[0], depth * box[1], depth]).expand(2, 5, 3)
        torch.testing.assert_close(output.translation, expected)
        upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(2, 5, 3, 3)
        torch.testing.assert_close(output.rotation, upright)


def test_absolute_trajectory_does_not_know_the_box():
    module = decoder("frame")
    near = module(motion("frame"), module.look(*images((0.2, -0.1, 0.4))))
    far = module(motion("frame"), module.look(*images((0.2, -0.1, 0.1))))
    torch.testing.assert_close(near.translation, far.translation)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_body_rotations_begin_at_rest(layout):
    module = decoder(layout, rotation_head=True)
    torch.nn.init.zeros_(module.rotation_head.weight)
    output = module(motion(layout), module.look(*images()))
    torch.testing.assert_close(output.body_rotations, torch.eye(3).expand(2, 5, 21, 3, 3))


def test_trajectory_vector():
    rotation = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    vector = trajectory_vector(rotation, torch.tensor([7.0, 8, 9]))
    assert vector.tolist() == [0, -1, 0, 1, 0, 0, 7, 8, 9]


@pytest.fixture()
def smoother() -> TemporalSmoother:
    torch.manual_seed(0)
    return TemporalSmoother(dim=3, hidden=8).eval()


def test_a_frame_sees_four_frames_to_either_side(smoother):
    codes = torch.randn(1, 21, 2, 3)
    changed = codes.clone()
    changed[:, 10] += 1
    difference = (smoother(changed) - smoother(codes)).abs().amax((0, 2, 3))
    assert (difference[6:15] > 0).all()
    assert (difference[:6] == 0).all()
    assert (difference[15:] == 0).all()


def test_constant_motion_stays_constant_up_to_the_ends(smoother):
    codes = torch.randn(2, 1, 5, 3).expand(2, 9, 5, 3)
    smoothed = smoother(codes)
    torch.testing.assert_close(smoothed, smoothed[:, :1].expand_as(smoothed))
    torch.testing.assert_close(smoother(codes[:, :1]), smoothed[:, :1])


def test_tokens_do_not_see_each_other(smoother):
    codes = torch.randn(2, 9, 4, 3)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(smoother(codes[:, :, order]), smoother(codes)[:, :, order])


def test_alpha_gates_the_correction(smoother):
    codes = torch.randn(1, 9, 4, 3)
    full = smoother(codes) - codes
    with torch.no_grad():
        smoother.alpha.mul_(0.5)
    torch.testing.assert_close(smoother(codes) - codes, full / 2)
