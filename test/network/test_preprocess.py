"""The person box and the normalised observation."""

import torch

from moro_ros.network.preprocess import (
    BOX_PADDING,
    enclosing_box,
    next_box,
    observe,
    running_boxes,
)


def scene(frames=20):
    generator = torch.Generator().manual_seed(0)
    points = 0.2 * torch.randn(3, frames, 19, 2, generator=generator)
    points = points + torch.linspace(0, 1, frames)[None, :, None, None]
    seen = torch.rand(3, frames, 19, generator=generator) > 0.3
    seen[0, :5] = False  # the first person appears late
    seen[1, 8:12] = False  # the second vanishes for a while
    seen[2] = False  # the third is never seen
    return points, seen


def test_box_holds_the_seen_points_with_padding():
    points, seen = scene()
    box, enough = enclosing_box(points, seen)
    low = box.center - box.size[..., None] / 2
    high = box.center + box.size[..., None] / 2
    inside = (points > low[..., None, :]) & (points < high[..., None, :])
    assert inside.all(-1)[seen & enough[..., None]].all()
    shown = points[0, 10][seen[0, 10]]
    extent = (shown.amax(0) - shown.amin(0)).max()
    torch.testing.assert_close(box.size[0, 10], BOX_PADDING * extent)


def test_one_frame_at_a_time_equals_the_whole_window():
    points, seen = scene()
    whole = running_boxes(points, seen)
    for person in (0, 1):
        box = None
        for frame in range(points.shape[1]):
            box = next_box(box, points[person, frame], seen[person, frame])
            if box is not None:
                torch.testing.assert_close(box.center, whole.center[person, frame])
                torch.testing.assert_close(box.size, whole.size[person, frame])


def test_box_stays_while_nobody_is_seen():
    points, seen = scene()
    box = running_boxes(points, seen)
    assert torch.equal(box.size[1, 8:12], box.size[1, 7].expand(4))
    assert torch.isfinite(box.center).all() and (box.size > 0).all()


def test_observation_is_in_box_units():
    points, seen = scene()
    box, _ = enclosing_box(points, seen)
    visibility = seen.float()
    observation = observe(points, visibility, visibility, box)
    assert observation.shape == (3, 20, 19, 4)
    assert observation[0, 10][seen[0, 10]][:, :2].abs().max() <= 1.0
    assert torch.equal(observation[..., 2], visibility)
