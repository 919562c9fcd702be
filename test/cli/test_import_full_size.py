"""moro import-official at full size: every published name and shape, there and back."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from moro_ros.body.connections import TABLE_FILES
from moro_ros.cli.import_official import OfficialSources, import_official
from moro_ros.model_config import MoroConfig, load_model_config
from moro_ros.network.official_names import BODY_MODEL_TENSORS, moro_names, tokenizer_names

ROOT = Path(__file__).parents[2]


def write_checkpoint(path: Path, state: dict[str, Tensor]) -> None:
    """What Lightning leaves: the tensors, and plain things beside them."""
    content = {"state_dict": state, "epoch": 3, "global_step": 60_000, "callbacks": {"a": [1, 2]}}
    torch.save({**content, "optimizer_states": [{"state": {0: torch.ones(2)}}]}, path)


def full_size_tables(folder: Path) -> None:
    """Tables of the published sizes, each vertex joined to arbitrary ones."""
    sizes = {
        "pool": [(9383, 31, 9383), (2618, 41, 9383), (2618, 24, 2618), (546, 59, 2618),
                 (546, 28, 546), (87, 84, 546), (87, 34, 87)],
        "unpool": [(9383, 31, 9383), (9383, 17, 2618), (2618, 24, 2618), (2618, 15, 546),
                   (546, 28, 546), (546, 17, 87), (87, 34, 87)],
    }  # fmt: skip
    for kind, levels in sizes.items():
        for level, (outputs, neighbours, inputs) in enumerate(levels):
            table = np.zeros((outputs, 1 + 2 * neighbours), np.int32)
            table[:, 0] = neighbours
            table[:, 1::2] = np.random.default_rng(level).integers(0, inputs, (outputs, neighbours))
            np.save(folder / f"_{kind}{level}.npy", table)


@pytest.fixture()
def short_lived() -> Iterator[Path]:
    """A folder for gigabytes: pytest would keep those of its last three runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    "MORO_FULL_SIZE" not in os.environ,
    reason="writes 4 GB and takes 8 GB of memory: set MORO_FULL_SIZE=1 to run it",
)
def test_the_full_size_checkpoint_goes_in_and_back(short_lived):
    """Every name and shape of the published files; each tensor holds one number of its own."""
    tmp_path = short_lived
    shapes = {}
    for line in (ROOT / "test/golden/official_tensors.txt").read_text().splitlines():
        name, size = line.rsplit(" ", 1)
        shapes[name] = tuple(int(n) for n in size.split("x") if n)
    assert len(shapes) == 778
    values = {name: 1.0 + number / 4096 for number, name in enumerate(shapes)}
    # An expanded number takes no space in the checkpoint.
    state = {name: torch.tensor(values[name]).expand(shape) for name, shape in shapes.items()}
    embedding = torch.full((513, 9), values["vqvae.vq_vae._embedding.weight"])
    embedding[-1] = 0
    state["mask_transformer.token_emb.weight"] = embedding
    tokenizer = {
        name.replace("vqvae.", "mesh_vqvae."): value
        for name, value in state.items() if name.startswith("vqvae.")
    }  # fmt: skip
    assert len(tokenizer) == 34
    write_checkpoint(tmp_path / "tokenizer.ckpt", tokenizer)
    write_checkpoint(
        tmp_path / "last.ckpt", state | {name: torch.ones(1) for name in BODY_MODEL_TENSORS}
    )
    full_size_tables(tmp_path)
    with (tmp_path / "stats.pkl").open("wb") as file:
        pickle.dump({"Mean": np.zeros((1, 1, 9)), "Std": np.ones((1, 1, 9))}, file)
    with np.load(ROOT / "models/open_body/OPEN_NEUTRAL.npz") as archive:
        body = {name: archive[name] for name in archive.files if name != "posedirs"}
    ring = np.arange(9381)
    body["f"] = np.stack([ring, ring + 1, ring + 2], 1)  # joins vertices 0 to 9382
    np.savez(tmp_path / "body.npz", **body)
    files = [tmp_path / n for n in ("last.ckpt", "tokenizer.ckpt", "", "body.npz", "stats.pkl")]
    sums = {n: hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in TABLE_FILES}
    out = tmp_path / "out"
    config = load_model_config(ROOT / "models/moro_vit_h.yaml")
    import_official(OfficialSources(*files, table_sha256=sums), out, config)
    names = moro_names(MoroConfig())
    with safe_open(out / "moro.safetensors", "pt") as written:
        assert set(written.keys()) == {*names.values(), "trajectory_mean", "trajectory_std"}
        for theirs, ours in names.items():
            found = written.get_tensor(ours)
            assert tuple(found.shape) == shapes[theirs]
            assert torch.equal(found, state[theirs])
    coded = load_file(out / "tokenizer.safetensors")
    for theirs, ours in tokenizer_names().items():
        assert torch.equal(coded[ours], state[f"vqvae.{theirs}"])
