"""Average the weights of a training and of the weights that it started from.

Usage: .venv/bin/python scripts/average_weights.py START TRAINED OUT (three safetensors files)

Weights of one training are often better when averaged than at its end (Izmailov et al., UAI 2018;
Wortsman et al., ICML 2022). It costs nothing, but measure it on validation motion.
"""

import sys

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor


def averaged(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of two states with the same names and shapes; integers are the second's."""
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        raise SystemExit("The files have different weights: give two of the same architecture.")
    return {
        name: (first[name] * 0.5 + weight * 0.5).contiguous()
        if weight.is_floating_point()
        else weight
        for name, weight in second.items()
    }


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    start, trained, out = sys.argv[1:]
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    save_file(averaged(load_file(start), load_file(trained)), out, metadata)
