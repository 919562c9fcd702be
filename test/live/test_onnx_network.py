"""onnxruntime says what torch says, with the weights in the files and without."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.live import load as startup
from moro_ros.live.backends import onnx_network as backend_onnx
from moro_ros.live.backends.network_runner import NetworkRunner
from moro_ros.live.backends.onnx_export import (
    DESCRIPTION,
    INCREMENTAL,
    PARTS,
    TOKENIZER,
    architecture,
    export_onnx,
)
from moro_ros.live.backends.onnx_network import OnnxNetwork, find_onnx, read_description
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.model_config import MoroConfig, VitConfig
from moro_ros.network.build import build_moro
from moro_ros.network.rows import Past

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ALWAYS = (0.0, 1e9, 0.0)
PEOPLE = {1: ALWAYS, 2: (0.2, 0.5, 1.0)}
STAMPS = np.append(np.arange(10), 10 + 1.3 * np.arange(6)) / 30
PAPER = MoroConfig(
    layout="mesh_tokens", image="vit", dim=32, heads=4, mlp_ratio=2, encoder_depth=2,
    decoder_depth=2, num_tokens=6, num_codes=32,
    vit=VitConfig(embed_dim=16, depth=1, heads=2, encoder_depth=1, image=(64, 48)),
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    written = export_onnx(tiny_model, folder, weights=False)
    assert [path.name for path in written] == [f"{name}.onnx" for name in PARTS]
    return folder


def with_onnx(model, folder, motion):
    network = OnnxNetwork(model, folder, 1, "cpu")
    return MoRoStream(model, motion, runner=NetworkRunner(model.moro, False, network, network))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["window", "incremental"])
def test_the_stream_s_motion_is_the_same(tiny_model, files, filmed, mode):
    motion = MotionConfig(mode=mode, window=8, passes=2, look_ahead=1)
    torch_stream = MoRoStream(tiny_model, motion)
    onnx_stream = with_onnx(tiny_model, files, motion)
    for frame in filmed(STAMPS, PEOPLE):
        first, second = torch_stream.push(frame), onnx_stream.push(frame)
        assert len(first) == len(second)
        for want, got in zip(first, second):
            np.testing.assert_allclose(got.joints, want.joints, atol=1e-3)
            np.testing.assert_allclose(got.contact, want.contact, atol=1e-3)


@pytest.mark.slow
def test_files_without_weights_serve_other_weights(tiny_model, files, filmed):
    torch.manual_seed(5)
    moro = build_moro(tiny_model.config.moro)
    for parameter in moro.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    moro.set_trajectory_statistics(torch.full((9,), 0.3), torch.full((9,), 0.7))
    other = replace(tiny_model, moro=moro.eval(), sha256="1" * 64)
    assert architecture(other) == read_description(files)["architecture"]
    motion = MotionConfig(mode="incremental", window=8)
    streams = MoRoStream(other, motion), with_onnx(other, files, motion)
    for frame in filmed(STAMPS, PEOPLE):
        for want, got in zip(*(stream.push(frame) for stream in streams), strict=True):
            np.testing.assert_allclose(got.joints, want.joints, atol=1e-3)


@pytest.mark.slow
def test_files_that_hold_their_weights_need_nothing_else(tiny_model, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    (path,) = export_onnx(tiny_model, tmp_path, (TOKENIZER,))
    assert read_description(tmp_path)["bound"] == {TOKENIZER: []}
    codes = torch.randn(4, 6, 9)
    (found,) = runtime.InferenceSession(path).run(None, {"codes": codes.numpy()})
    with torch.no_grad():
        want = tiny_model.tokenizer.decode_codes(codes)
    np.testing.assert_allclose(found, want.numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_paper_s_network(tiny_model, tmp_path):
    """Dual layers with their image tokens' own past, and the ViT."""
    torch.manual_seed(0)
    moro = build_moro(PAPER).eval()
    for parameter in moro.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    config = replace(tiny_model.config, moro=PAPER)
    model = replace(tiny_model, moro=moro, config=config)
    export_onnx(model, tmp_path, backend_onnx.LIVE_PARTS, weights=False)
    network = OnnxNetwork(model, tmp_path, 1, "cpu")
    crops = torch.randint(0, 255, (1, 5, 3, 64, 48), dtype=torch.uint8)
    boxes = torch.rand(1, 5, 3) * 0.2 + 0.2
    with torch.no_grad():
        want = moro.encode_frames(crops, boxes)
    got = network.encode(crops, boxes)
    torch.testing.assert_close(got.image_tokens, want.image_tokens, atol=1e-3, rtol=0)
    torch.testing.assert_close(got.translation, want.translation, atol=1e-3, rtol=1e-4)
    from moro_ros.live.backends.onnx_export import FEATURES, ROWS, StepPart, example_step, past_form
    from moro_ros.network.moro import FrameFeatures
    from moro_ros.network.rows import Rows

    with torch.no_grad():
        inputs, past = example_step(model, people=1, rows=2, kept=7)
        expected = StepPart(moro, past_form(moro))(inputs, past)
    near = torch.cat((inputs["near_past"], inputs["near_rows"]), -1)
    output, made = network.decode(
        inputs["codes"],
        FrameFeatures(**{name: inputs[name] for name in FEATURES}),
        inputs["pose_rotation"],
        inputs["pose_translation"],
        None,
        Rows(near=near, **{name: inputs[name] for name in ROWS}),
        past_form(moro).like(past),
    )
    flat = [output.logits, output.contact, output.rotation, output.translation, *made.flat()]
    for value, reference in zip(flat, expected, strict=True):
        torch.testing.assert_close(value, reference, atol=1e-3, rtol=1e-3)
    assert len(made.image) == 1 and isinstance(made, Past)
    bound = network.encoder.run_bound({"observation": crops[0].float(), "box_condition": boxes[0]})
    for name, value in network.encoder.run(
        {"observation": crops[0].float(), "box_condition": boxes[0]}
    ).items():
        torch.testing.assert_close(bound[name], value)


def test_only_files_of_the_same_architecture_are_used(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("MORO_CACHE", str(tmp_path / "cache"))
    assert find_onnx(tiny_model, tmp_path) is None
    (tmp_path / "onnx").mkdir()
    description = tmp_path / "onnx" / DESCRIPTION
    text = '{"format": %d, "architecture": "%s", "sha256": "", "bound": {}}'
    description.write_text(text % (1, architecture(tiny_model)))
    assert find_onnx(tiny_model, tmp_path) == tmp_path / "onnx"
    description.write_text(text % (1, "0" * 64))
    assert find_onnx(tiny_model, tmp_path) is None
    description.write_text("{")
    assert find_onnx(tiny_model, tmp_path) is None


def test_torch_is_taken_where_nothing_else_is_there(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("MORO_CACHE", str(tmp_path / "cache"))
    assert startup.onnx_place(tiny_model, tmp_path, PipelineConfig()) is None
    assert startup.onnx_place(tiny_model, tmp_path, PipelineConfig(backend="torch")) is None


@pytest.mark.weights
def test_the_open_model(filmed):
    motion = MotionConfig(mode="incremental")
    reference = load_stream(PipelineConfig(backend="torch", motion=motion))
    chosen = load_stream(PipelineConfig(motion=motion))
    if chosen.runner.encoder is None:
        pytest.skip(f"no ONNX files of moro_open ({INCREMENTAL}.onnx)")
    for frame in filmed(np.arange(40) / 30, PEOPLE):
        for want, got in zip(reference.push(frame), chosen.push(frame), strict=True):
            np.testing.assert_allclose(got.joints, want.joints, atol=1e-3)
