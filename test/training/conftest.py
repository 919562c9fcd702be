"""A toy recipe that trains in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

LOOP = {
    "steps": 4, "report_every": 2, "save_every": 1, "optimizer": "muon", "learning_rate": 1e-3,
    "precision": "float32",
}  # fmt: skip
WEIGHTS = {
    "tokens": 1.0, "mesh": 1.0, "joints": 1.0, "body_rotation": 1.0, "root_rotation": 1.0,
    "coarse_rotation": 1.0, "depth": 1.0, "coarse_depth": 1.0, "coarse_center": 1.0,
    "reprojection": 1.0, "betas": 0.05, "velocity": 1.0, "acceleration": 1.0,
    "mesh_skating_final": 0.1,
}  # fmt: skip


@pytest.fixture()
def recipe(motion_file) -> dict[str, Any]:
    """A whole small network that starts from nothing: stages tokenizer and video."""
    return {
        "codec": {"kind": "patch"},
        "data": {"motion": str(motion_file), "validation": str(motion_file)},
        "mesh": {"vertices": 128, "tokens": 6, "seen": 40, "rebuilt": 24, "width": 48},
        "moro": {
            "layout": "frame", "image": "keypoints", "trajectory": "box", "rotation_head": True,
            "dim": 32, "heads": 4, "mlp_ratio": 2, "encoder_depth": 1, "decoder_depth": 1,
            "num_tokens": 6, "logit_rank": 8, "keypoints": {"hidden": 32, "blocks": 1},
        },
        "tokenizer": {"batch": 100, "loop": {**LOOP, "steps": 1}},
        "video": {
            "task": "video", "phases": [[1.0, 2, 4]], "loop": LOOP, "windows": 4,
            "masks": {"guided": 1, "random": 1}, "live": 0.5, "near_codes": 1.0,
            "weights": WEIGHTS,
        },
    }  # fmt: skip


@pytest.fixture()
def write(tmp_path):
    """Write a recipe; returns its file."""

    def written(recipe: dict[str, Any]) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return written
