"""The steady live pose: no lag in steady motion, less trembling, rotations stay rotations."""

import numpy as np
import pytest
import torch

from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.recover.steady_pose import BodyPose, JointVelocity, SteadyPose


def motion(frames, noise, generator):
    """True pose of a turning, walking body, and a window's estimate of the last two frames."""
    turn = torch.linspace(0, 2.0, frames)
    rotation = rotvec_to_matrix(torch.stack([turn, 0 * turn, 0 * turn], -1))
    body = rotvec_to_matrix(torch.stack([0 * turn, turn, 0 * turn], -1))[:, None].expand(
        -1, 21, 3, 3
    )
    place = torch.stack([0.03 * torch.arange(frames), 0 * turn, 3 + 0 * turn], -1)

    def window(i):
        bias = noise * torch.randn(3, generator=generator)  # one window errs as a whole
        shake = rotvec_to_matrix(bias)
        part = slice(max(0, i - 1), i + 1)
        turns = torch.cat([rotation[part, None], body[part]], 1)
        return BodyPose(turns @ shake, place[part] + bias, torch.zeros(10))

    return rotation, place, window


def run(gain, noise, frames=60):
    generator = torch.Generator().manual_seed(0)
    rotation, place, window = motion(frames, noise, generator)
    steady, found = SteadyPose(gain), []
    for i in range(frames):
        pose = window(i)
        found.append(steady.update(pose, pose.translation[-1:]))
    return rotation, place, found


def test_a_steady_motion_is_followed_without_lag():
    rotation, place, found = run(0.2, 0.0)
    torch.testing.assert_close(torch.cat([f.translation for f in found]), place, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        torch.cat([f.rotations[:, 0] for f in found]), rotation, atol=1e-3, rtol=0
    )


def test_trembling_is_damped():
    _, place, raw = run(1.0, 0.05)
    _, _, calm = run(0.2, 0.05)

    def shake(found):
        return (
            (torch.cat([f.translation for f in found]) - place).diff(dim=0, n=2).norm(dim=-1).mean()
        )

    assert shake(calm) < 0.4 * shake(raw)


def test_rotations_stay_rotations():
    _, _, found = run(0.3, 0.2)
    for pose in found:
        matrix = pose.rotations
        eye = torch.eye(3).expand_as(matrix)
        torch.testing.assert_close(matrix @ matrix.mT, eye, atol=1e-4, rtol=0)


def test_gain_one_takes_the_estimate():
    generator = torch.Generator().manual_seed(0)
    _, _, window = motion(5, 0.1, generator)
    steady = SteadyPose(1.0)
    for i in range(5):
        pose = window(i)
        found = steady.update(pose, pose.translation[-1:])
        assert torch.equal(found.rotations, pose.rotations[-1:])


def test_a_locked_shape_stays_and_a_released_one_follows():
    steady = SteadyPose(0.4)

    def pose(size, frames):
        rotations = torch.eye(3).expand(frames, 22, 3, 3)
        return BodyPose(rotations, torch.zeros(frames, 3), torch.full((10,), size))

    def update(size, frames=2):
        return steady.update(pose(size, frames), torch.zeros(1, 3)).betas[0].item()

    update(0.0, 1)
    steady.shape = steady.last.betas
    assert [update(1.0) for _ in range(5)] == [0.0] * 5
    assert update(1.0, 1) == 0.0  # a window without a step has no say either
    steady.shape = None
    followed = [update(1.0) for _ in range(5)]
    assert followed == sorted(followed) and 0.2 < followed[-1] < 1.0


def velocities(places_m, seen, step_ns=33_333_333):
    velocity = JointVelocity()
    return [
        float(velocity.update(np.full((22, 3), place), image * step_ns, shown)[0, 0])
        for image, (place, shown) in enumerate(zip(places_m, seen))
    ]


@pytest.mark.parametrize(("unseen", "kept"), [(1, 1), (2, 2), (30, 4)])
def test_the_correction_after_an_occlusion_is_no_velocity(unseen, kept):
    """The pose of a walker, expected 0.4 m too far ahead, returns over four images."""
    walked = 0.03 * np.arange(60)
    off = np.zeros(60)
    off[10 : 10 + unseen] = np.linspace(0.0, 0.4, unseen)
    off[10 + unseen : 14 + unseen] = 0.2, 0.1, 0.05, 0.0
    seen = np.ones(60, bool)
    seen[10 : 10 + unseen] = False
    found = velocities(walked + off, seen)
    expected = found[9 + unseen]
    assert found[10 + unseen : 10 + unseen + kept] == [expected] * kept
    assert found[10 + unseen + kept] != expected
    np.testing.assert_allclose(found[14 + unseen :], 0.9, rtol=1e-3)


def test_the_velocity_of_somebody_who_flickers_still_changes():
    seen = [image % 2 == 0 for image in range(40)]
    found = velocities(0.01 * np.arange(40) ** 2, seen)
    assert all(b > a for a, b in zip(found[2::2], found[4::2]))
