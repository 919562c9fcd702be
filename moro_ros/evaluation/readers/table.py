"""The readers by name of the method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers import gvhmr, moro, prompthmr, rohm, tokenhmr, wham
from moro_ros.evaluation.readers.bodies import Bodies

Reader = Callable[[Path, Bodies], list[FoundMotion]]

READERS: Mapping[str, Reader] = {
    "moro": moro.read,
    "wham": wham.read,
    "gvhmr": gvhmr.read,
    "prompthmr": prompthmr.read,
    "tokenhmr": tokenhmr.read,
    "rohm": rohm.read,
}
