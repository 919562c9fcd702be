"""moro_recorder: writes the topics of moro_node to motion.mcap, motion.npz and joints.csv.

The files have temporary names until the recorder is stopped (SIGINT or SIGTERM), so a file with
its final name is complete. If recording cannot continue, for instance on a full disk, the files
are completed with what was recorded, and the log lists what is missing.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from moro_ros.config import fixed
from moro_ros.errors import CalibrationError, ConfigError, ImageError
from moro_ros.io.camera_info import camera_of_info
from moro_ros.io.motion_files import TABLE, MotionFiles
from moro_ros.io.recording import camera_of_frame, row_of_human
from moro_ros.msg import Human, HumanArray
from moro_ros.ros import parameters
from moro_ros.ros.bag import MotionBag
from moro_ros.ros.bridge import compressed_message
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.serve import run_process, spin
from moro_ros.ros.stamps import AFTER_LAST_NS

BAG = "motion.mcap"
_REPORT_PERIOD_S = 0.5
# Time without a publisher of the people after which a warning is logged.
_UNPUBLISHED_S = 5.0
_RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=200,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class RecordingFiles:
    """The three files of one recording, invisible until finish().

    compressed: whether the bag is compressed with zstd.
    Raises: ConfigError if a file of that name exists and may not be overwritten, or if the folder
    is not writable.
    """

    def __init__(self, folder: Path, overwrite: bool, compressed: bool) -> None:
        self._files = MotionFiles(folder, overwrite, (BAG,))
        # The index of an mcap contains the name of its file, so it is written under its final name.
        try:
            self.bag = MotionBag(self._files.temporary / Path(BAG).stem, compressed)
        except BaseException:
            self._files.discard()
            raise
        self.motion = self._files

    def finish(self) -> tuple[list[Path], list[str]]:
        """Complete the files as far as the disk allows and move them to their final names.

        Returns: their paths, and texts of what is missing.
        """
        # Completing the table first frees the space of its rows for the end of the bag.
        missing = self._files.complete()
        try:
            missing += filter(None, [self.bag.close()])
        except OSError as error:
            missing.append(f"{BAG} ({error})")
            self.bag.path.unlink(missing_ok=True)
        try:
            return self._files.place(self.bag.path), missing
        except ConfigError as error:
            raise ConfigError(f"{error} The recording is in {self._files.temporary}.") from error

    def discard(self) -> None:
        """Remove the unfinished files."""
        self.bag.abort()
        self._files.discard()


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """The parameters of moro_recorder."""

    output: str = fixed(".", "Folder to write to")
    overwrite: bool = fixed(False, "Replace the files of an earlier recording")
    report: str = fixed("", "JSON file for the statistics. Empty disables it")
    humans_topic: str = fixed("/moro/humans", "Topic of the people")
    camera_info_topic: str = fixed("/camera/camera_info", "Topic of the camera's calibration")
    image_topics: tuple[str, ...] = fixed(
        ("",), "Topics of images to record; empty names are ignored"
    )
    markers_topic: str = fixed("", "Topic of markers to record. Empty disables it")
    compress_images: bool = fixed(False, "Record images as JPEG")


class RecorderNode(parameters.StartValues, Node):
    """Subscribes to the outputs of moro_node and to the camera, and records them."""

    def __init__(self) -> None:
        super().__init__("moro_recorder", automatically_declare_parameters_from_overrides=True)
        config = parameters.declare(self, RecorderConfig)
        parameters.warn_of_unknown(self, RecorderConfig)
        self._output = Path(config.output)
        self._compress = config.compress_images
        self._report_path = Path(config.report) if config.report else None
        self._latencies = array("d")
        self._frames = self._camera_infos = self._newest_ns = 0
        self._people: dict[int, int] = {}
        self._diagnostics: dict[str, dict[str, str]] = {}
        self._connected = self._warned = False
        self._start_s = time.monotonic()
        self._humans_topic = parameters.full_topic(self, "humans_topic", config.humans_topic)
        if self._report_path is not None:
            self._report_path.parent.mkdir(parents=True, exist_ok=True)
            self.write_report(finished=False)  # reports an unusable path at the start
        # Compression makes triangles of meshes seven times smaller.
        self._files = files = RecordingFiles(
            self._output, config.overwrite, bool(config.markers_topic)
        )
        try:
            self._subscribe(config)
        except BaseException:
            files.discard()
            raise
        self.create_timer(_REPORT_PERIOD_S, self._on_timer)
        self.get_logger().info(f"Recording to {self._output.resolve()}; Ctrl-C ends and saves it.")

    def _subscribe(self, config: RecorderConfig) -> None:
        self._record(self._humans_topic, HumanArray, _RELIABLE, self._on_humans)
        info_topic = parameters.full_topic(self, "camera_info_topic", config.camera_info_topic)
        self._record(info_topic, CameraInfo, qos_profile_sensor_data, self._on_camera_info)
        self._record("/tf", TFMessage, _RELIABLE)
        self._record("/tf_static", TFMessage, _LATCHED)
        self._record("/diagnostics", DiagnosticArray, _RELIABLE, self._on_diagnostics)
        if config.markers_topic:
            markers = parameters.full_topic(self, "markers_topic", config.markers_topic)
            self._record(markers, MarkerArray, _RELIABLE)
        for name in filter(None, config.image_topics):
            topic = parameters.full_topic(self, "image_topics", name)
            if self._compress and not topic.endswith("/compressed"):
                self._record_compressed(topic)
                continue
            image_type = CompressedImage if topic.endswith("/compressed") else Image
            self._record(topic, image_type, qos_profile_sensor_data)

    def _record(self, topic: str, msg_type: Any, qos: QoSProfile, handle: Any = None) -> None:
        """Subscribe to the serialised messages of a topic; handle receives them deserialised."""
        package, module = msg_type.__module__.split(".")[:2]
        self._files.bag.add_topic(topic, f"{package}/{module}/{msg_type.__name__}")

        def on_message(cdr: bytes) -> None:
            self._files.bag.write(topic, self.get_clock().now().nanoseconds, cdr)
            if handle is not None:
                handle(deserialize_message(cdr, msg_type))

        self.create_subscription(msg_type, topic, on_message, qos, raw=True)

    def _record_compressed(self, topic: str) -> None:
        """Record the images of a topic as JPEG, as topic/compressed of image_transport."""
        target = f"{topic}/compressed"
        self._files.bag.add_topic(target, "sensor_msgs/msg/CompressedImage")

        def on_image(image: Image) -> None:
            try:
                message = compressed_message(image)
            except ImageError as error:
                self.get_logger().warning(
                    f"An image of {topic} is not recorded: {error}", throttle_duration_sec=10.0
                )
                return
            now_ns = self.get_clock().now().nanoseconds
            self._files.bag.write(target, now_ns, serialize_message(message))

        self.create_subscription(Image, topic, on_image, qos_profile_sensor_data)

    def _on_humans(self, message: HumanArray) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns - self._newest_ns == AFTER_LAST_NS:
            return  # the images stopped: this describes no new image
        self._newest_ns = stamp_ns
        if self._report_path is not None:
            self._latencies.append(message.latency)
        self._frames += 1
        self._files.motion.frame_id = self._files.motion.frame_id or message.header.frame_id
        self._files.motion.add_image(stamp_ns)
        for human in message.humans:
            if human.tracking_state == Human.TRACKING_LOST:
                continue  # its last pose is recorded already
            self._people[human.id] = self._people.get(human.id, 0) + 1
            self._files.motion.add(human.id, row_of_human(human, stamp_ns))

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_infos += 1
        if self._files.motion.camera is None:
            try:
                self._files.motion.camera = camera_of_info(message)
            except CalibrationError as error:
                self.get_logger().warning(
                    f"camera_info is not written to {TABLE}: {error}", throttle_duration_sec=10.0
                )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._diagnostics[status.name] = {item.key: item.value for item in status.values}

    def _on_timer(self) -> None:
        connected = self.count_publishers(self._humans_topic) > 0
        if connected != self._connected:
            state = "Receiving from" if connected else "Nobody publishes"
            self.get_logger().info(f"{state} {self._humans_topic}.")
        self._connected = connected
        if not (connected or self._warned or time.monotonic() - self._start_s < _UNPUBLISHED_S):
            self._warn_of_no_publisher()
        self._try_report(finished=False)

    def _warn_of_no_publisher(self) -> None:
        self._warned = True
        self.get_logger().warning(
            f"humans_topic: {self._humans_topic} has no publisher, so no people are recorded. "
            "Start moro_node, or set humans_topic to the topic of its people; `ros2 topic list` "
            "shows all topics."
        )

    def finish(self, reason: str = "") -> bool:
        """Complete the files and the report; returns whether they are complete.

        reason: why the recording ends early, if it does.
        """
        motion = self._files.motion
        if motion.camera and camera_of_frame(motion.frame_id, motion.camera) is None:
            self.get_logger().warning(
                f"camera_info is not written to {TABLE}: it is of '{motion.camera.frame_id}', but "
                f"the people are in the frame '{motion.frame_id}'."
            )
        places, missing = self._files.finish()
        names = ", ".join(path.name for path in places) or "nothing"
        if not (self._frames or self._connected):
            self._warn_of_no_publisher()
        if reason or missing:
            self.get_logger().fatal(
                f"The recording ended early: {reason or 'the files cannot be completed'}. Kept in "
                f"{self._output.resolve()}: {names}, with {self._files.motion.images} images. "
                f"Missing: {'; '.join([*missing, 'everything later'] if reason else missing)}."
            )
        else:
            messages, people = self._frames, len(self._people)
            self.get_logger().info(
                f"Recorded {messages} {'message' if messages == 1 else 'messages'} of "
                f"{self._humans_topic} with {people} {'person' if people == 1 else 'people'} to "
                f"{self._output.resolve()}: {names}."
            )
        self._try_report(finished=not (reason or missing))
        return not (reason or missing)

    def _try_report(self, finished: bool) -> None:
        """Write the report. A failure does not end the recording."""
        try:
            self.write_report(finished)
        except OSError as error:
            self.get_logger().warning(
                f"The report {self._report_path} cannot be written: {error}.",
                throttle_duration_sec=60.0,
            )

    def write_report(self, finished: bool) -> None:
        """Write the statistics so far as JSON to the file named by the parameter 'report'."""
        if self._report_path is None:
            return
        # The latency is NaN if the stamp of the image is from another clock.
        known = np.array(self._latencies, float)
        known = known[np.isfinite(known)]
        p50, p95 = np.percentile(known, [50, 95]) if len(known) else (np.nan, np.nan)
        report = {
            "finished": finished,
            "connected": self._connected,
            "frames_received": self._frames,
            "camera_infos_received": self._camera_infos,
            "people": {str(track_id): frames for track_id, frames in self._people.items()},
            "latency_p50_s": None if np.isnan(p50) else float(p50),
            "latency_p95_s": None if np.isnan(p95) else float(p95),
            "diagnostics": self._diagnostics,
        }
        temporary = self._report_path.with_name(f".{self._report_path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(report, indent=2), encoding="utf-8")
        temporary.replace(self._report_path)


def record(stop: threading.Event) -> int:
    """Record until a stop is requested, then complete the files; returns the exit status.

    Any error is caught, because hours of recorded data must be kept.
    """
    node, reason = RecorderNode(), ""
    try:
        try:
            spin(node, stop)
        except OSError as error:
            reason = str(error)
        except Exception as error:
            node.get_logger().error(f"Unexpected error:\n{traceback.format_exc()}")
            reason = repr(error)
        return 0 if node.finish(reason) else 1
    finally:
        node.destroy_node()


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_recorder."""
    sys.exit(run_process("moro_recorder", args, record))


if __name__ == "__main__":
    main()
