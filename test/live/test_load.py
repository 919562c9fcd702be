"""Before the first image: precision, recordings and the comparison with float32."""

import copy
import logging
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.live import load as startup
from moro_ros.live.backends.cuda_graphs import RECORDINGS
from moro_ros.live.backends.network_runner import NetworkRunner
from moro_ros.live.backends.onnx_network import find_onnx
from moro_ros.live.load import load_stream, prepare
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.network.build import load_model
from moro_ros.resources import share_path

pytestmark = pytest.mark.slow

ALWAYS = (0.0, 1e9, 0.0)
MODES = ("window", "incremental")


class NullRecorder:
    """Calls the function each time: the same interface without a GPU."""

    def record(self, function):
        result = function()
        held = result_tensors(result)

        def repeat():
            for old, new in zip(held, result_tensors(function()), strict=True):
                old.copy_(new)

        return repeat, result


def result_tensors(result):
    """Return all tensors of a step's result."""
    decoding, past = result
    parts = [decoding.ids, decoding.confidence, decoding.codes]
    words = [getattr(decoding.output, item.name) for item in fields(decoding.output)]
    return [*parts, *(word for word in words if word is not None), *past.flat()]


def recorded(model, motion):
    runner = NetworkRunner(model.moro, False, recorder=NullRecorder())
    return MoRoStream(model, motion, runner=runner)


@pytest.mark.parametrize("mode", MODES)
def test_recorded_steps_equal_those_run_as_they_come(tiny_model, filmed, mode):
    motion = MotionConfig(mode=mode, window=6, passes=2, look_ahead=1)
    plain, replayed = MoRoStream(tiny_model, motion), recorded(tiny_model, motion)
    people = {1: ALWAYS, 2: (0.3, 0.7, 1.0), 3: (0.4, 9.0, 2.0)}
    stamps = np.append(np.arange(14), 14 + 1.3 * np.arange(12)) / 30
    for frame in filmed(stamps, people):
        first, second = plain.push(frame), replayed.push(frame)
        assert [m.track_id for m in first] == [m.track_id for m in second]
        for got, want in zip(second, first):
            np.testing.assert_allclose(got.joints, want.joints, atol=1e-4)
            np.testing.assert_array_equal(got.token_ids, want.token_ids)


def test_a_steady_stream_needs_one_recording(tiny_model, filmed):
    stream = recorded(tiny_model, MotionConfig(mode="window", window=6))
    for frame in filmed(np.arange(20) / 30, {1: ALWAYS}):
        stream.push(frame)
    assert len(stream.runner.recordings) == 1
    stream = recorded(tiny_model, MotionConfig(mode="incremental", window=6))
    for frame in filmed(np.arange(20) / 30, {1: ALWAYS}):
        stream.push(frame)
    assert len(stream.runner.recordings) == 2  # without a past, and with one


def test_recordings_are_few(tiny_model, filmed):
    stream = recorded(tiny_model, MotionConfig(mode="window", window=4))
    frames = filmed(np.arange(RECORDINGS + 5) / 30, {1: ALWAYS})
    for number, frame in enumerate(frames):
        stream.configure(replace(stream.motion, passes=1 + number % 20, window=4 + number // 20))
        stream.push(frame)
    assert len(stream.runner.recordings) == RECORDINGS


def half_stream(model, mode="incremental"):
    own = replace(model, moro=copy.deepcopy(model.moro))
    motion = MotionConfig(mode=mode, window=8)
    return MoRoStream(own, motion), PipelineConfig(precision="bfloat16", motion=motion)


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_is_compared_with_float32(tiny_model, filmed, caplog, mode):
    stream, config = half_stream(tiny_model, mode)
    with caplog.at_level(logging.INFO, "moro_ros.live.load"):
        off_mm = prepare(stream, config)
    assert off_mm is not None and 0.0 < off_mm < 200.0
    assert f"float32 by {off_mm:.2f} mm" in caplog.text
    assert not stream.tracks and not stream.lost
    linear = stream.model.moro.decoder.trajectory_head
    assert linear.weight.dtype is torch.bfloat16
    for frame in filmed(np.arange(12) / 30, {1: ALWAYS}):
        (motion,) = stream.push(frame, mesh=True)
    assert np.isfinite(motion.vertices).all() and stream.lost == ()


def test_a_precision_that_is_far_off_is_warned_of(tiny_model, caplog, monkeypatch):
    stream, config = half_stream(tiny_model)
    monkeypatch.setattr(startup, "PARITY_LIMIT_MM", 1e-6)
    with caplog.at_level(logging.WARNING):
        prepare(stream, config)
    assert "precision: float32" in caplog.text


def test_a_cpu_is_left_in_float32_and_not_warmed_up(tiny_model):
    stream = MoRoStream(tiny_model, MotionConfig())
    assert prepare(stream, PipelineConfig()) is None
    assert stream.decoder.rows_computed == 0


@pytest.mark.weights
def test_the_open_model_keeps_its_motion_in_bfloat16():
    config = PipelineConfig(backend="torch", motion=MotionConfig(mode="incremental"))
    off_mm = prepare(load_stream(config), replace(config, precision="bfloat16"))
    assert off_mm is not None and off_mm < 2.0


@pytest.mark.gpu
@pytest.mark.weights
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("mode", MODES)
def test_a_gpu_says_what_the_cpu_says(filmed, mode):
    motion = MotionConfig(mode=mode)
    cpu = load_stream(PipelineConfig(motion=motion))
    gpu = load_stream(PipelineConfig(motion=motion, device="cuda"))
    assert len(gpu.runner.recordings)
    for frame in filmed(np.arange(60) / 30, {1: ALWAYS}):
        (want,), (got,) = cpu.push(frame), gpu.push(frame)
    assert np.linalg.norm(got.joints - want.joints, axis=-1).mean() < 0.03


@pytest.mark.weights
def test_the_shipped_onnx_files_are_of_the_shipped_network():
    """Otherwise `backend: auto` would silently fall back to torch."""
    folder = share_path("models", "moro_open")
    assert find_onnx(load_model(folder), folder) == folder / "onnx"
