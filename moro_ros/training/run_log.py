"""The records of a run: its manifest, a progress bar, log.jsonl, TensorBoard's files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from moro_ros.resources import file_sha256

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
    if not path.is_dir():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
    return f"names and sizes {digest.hexdigest()}"


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


log = logging.getLogger(__name__)
LINES = "log.jsonl"
SHOWN = 4  # figures next to the progress bar


class RunLog:
    """Collects the figures of every step and writes their means periodically.

    folder: of the run; the lines of steps after `first` are dropped, because these are repeated.
    """

    def __init__(self, folder: Path, name: str, first: int, steps: int | None) -> None:
        self.path = folder / LINES
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.step = first
        folder.mkdir(parents=True, exist_ok=True)
        self._forget_after(first)
        # A bar requires a terminal; a file gets plain lines.
        self.bar = tqdm(
            total=steps, initial=first, desc=name, unit="step", disable=not sys.stderr.isatty()
        )
        self.board = summary_writer(folder / "tensorboard", first)

    def add(self, step: int, figures: dict[str, Tensor | float]) -> None:
        """Add the figures of a step, without waiting for the device."""
        for name, value in figures.items():
            value = value.detach() if isinstance(value, Tensor) else torch.tensor(value)
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.bar.update(step - self.step)
        self.step = step

    def report(self, extra: dict[str, float]) -> None:
        """Write the means since the last report, and additional current figures."""
        # A term that is not computed in every step has its mean over those in which it was.
        means = {name: float(value) / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        line: dict[str, Any] = {"step": self.step, **extra, **means}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in {**extra, **means}.items():
                self.board.add_scalar(name, value, self.step)
        if self.bar.disable:
            words = " ".join(f"{name} {value:.4g}" for name, value in line.items())
            log.info("%s", words)
        else:
            shown = [name for name in ("loss", *means) if name in means]
            self.bar.set_postfix({name: f"{means[name]:.4g}" for name in shown[:SHOWN]})

    def close(self) -> None:
        """Close the bar and flush TensorBoard."""
        self.bar.close()
        if self.board is not None:
            self.board.close()

    def _forget_after(self, first: int) -> None:
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                step = json.loads(line)["step"]
            except json.JSONDecodeError:
                continue  # the run was killed while this line was written
            if step <= first:
                kept.append(line + "\n")
        self.path.write_text("".join(kept), encoding="utf-8")


def summary_writer(folder: Path, first: int) -> Any | None:
    """Return TensorBoard's writer, or None if it is not installed (extra "train")."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed (pip install tensorboard): %s only", LINES)
        return None
    return SummaryWriter(str(folder), purge_step=first)
