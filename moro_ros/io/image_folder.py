"""ImageFolder: the images of a folder as the frames of a video, in the order of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from moro_ros.errors import VideoError
from moro_ros.io.frames import FrameSource, VideoFrame

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# Maximum number of damaged images in a message.
NAMED = 3
# EXIF: the tag of the orientation, and its values that swap width and height.
ORIENTATION, LYING = 0x0112, (5, 6, 7, 8)


class ImageFolder(FrameSource):
    """A FrameSource of images of one format and size; image k has the stamp k / rate_hz.

    Images are upright as given by their EXIF data. Names are in natural order: 9.png before 10.png.
    Raises: VideoError if no image can be read, or if formats or sizes differ.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.path, self.rate_hz = path, rate_hz
        self._images = image_files(path)
        if not self._images:
            raise VideoError(f"{path} has no images; expected one of {', '.join(SUFFIXES)}.")
        self.width, self.height = _check(self._images)
        self.frame_count = len(self._images)
        self._damaged: list[str] = []

    def frames(self, start_ns: int = 0) -> Iterator[VideoFrame]:
        """Yield the images from a stamp on; damaged ones are skipped."""
        self._damaged = []
        for number, file in enumerate(self._images):
            stamp_ns = round(number / self.rate_hz * 1e9)
            if stamp_ns < start_ns:
                continue
            if (image := _read(file)) is None:
                self._damaged.append(file.name)
            else:
                yield VideoFrame(stamp_ns, image)

    def report(self) -> str:
        """Return a text of the damaged images so far."""
        if not self._damaged:
            return ""
        names = ", ".join(self._damaged[:NAMED]) + ", ..." * (len(self._damaged) > NAMED)
        count = len(self._damaged)
        are = "image is" if count == 1 else "images are"
        return f"{self.path}: {count} {are} damaged and skipped: {names}."


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order of their names, without hidden ones."""

    def natural(path: Path) -> list[tuple[int, int, str]]:
        parts = re.findall(r"\d+|\D+", path.name)
        return [(0, int(p), p) if p.isdecimal() else (1, 0, p.lower()) for p in parts]

    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted((f for f in files if f.is_file() and f.name[0] != "."), key=natural)


def _check(images: list[Path]) -> tuple[int, int]:
    """Return the width and height of all images but damaged ones; raises VideoError."""
    first: tuple[Path, str, tuple[int, int]] | None = None
    for path in images:
        if (header := _header(path)) is None:
            continue
        kind, size = header
        first = first or (path, kind, size)
        if kind != first[1]:
            raise VideoError(
                f"{path.parent} has images of several formats ({first[0].name} is {first[1]}, "
                f"{path.name} is {kind}); expected one video's images."
            )
        if size != first[2]:
            raise VideoError(
                f"{path.parent} has images of several sizes ({first[0].name} has "
                f"{first[2][0]}x{first[2][1]} pixels, {path.name} {size[0]}x{size[1]}); expected "
                "one video's images."
            )
    if first is None:
        raise VideoError(
            f"{images[0].parent} has no image that can be read: all {len(images)} files are "
            "damaged. Replace them."
        )
    return first[2]


def _header(path: Path) -> tuple[str, tuple[int, int]] | None:
    """Return the format and the upright size of an image without decoding it; None if damaged."""
    try:
        with Image.open(path) as image:
            lying = image.getexif().get(ORIENTATION) in LYING
            size = image.size[::-1] if lying else image.size
            return str(image.format), (size[0], size[1])
    except (OSError, ValueError, SyntaxError):
        return None


def _read(path: Path) -> np.ndarray | None:
    """Decode an image to (H, W, 3) uint8 BGR; None if it is damaged."""
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # more than 8 bits, which Pillow would cut off
                return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None
    return np.ascontiguousarray(rgb[..., ::-1])
