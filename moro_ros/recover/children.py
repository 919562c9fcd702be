"""How frequent children are among people, and how small: one assumption for all sources."""

from __future__ import annotations

import numpy as np

# Share of children, and the logarithm of an adult's size over that of the smallest child.
CHILDREN, SMALLEST = 0.2, 0.65


def child_density(log_size: np.ndarray) -> np.ndarray:
    """Return the density of children by the logarithm of their size over an adult's."""
    return ((log_size > -SMALLEST) & (log_size < 0.0)) / SMALLEST
