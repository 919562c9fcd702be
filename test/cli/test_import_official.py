"""import-official: a checkpoint goes in and comes back to the bit; everything else is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from moro_ros.body.connections import PUBLISHED_SHA256, TABLE_FILES
from moro_ros.body.hierarchy import build_connection_tables
from moro_ros.cli.import_official import (
    OfficialSources,
    import_official,
    require_uncommittable,
    run,
)
from moro_ros.errors import BodyModelError, CheckpointError, ConfigError
from moro_ros.model_config import (
    ModelConfig,
    MoroConfig,
    SmootherConfig,
    VitConfig,
)
from moro_ros.network.build import build_moro, load_model
from moro_ros.network.official_names import BODY_MODEL_TENSORS, moro_names, tokenizer_names
from moro_ros.network.tokenizer import MeshConvTokenizer

ROOT = Path(__file__).parents[2]
MEAN, STD = np.arange(9, dtype=np.float32) / 10, np.linspace(0.1, 0.9, 9, dtype=np.float32)
CONFIG = ModelConfig(
    description="small",
    moro=MoroConfig(
        dim=32, heads=4, mlp_ratio=2, encoder_depth=2, decoder_depth=1, num_tokens=6, num_codes=20,
        vit=VitConfig(embed_dim=16, depth=2, heads=2, mlp_ratio=2, image=(64, 48)),
        smoother=SmootherConfig(hidden=8),
    ),
)  # fmt: skip


def write_checkpoint(path: Path, state: dict[str, Tensor]) -> None:
    """What Lightning leaves: the tensors, and plain things beside them."""
    content = {"state_dict": state, "epoch": 3, "global_step": 60_000, "callbacks": {"a": [1, 2]}}
    torch.save({**content, "optimizer_states": [{"state": {0: torch.ones(2)}}]}, path)


@dataclasses.dataclass
class Authors:
    """A folder of all the authors' files for a small network with random weights."""

    folder: Path
    sphere: tuple[np.ndarray, np.ndarray]

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        vertices, faces = self.sphere
        tables = build_connection_tables(vertices, faces, levels=(40, 16, 6), rings=1)
        for kind in ("pool", "unpool"):
            for level, table in enumerate(getattr(tables, kind)):
                np.save(self.folder / f"_{kind}{level}.npy", table)
        tokenizer = MeshConvTokenizer.from_tables(tables, channels=(8, 12, 16), codes=20)
        coded = tokenizer.state_dict()
        official = {theirs: coded[ours] for theirs, ours in tokenizer_names().items()}
        write_checkpoint(
            self.folder / "tokenizer.ckpt", {f"mesh_vqvae.{k}": v for k, v in official.items()}
        )
        moro = build_moro(CONFIG.moro)
        moro.set_codebook(tokenizer.codebook)
        own = moro.state_dict()
        state = {theirs: own[ours] for theirs, ours in moro_names(CONFIG.moro).items()}
        state |= {f"vqvae.{k}": v for k, v in official.items()}
        state |= {name: torch.randn(3) for name in BODY_MODEL_TENSORS}
        write_checkpoint(self.folder / "last.ckpt", state)
        self.expected = own | {
            "trajectory_mean": torch.from_numpy(MEAN), "trajectory_std": torch.from_numpy(STD)
        }  # fmt: skip
        self.expected_tokenizer = coded
        self.write_statistics(MEAN[None, None], STD[None, None])
        with np.load(ROOT / "models/open_body/OPEN_NEUTRAL.npz") as archive:
            body = {name: archive[name] for name in archive.files if name != "posedirs"}
        body["v_template"] = body["v_template"].copy()
        body["v_template"][: len(vertices)] = vertices
        body["f"] = faces.astype(np.uint32)  # the other vertices belong to no triangle
        np.savez(self.folder / "body.npz", **body)

    def write_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        with (self.folder / "stats.pkl").open("wb") as file:
            pickle.dump({"Mean": mean, "Std": std}, file)

    def sources(self) -> OfficialSources:
        sums = {n: hashlib.sha256((self.folder / n).read_bytes()).hexdigest() for n in TABLE_FILES}
        return OfficialSources(
            moro=self.folder / "last.ckpt",
            tokenizer=self.folder / "tokenizer.ckpt",
            connections=self.folder,
            smplx=self.folder / "body.npz",
            statistics=self.folder / "stats.pkl",
            table_sha256=sums,
        )

    def change(self, name: str, edit: Callable[[dict[str, Tensor]], Any]) -> None:
        """Edit the tensors of a checkpoint."""
        state = torch.load(self.folder / name, weights_only=True)["state_dict"]
        edit(state)
        write_checkpoint(self.folder / name, state)


@pytest.fixture()
def authors(tmp_path, sphere) -> Authors:
    (tmp_path / "authors").mkdir()
    return Authors(tmp_path / "authors", sphere)


@pytest.fixture()
def out(tmp_path) -> Path:
    return tmp_path / "models" / "imported"


def refused(authors: Authors, out: Path, match: str, kind: type = CheckpointError) -> None:
    """The import fails with that message and leaves nothing."""
    with pytest.raises(kind, match=match):
        import_official(authors.sources(), out, CONFIG)
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.slow
def test_weights_come_back_to_the_bit(authors, out):
    import_official(authors.sources(), out, CONFIG)
    model = load_model(out)
    for module, expected in (
        (model.moro, authors.expected), (model.tokenizer, authors.expected_tokenizer),
    ):  # fmt: skip
        found = module.state_dict()
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert model.body_model_path == (authors.folder / "body.npz").resolve()
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md", "model.yaml", "moro.safetensors", "tokenizer.safetensors",
    ]  # fmt: skip
    images = torch.randint(0, 256, (1, 4, 3, 64, 48), dtype=torch.uint8)
    _, output = model.moro(images, torch.rand(1, 4, 3), torch.full((1, 4, 6), 20))
    assert output.logits.shape == (1, 4, 6, 20)


def test_the_card_names_every_source(authors, out):
    import_official(authors.sources(), out, CONFIG)
    card = (out / "README.md").read_text()
    for file in ("last.ckpt", "tokenizer.ckpt", "stats.pkl", "body.npz", *TABLE_FILES):
        assert file in card
        assert hashlib.sha256((authors.folder / file).read_bytes()).hexdigest() in card
    assert "licence" in (out / "model.yaml").read_text()


def test_nothing_of_the_body_model_is_written(authors, out):
    import_official(authors.sources(), out, CONFIG)
    written = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"bm_neutral" not in written


def test_the_command_line(authors, out, tmp_path, capsys):
    from moro_ros.cli.cli import build_parser

    sums = tmp_path / "sums.json"
    sums.write_text(json.dumps({"connection_sha256": dict(authors.sources().table_sha256)}))
    config = tmp_path / "config.yaml"
    values = dataclasses.asdict(CONFIG)
    values["moro"]["vit"]["image"] = [64, 48]
    config.write_text(yaml.safe_dump(values))
    words = ["import-official", "--out", str(out), "--config", str(config)]
    words += ["--connection-sums", str(sums), "--connections", str(authors.folder)]
    for option, name in (
        ("--moro", "last.ckpt"), ("--tokenizer", "tokenizer.ckpt"),
        ("--trajectory-stats", "stats.pkl"), ("--smplx", "body.npz"),
    ):  # fmt: skip
        words += [option, str(authors.folder / name)]
    arguments = build_parser("import-official").parse_args(words)
    assert arguments.handler is run
    assert run(arguments) == 0
    assert str(out) in capsys.readouterr().out
    assert load_model(out).moro.num_tokens == 6


def test_what_is_missing_unexpected_or_mis_shaped_is_listed(authors, out):
    def edit(state: dict[str, Tensor]) -> None:
        state["surplus"] = state.pop("smoother.alpha")
        name = "mask_transformer.dst_former.d_pos_enc"
        state[name] = state[name][:, :, 1:]

    authors.change("last.ckpt", edit)
    refused(
        authors, out,
        r"1 missing: smoother.alpha; 1 unexpected: surplus; 1 mis-shaped: mask_transformer."
        r"dst_former.d_pos_enc \(1, 1, 8, 32\) instead of \(1, 1, 9, 32\)",
    )  # fmt: skip


def test_a_renamed_tokenizer_tensor_is_refused(authors, out):
    key = "mesh_vqvae.fully_conv_ae.p_neighbors3"
    authors.change("tokenizer.ckpt", lambda s: s.update({key + "x": s.pop(key)}))
    refused(authors, out, f"1 missing: {key}; 1 unexpected: {key}x")


def test_a_checkpoint_without_the_body_model_is_not_the_published_one(authors, out):
    authors.change("last.ckpt", lambda s: s.pop(BODY_MODEL_TENSORS[3]))
    refused(authors, out, "1 missing: bm_neutral.bm.J_regressor")


def test_another_tokenizer_is_refused(authors, out):
    authors.change("tokenizer.ckpt", lambda s: s["mesh_vqvae.vq_vae._embedding.weight"].add_(1e-3))
    refused(authors, out, "does not match .*last.ckpt: vqvae.vq_vae._embedding.weight")


@pytest.mark.parametrize("row", [4, -1])
def test_a_token_embedding_that_is_not_the_codebook_is_refused(authors, out, row):
    authors.change("last.ckpt", lambda s: s["mask_transformer.token_emb.weight"][row].add_(1e-3))
    refused(authors, out, "not the tokenizer's codebook followed by a row of zeros")


def test_values_that_are_not_finite_are_refused(authors, out):
    authors.change("last.ckpt", lambda s: s["smoother.alpha"].fill_(float("nan")))
    refused(authors, out, "smoother.alpha contain values that are not finite")


def test_truncated_and_foreign_checkpoints_are_refused(authors, out):
    path = authors.folder / "last.ckpt"
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        refused(authors, out, "cannot be read as a PyTorch checkpoint")
    torch.save([1, 2], path)
    refused(authors, out, "has no 'state_dict'")
    path.unlink()
    refused(authors, out, "does not exist")


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_is_run(authors, out, tmp_path):
    target = tmp_path / "attacked"
    with (authors.folder / "stats.pkl").open("wb") as file:
        pickle.dump({"Mean": Attack(target), "Std": STD}, file)
    refused(authors, out, "mkdir, which is not an array")
    authors.write_statistics(MEAN, STD)
    torch.save({"state_dict": {}, "extra": Attack(target)}, authors.folder / "last.ckpt")
    refused(authors, out, "cannot be read")
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_statistics_of_any_pickle_protocol(authors, out, protocol):
    with (authors.folder / "stats.pkl").open("wb") as file:
        pickle.dump({"Mean": MEAN[None, None], "Std": STD[None, None]}, file, protocol)
    import_official(authors.sources(), out, CONFIG)
    np.testing.assert_array_equal(load_model(out).moro.trajectory_std.numpy(), STD)


def test_useless_statistics_are_refused(authors, out):
    authors.write_statistics(np.zeros(9), np.zeros(9))
    refused(authors, out, "All Std must be positive")
    authors.write_statistics(MEAN[:8], STD)
    refused(authors, out, "9 numbers")
    (authors.folder / "stats.pkl").write_bytes(b"\x80\x05garbage")
    refused(authors, out, "is not a pickle")
    (authors.folder / "stats.pkl").unlink()
    refused(authors, out, "--estimate-trajectory-stats")


def test_without_statistics_or_videos_the_remedy_is_named(authors, out):
    sources = dataclasses.replace(authors.sources(), statistics=None)
    with pytest.raises(CheckpointError, match="--estimate-trajectory-stats VIDEO"):
        import_official(sources, out, CONFIG)
    assert not out.exists()


def test_tables_in_another_order_are_refused(authors, out):
    sources = authors.sources()
    path = authors.folder / "_pool6.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(BodyModelError, match=r"_pool6\.npy"):
        import_official(sources, out, CONFIG)
    published = dataclasses.replace(sources, table_sha256=PUBLISHED_SHA256)
    with pytest.raises(BodyModelError, match="another sha256"):
        import_official(published, out, CONFIG)


def test_a_body_of_another_size_is_refused(authors, out):
    sources = dataclasses.replace(
        authors.sources(), smplx=ROOT / "models/open_body/OPEN_NEUTRAL.npz"
    )
    with pytest.raises(BodyModelError, match="the tokenizer codes 110"):
        import_official(sources, out, CONFIG)
    assert not out.exists()


def test_an_existing_model_is_not_overwritten(authors, out):
    out.mkdir(parents=True)
    (out / "model.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        import_official(authors.sources(), out, CONFIG)
    assert (out / "model.yaml").read_text() == "mine"


def test_a_full_disk_leaves_nothing(authors, out, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused(authors, out, "No space left", ConfigError)


def test_nothing_is_written_where_git_would_commit_it(tmp_path):
    tree = tmp_path / "tree"
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    (tree / ".gitignore").write_text("models/private/\n")
    require_uncommittable(tree / "models/private")
    require_uncommittable(tmp_path / "elsewhere/deep")
    with pytest.raises(ConfigError, match="not ignored by git"):
        require_uncommittable(tree / "models/open")
    with pytest.raises(ConfigError, match="not ignored by git"):
        require_uncommittable(tree)
