"""The loop: a killed run and one of two processes end with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moro_ros.cli.cli import main

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def words(stage: str, recipe: Path, out: Path, *more: str) -> list[str]:
    shared = ["--config", str(recipe), "--out", str(out), "--device", "cpu", "--threads", "1"]
    return ["train", stage, *shared, *more]


def train(stage: str, recipe: Path, out: Path, *more: str) -> None:
    assert main(words(stage, recipe, out, *more)) == 0


def weights(out: Path, stage: str = "video") -> dict[str, torch.Tensor]:
    return load_file(out / stage / "weights.safetensors")


@pytest.fixture()
def tokenizer(recipe, write, tmp_path) -> str:
    """The weights file of a tokenizer of the toy recipe."""
    train("tokenizer", write(recipe), tmp_path / "codec")
    return str(tmp_path / "codec" / "tokenizer" / "tokenizer.safetensors")


@pytest.mark.slow
def test_a_run_killed_without_warning_resumes_to_the_bit(recipe, write, tokenizer, tmp_path):
    recipe["video"]["loop"] = {**recipe["video"]["loop"], "steps": 12, "save_every": 3}
    path = write(recipe)
    train("video", path, tmp_path / "whole", "--tokenizer", tokenizer)
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "moro_ros.cli.cli"]
    command += words("video", path, cut, "--tokenizer", tokenizer)
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not (cut / "video" / "checkpoint.pt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (cut / "video" / "weights.safetensors").exists(), "killed too late to show anything"
    train("video", path, cut, "--tokenizer", tokenizer, "--resume")
    whole, resumed = weights(tmp_path / "whole"), weights(cut)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    steps = [json.loads(line)["step"] for line in (cut / "video" / "log.jsonl").open()]
    assert steps == [2, 4, 6, 8, 10, 12]


@pytest.mark.slow
def test_two_processes_agree_with_one_on_the_same_passes(recipe, write, tokenizer, tmp_path):
    loop = {**recipe["video"]["loop"], "steps": 3, "parts": 2, "optimizer": "adamw"}
    recipe["video"]["loop"] = {**loop, "first": 1.0, "warm_up": 0.0}
    path = write(recipe)
    train("video", path, tmp_path / "one", "--tokenizer", tokenizer)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    launcher += ("--master-addr", "127.0.0.1", "--master-port", str(port), "-m")
    command = [*launcher, "moro_ros.cli.cli"]
    command += words("video", path, tmp_path / "two", "--tokenizer", tokenizer)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    recipe["video"]["loop"] = {**recipe["video"]["loop"], "parts": 1}
    train("video", write(recipe), tmp_path / "half", "--tokenizer", tokenizer)
    half = weights(tmp_path / "half")
    off = max(float((one[name] - two[name]).abs().max()) for name in one)
    other = max(float((one[name] - half[name]).abs().max()) for name in one)
    assert off < 2e-5 < 1e-3 < other, (off, other)
    manifest = json.loads((tmp_path / "two" / "video" / "manifest.json").read_text())
    assert manifest["processes"] == 2
