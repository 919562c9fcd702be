"""Tables of results on the terminal: Markdown rows, and numbers fit for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def rounded(value: float, digits: int = 2) -> float | None:
    """Return a number for JSON; what could not be measured is null."""
    return round(value, digits) if math.isfinite(value) else None


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of equal keys as a Markdown table."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join("" if row[n] is None else str(row[n]) for n in names) + " |")
