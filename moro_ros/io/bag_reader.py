"""open_bag: a recording of rosbag2, even if its metadata.yaml is missing or damaged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from moro_ros.errors import ConfigError, DataError

log = logging.getLogger(__name__)
STORAGES = (".mcap", ".db3")
# The first bytes of a message compressed individually, which only metadata.yaml states.
ZSTD = b"\x28\xb5\x2f\xfd"


class FileReader:
    """Reads the storage files of a recording, with the interface of rosbags' Reader.

    Raises: ConfigError if one cannot be read.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._files = ExitStack()
        try:
            opened = [self._files.enter_context(closing(opened_reader(path))) for path in paths]
            # rosbag2 may split a recording into files; the order of their names is not reliable.
            self._readers = sorted(
                (r for r in opened if r.message_count), key=lambda reader: reader.start_time
            )
            self.start_time = min((r.start_time for r in self._readers), default=0)
            end_time = max((r.end_time for r in self._readers), default=0)
            self.duration = end_time - self.start_time
            self.connections = merged([c for r in self._readers for c in r.connections])
            self._check_not_compressed()
        except BaseException:
            self._files.close()
            raise

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[tuple[Connection, int, bytes]]:  # fmt: skip
        """Yield the messages of some connections (none: of all), from start to before stop [ns]."""
        wanted = {(c.topic, c.msgtype): c for c in connections or self.connections}
        for reader in self._readers:
            # Without connections, a reader returns all messages.
            if own := [c for c in reader.connections if (c.topic, c.msgtype) in wanted]:
                for connection, stamp_ns, data in reader.messages(own, start, stop):
                    yield wanted[connection.topic, connection.msgtype], stamp_ns, data

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _check_not_compressed(self) -> None:
        for _, _, data in self.messages():
            if bytes(data[:4]) == ZSTD:
                raise ConfigError("its messages are compressed, and metadata.yaml is missing")
            return


AnyReader = Reader | FileReader


def open_bag(path: str) -> AnyReader:
    """Open a recording: its folder, or one of its files; raises ConfigError if there is none."""
    if not path:
        raise ConfigError("bag: got nothing, expected the folder of a rosbag2 recording.")
    folder = Path(path).expanduser()
    files = storage_files(folder)
    try:
        if not files:
            return opened_reader(folder)
        try:
            return opened_reader(folder)
        except ConfigError as error:
            warn_once(f"{path}: {error}. Reading its *.mcap and *.db3 files directly.")
        return FileReader(files)
    except ConfigError as error:
        raise ConfigError(f"bag: cannot read {path}: {error}.") from error


@cache
def warn_once(text: str) -> None:
    """Log a warning once, because a recording may be opened several times."""
    log.warning(text)


def read_messages(
    reader: AnyReader, connections: Collection[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Yield messages of an open recording; raises DataError if reading fails."""
    messages = reader.messages(connections)
    while True:
        try:
            item = next(messages, None)
        except Exception as error:  # each storage has errors of its own
            raise DataError(f"The recording is damaged: {error!r}. Recover it first.") from error
        if item is None:
            return
        connection, stamp_ns, data = item
        yield connection, stamp_ns, bytes(data)


def storage_files(folder: Path) -> list[Path]:
    """The files of a folder that contain messages."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in STORAGES and path.is_file())


def opened_reader(path: Path) -> Reader:
    """Open a whole recording or one file; raises ConfigError with the reason."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise ConfigError("it has no metadata.yaml, which `ros2 bag record` creates with its files")
    if path.suffix == ".bag":
        raise ConfigError("it is a recording of ROS 1; convert it with rosbags-convert")
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # each storage has errors of its own
        hint = "; if it was cut off, recover it first (`mcap recover`)" * (path.suffix == ".mcap")
        raise ConfigError(f"{str(error).rstrip('.') or repr(error)}{hint}") from error
    return reader


def merged(connections: list[Connection]) -> list[Connection]:
    """One connection for each topic and type, with its own number."""
    found: dict[tuple[str, str], Connection] = {}
    for item in connections:
        key = item.topic, item.msgtype
        if key in found:
            found[key] = found[key]._replace(msgcount=found[key].msgcount + item.msgcount)
        else:
            found[key] = item._replace(id=len(found) + 1)
    return list(found.values())
