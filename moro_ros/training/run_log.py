"""The log of a run: a progress bar, log.jsonl, and TensorBoard's files where it is installed."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

log = logging.getLogger(__name__)
LINES = "log.jsonl"
SHOWN = 4  # figures beside the progress bar


class RunLog:
    """Collects the figures of every step and writes their means now and then.

    folder: of the run; the lines of steps after `first` are dropped, they will be made again.
    """

    def __init__(self, folder: Path, name: str, first: int, steps: int | None) -> None:
        self.path = folder / LINES
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.step = first
        folder.mkdir(parents=True, exist_ok=True)
        self._forget_after(first)
        # A bar needs a terminal; a file gets plain lines.
        self.bar = tqdm(
            total=steps, initial=first, desc=name, unit="step", disable=not sys.stderr.isatty()
        )
        self.board = summary_writer(folder / "tensorboard", first)

    def add(self, step: int, figures: dict[str, Tensor | float]) -> None:
        """Take in the figures of a step, without waiting for the device."""
        for name, value in figures.items():
            value = value.detach() if isinstance(value, Tensor) else torch.tensor(value)
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.bar.update(step - self.step)
        self.step = step

    def report(self, extra: dict[str, float]) -> None:
        """Write the means since the last report, and further figures of the moment."""
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
        """End the bar and write out what TensorBoard holds back."""
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
                continue  # the kill met the line while it was written
            if step <= first:
                kept.append(line + "\n")
        self.path.write_text("".join(kept), encoding="utf-8")


def summary_writer(folder: Path, first: int) -> Any | None:
    """Return TensorBoard's writer, or None where it is not installed (extra "train")."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed (pip install 'moro_ros[train]'): %s only", LINES)
        return None
    return SummaryWriter(str(folder), purge_step=first)
