"""Training with several processes started by torchrun (torch.distributed).

torchrun sets the environment variables RANK, WORLD_SIZE, LOCAL_RANK; without them there is one
process. Gradients are averaged by DistributedDataParallel.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from moro_ros.errors import ConfigError

CPU = torch.device("cpu")
# bfloat16 is used if a product takes less than this share of its time in float32; autocast also
# spends time on conversions.
FASTER = 0.75


@dataclass(frozen=True, slots=True)
class World:
    """The rank of this process, the number of processes, and its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def mine(self, parts: int) -> range:
        """Return which of a step's passes this process computes; 0 parts: one per process.

        Raises: ConfigError if they cannot be divided evenly among the processes.
        """
        parts = parts or self.size
        if parts % self.size:
            raise ConfigError(
                f"loop.parts: got {parts} passes per step for {self.size} processes; expected a "
                f"multiple of {self.size}, or 0 for one each."
            )
        each = parts // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def agree(self, value: float) -> float:
        """Return the first process's value."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    device: "auto", "cpu" or "cuda"; each process takes the GPU of its local rank.
    Raises: ConfigError if the device is not available.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: expected auto, cpu or cuda.")
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ConfigError("--device cuda: PyTorch finds no CUDA device. Use --device cpu.")
    place = CPU
    if device == "cuda" or (device == "auto" and found):
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, place)
    finally:
        dist.destroy_process_group()


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of autocast, None for plain float32.

    precision: "float32", "bfloat16", or "auto", bfloat16 if the hardware is faster with it.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = faster_in_bfloat16()
    return torch.bfloat16 if native else None


@functools.cache
def faster_in_bfloat16() -> bool:
    """Return whether the CPU multiplies matrices faster in bfloat16, measured once per process.

    The first of several processes decides for all: with different precisions of Muon their weights
    would drift apart.

    A CPU without the instructions emulates it, up to a hundred times slower, so nothing is measured
    there. With the instructions, some CPUs are faster and others take twice the time of float32.
    """
    able = torch.cpu.get_capabilities()
    if not (able.get("avx512_bf16") or able.get("amx_bf16")):
        return False
    faster = product_seconds(torch.bfloat16) < FASTER * product_seconds(torch.float32)
    if dist.is_available() and dist.is_initialized():
        decision = torch.tensor([faster])
        dist.broadcast(decision, 0)
        faster = bool(decision)
    return faster


def product_seconds(dtype: torch.dtype) -> float:
    """Return the shortest time of five products of the size of a layer of the open model."""
    left, right = torch.ones(1024, 512, dtype=dtype), torch.ones(512, 1024, dtype=dtype)
    times = []
    for _ in range(6):  # the first one is slower
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return min(times[1:])
