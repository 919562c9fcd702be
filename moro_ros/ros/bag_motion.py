"""The motion of all people in a recording: every image is processed in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moro_ros.errors import DataError, MoroError
from moro_ros.io.bag_depth import DepthUse, with_next
from moro_ros.io.motion_files import MotionFiles
from moro_ros.io.recording import row_of
from moro_ros.ros.bag_images import BagImage
from moro_ros.ros.bridge import rgb_pixels
from moro_ros.ros.calibration import Calibration
from moro_ros.ros.conversions import check_size, stamp_to_ns
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.stamps import StampOrder
from moro_ros.types import Camera

if TYPE_CHECKING:
    from moro_ros.live.pipeline import HumanMotionPipeline


@dataclass(slots=True)
class Tally:
    """The result of a recording; last_fault: the reason why the last skipped image was skipped."""

    frames: int = 0
    skipped: int = 0
    last_fault: str = ""
    people: set[int] = field(default_factory=set)


class BagMotion:
    """Writes the motion of the people in recorded images; unusable images are counted and skipped.

    pipeline: not shared and without tracked people; options: those of the node; depth: the
    recorded depth images, if they are used.
    """

    def __init__(
        self,
        pipeline: HumanMotionPipeline,
        files: MotionFiles,
        options: NodeConfig,
        depth: DepthUse | None = None,
    ) -> None:
        self.tally = Tally()
        self.depth = depth
        self._pipeline = pipeline
        self._files = files
        self._options = options
        self._calibration = Calibration()
        self._order = StampOrder()

    def run(self, images: Iterable[BagImage], go_on: Callable[[float], bool]) -> bool:
        """Process the images; returns whether the end was reached.

        go_on: called after each image with the share that is done; false stops the processing.
        Raises: DataError if the recording is damaged or none of its images can be used.
        """
        for item, following in with_next(images):
            try:
                self._add(item, following)
                self.tally.frames += 1
            except MoroError as error:
                self.tally.skipped += 1
                self.tally.last_fault = str(error)
            if not go_on(item.fraction):
                return False
        if not self.tally.frames:
            raise DataError(f"No image could be used. {self.tally.last_fault}".rstrip())
        return True

    def _add(self, item: BagImage, following: BagImage | None) -> None:
        stamp_ns = stamp_to_ns(item.image.header.stamp)
        camera = self._camera(item)
        pixels = rgb_pixels(item.image)
        check_size(camera, pixels.shape[1], pixels.shape[0])
        if self._order.jump(stamp_ns, self._pipeline.config.motion.max_gap_s):
            self._pipeline.reset()
        observed = self._pipeline.observe(pixels, stamp_ns, camera)
        if self.depth is not None:
            next_ns = None if following is None else stamp_to_ns(following.image.header.stamp)
            self.depth.camera_frame = camera.frame_id
            self.depth.before(stamp_ns, item.recorded_ns, next_ns)
        result = self._pipeline.recover(observed)
        if self.depth is not None:
            self.depth.after()
        self._files.camera = self._files.camera or camera
        self._files.add_image(stamp_ns)
        for person in result.motions:
            self.tally.people.add(person.track_id)
            self._files.add(person.track_id, row_of(person))

    def _camera(self, item: BagImage) -> Camera:
        frame_id = item.image.header.frame_id
        if self._calibration.update(frame_id, item.info, self._options):
            self._pipeline.reset()
        assert self._calibration.camera is not None
        return self._calibration.camera
