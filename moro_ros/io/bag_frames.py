"""BagFrames: the images of a rosbag2 recording as the frames of a video, without ROS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from moro_ros.errors import CalibrationError, ConfigError, DataError, ImageError
from moro_ros.io.bag_reader import open_bag, read_messages
from moro_ros.io.bag_topics import COMPRESSED, IMAGE, INFO, beside, chosen
from moro_ros.io.camera_info import camera_of_info
from moro_ros.io.frames import LOWEST_RATE_HZ, FrameSource, VideoFrame
from moro_ros.io.image_data import bgr_pixels, stamp_of
from moro_ros.types import Camera

OPTIONS = "--image-topic", "--info-topic"
DEFAULT_FRAME = "camera_optical_frame"


class RecordedFrame(VideoFrame):
    """A frame of a recording; recorded_ns: when it was recorded."""

    recorded_ns = 0


class BagFrames(FrameSource):
    """A FrameSource of the images of one topic; images that cannot be used are skipped.

    origin_ns: stamp of the first usable image; the stamps of frames are relative to it. frame_id:
    TF frame of that image, else of camera_info. camera: of the first camera_info, None with
    own_camera false. image_topic, info_topic: empty for the only one, besides depth_topic. Raises:
    ConfigError if the recording cannot be read or does not have the topics, DataError if no image
    can be used, CalibrationError if the camera_info is not for these images.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str = "",
        info_topic: str = "",
        own_camera: bool = True,
        depth_topic: str = "",
    ) -> None:
        self.path = path
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._reader = open_bag(str(path))
        try:
            self._images = self._topic(image_topic, (IMAGE, COMPRESSED), 0, depth_topic)
            self.camera = self._camera(info_topic) if own_camera else None
            self._left_out, self._unstamped, self._fault = 0, 0, ""
            self._begin()
        except BaseException:
            self._reader.close()
            raise

    def _topic(
        self, topic: str, kinds: tuple[str, ...], option: int, without: str = ""
    ) -> list[Connection]:
        try:
            return chosen(self._reader, topic, kinds, OPTIONS[option], without)
        except ConfigError as error:
            if topic or any(item.msgtype in kinds for item in self._reader.connections):
                raise
            remedy = (" Give the camera with --focal PX or --camera FILE.", "")[option == 0]
            raise DataError(
                f"The recording {self.path} has no topic of type {' or '.join(kinds)}.{remedy}"
            ) from error

    def _camera(self, info_topic: str) -> Camera:
        infos = self._topic(info_topic or beside(self._reader, self._images), (INFO,), 1)
        for _, _, data in read_messages(self._reader, infos):
            try:
                info = self._typestore.deserialize_cdr(data, INFO)
            except Exception as error:  # depends on what the damaged bytes are taken for
                raise DataError(
                    f"A message of {infos[0].topic} of {self.path} is damaged ({error!r}). Give "
                    "the camera with --focal PX or --camera FILE."
                ) from error
            # As in image_pipeline, image_rect and image_rect_color are rectified.
            name = self._images[0].topic.removesuffix("/compressed").rpartition("/")[2]
            camera = camera_of_info(info, rectified="rect" in name)
            return dataclasses.replace(camera, frame_id=camera.frame_id or DEFAULT_FRAME)
        raise DataError(
            f"{infos[0].topic} of {self.path} has no messages, so the camera is unknown. Give it "
            "with --focal PX or --camera FILE."
        )

    def _begin(self) -> None:
        """Find the first image that can be used, which defines size and origin."""
        for stamp_ns, _, message in self._messages():
            try:
                image = bgr_pixels(message)
            except ImageError as error:
                self._fault = str(error)
                continue
            self.height, self.width = image.shape[:2]
            self.origin_ns = stamp_ns
            self.frame_id = message.header.frame_id
            break
        else:
            raise DataError(f"No image of {self.path} can be used. {self._fault}".rstrip())
        self.frame_count = sum(item.msgcount for item in self._images)
        duration_s = self._reader.duration * 1e-9
        rate_hz = (self.frame_count - 1) / duration_s if duration_s > 0 else 30.0
        self.rate_hz = max(LOWEST_RATE_HZ, rate_hz)
        camera = self.camera
        if not self.frame_id:
            self.frame_id = DEFAULT_FRAME if camera is None else camera.frame_id
        if camera is not None and (camera.width, camera.height) != (self.width, self.height):
            raise CalibrationError(
                f"{self.path}: the images have {self.width}x{self.height} pixels, but camera_info "
                f"is for {camera.width}x{camera.height}; select the right topics with "
                f"{OPTIONS[0]} and {OPTIONS[1]}."
            )

    def frames(self, start_ns: int = 0) -> Iterator[RecordedFrame]:
        """Yield the images from a stamp on. Raises: DataError if the recording is damaged."""
        self._left_out, self._unstamped, newest_ns = 0, 0, -1
        for stamp_ns, recorded_ns, message in self._messages():
            since_ns = stamp_ns - self.origin_ns
            if 0 <= since_ns < start_ns:
                continue
            try:
                image = bgr_pixels(message)
                if image.shape[:2] != (self.height, self.width):
                    raise ImageError(f"It has {image.shape[1]}x{image.shape[0]} pixels.")
                if since_ns <= newest_ns:
                    raise ImageError("Its stamp is not after that of the image before.")
            except ImageError as error:
                self._left_out, self._fault = self._left_out + 1, str(error)
                continue
            newest_ns = since_ns
            frame = RecordedFrame(since_ns, image)
            frame.recorded_ns = recorded_ns
            yield frame

    def report(self) -> str:
        """Return the numbers of images without a stamp and skipped, with the last reason."""
        told = []
        if self._unstamped:
            told.append(
                f"{self._unstamped} images have no stamp, so the times at which they were recorded "
                "are used."
            )
        if self._left_out:
            told.append(
                f"{self._left_out} images were skipped, the last one because: {self._fault}"
            )
        return f"{self.path}: {' '.join(told)}" if told else ""

    def close(self) -> None:
        """Close the recording."""
        self._reader.close()

    def _messages(self) -> Iterator[tuple[int, int, Any]]:
        """Yield stamp [ns], time of recording [ns] and message of the images, in this order.

        In ROS, a stamp of 0 is no stamp: the time of recording is used instead. Damaged messages
        are skipped and counted.
        """
        for connection, recorded_ns, data in read_messages(self._reader, self._images):
            try:
                message: Any = self._typestore.deserialize_cdr(data, connection.msgtype)
            except Exception as error:  # depends on what the damaged bytes are taken for
                self._left_out, self._fault = self._left_out + 1, f"It is damaged ({error!r})."
                continue
            stamp_ns = stamp_of(message)
            self._unstamped += not stamp_ns
            yield stamp_ns or recorded_ns, recorded_ns, message
