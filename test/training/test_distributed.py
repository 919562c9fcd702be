"""Processes: how a step's passes are shared, and which device and precision are taken."""

import pytest
import torch

from moro_ros.errors import ConfigError
from moro_ros.training import distributed
from moro_ros.training.distributed import World, autocast_dtype, joined_world


def test_passes_are_shared_evenly_and_completely():
    for size, parts in ((1, 3), (2, 4), (4, 4), (3, 0)):
        shared = [part for rank in range(size) for part in World(rank, size).mine(parts)]
        assert shared == list(range(parts or size))
    with pytest.raises(ConfigError, match="multiple of 2"):
        World(0, 2).mine(3)


def test_devices_that_are_not_there_are_told(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with joined_world("auto") as world:
        assert (world.rank, world.size, world.device.type, world.first) == (0, 1, "cpu", True)
        assert world.agree(0.3) == 0.3
    for device, words in (("cuda", "finds no CUDA"), ("tpu", "auto, cpu or cuda")):
        with pytest.raises(ConfigError, match=words), joined_world(device):
            pass


@pytest.mark.parametrize(
    ("able", "share_of_float32", "expected"),
    [
        ({"avx512_bf16": True}, 0.5, torch.bfloat16),
        ({"amx_bf16": True}, 0.1, torch.bfloat16),
        ({"avx512_bf16": True}, 1.9, None),
        ({}, 0.1, None),
    ],
)
def test_bfloat16_is_taken_where_the_hardware_multiplies_it_faster(
    monkeypatch, able, share_of_float32, expected
):
    seconds = {torch.float32: 1.0, torch.bfloat16: share_of_float32}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(distributed, "product_seconds", seconds.__getitem__)
    monkeypatch.setattr(
        distributed, "faster_in_bfloat16", distributed.faster_in_bfloat16.__wrapped__
    )
    cpu = torch.device("cpu")
    assert autocast_dtype("auto", cpu) is expected
    assert autocast_dtype("float32", cpu) is None
    assert autocast_dtype("bfloat16", cpu) is torch.bfloat16
