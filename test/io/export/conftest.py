"""Two people whose poses and places are known, recorded at 30 Hz with two holes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from moro_ros.io.recording import MotionRecording, row_of
from moro_ros.types import BodyMotion

# Person 4 has a short hole and a long one; person 9 comes later.
FRAMES = {4: (0, 1, 2, 3, 5, 6, 40, 41, 42), 9: tuple(range(10, 20))}
RATE_HZ = 30.0


@dataclass(frozen=True)
class Recorded:
    """A recording, its file and joints[id][frame] (22, 3) m in the camera optical frame."""

    recording: MotionRecording
    path: Path
    joints: dict[int, dict[int, np.ndarray]]

    def at(self, number: int, frame: int, up: str) -> np.ndarray:
        """A person's joints (22, 3) m in the documented axes of exports."""
        x, y, z = self.joints[number][frame].T
        return np.stack([x, -y, -z] if up == "y" else [x, z, -y], 1)


@pytest.fixture()
def recorded(posed: Callable[..., BodyMotion], tmp_path: Path) -> Recorded:
    random = np.random.default_rng(3)
    recording = MotionRecording()
    recording.stamps_ns = [1_700_000_000_000_000_000 + round(k * 1e9 / RATE_HZ) for k in range(44)]
    joints: dict[int, dict[int, np.ndarray]] = {}
    for number, frames in FRAMES.items():
        betas, pose = random.normal(size=10), 0.6 * random.normal(size=(22, 3))
        pose[0] = np.array([np.pi, 0.3 * number, 0.2])  # upright: y of the camera points down
        step = 0.03 * random.normal(size=(22, 3))
        for frame in frames:
            pelvis = (0.3 * number - 2 + 0.01 * frame, 0.1, 3.0 + 0.02 * frame)
            motion = posed(pose + frame * step, pelvis, betas, number, recording.stamps_ns[frame])
            recording.add(number, row_of(motion))
            joints.setdefault(number, {})[frame] = motion.joints[0].astype(np.float64)
    path = tmp_path / "walk.npz"
    recording.save(path)
    return Recorded(recording, path, joints)
