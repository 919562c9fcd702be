"""Placing a body on its keypoints."""

import torch

from moro_ros.recover.refinement import Seen, align_sideways


def scene(batch=6):
    generator = torch.Generator().manual_seed(0)
    body = 0.4 * torch.randn(batch, 19, 3, generator=generator)
    pelvis = torch.tensor([0.8, -0.3, 4.0]) + 0.3 * torch.randn(batch, 3, generator=generator)
    placed = body + pelvis[:, None]
    points = placed[..., :2] / placed[..., 2:]
    return body, Seen(points, torch.ones(batch, 19), torch.full((batch,), 0.45)), pelvis


def test_the_true_position_stays():
    body, seen, pelvis = scene()
    found = align_sideways(body, seen, pelvis)
    torch.testing.assert_close(found, pelvis, atol=1e-5, rtol=0)


def test_a_sideways_error_is_nearly_removed_and_depth_is_left_alone():
    body, seen, pelvis = scene()
    wrong = pelvis + torch.tensor([0.15, -0.1, 0.0])
    found = align_sideways(body, seen, wrong)
    assert (found - pelvis).norm(dim=-1).max() < 0.02
    assert torch.equal(found[:, 2], wrong[:, 2])


def test_unseen_keypoints_do_not_pull():
    body, seen, pelvis = scene()
    unseen = Seen(seen.points + 9.0, torch.zeros(6, 19), seen.box_size)
    found = align_sideways(body, unseen, pelvis)
    assert torch.equal(found, pelvis)


def test_an_outlier_pulls_little():
    body, seen, pelvis = scene()
    seen.points[:, 3] += 0.5  # 2 m off at this depth
    found = align_sideways(body, seen, pelvis)
    assert (found - pelvis).norm(dim=-1).max() < 0.04


def test_batch_equals_one_by_one():
    body, seen, pelvis = scene()
    wrong = pelvis + 0.1
    weight = torch.rand(6, 19, generator=torch.Generator().manual_seed(1))
    together = align_sideways(body, Seen(seen.points, weight, seen.box_size), wrong)
    for i in range(6):
        alone = Seen(seen.points[i : i + 1], weight[i : i + 1], seen.box_size[i : i + 1])
        found = align_sideways(body[i : i + 1], alone, wrong[i : i + 1])
        torch.testing.assert_close(found[0], together[i])
