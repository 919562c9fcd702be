"""Perception: the processing of one image, from its message to the published motion."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError
from moro_ros.live.threads import Relay
from moro_ros.ros.boxes import BoxesInput
from moro_ros.ros.bridge import AnyImage, image_size, rgb_pixels
from moro_ros.ros.calibration import Calibration
from moro_ros.ros.conversions import check_size, ns_to_stamp, stamp_to_ns
from moro_ros.ros.depth_input import DepthInput
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.outputs.registry import Outputs, Wanted
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.roi import Roi
from moro_ros.ros.stamps import AFTER_LAST_NS, StampOrder
from moro_ros.ros.statistics import NodeStatistics
from moro_ros.types import Camera, Frame, Observed, PipelineResult

if TYPE_CHECKING:
    from moro_ros.live.pipeline import HumanMotionPipeline

IGNORED_LOG_PERIOD_S = 5.0
CALIBRATION_LOG_PERIOD_S = 1.0


class Perception:
    """Runs the pipeline on images in the order of arrival; for one thread.

    This thread detects people in an image while another recovers and publishes the motion of the
    image before. Errors of the other thread go to `faults` immediately.
    """

    def __init__(
        self,
        pipeline: HumanMotionPipeline,
        outputs: Outputs,
        statistics: NodeStatistics,
        faults: FaultLog,
        logger: RcutilsLogger,
        boxes: BoxesInput | None = None,
        depth: DepthInput | None = None,
        roi: Roi | None = None,
    ) -> None:
        self._relay = Relay("moro_motion", faults.take)
        self._boxes = boxes
        self._depth = depth
        self._depths = None if depth is None else pipeline.use_depth()
        self._pipeline = pipeline
        self._outputs = outputs
        self._statistics = statistics
        self._logger = logger
        # The pipeline's counters may include an earlier activation.
        self._ignored_people = pipeline.ignored_people
        self._carried_people = pipeline.carried_people
        self._noticed = dict(pipeline.noticed)
        self._unusable_poses = pipeline.unusable_poses
        self._unusable_transforms = outputs.placement.tree.unusable
        self._calibration = Calibration()
        self._order = StampOrder()
        self.roi = roi
        self._ids: list[int] = []
        self._ignored_floor = self._wrong_statures = ""
        self._last: tuple[int, Camera] | None = None  # stamp and camera of the last image

    @property
    def calibration(self) -> str:
        """A text of the camera's calibration; none before the first usable camera_info."""
        camera = self._calibration.camera
        if camera is None:
            return "none"
        fx, fy = camera.matrix[0, 0], camera.matrix[1, 1]
        distortion = camera.distortion_model if camera.distorted else "no distortion"
        return f"{camera.width}x{camera.height}, fx {fx:.1f}, fy {fy:.1f} px, {distortion}"

    @property
    def flapping(self) -> str:
        """A text of why the calibration keeps changing; usually empty."""
        return self._calibration.flapping

    def check(self, options: NodeConfig) -> None:
        """Check that the model in use supports the options; raises ConfigError."""
        self._outputs.check(options)

    def set_roi(self, roi: Roi | None) -> None:
        """Detect people only in a part of the images; None: in the whole image.

        Raises: ConfigError if the part is outside the images.
        """
        camera = self._calibration.camera
        if roi and camera and (roi.left >= camera.width or roi.top >= camera.height):
            raise ConfigError(
                f"The region starts at ({roi.left}, {roi.top}), outside the images of "
                f"{camera.width}x{camera.height} pixels."
            )
        if roi and camera:
            roi = dataclasses.replace(roi, image_size=(camera.width, camera.height))
        self.roi = roi

    def lock_shape(self, track_id: int, lock: bool) -> dict[int, np.ndarray]:
        """Lock the shape of a person (0: of all people in view), or unlock it.

        Returns the betas (10,) of the people concerned, by id.
        """
        self._relay.rest()
        wanted = [track_id] if track_id else self._ids
        found = {i: self._pipeline.lock_shape(i, lock) for i in wanted}
        return {i: betas for i, betas in found.items() if betas is not None}

    def set_stature(self, track_id: int, stature_m: float) -> float:
        """Set a person's stature [m] as given by a user, or forget it with 0.

        Returns the stature that is known now, 0 for none. Raises: ConfigError if the person is not
        in view.
        """
        self._relay.rest()
        known = self._pipeline.set_stature(track_id, stature_m)
        if known is None:
            raise ConfigError(f"id: got {track_id}, expected a person in view; see ~/humans.")
        return known

    @property
    def ignored_floor(self) -> str:
        """A text of the people for whom the floor is ignored and why; usually empty."""
        return self._ignored_floor

    @property
    def wrong_statures(self) -> str:
        """A text of the people whose set stature is wrong; usually empty."""
        return self._wrong_statures

    @property
    def boxes_problem(self) -> str:
        """A text of why there are no boxes of another detector; usually empty."""
        return "" if self._boxes is None else self._boxes.silence

    @property
    def depth_problems(self) -> dict[str, str]:
        """Texts of the problems with depth images, by kind."""
        if self._depth is None or self._depths is None:
            return {}
        silence = self._depth.silence
        return self._depths.problems | ({"silent": silence} if silence else {})

    @property
    def depth(self) -> str:
        """A text of the number of depth measurements of people; empty without depth images."""
        if self._depth is None or self._depths is None:
            return ""
        return f"{self._depth.topic}: {self._depths.used} measurements"

    def process(
        self,
        image: AnyImage,
        info: CameraInfo | None,
        config: PipelineConfig,
        options: NodeConfig,
        late: bool = False,
    ) -> None:
        """Recover and publish the motion of the people in an image.

        People have been detected when this returns; the rest is done during the next image.
        info: the newest camera_info; late: see HumanMotionPipeline.observe.
        Raises: MoroError if the image cannot be used.
        """
        stamp_ns = stamp_to_ns(image.header.stamp)
        self._check_stamp(stamp_ns, config.motion.max_gap_s)
        # The image itself is checked first: one without pixels has no size to compare.
        size = image_size(image)
        camera = self._current_camera(image, info, options)
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
        if config is not self._pipeline.config:
            self._relay.rest()
            self._pipeline.configure(config)
        if self._boxes is not None:
            self._pipeline.offer_boxes(self._boxes.take())
        self._last = stamp_ns, camera
        observed = self._pipeline.observe(self._shown(pixels), stamp_ns, camera, late)
        observed.stage_s["convert_s"] = converted - start
        header = Header(stamp=image.header.stamp, frame_id=camera.frame_id)
        mesh = wanted.mesh and config.mesh
        self._relay.hand_over(
            lambda: self._recover(observed, mesh, pixels, header, wanted, options)
        )
        if options.camera_guard:
            self._watch_camera(pixels, observed.frame, options)
        self._report_people(config.max_people)

    def _shown(self, pixels: np.ndarray) -> np.ndarray:
        """An image (H, W, 3), black outside of the region, which is dropped if it does not fit."""
        roi, (height, width) = self.roi, pixels.shape[:2]
        if roi is None:
            return pixels
        if roi.image_size is None and roi.left < width and roi.top < height:
            roi = self.roi = dataclasses.replace(roi, image_size=(width, height))
        if roi.image_size == (width, height):
            return roi.shown(pixels)
        self.roi = None
        self._logger.warning(
            f"The region of ~/set_roi is not of images of {width}x{height} pixels, so it is "
            "dropped: people are detected in the whole image. Set it again."
        )
        return pixels

    def _recover(
        self,
        observed: Observed,
        mesh: bool,
        pixels: np.ndarray,
        header: Header,
        wanted: Wanted,
        options: NodeConfig,
    ) -> None:
        self._pipeline.set_floor(*self._outputs.trusted_ground(header.frame_id))
        if self._depth is not None and self._depths is not None:
            tree = self._outputs.placement.tree
            stamp_ns = observed.frame.stamp_ns
            self._depth.deliver(self._depths, tree, header.frame_id, stamp_ns)
        result = self._pipeline.recover(observed, mesh)
        if self._depth is not None and self._depths is not None and self._depths.used:
            self._logger.info(
                f"Depth images of {self._depth.topic} are used: they measure the distance of "
                "people.",
                once=True,
            )
        self._report_unusable()
        ignored = self._pipeline.ignored_floor()
        self._ignored_floor = floor_words(ignored)
        self._wrong_statures = stature_words(self._pipeline.wrong_statures())
        start = time.perf_counter()
        latency_s = self._outputs.publish(result, pixels, header, wanted, options, ignored)
        stages = {**result.stage_s, "publish_s": time.perf_counter() - start}
        self._ids = sorted(self._outputs.people)
        self._statistics.count("held", sum(bool(m.held[-1]) for m in result.motions))
        fill = self._pipeline.window_fill
        self._statistics.processed(self._ids, result.lost, latency_s, stages, fill)

    def _report_unusable(self) -> None:
        """Count poses of this image that were not published because they are not finite."""
        before, self._unusable_poses = self._unusable_poses, self._pipeline.unusable_poses
        if self._unusable_poses > before:
            self._statistics.count("unusable_poses", self._unusable_poses - before)
            self._logger.error(
                "A recovered pose has values that are not finite. It was not published, and the "
                "window of that person restarts. Please report it with the model and the device.",
                once=True,
            )
        tree, before = self._outputs.placement.tree, self._unusable_transforms
        self._unusable_transforms = tree.unusable
        self._statistics.count("unusable_transforms", self._unusable_transforms - before)

    def _report_people(self, max_people: int) -> None:
        for event, total in self._pipeline.noticed.items():
            self._statistics.count(event, total - self._noticed.get(event, 0))
            self._noticed[event] = total
        before, self._carried_people = self._carried_people, self._pipeline.carried_people
        self._statistics.count("carried", self._carried_people - before)
        before, self._ignored_people = self._ignored_people, self._pipeline.ignored_people
        if self._ignored_people > before:
            self._statistics.count("ignored_people", self._ignored_people - before)
            self._logger.warning(
                f"More than {max_people} people in view: the farthest are not tracked. Increase "
                "max_people; each person adds processing time per image.",
                throttle_duration_sec=IGNORED_LOG_PERIOD_S,
            )

    def _check_stamp(self, stamp_ns: int, max_gap_s: float) -> None:
        back_s = self._order.jump(stamp_ns, max_gap_s)
        if back_s:
            self._logger.warning(
                f"Stamps went back by {back_s:.3f} s (a looping recording, or a clock that was "
                "set). Tracking restarts."
            )
            self.restart()

    def _current_camera(
        self, image: AnyImage, info: CameraInfo | None, options: NodeConfig
    ) -> Camera:
        if change := self._calibration.update(image.header.frame_id, info, options):
            self._logger.warning(
                f"The calibration of the camera changed ({change}). Tracking restarts.",
                throttle_duration_sec=CALIBRATION_LOG_PERIOD_S,
            )
            self.restart()
        camera = self._calibration.camera
        assert camera is not None
        if self._outputs.camera_frame != camera.frame_id:
            self._look_through(camera.frame_id)
        return camera

    def _look_through(self, frame_id: str) -> None:
        """Forget the ground and the view of another camera than that of a TF frame."""
        self._relay.rest()
        outputs = self._outputs
        if outputs.camera_frame and outputs.ground.plane is not None:
            self._logger.warning(
                f"The images are from the frame '{frame_id}' instead of '{outputs.camera_frame}'. "
                "The estimate of the ground restarts: set or fix it again (~/calibrate_ground).",
                throttle_duration_sec=CALIBRATION_LOG_PERIOD_S,
            )
        if outputs.camera_frame:
            outputs.ground.reset()
            outputs.guard.reset()
        outputs.camera_frame = frame_id

    def _watch_camera(self, pixels: np.ndarray, frame: Frame, options: NodeConfig) -> None:
        guard = self._outputs.guard
        guard.shift = options.camera_guard_shift
        boxes = [person.box_xyxy for person in frame.people]
        change = guard.look(pixels, frame.stamp_ns, boxes, frame.camera.matrix)
        if change is None:
            return
        by = "" if change.shift is None else f" by {100 * change.shift:.1f} % of the image width"
        self._logger.warning(
            f"The camera was moved{by}. Tracking and the estimate of the ground restart. This node "
            "requires a static camera."
        )
        self._statistics.count("camera_moved")
        self._relay.rest()
        self._outputs.ground.reset()
        self.restart()

    def settle(self) -> None:
        """Wait until all images are processed."""
        self._relay.rest()

    def lose_everybody(self, options: NodeConfig) -> None:
        """Report all people in view as lost when images stop; seen again, they get new ids."""
        self._relay.rest()
        lost = self._pipeline.lose_everybody()
        self._ids, self._ignored_floor, self._wrong_statures = [], "", ""
        if self._last is None:
            return
        (stamp_ns, camera), self._last = self._last, None
        header = Header(stamp=ns_to_stamp(stamp_ns + AFTER_LAST_NS), frame_id=camera.frame_id)
        result = PipelineResult(stamp_ns, camera, (), (), {}, lost)
        self._outputs.publish_lost(result, header, options)
        self._statistics.lost(lost)

    def restart(self) -> None:
        """Forget all people and windows."""
        self._relay.rest()
        self._pipeline.reset()
        self._ignored_floor = self._wrong_statures = ""
        self._statistics.count("resets")


def floor_words(ignored: dict[int, str]) -> str:
    """A text of the people for whom the floor is ignored; ignored: reasons by track id."""
    if not ignored:
        return ""
    people = ", ".join(f"person {i} ({reason})" for i, reason in sorted(ignored.items()))
    return (
        f"The floor is ignored for {people}. They may stand on a step. If it is ignored for "
        "all people, and it was set or calibrated, the camera was moved or the floor is another "
        "camera's: calibrate it again."
    )


def stature_words(wrong: dict[int, tuple[float, float]]) -> str:
    """A text of the people whose stature was set wrong; wrong: given and measured [m] by id."""
    return " ".join(
        f"Person {i} was set to be {given_m:.2f} m tall, but depth measures {measured_m:.2f} m. "
        "Check the id in ~/humans, and set it again with ~/set_stature, or 0 to forget it."
        for i, (given_m, measured_m) in sorted(wrong.items())
    )
