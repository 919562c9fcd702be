"""The depth images of a recording, given to the images that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from moro_ros.errors import DataError, DepthError
from moro_ros.geometry.depth_image import MATCH_S
from moro_ros.io.bag_reader import open_bag, read_messages
from moro_ros.io.bag_topics import IMAGE, INFO, beside, chosen
from moro_ros.io.depth_messages import AHEAD_S, DepthQueue, Receiver, hand_over
from moro_ros.io.image_data import stamp_of
from moro_ros.io.transform_tree import TransformTree

OPTIONS = "--depth-topic", "--depth-info-topic"
TF, TF_STATIC, TRANSFORMS = "/tf", "/tf_static", "tf2_msgs/msg/TFMessage"
Item = TypeVar("Item")


class Recorded(NamedTuple):
    """A depth message and when it was recorded."""

    recorded_ns: int
    message: Any


class Memory(Receiver, Protocol):
    """What compares depth images with people (live/depth_memory.py)."""

    used: int

    @property
    def problems(self) -> dict[str, str]:
        """Texts of the problems, by kind."""


class BagDepth:
    """The depth images of a topic of a recording, read along with the images of a camera.

    Nothing is late in a recording: the depth images of an image are those that are nearer to it
    than to the images before and after it, also if they were recorded up to AHEAD_S later. TF is
    that of the recording: all of /tf_static, and the newest transforms of /tf at the time of the
    image. The first camera_info is used. info_topic: empty for camera_info in the namespace of the
    topic. options: names of the two topics in messages. It reads the recording by itself, in the
    order of the images. Raises: ConfigError if the recording cannot be read or does not have a
    topic that is given.
    """

    def __init__(
        self, path: str, topic: str, info_topic: str = "", options: tuple[str, str] = OPTIONS
    ) -> None:
        self.topic = topic
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._faults: list[DepthError] = []
        self._queue, self._tree = DepthQueue(), TransformTree()
        self._reader = open_bag(path)
        try:
            images = chosen(self._reader, topic, (IMAGE,), options[0])
            infos = info_topic or beside(self._reader, images)
            of = chosen(self._reader, infos, (INFO,), options[1]) if infos else []
            self._info = next((m.message for m in self._messages(of)), None)
            for recorded in self._messages(self._transforms(TF_STATIC)):
                self._tree.take_static(recorded.message)
            self._coming = self._depth(images)
            self._next = next(self._coming, None)
        except BaseException:
            self._reader.close()
            raise
        if self._next is None:
            self._faults.append(DepthError(f"{topic} has no usable messages.", "data"))

    def __enter__(self) -> BagDepth:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def deliver(
        self,
        receiver: Receiver,
        camera_frame: str,
        stamp_ns: int,
        recorded_ns: int,
        next_ns: int | None = None,
    ) -> None:
        """Give the depth images of one image to a receiver, or why they cannot be used.

        camera_frame: TF frame of the image. recorded_ns: when it was recorded. next_ns: stamp of
        the next image, None: it is the last one.
        """
        own_s = MATCH_S
        if next_ns is not None and next_ns > stamp_ns:
            own_s = min(own_s, 0.5e-9 * (next_ns - stamp_ns))
        while self._next is not None and is_due(self._next, stamp_ns, recorded_ns, own_s):
            self._queue.add(self._next.message)
            self._next = next(self._coming, None)
        messages = self._queue.take(stamp_ns, own_s)
        hand_over(messages, self._info, self._tree, camera_frame, receiver)
        for fault in self._faults:
            receiver.refuse(fault)
        self._faults.clear()

    def _transforms(self, topic: str) -> list[Connection]:
        every = self._reader.connections
        return [item for item in every if item.topic == topic and item.msgtype == TRANSFORMS]

    def _depth(self, images: list[Connection]) -> Iterator[Recorded]:
        """Yield the depth messages in the order of recording; takes the transforms between them."""
        for recorded in self._messages([*images, *self._transforms(TF)]):
            recorded_ns, message = recorded
            if hasattr(message, "transforms"):
                self._tree.take(message)
                continue
            if not stamp_of(message):  # as for images: BagFrames
                stamp = message.header.stamp
                stamp.sec, stamp.nanosec = divmod(recorded_ns, 10**9)
            yield recorded

    def _messages(self, connections: list[Connection]) -> Iterator[Recorded]:
        """Yield the messages of some connections; what cannot be read is kept as a fault."""
        if not connections:
            return
        try:
            for connection, recorded_ns, data in read_messages(self._reader, connections):
                try:
                    message = self._typestore.deserialize_cdr(data, connection.msgtype)
                except Exception as error:  # depends on what the damaged bytes are taken for
                    text = f"A message of {connection.topic} is damaged and skipped ({error!r})."
                    self._faults.append(DepthError(text, "data"))
                    continue
                yield Recorded(recorded_ns, message)
        except DataError as error:
            self._faults.append(DepthError(str(error), "data"))


class DepthUse:
    """Gives a pipeline the depth images of a recording, and counts what they contributed.

    memory: of the pipeline (HumanMotionPipeline.use_depth). camera_frame: TF frame of the images.
    images: number of images so far; problems: texts of the problems by kind, each with the number
    of images at which it existed.
    """

    def __init__(self, depth: BagDepth, memory: Memory, camera_frame: str) -> None:
        self.topic, self.camera_frame = depth.topic, camera_frame
        self.images = 0
        self.problems: dict[str, tuple[int, str]] = {}
        self._depth, self._memory = depth, memory

    @property
    def measurements(self) -> int:
        """Number of measurements of people: one per person and depth image."""
        return self._memory.used

    def before(self, stamp_ns: int, recorded_ns: int, next_ns: int | None) -> None:
        """Call before an image is recovered; arguments: see BagDepth.deliver."""
        self._depth.deliver(self._memory, self.camera_frame, stamp_ns, recorded_ns, next_ns)

    def after(self) -> None:
        """Call after an image was recovered."""
        self.images += 1
        for kind, text in self._memory.problems.items():
            self.problems[kind] = self.problems.get(kind, (0, ""))[0] + 1, text

    @property
    def used(self) -> str:
        """A text of the number of measurements."""
        many = "1 measurement" if self.measurements == 1 else f"{self.measurements} measurements"
        return f"{many} of people in the depth images of {self.topic}"

    @property
    def unused(self) -> str:
        """A text of the problems; empty if there are none."""
        return " ".join(
            f"Depth was not used in {count} of {self.images} images: {text}"
            for count, text in self.problems.values()
        )


def is_due(depth: Recorded, stamp_ns: int, recorded_ns: int, own_s: float) -> bool:
    """Return whether a depth message is needed for an image, and not only for later ones.

    stamp_ns, recorded_ns, own_s: of the image, see DepthQueue.take. One that is from the future but
    was recorded before the image is from another clock: the queue sorts it out.
    """
    ahead_s = (stamp_of(depth.message) - stamp_ns) * 1e-9
    later_s = (depth.recorded_ns - recorded_ns) * 1e-9
    return later_s <= AHEAD_S if ahead_s <= own_s else ahead_s > AHEAD_S and later_s <= 0.0


def with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Yield each item and the one after it, None after the last one."""
    nothing: Any = object()
    before = nothing
    for item in items:
        if before is not nothing:
            yield before, item
        before = item
    if before is not nothing:
        yield before, None
