"""moro train and moro evaluate: from a motion file to a model folder that loads, at toy size."""

import json

import numpy as np
import pytest
import torch
import yaml

from moro_ros.network.build import load_model
from moro_ros.tools.cli import main

TOY = {
    "mesh": {"vertices": 128, "tokens": 6, "seen": 40, "rebuilt": 24, "width": 48},
    "moro": {
        "layout": "frame", "image": "keypoints", "trajectory": "box", "rotation_head": True,
        "dim": 32, "heads": 4, "mlp_ratio": 2, "encoder_depth": 1, "decoder_depth": 1,
        "num_tokens": 6, "logit_rank": 8, "keypoints": {"hidden": 32, "blocks": 1},
    },
    "tokenizer": {"steps": 3, "batch": 100, "report_every": 2},
    "motion": {"minutes": 0.02, "windows": 4, "phases": [[1.0, 2, 6]], "save_every": 1},
}  # fmt: skip


@pytest.fixture()
def motion_file(tmp_path, walking):
    path = tmp_path / "motion.npz"
    np.savez(
        path, rot=walking.rotations, trans=walking.translation, lengths=walking.lengths,
        subjects=walking.subjects, category=walking.categories, names=walking.names, fps=30,
    )  # fmt: skip
    return path


def test_a_model_is_trained_saved_loaded_and_evaluated(tmp_path, motion_file, capsys):
    config = tmp_path / "toy.yaml"
    config.write_text(yaml.safe_dump(TOY))
    shared = ["--motion", str(motion_file), "--config", str(config), "--threads", "1"]
    run = tmp_path / "run"
    tokenizer = ["train", "tokenizer", *shared, "--validation", str(motion_file)]
    assert main([*tokenizer, "--out", str(run / "tokenizer")]) == 0
    weights = run / "tokenizer" / "tokenizer.safetensors"
    motion = ["train", "motion", *shared, "--tokenizer", str(weights)]
    assert main([*motion, "--out", str(run / "motion")]) == 0
    manifest = json.loads((run / "motion" / "manifest.json").read_text())
    assert manifest["data"]["motion.npz"] and manifest["numbers"]["motion"]["windows"] == 4
    folder = run / "motion" / "model"
    model = load_model(folder)
    assert torch.equal(model.moro.codebook, model.tokenizer.codebook)
    assert model.moro.trajectory_std.min() > 0 and model.moro.trajectory_mean[0] > 0.9
    assert all(torch.isfinite(value).all() for value in model.moro.state_dict().values())
    assert main([*motion, "--out", str(run / "motion"), "--resume"]) == 0
    capsys.readouterr()
    arguments = ["evaluate", "open", "--motion", str(motion_file), "--subjects", "a"]
    arguments += ["--model", str(folder), "--windows", "2", "--threads", "1", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"mpjpe_mm", "pa_mpjpe_mm", "jitter", "jitter_truth"} <= set(result)
    assert {"mpjpe_mm", "hidden_mm"} <= set(result["occluded"])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"tokenizr": {}}, "Did you mean 'tokenizer'"), ({"motion": {"minuts": 1}}, "minutes")],
)
def test_a_wrong_configuration_is_told(tmp_path, motion_file, capsys, change, words):
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump({**TOY, **change}))
    arguments = ["train", "tokenizer", "--motion", str(motion_file), "--config", str(config)]
    arguments += ["--validation", str(motion_file), "--out", str(tmp_path / "run")]
    assert main(arguments) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
