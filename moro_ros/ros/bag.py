"""MotionBag: one .mcap file of serialised messages, readable by rosbag2 and the mcap tools."""

from __future__ import annotations

from collections import defaultdict, deque
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from moro_ros.io.bag_topics import qos_of
from moro_ros.io.motion_files import AppendFile
from moro_ros.resources import share_path

# Chunks (1 MB or more each) that may be dropped for the index. A 64 GB file needs ten.
SPARE_CHUNKS = 16


class Mark(NamedTuple):
    """State of the writer when a chunk was complete; size: of the file, bytes."""

    size: int
    chunks: int
    counts: dict[int, int]
    stats: dict[int, int]
    times: tuple[int, int]


class MotionBag:
    """Appends CDR messages topic by topic; the file is complete once close() returned.

    folder: a path that does not exist yet; the file becomes folder / (folder.name + ".mcap").
    compressed: by zstd, chunk by chunk, as rosbag2 does with storage_preset_profile zstd_fast.
    """

    def __init__(self, folder: Path, compressed: bool = False) -> None:
        # Humble's rosbag2 cannot read the metadata of version 9; newer ones read 8 as well.
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        if compressed:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self.path = folder / f"{folder.name}.mcap"
        storage: Any = self._writer.storage
        # rosbags' own file is buffered, and its buffer cannot be flushed once the disk is full.
        storage.bio.close()
        storage.bio = self._file = AppendFile(self.path)
        self._storage = storage
        self._end = self._file.tell()  # of the last whole chunk
        self._marks: deque[Mark] = deque(maxlen=SPARE_CHUNKS)
        self._typestore = known_types()
        self._connections: dict[str, Connection] = {}

    def add_topic(self, topic: str, msgtype: str) -> None:
        """Declare a topic, of a type such as "tf2_msgs/msg/TFMessage", before its first message."""
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=self._typestore, offered_qos_profiles=qos_of(topic)
        )

    def write(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Append one serialised message received at stamp_ns. Raises: OSError."""
        chunks = len(self._storage.chunks)
        try:
            self._writer.write(self._connections[topic], stamp_ns, cdr)
        except OSError:
            self._file.cut(self._end)
            raise
        if len(self._storage.chunks) > chunks:
            self._marks.append(self._mark())
            self._end = self._marks[-1].size

    def close(self) -> str:
        """Write pending messages and the index; returns a text of what is missing.

        If the disk is full, the newest chunks are dropped to make room for the index, which readers
        require. Raises: OSError if there is no chunk to drop; the file stays unreadable.
        """
        error: OSError | None = None
        while True:
            try:
                self._writer.close()
            except OSError as reason:
                # Otherwise only metadata.yaml is missing, which a single file does not need.
                if self._writer.storage is not None:
                    error = reason
                    if not self._marks:
                        self.abort()
                        raise
                    self._return_to(self._marks.pop())
                    continue
            return "" if error is None else f"the end of {self.path.name} ({error})"

    def abort(self) -> None:
        """Abandon the file; it stays unreadable."""
        self._writer.abort()

    def _mark(self) -> Mark:
        writer, storage = self._writer, self._storage
        return Mark(
            self._file.tell(),
            len(storage.chunks),
            dict(writer.counts),
            dict(storage.channel_stats),
            (writer.min_timestamp, writer.max_timestamp),
        )

    def _return_to(self, mark: Mark) -> None:
        """Discard what was written after a chunk."""
        self._file.cut(mark.size)
        writer, storage = self._writer, self._storage
        del storage.chunks[mark.chunks :]
        storage.chunk = type(storage.chunk)(2**63 - 1, 0, BytesIO(), defaultdict(list))
        writer.counts, storage.channel_stats = mark.counts, mark.stats
        writer.min_timestamp, writer.max_timestamp = mark.times
        storage.message_start_time, storage.message_end_time = mark.times


def known_types() -> Typestore:
    """The message types of ROS 2 and, from the installed .msg files, of this package."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(share_path("msg").glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        typestore.register(get_types_from_msg(text, f"moro_ros/msg/{path.stem}"))
    return typestore
