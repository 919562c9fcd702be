"""Fit the error against the hours of training, and draw it.

Usage: .venv/bin/python scripts/training_curve.py

It reads the rows "hours: mm" of docs/training.md, prints the fits as a table and writes
docs/images/training_curve.png.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
TARGETS_MM = {"validation, noise": 46.0, "validation, occluded": 58.0}
DRAWN_HOURS = 100.0
EXPONENTS = np.linspace(0.02, 1.0, 99)


def read_series(text: str) -> dict[str, np.ndarray]:
    """Return (N, 2) hours and mm of every table row with at least two pairs "hours: mm"."""
    found = {}
    for name, cell in re.findall(r"^\| ([^|]+) \| ([\d.]+: [\d.]+,[^|]*) \|$", text, re.MULTILINE):
        found[name] = np.array(re.findall(r"([\d.]+): ([\d.]+)", cell), dtype=float)
    return found


def fitted(points: np.ndarray, floor: bool) -> tuple[float, float, float]:
    """Fit error = a + b hours^-c, a >= 0, to points (N, 2); return a mm, b mm and c.

    floor: a is fitted, else 0.
    """
    hours, error = points.T
    best, least = (0.0, 0.0, 0.0), np.inf
    for c in EXPONENTS:
        columns = np.stack([np.full_like(hours, floor), hours**-c], axis=1)
        a, b = np.linalg.lstsq(columns, error, rcond=None)[0]
        squares = float(np.sum((columns @ (a, b) - error) ** 2))
        if squares < least and a >= 0:
            best, least = (float(a), float(b), float(c)), squares
    return best


def hours_to(target_mm: float, a: float, b: float, c: float) -> float:
    """Return the hours after which a fit reaches an error; infinite if it never does."""
    reached = target_mm > a and b > 0 and c > 0
    return ((target_mm - a) / b) ** (-1 / c) if reached else np.inf


def summary(name: str, points: np.ndarray) -> str:
    """Return the table row of a series: gain of a doubling, both fits, and hours to the target."""
    per_doubling = -np.polyfit(np.log2(points[:, 0]), points[:, 1], 1)[0]
    law, floored = fitted(points, False), fitted(points, True)
    a, b, c = floored
    target = TARGETS_MM.get(name)
    reached = [f"{hours_to(target, *fit):.2g}" for fit in (law, floored) if target]
    formula = f"{law[1]:.0f} h^-{law[2]:.2f} | {a:.0f} + {b:.0f} h^-{c:.2f}"
    return f"| {name} | {per_doubling:.1f} | {formula} | {' / '.join(reached)} |"


def main() -> None:
    """Print the table and draw the chart."""
    figure = Figure((9.0, 4.8), 100, constrained_layout=True)
    axes = figure.add_subplot(xscale="log", xlabel="hours of training", ylabel="MPJPE [mm]")
    print("| series | mm per doubling | fit to 0 | fit with a floor | hours to the target |")
    print("|---|---|---|---|---|")
    for name, points in read_series((DOCS / "training.md").read_text(encoding="utf-8")).items():
        print(summary(name, points))
        hours = np.geomspace(points[0, 0], DRAWN_HOURS)
        (line,) = axes.plot(*points.T, "o", label=name)
        for floor, style in ((False, "-"), (True, ":")):
            a, b, c = fitted(points, floor)
            axes.plot(hours, a + b * hours**-c, style, color=line.get_color(), lw=1)
        if name in TARGETS_MM:
            axes.axhline(TARGETS_MM[name], color=line.get_color(), lw=0.5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(color="0.85", which="both")
    axes.legend()
    figure.savefig(DOCS / "images" / "training_curve.png")


if __name__ == "__main__":
    main()
