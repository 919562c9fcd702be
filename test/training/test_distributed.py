"""Processes: how a step's passes are shared, and which device and precision are taken."""

import pytest
import torch

from moro_ros.errors import ConfigError
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
    ("able", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({}, None)],
)
def test_bfloat16_is_taken_where_the_hardware_multiplies_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    cpu = torch.device("cpu")
    assert autocast_dtype("auto", cpu) is expected
    assert autocast_dtype("float32", cpu) is None
    assert autocast_dtype("bfloat16", cpu) is torch.bfloat16
