"""The record of what a run was made of: command, numbers, data, commit, machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

MANIFEST = "manifest.json"


def write_manifest(
    folder: Path, numbers: Any, data: Iterable[Path], seed: int, processes: int, device: str
) -> None:
    """Write manifest.json.

    numbers: the whole configuration (a dataclass); data: files and folders that are read.
    """
    manifest = {
        "command": " ".join(["moro", *sys.argv[1:]]),
        "numbers": dataclasses.asdict(numbers),
        "data": {str(path): fingerprint(path) for path in data},
        "seed": seed,
        "commit": commit(),
        "torch": torch.__version__,
        "processes": processes,
        "device": device,
        "threads": torch.get_num_threads(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's list of files and sizes."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        return f"names and sizes {digest.hexdigest()}"
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def commit() -> str:
    """Return the commit of the sources that run, "-dirty" if they were changed, or "unknown"."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
