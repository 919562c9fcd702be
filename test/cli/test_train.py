"""moro train: from a motion file through all stages to a model folder that loads, at toy size."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from moro_ros.cli.cli import main
from moro_ros.model_config import load_model_config
from moro_ros.network.build import load_model
from moro_ros.resources import share_path
from moro_ros.training.open_source import FrameSource, OpenSource
from moro_ros.training.optim import Muon
from moro_ros.training.setup import STAGES, load_training

pytestmark = pytest.mark.slow

LOOP = {"steps": 3, "report_every": 2, "save_every": 2, "learning_rate": 1e-3}
HEAD = {
    "tokens": 1.0, "mesh": 1.0, "joints": 1.0, "body_rotation": 1.0, "root_rotation": 1.0,
    "depth": 1.0, "coarse_depth": 1.0, "coarse_rotation": 1.0,
}  # fmt: skip
TOY = {
    "codec": {"kind": "patch"},
    "card": {"description": "toy", "licence": "none"},
    "mesh": {"vertices": 128, "tokens": 6, "seen": 40, "rebuilt": 24, "width": 48},
    "moro": {
        "layout": "frame", "image": "keypoints", "trajectory": "box", "rotation_head": True,
        "dim": 32, "heads": 4, "mlp_ratio": 2, "encoder_depth": 1, "decoder_depth": 1,
        "num_tokens": 6, "logit_rank": 8, "keypoints": {"hidden": 32, "blocks": 1},
    },
    "tokenizer": {"batch": 100, "loop": {**LOOP, "optimizer": "muon"}},
    "pose": {
        "task": "motion", "phases": [[1.0, 4, 1]], "loop": LOOP, "masks": {"random": 1},
        "smooth": False, "windows": 4, "weights": {"tokens": 1.0, "mesh": 1.0},
    },
    "motion": {
        "task": "motion", "phases": [[1.0, 2, 6]], "loop": LOOP, "windows": 4,
        "start": {"motion_encoder": "pose"}, "masks": {"random": 2, "joint": 1, "frame": 1},
        "noise": [[0.0, 0.01, 1.0]],
        "weights": {"tokens": 1.0, "clean_trajectory": 1.0, "mesh_joints_rel": 1.0},
    },
    "image": {
        "task": "image", "phases": [[1.0, 3, 1]], "loop": LOOP, "windows": 4, "weights": HEAD,
    },
    "frames": {
        "task": "image", "phases": [[1.0, 3, 3]], "loop": LOOP, "windows": 4,
        "start": {"image_encoder": "image", "decoder": "image"},
        "weights": {"mesh_joints_final": 1.0, "mesh_plane_coarse": 1.0},
    },
    "video": {
        "task": "video", "phases": [[0.5, 2, 4], [0.5, 2, 6]], "loop": LOOP, "windows": 4,
        "start": {"motion_encoder": "motion", "image_encoder": "frames", "decoder": "frames"},
        "frozen": ["image_encoder"], "masks": {"guided": 1, "random": 1}, "live": 0.5,
        "weights": HEAD,
    },
}  # fmt: skip


PAPER_STAGES = tuple(stage for stage in STAGES if stage != "estimate")
OPEN_STAGES = ("pose", "motion", "estimate", "video")
COARSE = {"coarse_joints": 1.0, "coarse_body_rotation": 1.0, "coarse_depth": 1.0}
TOY_OPEN = {
    **TOY,
    "moro": {
        **TOY["moro"], "dim": 160,
        "keypoints": {
            "hidden": 32, "blocks": 1, "floor": True, "estimate": True, "detector_points": True
        },
    },
    "estimate": {
        "task": "estimate", "phases": [[1.0, 16, 1]], "loop": LOOP, "weights": COARSE,
        "varied": 0.5, "seated": 0.3, "sized": 0.3,
    },
    "video": {
        "task": "video", "phases": [[1.0, 2, 6]], "loop": LOOP, "windows": 4, "seated": 0.5,
        "sized": 0.5, "start": {"image_encoder": "estimate"}, "token_share": 0.5,
        "masks": {"guided": 1, "full": 1}, "temperature": [],
        "weights": {**COARSE, "tokens": 1.0, "joints": 1.0, "velocity": 1.0},
    },
}  # fmt: skip


@pytest.fixture()
def command(tmp_path, motion_file):
    """Return the words of `moro train STAGE` for a recipe."""

    def words(stage: str, recipe: dict, *more: str) -> list[str]:
        config = tmp_path / "recipe.yaml"
        config.write_text(yaml.safe_dump(recipe))
        shared = ["--config", str(config), "--out", str(tmp_path / "run"), "--threads", "1"]
        data = ["--motion", str(motion_file), "--validation", str(motion_file)]
        return ["train", stage, *shared, *data, "--device", "cpu", *more]

    return words


def test_the_stages_hand_over_and_end_in_a_model(tmp_path, command):
    run = tmp_path / "run"
    for stage in ("tokenizer", *PAPER_STAGES):
        assert main(command(stage, TOY)) == 0
        manifest = json.loads((run / stage / "manifest.json").read_text())
        assert manifest["numbers"]["video"]["windows"] == 4 and manifest["commit"]
        assert any(len(sha) == 64 for sha in manifest["data"].values())
        (line,) = map(json.loads, (run / stage / "log.jsonl").read_text().splitlines())
        assert line["step"] == 2 and line["loss"] > 0
    weights = {stage: load_file(run / stage / "weights.safetensors") for stage in PAPER_STAGES}
    for name, value in weights["video"].items():
        if name.startswith("image_encoder."):  # frozen: as it came
            assert torch.equal(value, weights["frames"][name]), name
    pose, motion = (weights[s]["motion_encoder.trunk.layers.0.block.mlp.fc1.weight"]
                    for s in ("pose", "motion"))  # fmt: skip
    assert 0 < float((pose - motion).abs().max()) < 0.02  # begun there, and gone on
    assert torch.equal(weights["video"]["trajectory_std"], weights["motion"]["trajectory_std"])
    assert weights["motion"]["trajectory_mean"][0] > 0.9
    model = load_model(run / "video" / "model")
    assert torch.equal(model.moro.codebook, model.tokenizer.codebook)
    assert model.config.description == "toy"
    assert all(torch.isfinite(value).all() for value in model.moro.state_dict().values())


def test_single_frames_come_before_clips_in_the_open_recipe(tmp_path, command):
    run = tmp_path / "run"
    for stage in ("tokenizer", "estimate", "video"):
        assert main(command(stage, TOY_OPEN)) == 0
    model = load_model(run / "video" / "model")
    assert model.config.moro.keypoints.floor and model.moro.decoder.update is not None
    assert model.moro.decoder.update.scale_betas.abs().max() > 1
    assert all(torch.isfinite(value).all() for value in model.moro.state_dict().values())


def test_the_bench_measures_each_phase(tmp_path, command, motion_file, capsys):
    assert main(command("tokenizer", TOY_OPEN)) == 0
    shared = ["--config", str(tmp_path / "recipe.yaml"), "--motion", str(motion_file)]
    tokenizer = str(tmp_path / "run" / "tokenizer" / "tokenizer.safetensors")
    words = ["bench", "train", *shared, "--tokenizer", tokenizer, "--windows", "4", "--json"]
    assert main([*words, "--steps", "1"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(r["stage"], r["clips"], r["frames"]) for r in rows] == [
        ("estimate", 16, 1), ("video", 2, 6),
    ]  # fmt: skip
    for row in rows:
        spent = sum(row[f"{part}_s"] for part in ("data", "forward", "backward", "optimizer"))
        count = row["clips"] * row["frames"]
        assert row["frames_per_s"] == pytest.approx(count / spent, rel=0.2)
        assert row["precision"] in ("float32", "bfloat16") and "ratio" not in row
    assert main([*words, "--stages", "image"]) == 1
    assert "--stages: got image, expected estimate or video" in capsys.readouterr().err


def test_the_bench_alternates_with_torch_muon_and_frames_cut_from_windows(
    tmp_path, command, motion_file, capsys, monkeypatch
):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("PyTorch before 2.9")
    muon = {**LOOP, "optimizer": "muon"}
    recipe = {**TOY_OPEN, **{n: {**TOY_OPEN[n], "loop": muon} for n in ("estimate", "video")}}
    assert main(command("tokenizer", recipe)) == 0
    called = []
    for kind in (FrameSource, OpenSource):
        monkeypatch.setattr(kind, "batch", noted(called, kind.__name__, kind.batch))
    for kind in (Muon, torch.optim.Muon):
        monkeypatch.setattr(kind, "step", noted(called, kind.__module__, kind.step))
    shared = ["--config", str(tmp_path / "recipe.yaml"), "--motion", str(motion_file)]
    tokenizer = str(tmp_path / "run" / "tokenizer" / "tokenizer.safetensors")
    words = ["bench", "train", *shared, "--tokenizer", tokenizer, "--windows", "4", "--json"]
    assert main([*words, "--steps", "1", "--against"]) == 0
    ours, plain = Muon.__module__, torch.optim.Muon.__module__
    estimate = ["FrameSource", ours, "OpenSource", plain]
    video = ["OpenSource", ours, "OpenSource", plain]
    assert called == [*estimate, *estimate, *video, *video]
    for row in json.loads(capsys.readouterr().out.splitlines()[-1]):
        ratio = row["frames_per_s"] / row["plain_frames_per_s"]
        assert row["ratio"] == pytest.approx(ratio, rel=0.2)


def noted(called: list[str], name: str, method):
    """Return a method that notes each call."""

    def call(*arguments, **options):
        called.append(name)
        return method(*arguments, **options)

    return call


def test_a_finished_run_is_not_trained_again(tmp_path, command):
    assert main(command("tokenizer", TOY)) == 0
    file = tmp_path / "run" / "tokenizer" / "tokenizer.safetensors"
    before = file.read_bytes()
    assert main(command("tokenizer", TOY)) == 1  # nothing is overwritten
    assert file.read_bytes() == before
    assert main(command("tokenizer", TOY, "--resume")) == 0
    assert file.read_bytes() == before
    longer = {**TOY, "tokenizer": {**TOY["tokenizer"], "batch": 101, "loop": {**LOOP, "steps": 4}}}
    assert main(command("tokenizer", longer, "--resume")) == 1  # another optimiser than before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokenizr": {}}, "Did you mean 'tokenizer'"),
        ({"tokenizer": {"loop": {"step": 1}}}, "Did you mean 'steps'"),
        ({"tokenizer": {"loop": {"optimizer": "sgd"}}}, "adamw, muon"),
        ({"pose": {"masks": {"rondom": 1}}}, "rondom"),
        ({"pose": {"phases": [1]}}, "share, clips, frames"),
        ({"pose": {"weights": {"token": 1}}}, "Did you mean 'tokens'"),
        ({"moro": {"dim": 33}}, "multiple"),
    ],
)
def test_a_wrong_recipe_is_told(tmp_path, command, capsys, change, words):
    assert main(command("tokenizer", {**TOY, **change})) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_stage_says_what_it_lacks(command, capsys):
    assert main(command("tokenizer", TOY)) == 0
    for stage, change, words in (
        ("video", {}, "moro train frames"),
        ("video", {"start": {"": "pose.safetensors"}}, "give a file that exists"),
        ("video", {"start": {}, "frozen": ["encoder"]}, "no part 'encoder'"),
        ("video", {"start": {}, "drop_path": 0.5}, "no ViT"),
        ("video", {"start": {}, "weights": {}}, "nothing to train"),
        ("video", {"start": {}, "data": ["opn"]}, "opn"),
        ("pose", {"masks": {"guided": 1}}, "no image for a guided pass"),
        ("pose", {"mesh_share": 0.5, "weights": {"mesh_joints_rel": 1.0}}, "mesh of every frame"),
        ("pose", {"loop": {"parts": -1}}, "parts"),
    ):
        assert main(command(stage, {**TOY, stage: {**TOY[stage], **change}})) == 1
        assert words in capsys.readouterr().err


def test_missing_data_and_tokenizers_are_told(tmp_path, command, capsys):
    assert main(command("pose", TOY)) == 1
    assert "moro train tokenizer" in capsys.readouterr().err
    assert main([*command("tokenizer", TOY), "--motion", ""]) == 1
    assert "data.motion is not set" in capsys.readouterr().err
    assert main([*command("tokenizer", TOY), "--device", "toaster"]) == 1
    assert "auto, cpu or cuda" in capsys.readouterr().err


def test_the_shipped_recipes_are_whole():
    for name in ("open_training.yaml", "paper_training.yaml"):
        training = load_training(share_path("config", name))
        assert training.moro.num_tokens == (87 if name.startswith("paper") else 24)
        for stage in PAPER_STAGES if name.startswith("paper") else OPEN_STAGES:
            training.stage(stage)
    video = training.stage("video")
    assert (video.loop.steps, video.loop.learning_rate, video.loop.clip) == (60_000, 1e-5, 1.0)
    assert video.masks == {"guided": 0.5, "random": 0.5} and video.frozen == ("image_encoder",)
    assert "smoother" not in video.start


def test_the_open_recipe_is_of_the_shipped_network():
    shipped = load_model_config(share_path("models", "moro_open", "model.yaml")).moro
    assert load_training(share_path("config", "open_training.yaml")).moro == shipped
