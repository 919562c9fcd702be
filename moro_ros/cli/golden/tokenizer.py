"""The results of our mesh tokenizer for the tokenizer groups of a golden set (golden_set.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.cli.golden.golden_set import Group, Subject
from moro_ros.network.official_names import MORO_TOKENIZER_PREFIX, tokenizer_names
from moro_ros.network.tokenizer import MeshConvTokenizer

NO_TABLES = "needs the connection tables (--connections)"
# Diagnostics and losses of weight 0 in the reference's tokenizer; nothing here computes them.
TOKENIZER_EXTRAS = ("ortho_loss", "entropy_loss", "perplexity", "coverage")


def load_tokenizer(
    subject: Subject, weights: dict[str, Tensor], prefix: str = MORO_TOKENIZER_PREFIX
) -> MeshConvTokenizer:
    """The mesh tokenizer of a set from weights under their published names."""
    tables = subject.tables
    if tables is None:
        raise ValueError("a tokenizer needs its connection tables")
    return tokenizer_from(tables, {
        name.removeprefix(prefix): value
        for name, value in weights.items() if name.startswith(prefix)
    }).to(subject.device)  # fmt: skip


def tokenizer_from(tables: ConnectionTables, official: dict[str, Tensor]) -> MeshConvTokenizer:
    """A tokenizer of given tables and weights under their published names without prefix."""
    levels = len(tables.pool) // 2
    names = tokenizer_names(levels)
    channels = [len(official[f"fully_conv_ae.bias{2 * level}"]) for level in range(levels)]
    codes, code_dim = official["vq_vae._embedding.weight"].shape
    module = MeshConvTokenizer.from_tables(
        tables, channels=channels, codes=codes, code_dim=code_dim
    )
    state = module.state_dict()  # holds the tables' ids, which have no published name
    state.update({ours: official[theirs] for theirs, ours in names.items()})
    module.load_state_dict(state)
    return module.eval()


def compare_tokenizer(subject: Subject, group: Group) -> None:
    """a: the full-size tokenizer, if its tables are at hand."""
    group.skip("not computed: not used in training or inference", *TOKENIZER_EXTRAS)
    if subject.tables is None:
        group.skip(NO_TABLES)
        return
    _compare_tokenizer(load_tokenizer(subject, subject.golden.weights), subject, group)


def compare_small_tokenizer(subject: Subject, group: Group) -> None:
    """h: a small tokenizer that brings its own tables, with one training step of the codebook."""
    group.skip("not computed: not used in training or inference", *TOKENIZER_EXTRAS)
    cpu = torch.device("cpu")
    levels = sum(name.startswith("table.pool") for name in group.arrays)
    tables = ConnectionTables(
        *(
            tuple(group.tensor(f"table.{kind}{level}", cpu).numpy() for level in range(levels))
            for kind in ("pool", "unpool")
        )
    )
    weights = {name[3:]: group.tensor(name, cpu) for name in group.arrays if name.startswith("sd.")}
    tokenizer = tokenizer_from(tables, weights).to(subject.device)
    _compare_tokenizer(tokenizer, subject, group)
    if "train_mesh_in" in group:
        latents = tokenizer.encode_latent(group.tensor("train_mesh_in", subject.device))
        quantizer = tokenizer.quantizer.train()
        group.compare("train_ids", quantizer(latents)[1])
        group.compare("after_train_step._ema_w", quantizer.ema_sum)
        group.compare("after_train_step._ema_cluster_size", quantizer.ema_count)
        group.compare("after_train_step.code_count", quantizer.usage)
        group.compare("after_train_step._embedding.weight", quantizer.embedding)


def _compare_tokenizer(tokenizer: MeshConvTokenizer, subject: Subject, group: Group) -> None:
    """Layers, latents, ids, meshes and the commitment loss of one tokenizer."""
    mesh = group.tensor("mesh_in", subject.device)
    latents = tokenizer.encode_latent(mesh)
    group.compare("z", latents)
    ids = tokenizer.quantizer.encode(latents)
    group.compare("ids", ids)
    group.compare("forward_indices", ids)
    group.compare("commitment_loss", tokenizer.quantizer(latents)[2])
    golden_ids = torch.from_numpy(group.arrays["ids"]).to(subject.device)
    for name in ("recon", "recon_from_ids"):
        group.compare(name, tokenizer.decode(golden_ids))
    first = group.arrays.get("layer00_out")
    if first is not None:
        features = mesh[: len(first)].transpose(0, 1)
        layers = [*tokenizer.encoder, *tokenizer.decoder]
        for number, layer in enumerate(layers):
            features = layer(features)
            convolution = number % len(tokenizer.encoder) % 2 == 0
            if convolution and number + 1 < len(layers):
                features = torch.nn.functional.elu(features)
            group.compare(f"layer{number:02d}_out", features.transpose(0, 1))
