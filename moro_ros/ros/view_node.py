"""moro_view: shows the topics of moro_node in the browser; `moro view --live` starts it."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.config import fixed
from moro_ros.errors import CalibrationError, ImageError, MoroError, missing_module
from moro_ros.io.camera_info import camera_of_info
from moro_ros.io.export.bodies import check_body
from moro_ros.io.motion_bag import covariance_of
from moro_ros.io.pictures import Pictures
from moro_ros.io.recording import MotionRecording, row_of_human
from moro_ros.msg import Human, HumanArray
from moro_ros.recover.ground import GroundPlane
from moro_ros.resources import share_path
from moro_ros.ros import parameters
from moro_ros.ros.bridge import rgb_pixels
from moro_ros.ros.calibration import DEFAULT_FRAME
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.serve import run_process, spin
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.types import Camera
from moro_ros.view.address import HOST, PORT, open_browser
from moro_ros.view.result import RECORDED, Moment, Pose, Result

# Length of the timeline in images: two minutes at 30 Hz.
KEPT = 3600
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class ViewConfig:
    """Parameters of moro_view."""

    host: str = fixed(HOST, "Address to listen on; 0.0.0.0: all interfaces")
    port: int = fixed(PORT, "Port to listen on. 0 selects a free port", low=0, high=65535)
    browser: bool = fixed(False, "Open the page in the browser of this machine")
    refined: bool = fixed(False, "Show humans_refined next to humans; needs motion.refined_lag")
    body: str = fixed("", "Body model that the node uses, npz; empty: the open body")


class ViewNode(parameters.StartValues, Node):
    """Subscribes to humans, the image and camera_info; run() shows them in the caller's thread.

    overrides: values of parameters. viewer: the page; results: the data that it shows.
    Raises: MoroError if a parameter is wrong or the address cannot be used.
    """

    def __init__(self, overrides: list[Parameter] | None = None) -> None:
        super().__init__(
            "moro_view",
            parameter_overrides=overrides,
            automatically_declare_parameters_from_overrides=True,
        )
        self.config = config = parameters.declare(self, ViewConfig)
        parameters.warn_of_unknown(self, ViewConfig)
        file = config.body or share_path("models", "open_body", "OPEN_NEUTRAL.npz")
        self._body: BodyModel = load_body_model(file)
        self.failure: MoroError | None = None
        self._checked = False
        self._camera: Camera | None = None
        self._frames: dict[str, str] = {}  # of the image and camera_info, which may differ
        pictures = Pictures(most=KEPT)
        names = ("humans", "humans_refined") if config.refined else ("humans",)
        self.results = [Result(name, pictures=pictures, limit=KEPT) for name in names]
        # viser is optional; if it is missing, view() says how to install it.
        from moro_ros.view.viewer import Viewer

        self.viewer = Viewer(
            self.results, self._body, config.host, config.port, live=True,
            port_option="the parameter port", host_option="The parameter host",
        )  # fmt: skip
        humans = self.resolve_topic_name("humans")
        for name, result in zip(names, self.results, strict=True):
            self.create_subscription(
                HumanArray,
                humans.removesuffix("humans") + name,
                partial(self._on_humans, result=result),
                _RELIABLE,
            )
        self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        image = self.resolve_topic_name("image")
        kind = CompressedImage if image.endswith("/compressed") else Image
        self.create_subscription(kind, image, self._on_image, qos_profile_sensor_data)
        where = f"The page of {humans} is {self.viewer.url}"
        opened = config.browser and open_browser(self.viewer.url)
        self.get_logger().info(f"{where}." if opened else f"{where}: open it in a browser.")

    def run(self, stopped: threading.Event) -> None:
        """Show the page until a stop is requested; raises MoroError if it cannot continue."""
        listener = threading.Thread(target=spin, args=(self, stopped), daemon=True)
        listener.start()
        self.viewer.run(lambda: not stopped.is_set() and self.failure is None)
        stopped.set()
        listener.join()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """End the page and the node."""
        self.viewer.close()
        self.destroy_node()

    def _on_humans(self, message: HumanArray, result: Result) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if result.moments and stamp_ns - result.moments[-1].stamp_ns == AFTER_LAST_NS:
            return  # the images stopped: this describes no new image
        # People in the frame of the world are not in front of this camera.
        # The node publishes DEFAULT_FRAME if the camera has no frame.
        frame, *known = (
            name.lstrip("/") or DEFAULT_FRAME
            for name in (message.header.frame_id, *self._frames.values())
        )
        result.camera = self._camera if frame in known else None
        people = {}
        for human in message.humans:
            if human.tracking_state == Human.TRACKING_LOST:
                continue
            covariance = covariance_of(human)
            row = row_of_human(human, stamp_ns)
            people[human.id] = Pose(row, covariance if covariance.any() else None)
            self._check_body(human.id, row)
        if np.any(message.ground_plane):
            normal, offset = message.ground_plane[:3], message.ground_plane[3]
            result.ground = GroundPlane(np.array(normal, np.float64), float(offset))
            result.ground_from = RECORDED
        result.add(Moment(stamp_ns, people))

    def _check_body(self, track_id: int, row: np.ndarray) -> None:
        """Check once that the node uses the displayed body model."""
        if self._checked:
            return
        self._checked = True
        first = MotionRecording()
        first.add(track_id, row)
        try:
            check_body(first, [track_id], self._body)
        except MoroError as error:
            self.failure = error

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            camera = camera_of_info(message)
        except CalibrationError as error:
            self.get_logger().warning(f"camera_info: {error}", throttle_duration_sec=10.0)
            return
        self._camera = camera
        self._frames["camera_info"] = message.header.frame_id

    def _on_image(self, message: Any) -> None:
        try:
            rgb = rgb_pixels(message)
        except ImageError as error:
            self.get_logger().warning(f"image: {error}", throttle_duration_sec=10.0)
            return
        self._frames["image"] = message.header.frame_id
        pictures = self.results[0].pictures
        assert pictures is not None
        pictures.add(stamp_to_ns(message.header.stamp), rgb[..., ::-1])


def view(stopped: threading.Event) -> int:
    """Show the page until a stop is requested; raises MoroError if that is not possible."""
    try:
        with closing(ViewNode()) as node:
            node.run(stopped)
    except ModuleNotFoundError as error:
        raise missing_module(error) from error
    return 0


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_view."""
    sys.exit(run_process("moro_view", args, view))


if __name__ == "__main__":
    main()
