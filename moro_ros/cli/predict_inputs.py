"""Inputs of `moro predict`: videos, folders of videos or images, recordings of rosbag2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moro_ros.errors import ConfigError
from moro_ros.io.bag_depth import BagDepth
from moro_ros.io.bag_frames import BagFrames
from moro_ros.io.bag_reader import STORAGES, storage_files
from moro_ros.io.frames import FrameSource
from moro_ros.io.image_folder import ImageFolder, image_files
from moro_ros.io.video import open_video

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".ogv"),
)
Kind = Literal["video", "images", "bag"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Options for reading inputs.

    image_rate_hz: of folders of images. image_topic, info_topic: of bags, empty for the only one.
    own_camera: whether the camera_info of a bag is needed. depth_topic: of bags, empty: no depth;
    depth_info_topic: empty for camera_info in its namespace.
    """

    image_rate_hz: float = 30.0
    image_topic: str = ""
    info_topic: str = ""
    own_camera: bool = True
    depth_topic: str = ""
    depth_info_topic: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """One input. folder: name of the folder of its results if there are several inputs."""

    path: Path
    kind: Kind
    folder: str

    def open(self, reading: Reading) -> FrameSource:
        """Open it; raises MoroError."""
        if self.kind == "images":
            return ImageFolder(self.path, reading.image_rate_hz)
        if self.kind == "bag":
            return BagFrames(
                self.path,
                reading.image_topic,
                reading.info_topic,
                reading.own_camera,
                reading.depth_topic,
            )
        return open_video(self.path)

    def open_depth(self, reading: Reading) -> AbstractContextManager[BagDepth | None]:
        """Open the depth images that are requested, if any; raises MoroError."""
        if not reading.depth_topic:
            return nullcontext()
        if self.kind != "bag":
            raise ConfigError(
                f"--depth-topic: got '{reading.depth_topic}', but {self.path} is no recording of "
                "rosbag2. Omit it for videos and folders of images: they have no depth images."
            )
        return BagDepth(str(self.path), reading.depth_topic, reading.depth_info_topic)

    def identity(self) -> list[object]:
        """Return a key that changes with the input: path, size in bytes, modification time."""
        files = [self.path]
        if self.path.is_dir():
            files = image_files(self.path) if self.kind == "images" else storage_files(self.path)
        states = [file.stat() for file in files]
        newest = max((state.st_mtime_ns for state in states), default=0)
        return [str(self.path.resolve()), sum(state.st_size for state in states), newest]


def find_inputs(paths: Sequence[Path]) -> tuple[list[Input], bool]:
    """Return the inputs and whether each gets a separate folder.

    A folder of videos stands for its videos. A file that does not exist is also an input: opening
    it raises the error. Raises: ConfigError for a folder without any input or with videos and
    images, and for two inputs with the same name.
    """
    found: list[tuple[Path, Kind]] = []
    several = len(paths) > 1
    for path in paths:
        path = path.expanduser()
        if not path.is_dir():
            found.append((path, "bag" if path.suffix in (*STORAGES, ".bag") else "video"))
            continue
        kind, members = _folder(path)
        found += [(member, kind) for member in members]
        several = several or kind == "video"
    stems = Counter(path.stem for path, _ in found)
    inputs = [Input(p, k, p.stem if stems[p.stem] == 1 else p.name) for p, k in found]
    twice = [name for name, count in Counter(one.folder for one in inputs).items() if count > 1]
    if twice:
        raise ConfigError(
            f"Two inputs have the name {twice[0]}, so their results would be in one folder: "
            "process them separately, each with its own --out."
        )
    return inputs, several


def _folder(path: Path) -> tuple[Kind, list[Path]]:
    """Return what a folder contains: itself if it is a recording or a sequence of images."""
    if (path / "metadata.yaml").is_file() or storage_files(path):
        return "bag", [path]
    videos = sorted(
        p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.name[0] != "."
    )
    images = image_files(path)
    if videos and images:
        raise ConfigError(
            f"{path} contains {len(videos)} videos and {len(images)} images: give the videos, or a "
            "folder that only contains the images."
        )
    if videos:
        return "video", videos
    if images:
        return "images", [path]
    raise ConfigError(
        f"{path} contains no videos ({', '.join(VIDEO_SUFFIXES[:5])}, ...), no images and no "
        "recording of rosbag2 (mcap or db3)."
    )
