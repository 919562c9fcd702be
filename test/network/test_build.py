"""Model folders: saved and loaded exactly, every fault named; the paper's network to the number."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moro_ros.errors import CheckpointError, ConfigError
from moro_ros.model_config import (
    KeypointsConfig,
    ModelConfig,
    MoroConfig,
    TokenizerConfig,
    load_model_config,
)
from moro_ros.network.build import build_moro, check_device, load_checkpoint, load_model, save_model
from moro_ros.network.official_names import MORO_TOKENIZER_PREFIX, TRAJECTORY_STATISTICS, moro_names
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches

ROOT = Path(__file__).parents[2]


def patch_tokenizer(seed: int = 0) -> PatchTokenizer:
    torch.manual_seed(seed)
    vertices = np.random.default_rng(0).normal(size=(40, 3))
    seen, rebuilt = build_patches(vertices, np.arange(6), 8, 8)
    return PatchTokenizer(seen, rebuilt, 40, width=24, codes=20)


@pytest.fixture()
def folder(tmp_path) -> Path:
    """A tiny model folder as training leaves it."""
    moro = MoroConfig(
        layout="frame", image="keypoints", dim=32, heads=4, mlp_ratio=2, encoder_depth=1,
        decoder_depth=1, num_tokens=6, num_codes=20, keypoints=KeypointsConfig(hidden=32),
    )  # fmt: skip
    config = ModelConfig(
        description="tiny", body_model="body.npz", moro=moro, tokenizer=TokenizerConfig("patch")
    )
    torch.manual_seed(0)
    model, tokenizer = build_moro(moro), patch_tokenizer()
    model.set_codebook(tokenizer.codebook)
    save_model(tmp_path / "tiny", config, model, tokenizer)
    return tmp_path / "tiny"


def test_what_is_saved_is_loaded(folder):
    model = load_model(folder)
    assert model.name == "tiny"
    assert model.body_model_path == folder / "body.npz"
    assert not model.moro.training
    saved = load_file(folder / "moro.safetensors")
    assert set(saved) == set(model.moro.state_dict())
    for name, value in model.moro.state_dict().items():
        assert torch.equal(value, saved[name])
    again = folder.parent / "again"
    config = save_model(again, model.config, model.moro, model.tokenizer)
    assert config == model.config and config.sha256.moro == model.sha256
    assert (again / "model.yaml").read_text() == (folder / "model.yaml").read_text()
    modes = {path.stat().st_mode for path in again.iterdir()}
    assert len(modes) == 1, "whoever may read model.yaml may read the weights"


def test_another_file_is_refused(folder):
    state = load_file(folder / "moro.safetensors")
    state["trajectory_mean"] += 1
    save_file(state, folder / "moro.safetensors")
    with pytest.raises(CheckpointError, match=r"got sha256 \w{64}, expected \w{64}"):
        load_model(folder)


def test_missing_and_truncated_files(folder):
    path = folder / "moro.safetensors"
    whole, model = path.read_bytes(), build_moro(load_model(folder).config.moro)
    for length in (0, 5, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="not a complete safetensors file"):
            load_checkpoint(model, path)
    path.unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        load_model(folder)


def test_every_wrong_tensor_is_named(folder):
    path = folder / "moro.safetensors"
    model = build_moro(load_model(folder).config.moro)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = load_file(path)
    state["surplus"] = state.pop("trajectory_std")
    state["trajectory_mean"] = torch.zeros(8)
    save_file(state, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, path)
    message = str(error.value)
    assert "missing trajectory_std" in message
    assert "unexpected surplus" in message
    assert "trajectory_mean has shape (8,), expected (9,)" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def without_checksums(folder: Path) -> str:
    lines = (folder / "model.yaml").read_text().splitlines()
    return "\n".join(lines[: lines.index("sha256:")]) + "\n"


def test_a_foreign_tokenizer_is_refused(folder):
    description = without_checksums(folder)
    (folder / "model.yaml").write_text(description)
    save_file(patch_tokenizer(seed=1).state_dict(), folder / "tokenizer.safetensors")
    with pytest.raises(CheckpointError, match="trained with another tokenizer"):
        load_model(folder)
    (folder / "model.yaml").write_text(description.replace("kind: patch", "kind: graph"))
    with pytest.raises(CheckpointError, match="tokenizer of kind 'graph'"):
        load_model(folder)


def test_another_architecture_is_refused(folder):
    description = without_checksums(folder)
    (folder / "model.yaml").write_text(description.replace("dim: 32", "dim: 40"))
    with pytest.raises(CheckpointError, match="belongs to another network"):
        load_model(folder)
    (folder / "model.yaml").write_text(description.replace("layout:", "layuot:"))
    with pytest.raises(ConfigError, match="layout"):
        load_model(folder)


def test_the_papers_network_has_exactly_the_published_tensors():
    """Names, shapes and the parameter count of the authors' checkpoint, nothing allocated."""
    config = load_model_config(ROOT / "models/moro_vit_h.yaml")
    assert config == dataclasses.replace(ModelConfig(), description=config.description)
    with torch.device("meta"):
        model = build_moro(config.moro)
    names = moro_names(config.moro)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in TRAJECTORY_STATISTICS:
        assert ours.pop(name) == (9,)
    published = {}
    for line in (ROOT / "test/golden/official_tensors.txt").read_text().splitlines():
        name, _, shape = line.partition(" ")
        if not name.startswith(MORO_TOKENIZER_PREFIX):
            published[names[name]] = tuple(map(int, shape.split("x"))) if shape else ()
    assert published == ours
    # The published sizes: ViT 630.91 M, transformers and their heads 330.14 M, smoother 23937.
    millions = {part: sum(p.numel() for p in getattr(model, part).parameters()) / 1e6
                for part in ("motion_encoder", "decoder", "smoother")}  # fmt: skip
    vit = sum(p.numel() for p in model.image_encoder.vit.parameters()) / 1e6
    assert vit == pytest.approx(630.91, abs=0.005)
    assert millions["motion_encoder"] == pytest.approx(201.56 + 0.65, abs=0.01)
    assert millions["decoder"] == pytest.approx(100.78 + 0.64, abs=0.01)
    assert millions["smoother"] == pytest.approx(0.023937, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "device", "words"),
    [
        (0, "cuda", "got 'cuda', but PyTorch .* finds no CUDA device. Set device: cpu"),
        (2, "cuda:2", "this machine has 2 CUDA devices, .* at most cuda:1"),
    ],
)
def test_a_device_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, count: int, device: str, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=words):
        load_model("absent", device)
    check_device(torch.device("cpu"))
