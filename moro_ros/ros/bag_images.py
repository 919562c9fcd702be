"""BagImages: all images of a recording in order, each with its calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from moro_ros.errors import ConfigError, DataError
from moro_ros.io.bag_reader import AnyReader
from moro_ros.io.bag_topics import COMPRESSED, IMAGE, INFO, beside, chosen
from moro_ros.ros.bridge import AnyImage

IMAGES: dict[str, type] = {IMAGE: Image, COMPRESSED: CompressedImage}
INFOS: dict[str, type] = {INFO: CameraInfo}


class BagImage(NamedTuple):
    """An image, the camera_info that applies to it, and the processed share of the time.

    recorded_ns: when the image was recorded.
    """

    image: AnyImage
    info: CameraInfo
    fraction: float
    recorded_ns: int


class BagImages:
    """Iterates over the images of a part of an open recording.

    image_topic, info_topic: empty if the recording has only one, besides depth_topic. start_s,
    end_s: since the start of the recording; end_s 0 for its end. total: approximate number of
    images.
    Raises: ConfigError if the recording does not have the topics or the part.
    """

    def __init__(
        self,
        reader: AnyReader,
        image_topic: str = "",
        info_topic: str = "",
        start_s: float = 0.0,
        end_s: float = 0.0,
        depth_topic: str = "",
    ) -> None:
        self._reader = reader
        self._images = chosen(reader, image_topic, IMAGES, "image_topic", depth_topic)
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
        """The images in the order of recording; raises DataError if reading fails.

        Images before the first camera_info get that one.
        """
        try:
            info = self._first_info()
            part_ns = max(1, self._stop_ns - self._start_ns)
            both = [*self._images, *self._infos]
            # The reader excludes messages recorded exactly at the stop time.
            for connection, stamp_ns, data in self._reader.messages(
                both, self._start_ns, self._stop_ns + 1
            ):
                message = deserialize_message(bytes(data), (IMAGES | INFOS)[connection.msgtype])
                if isinstance(message, CameraInfo):
                    info = message
                    continue
                yield BagImage(message, info, (stamp_ns - self._start_ns) / part_ns, stamp_ns)
        except (DataError, GeneratorExit):
            raise
        except Exception as error:  # each storage raises its own errors
            raise DataError(f"The recording is damaged: {error!r}. Recover it first.") from error

    def _first_info(self) -> CameraInfo:
        for _, _, data in self._reader.messages(self._infos):
            return deserialize_message(bytes(data), CameraInfo)
        raise DataError(f"{self._infos[0].topic} has no messages, so the camera is unknown.")
