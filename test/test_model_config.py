"""model.yaml: its numbers are checked, unknown ones are errors, the defaults are the paper's."""

from __future__ import annotations

import pytest

from moro_ros.errors import ConfigError
from moro_ros.model_config import MoroConfig, load_model_config


def load(tmp_path, text: str):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return load_model_config(path)


def test_given_numbers_replace_the_papers(tmp_path):
    config = load(tmp_path, "moro: {dim: 384, image: keypoints, keypoints: {tokens: 2}}")
    assert config.moro.dim == 384 and config.moro.image_tokens == 2
    assert config.moro.decoder_depth == MoroConfig().decoder_depth == 2


def test_image_tokens_of_the_paper():
    assert MoroConfig().image_tokens == 16 * 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("moro: {layuot: frame}", "Did you mean 'layout'"),
        ("moro: {layout: frames}", "mesh_tokens, frame"),
        ("moro: {dim: 384.5}", "whole number"),
        ("moro: {dim: wide}", "expected a whole number"),
        ("moro: {dim: 100, heads: 8}", "multiple of 16"),
        ("moro: {keypoints: {visibility_threshold: 2}}", "0.0 to 1.0"),
        ("tokenizer: {kind: grid}", "graph, patch"),
        ("moro: 3", "mapping"),
        ("moro: [", "Cannot read"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_missing_description(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.yaml"):
        load_model_config(tmp_path / "model.yaml")
