"""Placing a body on its keypoints."""

import torch

from moro_ros.recover.sideways import align_sideways


def scene(batch=6):
    generator = torch.Generator().manual_seed(0)
    body = 0.4 * torch.randn(batch, 19, 3, generator=generator)
    pelvis = torch.tensor([0.8, -0.3, 4.0]) + 0.3 * torch.randn(batch, 3, generator=generator)
    placed = body + pelvis[:, None]
    return body, placed[..., :2] / placed[..., 2:], pelvis, torch.full((batch,), 0.45)


def test_the_true_position_stays():
    body, points, pelvis, size = scene()
    found = align_sideways(body, points, torch.ones(6, 19), pelvis, size)
    torch.testing.assert_close(found, pelvis, atol=1e-5, rtol=0)


def test_a_sideways_error_is_nearly_removed_and_depth_is_left_alone():
    body, points, pelvis, size = scene()
    wrong = pelvis + torch.tensor([0.15, -0.1, 0.0])
    found = align_sideways(body, points, torch.ones(6, 19), wrong, size)
    assert (found - pelvis).norm(dim=-1).max() < 0.02
    assert torch.equal(found[:, 2], wrong[:, 2])


def test_unseen_keypoints_do_not_pull():
    body, points, pelvis, size = scene()
    found = align_sideways(body, points + 9.0, torch.zeros(6, 19), pelvis, size)
    assert torch.equal(found, pelvis)


def test_an_outlier_pulls_little():
    body, points, pelvis, size = scene()
    points = points.clone()
    points[:, 3] += 0.5  # 2 m off at this depth
    found = align_sideways(body, points, torch.ones(6, 19), pelvis, size)
    assert (found - pelvis).norm(dim=-1).max() < 0.04


def test_batch_equals_one_by_one():
    body, points, pelvis, size = scene()
    wrong = pelvis + 0.1
    weight = torch.rand(6, 19, generator=torch.Generator().manual_seed(1))
    together = align_sideways(body, points, weight, wrong, size)
    for i in range(6):
        one = align_sideways(body[i], points[i], weight[i], wrong[i], size[i])
        torch.testing.assert_close(one, together[i])
