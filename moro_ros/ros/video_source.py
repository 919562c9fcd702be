"""moro_video: plays a video file as a camera (sensor_msgs/Image and CameraInfo) at its own rate."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from moro_ros.config import fixed
from moro_ros.errors import ConfigError, VideoError
from moro_ros.geometry.camera import resized_camera
from moro_ros.io.camera_file import camera_of_video, note_on_pixels
from moro_ros.io.decode_ahead import POLL_S, DecodeAhead
from moro_ros.io.video import VideoReader, open_video
from moro_ros.ros import parameters
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.serve import run_process
from moro_ros.ros.transport import wait_for_arrival
from moro_ros.types import Camera

# A frame published later than this share of the period is counted as late.
LATE_SHARE = 0.5
# If decoding or sending is slower than this, the rest of the video is delayed: every frame is
# published, and no image is older than this when it is published.
MAX_LAG_S = 0.1
# Maximum number of frames whose stamps are in the report: one hour at 30 Hz.
STAMPS_REPORTED = 108_000


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """The parameters of moro_video."""

    video: str = fixed("", "Path of the video file")
    rate: float = fixed(
        0.0, "Frames published per second; 0 uses the video's own times",
        unit="Hz", low=0.0, high=1000.0,
    )  # fmt: skip
    loop: bool = fixed(False, "Restart at the end; stamps keep increasing")
    focal: float = fixed(
        0.0, "Focal length, with principal point in the image centre and no distortion; 0: use "
        "camera",
        unit="px", low=0.0, high=1e6,
    )  # fmt: skip
    camera: str = fixed(
        "", "Calibration file of ROS (YAML, ini), OpenCV (YAML, JSON) or Pose2Sim (TOML)"
    )
    height: int = fixed(
        0, "Height to which taller images and their camera_info are scaled down; 0: no scaling",
        unit="px", low=0, high=16384,
    )  # fmt: skip
    frame_id: str = fixed("camera_optical_frame", "Frame of the images")
    wait_for_subscribers: int = fixed(
        1, "Subscribers of the images to wait for before the first frame", low=0, high=64
    )
    wait_for_info_subscribers: int = fixed(
        0, "Subscribers of camera_info to wait for before the first frame", low=0, high=64
    )
    wait_timeout_s: float = fixed(
        30.0, "Time after which to start without these subscribers", unit="s", low=0.0, high=3600.0
    )
    # Publisher and subscriber match at different times; earlier messages are not received.
    start_delay_s: float = fixed(
        0.5, "Additional pause before the first frame", unit="s", low=0.0, high=3600.0
    )
    # Unlike a camera driver, decoding a video takes processor time from the nodes.
    ahead_mb: int = fixed(
        64, "Memory for images that are decoded before the first is published, then in advance",
        unit="MB", low=1, high=65536,
    )  # fmt: skip
    report: str = fixed("", "JSON file for the statistics. Empty disables it")


class VideoSource(parameters.StartValues, Node):
    """Publishes the frames of a video; play() runs in the caller's thread."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__("moro_video", automatically_declare_parameters_from_overrides=True)
        self._stop = stop
        self.config = parameters.declare(self, VideoConfig)
        parameters.warn_of_unknown(self, VideoConfig)
        # Reliable matches every subscriber; camera_info is sent first and latched for late joiners.
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.create_publisher(Image, "image", qos)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._frames = 0
        self._late = 0
        self._held_up_ns = 0
        self._stamps_ns: list[int] = []
        self._start_s = time.monotonic()

    def close(self) -> None:
        """End the node; rclpy reports an error for executors that outlive their context."""
        self._executor.shutdown()
        self.destroy_node()

    def play(self, reader: VideoReader, camera: Camera) -> None:
        """Publish the video frame by frame until its end or a stop; write the report."""
        rate_hz = self.config.rate or reader.rate_hz
        size = smaller_size(camera, self.config.height)
        if size is not None:
            camera = resized_camera(camera, *size)
        ahead = max(2, round(self.config.ahead_mb * 1e6 / (3 * camera.width * camera.height)))
        frames = DecodeAhead(reader, self.config.loop, size, ahead, self._stop)
        try:
            self._wait_for_subscribers(camera)
            while not (frames.filled() or self._stop.is_set()):
                self._executor.spin_once(timeout_sec=POLL_S)
            self._wait_until(self._now_ns() + round(self.config.start_delay_s * 1e9))
            self.get_logger().info(
                f"Playing {reader.path} ({reader.width}x{reader.height}) at {rate_hz:g} Hz"
                + (f", as {size[0]}x{size[1]}." if size else ".")
            )
            self._start_s = time.monotonic()
            self._publish_all(frames, camera, rate_hz)
        finally:
            frames.close()
            if frames.report:
                self.get_logger().warning(frames.report)
            self._finish(rate_hz, frames.report)
        wait_for_arrival((self._images, self._infos), self._stop)

    def _publish_all(self, frames: DecodeAhead, camera: Camera, rate_hz: float) -> None:
        period_ns = 1e9 / rate_hz
        # Frame 0 is due one period from now, so that camera_info arrives before it.
        start_ns = self._now_ns() + round(period_ns)
        for index, frame in enumerate(frames):
            offset_ns = round(index * period_ns) if self.config.rate else frame.stamp_ns
            due_ns = start_ns + self._held_up_ns + offset_ns
            lag_ns = self._now_ns() - due_ns
            if lag_ns > MAX_LAG_S * 1e9:
                self._held_up_ns += lag_ns
                due_ns += lag_ns
            header = Header(stamp=ns_to_stamp(due_ns), frame_id=camera.frame_id)
            message = cv2_to_imgmsg(frame.image, "bgr8", header)
            self._infos.publish(camera_info_message(camera, header))
            if not self._wait_until(due_ns):
                return
            self._images.publish(message)
            self._late += self._now_ns() - due_ns > LATE_SHARE * period_ns
            self._frames += 1
            if len(self._stamps_ns) < STAMPS_REPORTED:
                self._stamps_ns.append(due_ns)

    def _wait_for_subscribers(self, camera: Camera) -> None:
        end = time.monotonic() + self.config.wait_timeout_s
        self._wait_for(self._images, self.config.wait_for_subscribers, end)
        self._wait_for(self._infos, self.config.wait_for_info_subscribers, end)
        header = Header(stamp=ns_to_stamp(self._now_ns()), frame_id=camera.frame_id)
        self._infos.publish(camera_info_message(camera, header))

    def _wait_for(self, publisher: Publisher, expected: int, end: float) -> None:
        """Run callbacks until a topic has a number of subscribers; end: on time.monotonic()."""
        topic = publisher.topic_name
        if publisher.get_subscription_count() < expected:
            self.get_logger().info(f"Waiting for {expected} subscriber(s) of {topic}.")
        while publisher.get_subscription_count() < expected and not self._stop.is_set():
            if time.monotonic() >= end:
                self.get_logger().warning(
                    f"{publisher.get_subscription_count()} of {expected} subscribers of {topic} "
                    f"after {self.config.wait_timeout_s:g} s; starting anyway."
                )
                return
            self._executor.spin_once(timeout_sec=POLL_S)

    def _wait_until(self, due_ns: int) -> bool:
        """Run callbacks until a time of the ROS clock; False if a stop was requested."""
        while not self._stop.is_set():
            left_s = (due_ns - self._now_ns()) * 1e-9
            if left_s <= 0:
                return True
            self._executor.spin_once(timeout_sec=min(left_s, POLL_S))
        return False

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _finish(self, rate_hz: float, missing: str) -> None:
        report = {
            "frames_published": self._frames,
            "frames_late": self._late,
            "held_up_s": self._held_up_ns * 1e-9,
            "duration_s": time.monotonic() - self._start_s,
            "rate_hz": rate_hz,
            "video": self.config.video,
            "missing": missing,
            "stamps_ns": self._stamps_ns,
        }
        self.get_logger().info(
            f"{self._frames} frames published in {report['duration_s']:.1f} s, {self._late} late; "
            f"delayed by {report['held_up_s']:.1f} s."
        )
        if self.config.report:
            path = Path(self.config.report)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_text(json.dumps(report) + "\n", encoding="utf-8")
            part.replace(path)


def camera_of(config: VideoConfig, reader: VideoReader) -> Camera:
    """The camera of a video by the parameters `camera` or `focal`.

    Raises: ConfigError unless exactly one is given, CalibrationError if it is for another size.
    """
    if bool(config.camera) == bool(config.focal):
        raise ConfigError(
            "Give either 'focal', the focal length in pixels, or 'camera', a calibration file; got "
            + ("both." if config.camera else "neither.")
        )
    return camera_of_video(reader, config.focal or None, config.camera, config.frame_id)


def smaller_size(camera: Camera, height: int) -> tuple[int, int] | None:
    """Width (even) and height of a camera's images scaled down to a height; None: unscaled."""
    if height == 0 or camera.height <= height:
        return None
    return 2 * max(1, round(camera.width * height / camera.height / 2)), height


def play(stop: threading.Event) -> int:
    """Play until the end of the video or a stop."""
    with closing(VideoSource(stop)) as source:
        if not source.config.video:
            raise VideoError("No video: set the parameter 'video' to the path of a file.")
        reader = open_video(source.config.video)
        if note := note_on_pixels(reader):
            source.get_logger().warning(note)
        source.play(reader, camera_of(source.config, reader))
    return 0


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_video."""
    sys.exit(run_process("moro_video", args, play))


if __name__ == "__main__":
    main()
