"""HumanMotionPipeline: from an image to the recovered motion of all people in it."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from moro_ros.body.capsules import Capsules, body_capsules
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError, ImageError
from moro_ros.geometry.lens import image_points
from moro_ros.live.depth_memory import DepthMemory
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.predictor import predict_people, why_not
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.perception.frontend import KeypointFrontend, load_frontend
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.prediction import MotionPrediction
from moro_ros.types import KEYPOINTS, BodyMotion, Camera, Frame, Observed, PipelineResult

log = logging.getLogger(__name__)
# Keypoints that are also joints of the body, and their joints.
_SHARED = [name for name in KEYPOINTS if name in JOINT_NAMES]
_POINTS = np.array([list(KEYPOINTS).index(name) for name in _SHARED])
_JOINTS = np.array([JOINT_NAMES.index(name) for name in _SHARED])
# Minimum depth of a joint in front of the camera, m.
_NEAREST_M = 0.1


class HumanMotionPipeline:
    """The front-end and the motion stream joined; one instance per camera.

    Frames must be in the order of their stamps. `observe` and `recover` may each have a thread, so
    that people are detected in an image while the motion of the previous one is recovered. Call
    other methods only while neither runs.
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
        # Held while the network runs: cameras that share one take turns.
        self.turn: AbstractContextManager[Any] = nullcontext()
        # From recover to observe: places of unseen people, from their recovered bodies.
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

    def rest_vertices(self, betas: np.ndarray) -> np.ndarray:
        """Return the vertices of vertex_parts at rest, (V, 3) m, for betas (10,)."""
        vertices = self.stream.body.rest_vertices(torch.from_numpy(betas)[None])[0]
        return vertices[: len(self.vertex_parts)].numpy()

    def capsules(self, betas: np.ndarray) -> Capsules:
        """Return the capsules of the body parts at rest, relative to their joints."""
        return body_capsules(self.stream.body, torch.from_numpy(betas))

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
        """Mean fill of the windows of the people in view, 0 to 1."""
        return self.stream.window_fill

    def lock_shape(self, track_id: int, lock: bool) -> np.ndarray | None:
        """Lock or unlock a person's shape (MoRoStream.lock_shape)."""
        return self.stream.lock_shape(track_id, lock)

    def set_floor(
        self, plane: GroundPlane | None, sigma: float = 0.0, to_network: bool = True
    ) -> None:
        """Place people on a floor from the next image on; see Placing.set_floor."""
        self.stream.set_floor(plane, sigma, to_network)

    def set_stature(self, track_id: int, stature_m: float) -> float | None:
        """Set a person's stature as given by a user (MoRoStream.set_stature)."""
        return self.stream.set_stature(track_id, stature_m)

    def expect_stature(self, track_id: int, stature_m: float) -> None:
        """Set the stature [m] of somebody who need not be described yet, from the first pose on."""
        self.stream.placing.set_stature(track_id, stature_m)

    def use_depth(self) -> DepthMemory:
        """Return the input for depth images, for any thread; from now on they place people."""
        return self.stream.placing.use_depth()

    def ignore_depth(self) -> None:
        """End the use of depth images: nobody is placed by them any more."""
        self.stream.placing.ignore_depth()

    def ignored_floor(self) -> dict[int, str]:
        """Return the people for whom the floor is ignored, with the reason, by track id."""
        return self.stream.placing.ignored_floor()

    def wrong_statures(self) -> dict[int, tuple[float, float]]:
        """Return the people whose set stature contradicts depth (Placing.wrong_statures)."""
        return self.stream.placing.wrong_statures()

    @property
    def ignored_people(self) -> int:
        """Number of times a detected person was not tracked because of max_people."""
        return self.frontend.ignored_people

    @property
    def carried_people(self) -> int:
        """Number of times a visible person was skipped for lack of time (detector.look_share)."""
        return self.frontend.carried_people

    @property
    def noticed(self) -> dict[str, int]:
        """Other findings of the front-end, counted by name (frontend.Notices)."""
        return self.frontend.notices.counts

    @property
    def unusable_poses(self) -> int:
        """Number of recovered poses that were not finite and so not returned."""
        return self.stream.unusable_poses

    def offer_boxes(self, boxes_xyxy: np.ndarray) -> None:
        """Provide the people of the next image from another detector (KeypointFrontend.offer)."""
        self.frontend.offer(boxes_xyxy)

    def push(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, mesh: bool = False
    ) -> PipelineResult:
        """Process one image.

        image: (H, W, 3) uint8 RGB; stamp_ns: acquisition time; camera: its calibration;
        mesh: also recover the vertices. Returns the newest frame of each person, nearest first.
        Raises: ImageError if the image does not have that form or the camera's size.
        """
        return self.recover(self.observe(image, stamp_ns, camera), mesh)

    def observe(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, late: bool = False
    ) -> Observed:
        """Observe one image: the first half of `push`, with the same arguments and errors.

        late: the image had to wait for the one before; only urgent work is done.
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

    @property
    def prediction_missing(self) -> str:
        """The reason why `predict` cannot be called, as a sentence; empty if it can."""
        return why_not(self.stream)

    def predict(
        self, result: PipelineResult, samples: int = 0, temperature: float = 1.0
    ) -> tuple[MotionPrediction, ...]:
        """Predict the people of the newest result; for the thread of `recover`.

        samples, temperature: see recover.prediction.predict.
        """
        with self.turn:
            return predict_people(self.stream, result.motions, samples, temperature)

    def configure(self, config: PipelineConfig) -> None:
        """Apply the options that can change at run time; weights and windows are kept."""
        self.config = config
        self.stream.configure(config.motion)
        self.frontend.configure(config.detector, config.tracker, config.max_people, config.realtime)

    def lose_everybody(self) -> tuple[int, ...]:
        """End all tracks and forget all windows, for instance when the images stop.

        People in the next image get new ids. Returns the ids that ended, which
        `PipelineResult.lost` does not repeat.
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
    """The newest recovered body in the image of a camera.

    Returns (K, 2) pixels in the order of KEYPOINTS; NaN for keypoints that are not joints and for
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

    Raises: CheckpointError, BodyModelError, AssetError or ConfigError with a remedy.
    """
    if config.device == "cpu":
        torch.set_num_threads(config.threads)
    stream = load_stream(config)
    log.info("model %s (%s)", stream.model_name, stream.model_sha256[:12])
    return HumanMotionPipeline(config, make_frontend(config, stream), stream)


def make_frontend(
    config: PipelineConfig, stream: MoRoStream
) -> KeypointFrontend | SyntheticFrontend:
    """Return the front-end of a stream: for images, or for simulated people (`people`).

    Raises: AssetError, and ConfigError if the stream's model does not support simulated people.
    """
    if config.people == "camera":
        return load_frontend(config.detector, config.tracker, config.max_people, config.realtime)
    if stream.sees_pixels:
        raise ConfigError(
            f"people: got 'synthetic', but {stream.model_name} uses pixels, which simulated "
            "people do not have. Use a model that uses keypoints, such as moro_open."
        )
    log.warning("people: synthetic. The published people are simulated, not those in the images.")
    return SyntheticFrontend(stream.body, config.max_people, config.synthetic_scene)
