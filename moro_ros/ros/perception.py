"""Perception: what happens to one image, from its message to the published motion."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from moro_ros.config import PipelineConfig
from moro_ros.ros import faults
from moro_ros.ros.boxes import BoxesInput
from moro_ros.ros.bridge import AnyImage, image_size, rgb_pixels
from moro_ros.ros.conversions import camera_from_info, camera_key, check_size, stamp_to_ns
from moro_ros.ros.faults import BadCamera, BadImage
from moro_ros.ros.outputs import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.statistics import NodeStatistics
from moro_ros.types import Camera

if TYPE_CHECKING:
    from moro_ros.inference.pipeline import HumanMotionPipeline

# Where neither the image nor camera_info names its frame; TF cannot do without.
DEFAULT_FRAME = "camera_optical_frame"
IGNORED_LOG_PERIOD_S = 5.0


class Perception:
    """Runs the pipeline on images in the order of their arrival; for one thread."""

    def __init__(
        self,
        pipeline: HumanMotionPipeline,
        outputs: Outputs,
        statistics: NodeStatistics,
        logger: RcutilsLogger,
        config: PipelineConfig,
        boxes: BoxesInput | None = None,
    ) -> None:
        self._boxes = boxes
        self._pipeline = pipeline
        self._outputs = outputs
        self._statistics = statistics
        self._logger = logger
        self._config = config
        self._ignored_people = 0
        self._camera: tuple[object, Camera] | None = None
        self._last_stamp_ns: int | None = None

    def check(self, options: NodeConfig) -> None:
        """Check that the model in use can serve the options; raises ConfigError."""
        self._outputs.check(options)

    def process(
        self, image: AnyImage, info: CameraInfo | None, config: PipelineConfig, options: NodeConfig
    ) -> None:
        """Recover and publish the motion of the people in an image.

        info: the newest camera_info. Raises: MoroError if the image cannot be used.
        """
        stamp_ns = stamp_to_ns(image.header.stamp)
        self._check_stamp(stamp_ns)
        # Faults of the image itself come first: one without pixels has no size to compare.
        size = image_size(image)
        camera = self._current_camera(image, info, options.rectified)
        if size is not None:
            check_size(camera, *size)
        wanted = self._outputs.wanted(stamp_ns, options)
        if wanted.idle:
            self._statistics.count("idle")
            return
        start = time.perf_counter()
        pixels = rgb_pixels(image)
        check_size(camera, pixels.shape[1], pixels.shape[0])
        converted = time.perf_counter()
        if config is not self._config:
            self._config = config
            self._pipeline.configure(config)
        if self._boxes is not None:
            self._pipeline.offer_boxes(self._boxes.take())
        result = self._pipeline.push(pixels, stamp_ns, camera, wanted.mesh and config.mesh)
        pushed = time.perf_counter()
        header = Header(stamp=image.header.stamp, frame_id=camera.frame_id)
        latency_s = self._outputs.publish(result, pixels, header, wanted, options)
        stages = {
            "convert_s": converted - start,
            **result.stage_s,
            "publish_s": time.perf_counter() - pushed,
        }
        ids = [motion.track_id for motion in result.motions]
        self._statistics.processed(ids, latency_s, stages)
        self._report_ignored(config.max_people)

    def _report_ignored(self, max_people: int) -> None:
        before, self._ignored_people = self._ignored_people, self._pipeline.ignored_people
        if self._ignored_people > before:
            self._statistics.count("ignored_people", self._ignored_people - before)
            self._logger.warning(
                f"More than {max_people} people in view: the farthest are not followed. Raise "
                "max_people, at the price of time per image.",
                throttle_duration_sec=IGNORED_LOG_PERIOD_S,
            )

    def _check_stamp(self, stamp_ns: int) -> None:
        before, self._last_stamp_ns = self._last_stamp_ns, stamp_ns
        if before is None or stamp_ns > before:
            return
        if stamp_ns == before:
            raise BadImage(
                faults.REPEATED_STAMP,
                f"Two images in a row have the stamp {stamp_ns * 1e-9:.6f} s. The driver must "
                "stamp every image with its acquisition time.",
            )
        self._logger.warning(
            f"Stamps went back by {(before - stamp_ns) * 1e-9:.3f} s (a bag that loops?): "
            "everybody is forgotten and the windows start anew."
        )
        self._restart()

    def _current_camera(self, image: AnyImage, info: CameraInfo | None, rectified: bool) -> Camera:
        if info is None:
            raise BadCamera(
                faults.NO_CAMERA_INFO,
                "No camera_info has come yet, so the image cannot be placed in space. Remap "
                "'camera_info' to the topic on which the camera publishes it.",
            )
        key = (camera_key(info), image.header.frame_id, rectified)
        if self._camera is None or self._camera[0] != key:
            camera = camera_from_info(info, rectified)
            if self._camera is not None:
                self._logger.warning("The camera's calibration changed: the windows start anew.")
                self._restart()
            frame_id = image.header.frame_id or camera.frame_id or DEFAULT_FRAME
            self._camera = key, dataclasses.replace(camera, frame_id=frame_id)
        return self._camera[1]

    def _restart(self) -> None:
        self._pipeline.reset()
        self._statistics.count("resets")
