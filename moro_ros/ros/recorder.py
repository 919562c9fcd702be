"""moro_recorder: writes what moro_node publishes to motion.mcap, motion.npz and joints.csv.

Everything is written under a temporary name and put in place when the recorder is told to stop
(SIGINT or SIGTERM), so that a file that is there is complete. Where it cannot go on, as on a full
disk, it completes the files with what it has and says what is missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from moro_ros.errors import CalibrationError, ConfigError, MoroError
from moro_ros.io.motion_files import TABLE, MotionFiles
from moro_ros.io.recording import ROW
from moro_ros.msg import Human, HumanArray
from moro_ros.ros.bag import MotionBag
from moro_ros.ros.conversions import camera_from_info, stamp_to_ns
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.ros.transport import init_ros

BAG = "motion.mcap"
_REPORT_PERIOD_S = 0.5
_RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=200,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class RecordingFiles:
    """The three files of one recording, invisible until finish().

    Raises: ConfigError if a file of that name is there already and may not be overwritten, or if
    the folder cannot be written.
    """

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self._files = MotionFiles(folder, overwrite, (BAG,))
        # The index of an mcap contains the name of its file, so it is written under its final name.
        self.bag = MotionBag(self._files.temporary / Path(BAG).stem)
        self.motion = self._files

    def finish(self) -> tuple[list[Path], list[str]]:
        """Complete the files as far as the disk allows and put them in place.

        Returns: where they are, and what is missing, in words.
        """
        # Completing the table frees the space of its rows for the end of the bag.
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


class RecorderNode(Node):
    """Subscribes to the outputs of moro_node and to the camera, and records them."""

    def __init__(self) -> None:
        super().__init__("moro_recorder")
        self._output = output = Path(self.declare_parameter("output", ".").value)
        overwrite = self.declare_parameter("overwrite", False).value
        report = self.declare_parameter("report", "").value
        humans = self.declare_parameter("humans_topic", "/moro/humans").value
        camera = self.declare_parameter("camera_info_topic", "/camera/camera_info").value
        images = self.declare_parameter("image_topics", [""]).value
        self._report_path = Path(report) if report else None
        self._latencies = array("d")
        self._frames = self._camera_infos = self._newest_ns = 0
        self._people: dict[int, int] = {}
        self._diagnostics: dict[str, dict[str, str]] = {}
        self._connected = False
        self._humans_topic = self.resolve_topic_name(humans)
        if self._report_path is not None:
            self._report_path.parent.mkdir(parents=True, exist_ok=True)
            self.write_report(finished=False)  # a path that does not work is told now
        self._files = files = RecordingFiles(output, overwrite)
        try:
            self._subscribe(humans, camera, [topic for topic in images if topic])
        except BaseException:
            files.discard()
            raise
        self.create_timer(_REPORT_PERIOD_S, self._on_timer)
        self.get_logger().info(f"Recording to {output.resolve()}; Ctrl-C ends and saves it.")

    def _subscribe(self, humans: str, camera: str, images: list[str]) -> None:
        self._record(humans, HumanArray, _RELIABLE, self._on_humans)
        self._record(camera, CameraInfo, qos_profile_sensor_data, self._on_camera_info)
        self._record("/tf", TFMessage, _RELIABLE)
        self._record("/tf_static", TFMessage, _LATCHED)
        self._record("/diagnostics", DiagnosticArray, _RELIABLE, self._on_diagnostics)
        for topic in images:
            image_type = CompressedImage if topic.endswith("/compressed") else Image
            self._record(topic, image_type, qos_profile_sensor_data)

    def _record(self, name: str, msg_type: Any, qos: QoSProfile, handle: Any = None) -> None:
        """Subscribe to the serialised messages of a topic; handle gets them deserialised."""
        topic = self.resolve_topic_name(name)
        package, module = msg_type.__module__.split(".")[:2]
        self._files.bag.add_topic(topic, f"{package}/{module}/{msg_type.__name__}")

        def on_message(cdr: bytes) -> None:
            self._files.bag.write(topic, self.get_clock().now().nanoseconds, cdr)
            if handle is not None:
                handle(deserialize_message(cdr, msg_type))

        self.create_subscription(msg_type, topic, on_message, qos, raw=True)

    def _on_humans(self, message: HumanArray) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns - self._newest_ns == AFTER_LAST_NS:
            return  # the images stopped: no other image is described
        self._newest_ns = stamp_ns
        if self._report_path is not None:
            self._latencies.append(message.latency)
        self._frames += 1
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
                self._files.motion.camera = camera_from_info(message)
            except CalibrationError as error:
                self.get_logger().warning(
                    f"camera_info is left out of {TABLE}: {error}", throttle_duration_sec=10.0
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
        self._try_report(finished=False)

    def finish(self, reason: str = "") -> bool:
        """Complete the files and the report; returns whether they are complete.

        reason: why the recording ends before it was told to, if it does.
        """
        places, missing = self._files.finish()
        if reason or missing:
            names = ", ".join(path.name for path in places) or "nothing"
            self.get_logger().fatal(
                f"The recording ended early: {reason or 'it cannot be completed'}. Kept in "
                f"{self._output.resolve()}: {names}, with {self._files.motion.images} images. "
                f"Missing: {'; '.join([*missing, 'all that came later'] if reason else missing)}."
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
        # The latency is NaN if the stamp of the image comes from another clock.
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


def row_of_human(human: Human, stamp_ns: int) -> np.ndarray:
    """One Human as a row of the recording, () of dtype ROW."""
    row = np.zeros((), dtype=ROW)
    row["stamps_ns"] = stamp_ns
    for name in ("betas", "global_orient", "body_pose", "transl", "contacts"):
        row[name] = getattr(human, name)
    places = [joint.pose.position for joint in human.joints]
    row["joints"] = [(place.x, place.y, place.z) for place in places]
    row["confidence"] = [joint.confidence for joint in human.joints]
    row["state"] = [joint.state for joint in human.joints]
    row["tracking_state"] = human.tracking_state
    return row


def record(args: list[str] | None) -> int:
    """Run the node until a signal arrives, then complete the files; returns the exit status."""
    stopped = False

    def stop(_signal: int, _frame: Any) -> None:
        nonlocal stopped
        stopped = True

    # Own handlers that only set a flag: an exception raised by a signal in the middle of a write
    # would leave a broken file.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    node = None
    try:
        init_ros(args)
        node = RecorderNode()
        reason = spin(node, lambda: stopped)
        return 0 if node.finish(reason) else 1
    except (MoroError, OSError) as error:
        rclpy.logging.get_logger("moro_recorder").fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def spin(node: RecorderNode, stopped: Callable[[], bool]) -> str:
    """Record until asked to stop; returns the error that ended it early, in words.

    Whatever it is, hours may have been recorded, and those are kept.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stopped():
            executor.spin_once(timeout_sec=0.2)
    except OSError as error:
        return str(error)
    except Exception as error:
        node.get_logger().error(f"Unexpected error:\n{traceback.format_exc()}")
        return repr(error)
    return ""


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_recorder."""
    sys.exit(record(args))


if __name__ == "__main__":
    main()
