"""BagImages: the images of a recording with their calibration, one by one and none left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from moro_ros.errors import ConfigError, DataError
from moro_ros.ros.bag_reader import AnyReader
from moro_ros.ros.bridge import AnyImage

IMAGES: dict[str, type] = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
}
INFOS: dict[str, type] = {"sensor_msgs/msg/CameraInfo": CameraInfo}


class BagImage(NamedTuple):
    """An image, the camera_info that holds for it, and the share of the time worked through."""

    image: AnyImage
    info: CameraInfo
    fraction: float


class BagImages:
    """Iterates over the images of a part of an open recording.

    image_topic, info_topic: empty for the only one there is. start_s, end_s: since the recording's
    beginning, end_s 0 for its end. total: about how many images there are.
    Raises: ConfigError if the topics or the part are not those of the recording.
    """

    def __init__(
        self,
        reader: AnyReader,
        image_topic: str = "",
        info_topic: str = "",
        start_s: float = 0.0,
        end_s: float = 0.0,
    ) -> None:
        self._reader = reader
        self._images = chosen(reader, image_topic, IMAGES, "image_topic")
        self._infos = chosen(
            reader, info_topic or beside(reader, self._images), INFOS, "camera_info_topic"
        )
        duration_s = reader.duration * 1e-9
        end_s = min(end_s, duration_s) if end_s else duration_s
        if not 0.0 <= start_s < end_s:
            raise ConfigError(
                f"start_s, end_s: got {start_s:g} and {end_s:g}, expected a part of the "
                f"recording's {duration_s:.3f} s."
            )
        self._start_ns = reader.start_time + round(start_s * 1e9)
        self._stop_ns = reader.start_time + round(end_s * 1e9)
        share = 1.0 if duration_s == 0.0 else (end_s - start_s) / duration_s
        self.total = round(sum(item.msgcount for item in self._images) * share)

    def __iter__(self) -> Iterator[BagImage]:
        """The images in the order of recording; raises DataError where it cannot be read on.

        Images before the first camera_info come with that one.
        """
        try:
            info = self._first_info()
            part_ns = max(1, self._stop_ns - self._start_ns)
            both = [*self._images, *self._infos]
            # The reader leaves out what was recorded at the stop.
            for connection, stamp_ns, data in self._reader.messages(
                both, self._start_ns, self._stop_ns + 1
            ):
                message = deserialize_message(bytes(data), (IMAGES | INFOS)[connection.msgtype])
                if isinstance(message, CameraInfo):
                    info = message
                    continue
                yield BagImage(message, info, (stamp_ns - self._start_ns) / part_ns)
        except (DataError, GeneratorExit):
            raise
        except Exception as error:  # each storage has errors of its own
            raise DataError(f"The recording is damaged: {error!r}. Recover it first.") from error

    def _first_info(self) -> CameraInfo:
        for _, _, data in self._reader.messages(self._infos):
            return deserialize_message(bytes(data), CameraInfo)
        raise DataError(f"{self._infos[0].topic} holds no message, so the camera is unknown.")


def chosen(reader: AnyReader, topic: str, kinds: dict[str, type], option: str) -> list[Connection]:
    """The connections of a topic, or of the only one of these types if none is named.

    Raises: ConfigError naming those that there are.
    """
    fitting = [item for item in reader.connections if item.msgtype in kinds]
    names = sorted({item.topic for item in fitting})
    if not topic and len(names) == 1:
        topic = names[0]
    if topic not in names:
        expected = f"one of {', '.join(names)}" if names else f"a topic of {' or '.join(kinds)}"
        raise ConfigError(f"{option}: got '{topic}', expected {expected}, as recorded.")
    return [item for item in fitting if item.topic == topic]


def beside(reader: AnyReader, images: list[Connection]) -> str:
    """The topic camera_info in the namespace of the images, if it was recorded; else empty."""
    namespace = images[0].topic.removesuffix("/compressed").rpartition("/")[0]
    name = f"{namespace}/camera_info"
    return name if any(item.topic == name for item in reader.connections) else ""
