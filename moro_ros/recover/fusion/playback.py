"""Fusion of recorded cameras, each with its own times, rate and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.looks import FusedPerson
from moro_ros.types import BodyMotion, Frame


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of one camera's pipeline for one image: people and their motion."""

    frame: Frame
    motions: tuple[BodyMotion, ...]


class _Reel:
    """The images of one camera, read one image ahead."""

    def __init__(self, name: str, images: Iterator[Taken]) -> None:
        self._name, self._images = name, images
        self._newest_ns: int | None = None
        self.next: Taken | None = next(images, None)

    def bring(self, fusion: Fusion, stamp_ns: int) -> None:
        """Give the fusion all images up to the first at or after a time."""
        while self.next is not None and (self._newest_ns is None or self._newest_ns < stamp_ns):
            frame = self.next.frame
            fusion.add(self._name, frame, self.next.motions)
            self._newest_ns, self.next = frame.stamp_ns, next(self._images, None)
        if self._newest_ns is None or self._newest_ns < stamp_ns:
            fusion.end(self._name)  # its video has ended


def play(
    fusion: Fusion, cameras: Mapping[str, Iterator[Taken]]
) -> Iterator[tuple[int, tuple[FusedPerson, ...]]]:
    """Yield times [ns] and all people then; times are those of the first camera that has images.

    cameras: by name, on one clock. If a camera ends, the others continue.
    """
    reels = [_Reel(name, images) for name, images in cameras.items()]
    while (leader := next((reel.next for reel in reels if reel.next), None)) is not None:
        stamp_ns = leader.frame.stamp_ns
        for reel in reels:
            reel.bring(fusion, stamp_ns)
        yield stamp_ns, fusion.at(stamp_ns)
