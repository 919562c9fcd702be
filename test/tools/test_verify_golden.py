"""verify-golden: our network agrees with the recorded one, and disagreement is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moro_ros.errors import BodyModelError, CheckpointError, ConfigError
from moro_ros.tools.golden_set import Group, relative_error
from moro_ros.tools.verify_golden import main, verify

GOLDEN = Path(__file__).parents[1] / "golden"
FULL = Path(__file__).parents[3] / "shared/spec/golden"
WEIGHTS = "state_dict_fp16.safetensors"


@pytest.fixture()
def copy(tmp_path) -> Path:
    """A golden set that may be spoilt: motion encoder and smoother only, for speed."""
    for name in ("config.json", WEIGHTS, "b_motion_encoder.npz", "e_smoother.npz"):
        shutil.copy(GOLDEN / name, tmp_path / name)
    return tmp_path


def change(path: Path, **arrays: np.ndarray) -> None:
    """Replace arrays of a group."""
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files}
    np.savez_compressed(path, **{**kept, **arrays})


def test_every_recorded_part_agrees(capsys):
    assert main([str(GOLDEN), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["worst"] < 2e-5
    assert found["ids_equal"]
    compared = {g["name"]: len(g["errors"]) + len(g["ids_differ"]) for g in found["groups"]}
    assert compared == {
        "b0_crop": 2, "b_motion_encoder": 14, "c_video_forward": 17, "d_inference": 37,
        "e_smoother": 3, "f_losses": 4, "g_metrics": 16, "h_tokenizer_small": 23,
    }  # fmt: skip
    skipped = {name for group in found["groups"] for name in group["skipped"]}
    assert skipped == {"ortho_loss", "entropy_loss", "perplexity", "coverage"}


@pytest.mark.skipif(not FULL.is_dir(), reason="the full recording is not beside the checkout")
def test_the_full_recording_agrees(capsys):
    assert main([str(FULL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("ids_equal true")
    assert any("a_tokenizer" in line and "--connections" in line for line in lines)


def test_a_wrong_number_fails_and_is_named(copy, capsys):
    with np.load(copy / "e_smoother.npz") as archive:
        smoothed = archive["smoothed"]
    smoothed[0, 3, 5, 2] += 3e-4 * np.abs(smoothed).max()
    change(copy / "e_smoother.npz", smoothed=smoothed)
    assert main([str(copy)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "worst 3.0e-04 (smoothed)" in next(line for line in lines if "e_smoother" in line)
    assert lines[-1] == "worst 3.0e-04 ids_equal true"


def test_wrong_weights_fail(copy):
    weights = load_file(copy / WEIGHTS)
    name = "mask_transformer.dst_former.m_transformer.blocks_ts.1.attn_t.qkv.weight"
    weights[name] = weights[name] * 1.01
    save_file(weights, copy / WEIGHTS)
    assert main([str(copy)]) == 1


def test_another_band_length_is_noticed(copy):
    numbers = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**numbers, "attn_len": 5}))
    assert main([str(copy)]) == 1


def test_reduced_precision_has_its_own_limit(copy):
    (report, _) = verify(copy, dtype="bfloat16")
    assert 1e-4 < report.worst < 0.2
    assert main([str(copy), "--dtype", "bfloat16"]) == 0


def test_missing_tensors_are_listed(copy):
    weights = load_file(copy / WEIGHTS)
    weights["stranger"] = weights.pop("smoother.alpha")
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"missing \['smoother.alpha'\].*\['stranger'\]"):
        verify(copy)


def test_damaged_sets_are_refused(copy, tmp_path_factory):
    (copy / "e_smoother.npz").write_bytes(b"PK no archive")
    with pytest.raises(CheckpointError, match="damaged"):
        verify(copy)
    with pytest.raises(CheckpointError, match="not a golden set"):
        verify(tmp_path_factory.mktemp("empty"))


def test_unknown_devices_and_missing_tables_are_refused(copy, tmp_path_factory):
    with pytest.raises(ConfigError, match="--device"):
        verify(copy, device="toaster")
    with pytest.raises(BodyModelError, match="lacks the connection tables"):
        verify(copy, connections=tmp_path_factory.mktemp("none"))


def test_nothing_passes_for_agreement_by_mistake():
    assert relative_error(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == float("inf")
    assert relative_error(np.array([1.0, 2.2]), np.array([1.0, 2.0])) == pytest.approx(0.1)
    group = Group("g", {"large": np.zeros((3, 2)), "ids": np.array([1, 2, 3])})
    with pytest.raises(CheckpointError, match="shape"):
        group.compare("large", torch.zeros(2, 2))
    group.compare("ids", torch.tensor([1, 5, 3, 4]))
    assert group.report.ids_differ == {"ids": 1}
    assert not group.report.ids_equal
