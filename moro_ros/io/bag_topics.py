"""The topics of a recording with a camera's images and its calibration."""

from __future__ import annotations

from collections.abc import Collection

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from moro_ros.errors import ConfigError
from moro_ros.io.bag_reader import AnyReader

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
# QoS of /tf_static: with another durability, RViz would not receive it.
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    QosTime(0, 0),
    QosTime(0, 0),
    QosLiveliness.SYSTEM_DEFAULT,
    QosTime(0, 0),
    False,
)


def qos_of(topic: str) -> tuple[Qos, ...]:
    """Return the quality of service for playing a recorded topic; none: any."""
    return (LATCHED,) if topic == "/tf_static" else ()


def chosen(
    reader: AnyReader, topic: str, kinds: Collection[str], option: str, without: str = ""
) -> list[Connection]:
    """The connections of a topic, or of the only one of these types if no topic is given.

    without: a topic that is not meant, such as that of depth images. Raises: ConfigError with the
    names of the available topics.
    """
    fitting = [item for item in reader.connections if item.msgtype in kinds]
    names = sorted({item.topic for item in fitting} - {without})
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
