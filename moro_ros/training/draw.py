"""What decides a pass: its place in the run, and the seed that follows from it.

Everything random in a pass follows from (seed of the stage, step, part) alone, so that a resumed
run, and one spread over several processes, draws what an uninterrupted single one would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Draw:
    """One pass: step and part (of the step's passes), seed of the stage, clips and their frames."""

    seed: int
    step: int
    part: int
    clips: int
    frames: int

    def rng(self, purpose: int) -> np.random.Generator:
        """Return the generator of one purpose, which no other pass or purpose shares."""
        return np.random.default_rng([self.seed, self.step, self.part, purpose])

    def torch_seed(self) -> int:
        """Return the seed of torch's own generators for this pass."""
        return int(self.rng(TORCH).integers(2**62))


DATA, MASKS, TORCH = range(3)
