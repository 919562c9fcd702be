"""The open benchmark as a stream: what is put in comes out, words are put at their own stamps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.data.occlusion import CLEAN
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.evaluation.live_benchmark import (
    CAMERA,
    WARM_UP,
    LiveProtocol,
    evaluate_live,
    images_of,
    live_sequences,
)
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.types import Frame


@pytest.fixture(scope="module")
def stream() -> MoRoStream:
    return load_stream(PipelineConfig(motion=MotionConfig(window=8)))


@pytest.fixture()
def observed(walking, open_body) -> ObservedMotion:
    rng = np.random.default_rng(0)
    windows = walking.draw(2, WARM_UP + 12, rng, warp=False)
    truth = place_cameras(windows, torch.zeros(2, 10), open_body, rng)
    return look(truth, open_body, CLEAN, rng)


def test_the_images_show_the_keypoints_where_they_are(observed) -> None:
    images = list(images_of(observed))
    assert len(images) == WARM_UP + 12
    assert images[1].stamp_ns == pytest.approx(1e9 / 30, abs=1)
    person = images[7].people[1]
    assert person.keypoints is not None
    inside = observed.keypoints[1, 7]
    expected = (inside / inside[:, 2:]).numpy() @ CAMERA.matrix.T
    seen = observed.seen[1, 7].numpy()
    np.testing.assert_allclose(
        person.keypoints.points_px[seen], expected[seen, :2], rtol=1e-3, atol=0.5
    )


class Oracle:
    """A stream that knows the truth, of the image `lag` images ago."""

    def __init__(self, observed: ObservedMotion, lag: int) -> None:
        self.truth, self.lag = observed.joints.numpy(), lag
        self.stamps: list[int] = []

    def reset(self) -> None:
        self.stamps = []

    def push(self, frame: Frame) -> list[SimpleNamespace]:
        self.stamps.append(frame.stamp_ns)
        at = len(self.stamps) - 1 - self.lag
        if at < 0:
            return []
        stamps = np.array([self.stamps[at]])
        return [
            SimpleNamespace(
                track_id=p.track_id, stamps_ns=stamps, joints=self.truth[p.track_id - 1, at][None]
            )
            for p in frame.people
        ]


@pytest.mark.parametrize(("lag", "described"), [(0, 12), (5, 7)])
def test_the_truth_scores_zero_at_any_lag(observed, lag, described) -> None:
    found = evaluate_live(Oracle(observed, lag), observed)
    assert found["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert found["root_mm"] == pytest.approx(0, abs=1e-3)
    assert found["jitter"] == pytest.approx(found["jitter_truth"])
    assert found["described"] == pytest.approx(described / 12)


@pytest.mark.slow
def test_the_real_stream_is_measured(stream, walking) -> None:
    protocol = LiveProtocol(people=2, frames=WARM_UP + 6)
    sequences = live_sequences(stream, walking, 1.0, protocol)
    first, again = (evaluate_live(stream, sequences) for _ in range(2))
    timing = ("ms_per_person",)
    assert {k: v for k, v in first.items() if k not in timing} == {
        k: v for k, v in again.items() if k not in timing
    }
    assert 0 < first["mpjpe_mm"] < 500 and first["described"] == 1
    before = stream.motion
    stream.configure(replace(before, refine_steps=0))
    plain = evaluate_live(stream, sequences)
    stream.configure(before)
    assert plain["mpjpe_mm"] != first["mpjpe_mm"]
