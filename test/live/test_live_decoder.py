"""The live decoding modes: what they compute, and that neither company nor camera rate matters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.row_decoding import decoded_tensors
from moro_ros.live.sampling import decode_masked
from moro_ros.network.moro import FrameFeatures

pytestmark = pytest.mark.slow

MODES = ("window", "incremental")
ALWAYS = (0.0, 1e9, 0.0)


def not_refined(**options) -> MotionConfig:
    """Decoding alone: an untrained network is corrected for seconds."""
    return MotionConfig(refine_steps=0, **options)


def times(count, rate=30.0):
    return np.arange(count) / rate


class CausalModel:
    """A MoRo that decodes causally, for masked decoding."""

    def __init__(self, moro):
        self.moro = moro

    def __getattr__(self, name):
        return getattr(self.moro, name)

    def context(self, features):
        return self.moro.context(features, 0)


def features_of(stream, row=0):
    track = stream.tracks[stream.decoder.cache.ids[row]]
    places = np.tile(track.places(track.frames(0.0)), (len(stream.tracks), 1))
    found = stream.decoder.cache.features(places)
    return FrameFeatures(
        *(getattr(found, name)[row : row + 1] for name in FrameFeatures.__dataclass_fields__)
    )


def test_incremental_equals_the_causal_decoding_of_the_whole_clip(tiny_model, filmed):
    stream = MoRoStream(tiny_model, not_refined(mode="incremental", window=61))
    live = []
    for frame in filmed(times(40), {1: ALWAYS, 2: (0.0, 9.0, 2.0)}):
        stream.push(frame)
        track = stream.tracks[2]
        live.append({n: v[track.place(track.now)].copy() for n, v in track.decoded.items()})
    with torch.no_grad():
        clip = decode_masked(CausalModel(tiny_model.moro), features_of(stream, 1), passes=1)
    for name, values in decoded_tensors(clip).items():
        found = np.stack([frame[name] for frame in live])
        np.testing.assert_allclose(found, values[0].numpy(), atol=1e-4, err_msg=name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rate", [30.0, 25.0])
def test_company_does_not_matter(tiny_model, filmed, mode, rate):
    motion = not_refined(mode=mode, window=8, passes=2)
    alone, together = (MoRoStream(tiny_model, motion) for _ in range(2))
    mine = {1: (0.1, 1.0, 0.0)}
    others = {2: (0.0, 0.6, 1.0), **mine, 3: (0.4, 1.0, 2.0), 4: (0.45, 0.5, 3.0)}
    for one, all_ in zip(
        filmed(times(24, rate), mine), filmed(times(24, rate), others), strict=True
    ):
        first, second = alone.push(one), together.push(all_)
        found = [motion for motion in second if motion.track_id == 1]
        assert len(found) == len(first)
        assert len(second) == len(all_.people)
        for got, want in zip(found, first):
            np.testing.assert_allclose(got.joints, want.joints, atol=1e-4)
            np.testing.assert_allclose(got.confidence, want.confidence, atol=1e-4)


@pytest.mark.parametrize("k", [1, 3])
def test_the_cost_of_incremental_does_not_depend_on_the_window(tiny_model, filmed, k):
    clip = filmed(times(130), {1: ALWAYS})
    for window in (15, 30, 60, 120):
        motion = not_refined(mode="incremental", window=window, look_ahead=k - 1)
        stream = MoRoStream(tiny_model, motion)
        for frame in clip[:125]:
            stream.push(frame)
        before, shapes = stream.decoder.rows_computed, set()
        for frame in clip[125:]:
            stream.push(frame)
            shapes |= {part.shape[3] for part in stream.decoder.cache.past().flat()}
        assert stream.decoder.rows_computed - before == 5 * k
        assert shapes == {min(60, window - 1) + k + 1}  # keys kept: the reach, not the clip
    window = MoRoStream(tiny_model, not_refined(mode="window", window=15))
    for frame in clip[:20]:
        window.push(frame)
    assert window.decoder.rows_computed == sum(range(1, 15)) + 6 * 15


@pytest.mark.parametrize("mode", MODES)
def test_look_ahead_and_refined_lag_describe_older_images(tiny_model, filmed, mode):
    motion = not_refined(mode=mode, window=12, look_ahead=2, refined_lag=5)
    stream = MoRoStream(tiny_model, motion)
    clip = filmed(times(20), {1: ALWAYS})
    found, refined = [], []
    for frame in clip:
        found += stream.push(frame)
        refined += stream.refined
    stamps = [frame.stamp_ns for frame in clip]
    assert [int(m.stamps_ns[0]) for m in found] == stamps[:-2]
    assert [int(m.stamps_ns[0]) for m in refined] == stamps[:-5]


def test_an_older_frame_is_described_as_the_window_shows_it_now(tiny_model, filmed):
    motion = not_refined(mode="window", window=12, look_ahead=3, gain=1.0)
    stream = MoRoStream(tiny_model, motion)
    for frame in filmed(times(15), {1: ALWAYS}):
        motions = stream.push(frame)
    with torch.no_grad():
        clip = decode_masked(tiny_model.moro, features_of(stream), passes=1)
    want = clip.output.body_rotations[0, -4].numpy()
    smplx = motions[0].smplx.body_pose.reshape(21, 3)
    found = Rotation.from_rotvec(smplx).as_matrix()
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_new_options_take_effect_at_once(tiny_model, filmed):
    stream = MoRoStream(tiny_model, not_refined(mode="window", window=8))
    clip = filmed(times(12), {1: ALWAYS})
    for frame in clip[:4]:
        stream.push(frame)
    stream.configure(replace(stream.motion, passes=3, gain=0.7))
    assert len(stream.tracks[1]) == 4 and stream.tracks[1].steady.gain == 0.7
    stream.configure(replace(stream.motion, mode="incremental"))
    assert not stream.tracks
    assert stream.push(clip[5]) and stream.lost == ()
    stream.reset()
    assert stream.push(replace(clip[6], people=())) == () and stream.lost == (1,)


RATES = {
    "15 Hz": times(37, 15.0),
    "25 Hz": times(62, 25.0),
    "60 Hz": times(150, 60.0),
    "29.97 Hz, jitter of 5 ms": times(75, 29.97)
    + np.random.default_rng(0).uniform(-0.005, 0.005, 75) * (np.arange(75) > 0),
    "30 Hz, one of ten dropped": np.delete(times(75), np.arange(4, 75, 10)),
}


def recovered(mode, frames):
    stream = load_stream(PipelineConfig(motion=not_refined(mode=mode)))
    motions = [stream.push(frame) for frame in frames]
    assert all(len(found) == 1 for found in motions)
    assert [int(m[0].stamps_ns[0]) for m in motions] == [f.stamp_ns for f in frames]
    return np.concatenate([m[0].joints for m in motions])


@pytest.fixture(scope="module")
def usual(filmed):
    """The walk as the model's own rate shows it."""
    return {mode: recovered(mode, filmed(times(75), {1: ALWAYS})) for mode in RATED}


RATED = ("window", "incremental")


@pytest.mark.weights
@pytest.mark.parametrize("mode", RATED)
@pytest.mark.parametrize("camera", RATES)
def test_the_camera_s_rate_does_not_change_the_motion(filmed, usual, mode, camera):
    """The same continuous walk, seen at other times, at its own stamps."""
    stamps = RATES[camera]
    found = recovered(mode, filmed(stamps, {1: ALWAYS}))
    settled = (stamps > 1.0) & (stamps <= times(75)[-1])
    at, want = stamps[settled], usual[mode]
    expected = np.stack(
        [[np.interp(at, times(75), want[:, j, c]) for c in range(3)] for j in range(22)]
    ).transpose(2, 0, 1)
    error = np.linalg.norm(found[settled] - expected, axis=-1)
    assert error.mean() < 0.02, f"{1e3 * error.mean():.1f} mm"
