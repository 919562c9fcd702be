"""StepRunner: live steps in the precision and on the device asked for, at the least cost each."""

from __future__ import annotations

from moro_ros.inference.engine import RowNetwork, Step, TorchRows, decode_step
from moro_ros.inference.sampling import MaskedDecoding
from moro_ros.network.moro import MoRo
from moro_ros.network.rows import Past


class StepRunner:
    """Runs live steps as they come; soft: see decode_masked."""

    fixed_shapes = False

    def __init__(self, moro: MoRo, soft: bool, network: RowNetwork | None = None) -> None:
        self.moro = moro
        self.soft = soft
        self.network = network or TorchRows(moro)

    def run(self, step: Step, passes: int) -> tuple[MaskedDecoding, Past]:
        """Decode the rows of a step; returns the decoding and the rows' keys and values."""
        return decode_step(self.moro, self.network, step, passes, self.soft)
