"""A widened encoder computes the same as before, with units that can become different."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from moro_ros.network.image_encoders import KeypointImageEncoder

PATH = Path(__file__).parents[2] / "scripts" / "widen_encoder.py"


def test_the_wide_encoder_computes_the_same() -> None:
    spec = importlib.util.spec_from_file_location("widen_encoder", PATH)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    torch.manual_seed(0)
    narrow, wide = (
        KeypointImageEncoder(
            dim=160, num_keypoints=19, hidden=width, blocks=2, floor=True, estimate=True
        )
        for width in (32, 64)
    )
    prefixed = {f"image_encoder.{name}": w for name, w in narrow.state_dict().items()}
    state = script.widened(prefixed | {"decoder.weight": torch.ones(3)})
    assert torch.equal(state.pop("decoder.weight"), torch.ones(3))
    wide.load_state_dict({n.removeprefix("image_encoder."): w for n, w in state.items()})
    observation = torch.rand(5, 20, 4)
    box = torch.tensor([[0.1, -0.2, 0.6]]).repeat(5, 1)
    before, after = narrow(observation, box), wide(observation, box)
    torch.testing.assert_close(after.image_tokens, before.image_tokens, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.weak_camera, before.weak_camera, atol=1e-4, rtol=1e-4)
    first = wide.mlps[0].fc1.weight
    assert not torch.equal(first[:, :32], first[:, 32:])
