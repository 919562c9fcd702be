"""verify-golden: our network agrees with the recorded one, and disagreement is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moro_ros.cli.golden.golden_set import Group, relative_error
from moro_ros.cli.golden.losses import TERMS
from moro_ros.cli.golden.verify_golden import main, verify
from moro_ros.errors import BodyModelError, CheckpointError, ConfigError
from moro_ros.geometry.rotation import rotation_6d_to_matrix as matrix_of
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.live.sampling import decode_masked
from moro_ros.model_config import MoroConfig, SmootherConfig, VitConfig
from moro_ros.network.build import build_moro
from moro_ros.network.inputs import crop_person
from moro_ros.network.official_names import moro_names

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


@pytest.mark.slow
def test_every_recorded_part_agrees(capsys):
    assert main([str(GOLDEN), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["worst"] < 2e-5
    assert found["ids_equal"]
    compared = {g["name"]: len(g["errors"]) + len(g["ids_differ"]) for g in found["groups"]}
    assert compared == {
        "b0_crop": 2, "b_motion_encoder": 14, "c_video_forward": 17, "d_inference": 37,
        "e_smoother": 3, "f_losses": 12, "g_metrics": 16, "h_tokenizer_small": 23,
    }  # fmt: skip
    skipped = {name for group in found["groups"] for name in group["skipped"]}
    meshes = {name for name, term in TERMS.items() if term.startswith("mesh")}
    assert skipped == {"ortho_loss", "entropy_loss", "perplexity", "coverage", *meshes}


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


@pytest.mark.slow
def test_wrong_weights_of_the_losses_are_noticed(tmp_path, capsys):
    for name in ("config.json", WEIGHTS, "b0_crop.npz", "b_motion_encoder.npz",
                 "c_video_forward.npz", "f_losses.npz"):  # fmt: skip
        shutil.copy(GOLDEN / name, tmp_path / name)
    with np.load(tmp_path / "f_losses.npz") as archive:
        total, skating = archive["L_loss"], archive["L_loss_skating"]
    change(tmp_path / "f_losses.npz", L_loss=total + skating)  # as if it weighed 2
    assert main([str(tmp_path)]) == 1
    assert "(L_loss)" in capsys.readouterr().out


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


@pytest.mark.slow
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


def other_sizes(folder: Path) -> None:
    """A set of quite other sizes, written by calling our network directly, without the tool."""
    torch.manual_seed(0)
    vit = VitConfig(
        embed_dim=24, depth=1, heads=3, mlp_ratio=2, encoder_depth=1, encoder_mlp_ratio=3
    )
    config = MoroConfig(
        dim=36, heads=6, mlp_ratio=2, attention_span=2, encoder_depth=3, decoder_depth=1,
        num_tokens=11, num_codes=40, code_dim=5, vit=vit, smoother=SmootherConfig(16, 3),
    )  # fmt: skip
    model = build_moro(config).eval()
    model.set_codebook(torch.randn(40, 5))
    model.set_trajectory_statistics(torch.randn(9), torch.rand(9) + 0.5)
    own = model.state_dict()
    save_file(
        {theirs: own[ours].clone() for theirs, ours in moro_names(config).items()},
        folder / "weights.safetensors",
    )
    numbers = {
        "dim_feat": 36, "num_heads": 6, "mdepth": 3, "idepth": 1, "ddepth": 1, "attn_len": 2,
        "vit": {"embed_dim": 24, "depth": 1, "num_heads": 3, "patch": 16, "img": [256, 192],
                "patch_padding": 2},
        "smoother": {"dim_hidden": 16, "kernel": 3},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(numbers))
    frames, rng = 7, np.random.default_rng(0)
    images = rng.integers(0, 256, (frames, 90, 120, 3), np.uint8)
    center, scale = rng.uniform(40, 80, (frames, 2)).astype(np.float32), np.full(frames, 0.4, "f")
    matrix = np.array([[100, 0, 60], [0, 110, 40], [0, 0, 1]], np.float32)
    box = np.concatenate([center - [60, 40], np.full((frames, 1), 80)], 1)[None] / 105
    np.savez(folder / "b0_crop.npz", images=images, center=center, scale=scale, K=matrix,
             bbox=box.astype(np.float32))  # fmt: skip
    boxes = zip(images, center, scale, strict=True)
    crops = torch.from_numpy(np.stack([crop_person(*item) for item in boxes]))[None]
    ids = torch.randint(0, 41, (1, frames, 11))
    with torch.no_grad():
        features, output = model(crops, torch.from_numpy(box).float(), ids)
        canonical = torch.randn(1, frames, 9)
        motion = model.motion_encoder(model.embed(ids), canonical)
        decoding = decode_masked(model, features, 3)
        smoothed = model.smoother(decoding.codes)
    turns = matrix_of(torch.randn(1, frames, 6))
    place = torch.randn(1, frames, 3)
    zero = canonical_trajectory(turns, place, torch.zeros(9), torch.ones(9))
    write = {
        "b_motion_encoder": {
            "ids": ids, "rotation": turns, "translation": place[:, :, None], "cano_raw": zero,
            "cano_norm": canonical, "Mean": model.trajectory_mean[None, None],
            "Std": model.trajectory_std[None, None], "pose_feat": motion.pose,
            "traj_feat": motion.trajectory, "cano_traj_pred": motion.clean_trajectory,
        },
        "c_video_forward": {
            "ids": ids, "logits": output.logits.permute(0, 3, 1, 2), "contact": output.contact,
            "cam_rot": output.rotation, "cam_trans": output.translation[:, :, None],
            "img_feat_frame4": features.image_tokens[:, 4:5], "cano_pred": output.clean_trajectory,
        },
        "e_smoother": {"tokens_in": decoding.codes, "smoothed": smoothed},
    }  # fmt: skip
    for name, arrays in write.items():
        np.savez(folder / f"{name}.npz", **{k: v.detach().numpy() for k, v in arrays.items()})


def test_nothing_is_tied_to_one_set_of_sizes(tmp_path):
    other_sizes(tmp_path)
    reports = {report.name: report for report in verify(tmp_path)}
    # cano_norm is an input here, not the normalised form of the trajectory in the same file.
    reports["b_motion_encoder"].errors.pop("cano_norm")
    assert set(reports["b_motion_encoder"].errors) == {
        "cano_raw", "pose_feat", "traj_feat", "cano_traj_pred",
    }  # fmt: skip
    assert len(reports["c_video_forward"].errors) == 6
    assert max(report.worst for report in reports.values()) < 1e-5
    assert not any(report.skipped for report in reports.values())
