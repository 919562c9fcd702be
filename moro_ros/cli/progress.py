"""The progress bars of `moro predict`: only on a terminal, with the time left for all inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from moro_ros.cli.predict_inputs import Input, Reading
from moro_ros.io.frames import Part, VideoFrame


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress before an input: frames done, and total of all inputs, 0: unknown."""

    heading: str = "Recovering"
    done: int = 0
    total: int = 0

    def over(self, part: Part) -> Iterator[VideoFrame]:
        """Yield the frames of an input under a bar."""
        done, total = (self.done, self.total) if self.total else (0, part.frame_count)
        bar: Iterable[VideoFrame] = tqdm(
            part, self.heading, total or None, initial=done, unit="frame", disable=None
        )
        yield from bar


def progress_of(
    inputs: list[Input], reading: Reading, start_s: float, end_s: float | None
) -> list[Progress]:
    """The progress before each input; inputs are opened to count their frames."""
    counts = [_frames(one, reading, start_s, end_s) for one in inputs]
    total = 0 if None in counts else sum(filter(None, counts))
    done, found = 0, []
    for number, count in enumerate(counts, 1):
        found.append(Progress(f"Recovering {number}/{len(inputs)}", done, total))
        done += count or 0
    return found


def _frames(one: Input, reading: Reading, start_s: float, end_s: float | None) -> int | None:
    """Approximate number of frames of an input: 0 if it cannot be used, None if unknown."""
    try:
        with one.open(reading) as source:
            return Part(source, start_s, end_s).frame_count or None
    except Exception:
        return 0  # processing it raises the error
