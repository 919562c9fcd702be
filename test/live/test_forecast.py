"""The forecast: what the stream itself would decode of images that show nothing; it stays as is."""

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.config import MotionConfig
from moro_ros.live.forecast import forecast
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.predictor import network_changes, predict_people, why_not
from moro_ros.model_config import KeypointsConfig
from moro_ros.recover.prediction import GROWTH_TERMS, HORIZONS_S, MODES, PredictionTable, predict

pytestmark = pytest.mark.slow

ALWAYS = (0.0, 1e9, 0.0)
AHEAD = HORIZONS_S * 30.0


@pytest.fixture(scope="module")
def model(make_model):
    """An untrained network that updates estimates of single frames."""
    keypoints = KeypointsConfig(hidden=32, blocks=1, floor=True, estimate=True)
    return make_model(dim=160, keypoints=keypoints)


def table():
    growth = np.full((10, 2, 22, GROWTH_TERMS), 0.01) * HORIZONS_S[:, None, None, None]
    modes = np.random.default_rng(0).normal(size=(MODES, 10, 22, 3))
    return PredictionTable(np.tile([0.5, 0.3], (10, 1)), growth, modes)


def stream_of(model, **options):
    return MoRoStream(model, MotionConfig(refine_steps=0, **options), prediction=table())


def without_keypoints(frame):
    return replace(frame, people=tuple(replace(p, keypoints=None) for p in frame.people))


@pytest.mark.parametrize("shown", [20, 60])
def test_a_forecast_is_what_images_that_show_nothing_would_give(model, filmed, shown):
    stream = stream_of(model)
    clip = filmed(np.arange(shown + 30) / 30, {1: ALWAYS, 2: (0.2, 1e9, 2.0)})
    for frame in clip[:shown]:
        stream.push(frame)
    ids = list(stream.decoder.cache.ids)
    ahead = forecast(stream, np.arange(1.0, 31.0))
    for number, frame in enumerate(clip[shown:]):
        stream.push(without_keypoints(frame))
        for row, track_id in enumerate(ids):
            track = stream.tracks[track_id]
            for name in ("rotation", "translation", "body_rotations"):
                want = track.decoded[name][track.place(track.now)]
                np.testing.assert_allclose(ahead[name][row, number], want, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("mode", ["window", "incremental"])
@pytest.mark.parametrize("rate", [30.0, 25.0])
def test_predicting_does_not_change_the_stream_by_a_bit(model, filmed, mode, rate):
    still, asked = (stream_of(model, mode=mode, window=12) for _ in range(2))
    for frame in filmed(np.arange(20) / rate, {1: ALWAYS, 2: (0.3, 0.5, 2.0)}):
        want, found = still.push(frame), asked.push(frame)
        for one, other in zip(want, found, strict=True):
            np.testing.assert_array_equal(one.joints, other.joints)
        assert len(predict_people(asked, found, samples=2)) == len(found)
        caches = still.decoder.cache, asked.decoder.cache
        for one, other in zip(*(cache.past().flat() for cache in caches), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
        np.testing.assert_array_equal(*(cache.times for cache in caches))
        for track_id, track in still.tracks.items():
            for name, values in track.decoded.items():
                np.testing.assert_array_equal(values, asked.tracks[track_id].decoded[name])


@pytest.mark.parametrize("mode", ["window", "incremental"])
@pytest.mark.parametrize("rate", [30.0, 25.0])
def test_company_does_not_matter(model, filmed, mode, rate):
    alone, together = (stream_of(model, mode=mode, window=12) for _ in range(2))
    clips = (
        filmed(np.arange(20) / rate, people)
        for people in ({1: (0.1, 9.0, 0.0)}, {2: (0.0, 9.0, 1.0), 1: (0.1, 9.0, 0.0)})
    )
    for one, both in zip(*clips, strict=True):
        own, everybody = alone.push(one), together.push(both)
    found, want = network_changes(together, everybody)[1], network_changes(alone, own)[1]
    for got, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)
    assert np.abs(want[0]).max() > 1e-3


def test_with_look_ahead_a_prediction_begins_at_the_newest_image(model, filmed):
    """The published pose is brought to now by the network's own motion since."""
    late = stream_of(model, look_ahead=3)
    for frame in filmed(np.arange(20) / 30, {1: ALWAYS}):
        motions = late.push(frame)
    change, shift = network_changes(late, motions)[1]
    assert np.abs(shift).max() > 1e-4
    found = predict_people(late, motions)[0].joints
    shifted = replace(motions[0], joints=motions[0].joints + shift)
    want = predict(late.prediction, shifted, change, np.zeros((22, 3)))
    np.testing.assert_allclose(found, want.joints, atol=1e-6)


def test_changes_are_as_large_as_a_body_of_known_stature(model, filmed):
    clip = filmed(np.arange(12) / 30, {1: ALWAYS})
    plain, told = (stream_of(model) for _ in range(2))
    for number, frame in enumerate(clip):
        if number == 8:
            told.set_stature(1, 3.0)
        one, other = plain.push(frame), told.push(frame)
    growth = other[0].joints[0, 0, 2] / one[0].joints[0, 0, 2]
    assert abs(growth - 1.0) > 0.05
    for got, expected in zip(
        network_changes(told, other)[1], network_changes(plain, one)[1], strict=True
    ):
        np.testing.assert_allclose(got, growth * expected, atol=1e-5)


def test_whoever_is_lost_is_not_predicted(model, filmed):
    stream = stream_of(model)
    clip = filmed(np.arange(12) / 30, {1: ALWAYS, 2: (0.0, 0.3, 2.0)})
    for frame in clip[:9]:
        motions = stream.push(frame)
    assert {p.track_id for p in predict_people(stream, motions)} == {1, 2}
    newest = stream.push(clip[11])
    assert [p.track_id for p in predict_people(stream, newest)] == [1]
    assert [p.track_id for p in predict_people(stream, motions)] == [1]
    stream.reset()
    assert predict_people(stream, newest) == ()


def test_a_pose_that_is_not_finite_is_not_predicted(model, filmed):
    stream = stream_of(model)
    for frame in filmed(np.arange(5) / 30, {1: ALWAYS}):
        motions = stream.push(frame)
    motions[0].velocity[0, 3] = np.nan
    assert predict_people(stream, motions) == ()


def test_a_model_that_cannot_predict_says_why(model, tiny_model, filmed):
    pixels = MoRoStream(tiny_model, MotionConfig(), prediction=table())
    assert "no estimates of single frames" in why_not(pixels)
    unfitted = MoRoStream(model, MotionConfig())
    assert "no prediction.npz" in why_not(unfitted) and "--fit" in why_not(unfitted)
    assert why_not(stream_of(model)) == ""
    with pytest.raises(ValueError, match=r"prediction\.npz"):
        predict_people(unfitted, ())
    assert stream_of(model).sibling(MotionConfig()).prediction is not None
