"""`moro bench network`: what is counted is what runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from moro_ros.cli import cli
from moro_ros.cli.bench import network as bench_network
from moro_ros.cli.bench.network import (
    LiveMemory,
    Measured,
    Network,
    count_memory,
    count_work,
    make_inputs,
    make_network,
    make_tokenizer,
    random_tables,
)
from moro_ros.model_config import ModelConfig, load_model_config
from moro_ros.network import tokenizer as tokenizer_module
from moro_ros.resources import share_path

pytestmark = pytest.mark.slow

VIT = {"embed_dim": 32, "depth": 2, "heads": 2, "mlp_ratio": 2, "image": [64, 48]}
VIT |= {"encoder_depth": 1, "encoder_mlp_ratio": 2}
SMALL = {"dim": 32, "heads": 2, "mlp_ratio": 2, "encoder_depth": 2, "decoder_depth": 2}
SMALL |= {"num_tokens": 5, "attention_span": 3, "logit_rank": 8, "vit": VIT}
LAYOUTS = {
    "paper": {},
    "keypoints": {"image": "keypoints", "keypoints": {"hidden": 32, "tokens": 2}},
    "open": {"layout": "frame", "image": "keypoints", "trajectory": "box", "rotation_head": True},
}
FRAMES, PASSES = 6, 3


@pytest.fixture(autouse=True)
def small_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_network, "LEVELS", (90, 40, 20))


@pytest.fixture(params=LAYOUTS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({"moro": SMALL | LAYOUTS[request.param]}))
    return file


@pytest.fixture()
def config(path: Path) -> ModelConfig:
    return load_model_config(path)


def network_of(config: ModelConfig, device: str = "cpu", half: bool = False) -> Network:
    return make_network(config.moro, make_tokenizer(config, None).to(device), device, half)


@torch.no_grad()
def test_parts_are_the_window(config):
    """The parts, each as often as it is called, cost what the whole window costs."""
    network, inputs = network_of(config, "meta"), make_inputs(config.moro, FRAMES, "meta")
    found = Measured()
    count_work(network, inputs, PASSES, found)
    with FlopCounterMode(display=False) as counter:
        network.window(inputs, PASSES)
    assert sum(found.gflop.values()) == pytest.approx(counter.get_total_flops() / 1e9)
    assert found.calls["decoder"] == found.calls["motion encoder"] == PASSES


def test_published_numbers_of_operations():
    """GFLOP per frame of the published sizes at F = 1; the decoder does less than its 57.97."""
    config = load_model_config(share_path("models", "moro_vit_h.yaml"))
    found = Measured()
    count_work(network_of(config, "meta"), make_inputs(config.moro, 1, "meta"), 1, found)
    expected = {"image backbone": 248.01, "image transformer": 10.52, "motion encoder": 35.69}
    for name, value in expected.items():
        assert found.gflop[name] == pytest.approx(value, abs=0.01)
    # What the last layer does not do for image tokens, and the first one not in each pass.
    assert found.gflop["decoder"] < 57.97 - 12.9 - 6.0
    assert found.gflop["decoder, first look"] == pytest.approx(6.0, abs=0.2)


def test_work_of_a_mesh(monkeypatch):
    """0.47 GFLOP, as neighbours are mixed first; to expand a kernel for each would take 5.7."""
    monkeypatch.undo()
    tables = random_tables(87)
    assert [len(table) for table in tables.pool] == [9383, 2618, 2618, 546, 546, 87, 87]
    assert [len(table) for table in tables.unpool] == [9383, 9383, 2618, 2618, 546, 546, 87]
    tokenizer = tokenizer_module.MeshConvTokenizer.from_tables(tables).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokenizer.decode_codes(torch.empty(1, 87, 9, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(0.47, abs=0.03)


def test_live_memory_follows_what_is_kept():
    with LiveMemory() as memory:
        first = torch.empty(1000, device="meta")
        second = first + 1  # 8 kB
        view = second.view(10, 100)
        del first, second
        assert memory.bytes_now == 4000
        third = (view * 2).sum()
        assert (memory.bytes_now, memory.bytes_peak) == (4004, 8004)
        del view, third
    assert (memory.bytes_now, memory.bytes_peak) == (0, 8004)


@torch.no_grad()
def test_counted_memory_is_that_of_the_running_window(config):
    network, inputs = network_of(config), make_inputs(config.moro, FRAMES, "cpu")
    with LiveMemory() as memory:
        for module in (network.model, network.tokenizer):
            memory.hold((*module.parameters(), *module.buffers()))
        memory.hold(inputs.values())
        network.window(inputs, PASSES)
    shapes = make_inputs(config.moro, FRAMES, "meta")
    counted = count_memory(network_of(config, "meta"), shapes, PASSES, half=False)
    assert counted == pytest.approx(memory.bytes_peak, rel=0.02)


def test_memory_of_a_full_size_window():
    """500 frames of the paper's network in bfloat16 fit a GPU of 24 GiB."""
    config = load_model_config(share_path("models", "moro_vit_h.yaml"))
    network = network_of(config, "meta", half=True)
    counted = count_memory(network, make_inputs(config.moro, 500, "meta"), passes=1, half=True)
    weights = 968.35e6 * 2
    assert weights < counted < 12 * 2**30


@pytest.mark.parametrize("path", ["keypoints"], indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_command(path, dtype, capsys):
    words = ["bench", "network", "--config", str(path), "--frames", "12", "--iterations", "2"]
    words += ["--timed-frames", "5", "--repeat", "1", "--dtype", dtype]
    assert cli.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["timed_frames"], report["passes"]) == (12, 5, 2)
    measured = report["measured"]
    assert measured["gflop"].keys() == measured["seconds"].keys() == measured["calls"].keys()
    assert min(measured["seconds"].values()) > 0 and measured["memory_bytes"] > 0
    assert cli.main([*words, "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "GFLOP of 12 frames" in text and "Seconds of 5 frames" in text
    assert cli.main([*words, "--timed-frames", "0"]) == 0
    assert "Seconds" not in capsys.readouterr().out


@pytest.mark.weights
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_shipped_model_is_measured(dtype, capsys):
    config = str(share_path("models", "moro_open"))
    words = ["bench", "network", "--config", config, "--frames", "4", "--timed-frames", "2"]
    assert cli.main([*words, "--repeat", "1", "--dtype", dtype, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["timed_frames"] == 2


@pytest.mark.parametrize("path", ["paper"], indirect=True)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frames", "0"], "--frames: got 0"),
        (["--timed-frames", "-1"], "--timed-frames: got -1"),
        (["--device", "cuda"], "no GPU"),
    ],
)
def test_bad_options(path, words, message, capsys):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("a GPU is at hand")
    assert cli.main(["bench", "network", "--config", str(path), *words]) == 1
    assert message in capsys.readouterr().err


def test_a_patch_tokenizer_needs_its_file(tmp_path, capsys):
    file = tmp_path / "patch.yaml"
    file.write_text("tokenizer: {kind: patch}")
    assert cli.main(["bench", "network", "--config", str(file)]) == 1
    assert "folder of a complete model" in capsys.readouterr().err
