"""HumanMotionPipeline: an image in, the recovered motion of everybody in it out."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError, ImageError
from moro_ros.geometry.lens import image_points
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.perception.frontend import KeypointFrontend, load_frontend
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import KEYPOINTS, BodyMotion, Camera, Frame, Observed, PipelineResult

log = logging.getLogger(__name__)
# Keypoints that are joints of the body, too, and which.
_SHARED = [name for name in KEYPOINTS if name in JOINT_NAMES]
_POINTS = np.array([list(KEYPOINTS).index(name) for name in _SHARED])
_JOINTS = np.array([JOINT_NAMES.index(name) for name in _SHARED])
# Nearer joints are beside or behind the camera, m.
_NEAREST_M = 0.1


class HumanMotionPipeline:
    """The front-end and the motion stream joined; one instance per camera.

    Frames must come in the order of their stamps. `observe` and `recover` may each have a thread,
    so that an image is looked at while the motion of the one before is recovered; everything else
    needs both to rest.
    """

    def __init__(
        self,
        config: PipelineConfig,
        frontend: KeypointFrontend | SyntheticFrontend,
        stream: MoRoStream,
    ) -> None:
        self.config = config
        self.frontend = frontend
        self.stream = stream
        # Held while the network works: cameras that share one take turns.
        self.turn: AbstractContextManager[Any] = nullcontext()
        # From recover to observe: where people out of sight are by their recovered bodies.
        self._corrections: deque[tuple[int, np.ndarray, int]] = deque()

    @property
    def faces(self) -> np.ndarray:
        """Triangles of the published mesh, (N, 3) int32."""
        return self.stream.faces

    @property
    def vertex_parts(self) -> np.ndarray:
        """The body joint that moves each vertex of the published mesh most, (V,) uint8."""
        return self.stream.vertex_parts

    @property
    def joint_parents(self) -> tuple[int, ...]:
        """Parent of each joint of the body model, -1 for the root; the first 22 are the body's."""
        return self.stream.body.parents

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """Return the joints of the body model at rest, (N, 3) m, for betas (10,)."""
        return self.stream.body.skeleton(torch.from_numpy(betas)[None]).joints[0].numpy()

    @property
    def model_name(self) -> str:
        """Name of the model in use."""
        return self.stream.model_name

    @property
    def model_sha256(self) -> str:
        """sha256 of the network's weights file."""
        return self.stream.model_sha256

    @property
    def window_fill(self) -> float:
        """How full the windows of those in view are on average, 0 to 1."""
        return self.stream.window_fill

    def lock_shape(self, track_id: int, lock: bool) -> np.ndarray | None:
        """Keep a person's shape, or let it go (MoRoStream.lock_shape)."""
        return self.stream.lock_shape(track_id, lock)

    def set_floor(self, plane: GroundPlane | None) -> None:
        """Tell the network where the floor is, from the next image on; see MoRoStream.set_floor."""
        self.stream.set_floor(plane)

    @property
    def ignored_people(self) -> int:
        """How often somebody was found and not followed because of max_people."""
        return self.frontend.ignored_people

    @property
    def carried_people(self) -> int:
        """How often somebody in sight was not looked at for want of time (detector.look_share)."""
        return self.frontend.carried_people

    @property
    def noticed(self) -> dict[str, int]:
        """What the front-end noticed beside the people, counted by name (frontend.Notices)."""
        return self.frontend.notices.counts

    @property
    def unusable_poses(self) -> int:
        """How many recovered poses were not finite, and so not returned."""
        return self.stream.unusable_poses

    def offer_boxes(self, boxes_xyxy: np.ndarray) -> None:
        """Give the next image's people, found by another detector (KeypointFrontend.offer)."""
        self.frontend.offer(boxes_xyxy)

    def push(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, mesh: bool = False
    ) -> PipelineResult:
        """Process one image.

        image: (H, W, 3) uint8 RGB; stamp_ns: acquisition time; camera: its calibration;
        mesh: also recover the vertices. Returns the newest frame of everybody, nearest first.
        Raises: ImageError if the image is not of that form or not of the camera's size.
        """
        return self.recover(self.observe(image, stamp_ns, camera), mesh)

    def observe(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, late: bool = False
    ) -> Observed:
        """Look at one image: the first half of `push`, whose arguments and errors are the same.

        late: the image had to wait for the one before; only what cannot wait is done with it.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(
                f"Got an image of shape {image.shape} and type {image.dtype}; expected (height, "
                "width, 3) uint8 RGB."
            )
        if image.shape[:2] != (camera.height, camera.width):
            raise ImageError(
                f"The image has {image.shape[1]}x{image.shape[0]} pixels, but the calibration "
                f"is for {camera.width}x{camera.height}; publish the camera_info of this image "
                "size."
            )
        start = time.perf_counter()
        while self._corrections:
            self.frontend.correct(*self._corrections.popleft())
        if isinstance(self.frontend, SyntheticFrontend):
            self.frontend.camera = camera
        people = self.frontend.observe(image, stamp_ns, late)
        stages = {**self.frontend.timings, "frontend_s": time.perf_counter() - start}
        return Observed(Frame(stamp_ns, camera, people, image), stages)

    def recover(self, observed: Observed, mesh: bool = False) -> PipelineResult:
        """Recover the motion of the people in an image: the second half of `push`."""
        frame, start = observed.frame, time.perf_counter()
        with self.turn:
            motions = self.stream.push(frame, mesh and self.config.mesh)
        blind = {person.track_id for person in frame.people if person.keypoints is None}
        for motion in motions:
            if motion.track_id in blind and motion.stamps_ns[-1] == frame.stamp_ns:
                points = body_points(motion, frame.camera)
                self._corrections.append((motion.track_id, points, frame.stamp_ns))
        stages = {**observed.stage_s, **self.stream.timings}
        stages["motion_s"] = time.perf_counter() - start
        lost, refined = self.stream.lost, self.stream.refined
        return PipelineResult(
            frame.stamp_ns, frame.camera, frame.people, motions, stages, lost, refined
        )

    def configure(self, config: PipelineConfig) -> None:
        """Apply the options that may change at run time; weights and windows are kept."""
        self.config = config
        self.stream.configure(config.motion)
        self.frontend.configure(config.detector, config.tracker, config.max_people, config.realtime)

    def lose_everybody(self) -> tuple[int, ...]:
        """End every track and forget every window, as when the images stop.

        Whoever is seen in the next image again has a new id. Returns the ids that ended, which
        `PipelineResult.lost` does not name again.
        """
        self._corrections.clear()
        self.frontend.renumber()
        self.stream.reset()
        return self.stream.take_ended()

    def reset(self) -> None:
        """Forget every person and every window."""
        self._corrections.clear()
        self.frontend.reset()
        self.stream.reset()


def body_points(motion: BodyMotion, camera: Camera) -> np.ndarray:
    """Where a camera sees the newest recovered body.

    Returns (K, 2) pixels in the order of KEYPOINTS; NaN for keypoints that are no joints, and for
    joints that are not in front of the camera.
    """
    points = np.full((len(KEYPOINTS), 2), np.nan, np.float32)
    joints = motion.joints[-1, _JOINTS].astype(np.float64)
    ahead = joints[:, 2] > _NEAREST_M
    if ahead.any():
        points[_POINTS[ahead]] = image_points(joints[ahead], camera)
    return points


def load_pipeline(config: PipelineConfig) -> HumanMotionPipeline:
    """Load the model named by the configuration and build the pipeline around it.

    Raises: CheckpointError, BodyModelError, AssetError or ConfigError with the remedy.
    """
    if config.device == "cpu":
        torch.set_num_threads(config.threads)
    stream = load_stream(config)
    log.info("model %s (%s)", stream.model_name, stream.model_sha256[:12])
    return HumanMotionPipeline(config, make_frontend(config, stream), stream)


def make_frontend(
    config: PipelineConfig, stream: MoRoStream
) -> KeypointFrontend | SyntheticFrontend:
    """Return what finds people for a stream: in the images, or imagined ones (`people`).

    Raises: AssetError, and ConfigError if the stream's model cannot do with imagined people.
    """
    if config.people == "camera":
        return load_frontend(config.detector, config.tracker, config.max_people, config.realtime)
    if stream.sees_pixels:
        raise ConfigError(
            f"people: got 'synthetic', but {stream.model_name} uses pixels, which simulated "
            "people do not have. Use a model that uses keypoints, such as moro_open."
        )
    log.warning("people: synthetic. The published people are simulated, not those in the images.")
    return SyntheticFrontend(stream.body, config.max_people)
