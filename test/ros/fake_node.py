"""moro_node as a process whose pipeline is a stand-in that needs no model: run with python -m."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from moro_ros.body.capsules import Capsules
from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.config import PipelineConfig
from moro_ros.errors import AssetError, CheckpointError, ImageError
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.prediction import HORIZONS_S, MotionPrediction
from moro_ros.ros.node import run
from moro_ros.types import BodyMotion, Camera, Frame, Observed, PipelineResult, SmplxParams

LOG = logging.getLogger("moro_ros.test.fake_node")
# Facing the camera, upright: x (the person's left) to the image's right, y up, z to the camera.
FACING_CAMERA = np.diag([1.0, -1.0, -1.0])
COVARIANCE = np.diag([1e-4, 2e-4, 9e-4]).astype(np.float32)


def body_motion(
    track_id: int, stamp_ns: int, depth_m: float = 3.0, mesh: bool = False
) -> BodyMotion:
    """One frame of a person facing the camera; joints lie apart, legs are hidden."""
    rng = np.random.default_rng(track_id)
    center = np.array([0.0, 0.0, depth_m])
    joints = rng.normal(0.0, 0.3, (1, NUM_JOINTS, 3)) + center
    joints[0, 1] = [0.1, 0.2, depth_m]
    joints[0, 2] = [-0.1, 0.2, depth_m]
    observed = np.ones((1, NUM_JOINTS), dtype=bool)
    observed[0, [4, 5, 7, 8]] = False
    vertices = rng.normal(0.0, 0.3, (1, 50, 3)) + center
    return BodyMotion(
        track_id=track_id,
        stamps_ns=np.array([stamp_ns], dtype=np.int64),
        joints=joints.astype(np.float32),
        joint_rotations=np.tile(FACING_CAMERA, (1, NUM_JOINTS, 1, 1)).astype(np.float32),
        velocity=np.full((1, NUM_JOINTS, 3), 0.25, dtype=np.float32),
        covariance=np.tile(COVARIANCE, (1, NUM_JOINTS, 1, 1)),
        confidence=np.where(observed, 0.9, 0.4).astype(np.float32),
        observed=observed,
        contact=np.array([[0.9, 0.8, 0.2, 0.1]], dtype=np.float32),
        smplx=SmplxParams(
            betas=np.arange(10, dtype=np.float32),
            global_orient=np.ones((1, 3), dtype=np.float32),
            body_pose=np.full((1, 63), 0.1, dtype=np.float32),
            transl=np.array([[0.0, 0.0, depth_m]], dtype=np.float32),
        ),
        vertices=vertices.astype(np.float32) if mesh else None,
        token_ids=np.zeros((1, 1), dtype=np.int64),
        keypoints_seen=np.array([True]),
        held=np.zeros(1, bool),
    )


class FakePipeline:
    """Sees as many people, up to 3, as the blue value of the image's first pixel.

    Red 255 with green 0 there makes it fail as a programming error would, red 128 as an image does
    whose motion cannot be recovered, red 64 as one in which a pose is not finite. Blue 5 has a
    picture in it and somebody who is not looked at for want of time. Every call is written to `log`
    as a line of JSON.
    """

    config = PipelineConfig()
    faces = np.arange(48, dtype=np.int32).reshape(16, 3)
    vertex_parts = (np.arange(50) % NUM_JOINTS).astype(np.uint8)
    joint_parents = (*PARENTS, *range(20, 22), *([21] * 31))
    model_name = "fake"
    model_sha256 = "0123456789abcdef" * 4

    def __init__(self, log: Path | None, delay_s: float) -> None:
        self._log = log
        self._delay_s = delay_s
        # As a pipeline that has worked before this node.
        self.ignored_people = self.carried_people = 40
        self.noticed = {"small_people": 0, "pictures": 40}
        self.window_fill = 0.5
        self.unusable_poses = 40
        self.prediction_missing = ""
        self.config: PipelineConfig | None = None
        self.before = 0
        self.floor_doubts: dict[int, str] = {}
        self.statures: dict[int, float] = {}
        self._depths: Any = None

    def observe(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, late: bool = False
    ) -> Observed:
        red, green, blue = (int(value) for value in image[0, 0])
        if (red, green) == (255, 0):
            raise RuntimeError("a fault of the program")
        self.ignored_people += max(0, blue - 3)
        self.noticed["pictures"] += blue == 5
        self.carried_people += blue == 5
        if blue == 4:
            LOG.warning("Four are looked at.")
        return Observed(Frame(stamp_ns, camera, (), image), {})

    def recover(self, observed: Observed, mesh: bool = False) -> PipelineResult:
        frame = observed.frame
        blue, stamp_ns = int(frame.image[0, 0, 2]), frame.stamp_ns
        if frame.image[0, 0, 0] == 128:
            raise ImageError("The motion of this image is beyond recovery.")
        self.unusable_poses += int(frame.image[0, 0, 0] == 64)
        if blue == 4:
            LOG.warning("Four are recovered.")
        for depth in self._depths.image_came(stamp_ns) if self._depths else ():
            self._depths.used += 1
            middle_m, aligned = float(np.nanmedian(depth.metres)), depth.rotation is None
            self._write(call="depth", stamp_ns=depth.stamp_ns, metres=middle_m, aligned=aligned)
        self._write(call="push", stamp_ns=stamp_ns, mesh=mesh, focal=frame.camera.matrix[0, 0])
        time.sleep(self._delay_s)
        motions = tuple(body_motion(i + 1, stamp_ns, 3.0 + i, mesh) for i in range(min(blue, 3)))
        lost = tuple(range(len(motions) + 1, self.before + 1))
        self.before = len(motions)
        stages = {**observed.stage_s, "motion_s": self._delay_s}
        return PipelineResult(stamp_ns, frame.camera, (), motions, stages, lost)

    def predict(
        self, result: PipelineResult, samples: int = 0, temperature: float = 1.0
    ) -> tuple[MotionPrediction, ...]:
        """Everybody goes on as fast as they are; sample n is n + 1 times the temperature off."""
        self._write(call="predict", samples=samples, temperature=temperature)
        people = []
        for motion in result.motions:
            joints = motion.joints + HORIZONS_S[:, None, None] * motion.velocity
            covariance = (1.0 + HORIZONS_S)[:, None, None, None] * motion.covariance
            away = temperature * (1.0 + np.arange(samples))
            others = joints + away[:, None, None, None]
            people.append(MotionPrediction(motion.track_id, joints, covariance, others))
        return tuple(people)

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        return np.random.default_rng(4).normal(0.0, 0.3, (55, 3))

    def rest_vertices(self, betas: np.ndarray) -> np.ndarray:
        self._write(call="rest_vertices")
        return np.random.default_rng(5).normal(0.0, 0.3, (50, 3))

    def capsules(self, betas: np.ndarray) -> Capsules:
        self._write(call="capsules")
        radii = np.full(NUM_JOINTS, 0.05)
        return Capsules(np.zeros((NUM_JOINTS, 3)), np.tile([0.0, 0.1, 0.0], (NUM_JOINTS, 1)), radii)

    def offer_boxes(self, boxes_xyxy: np.ndarray) -> None:
        self._write(call="boxes", number=len(boxes_xyxy))

    def lock_shape(self, track_id: int, lock: bool) -> np.ndarray | None:
        if track_id > self.before:
            return None
        self._write(call="lock_shape", id=track_id, lock=lock)
        return np.full(10, track_id, np.float32)

    def set_stature(self, track_id: int, stature_m: float) -> float | None:
        if track_id > self.before:
            return None
        self._write(call="set_stature", id=track_id, stature=stature_m)
        self.statures[track_id] = stature_m
        return stature_m

    def use_depth(self) -> Any:
        from moro_ros.live.depth_memory import DepthMemory  # slow: it brings torch

        self._depths = DepthMemory(None)  # type: ignore[arg-type]
        return self._depths

    def wrong_statures(self) -> dict[int, tuple[float, float]]:
        # Whoever is set to be smaller than 1 m is not.
        return {i: (given_m, 1.7) for i, given_m in self.statures.items() if 0.0 < given_m < 1.0}

    def ignored_floor(self) -> dict[int, str]:
        return dict(self.floor_doubts)

    def set_floor(
        self, plane: GroundPlane | None, sigma: float = 0.0, to_network: bool = True
    ) -> None:
        # A floor far below the camera holds for nobody.
        doubted = plane is not None and plane.offset > 5.0
        self.floor_doubts = {1: "it would make them 3.00 m tall"} if doubted else {}
        self._write(call="set_floor", plane=plane and [*plane.normal.tolist(), plane.offset])

    def configure(self, config: PipelineConfig) -> None:
        self.config = config
        self._write(call="configure", passes=config.motion.passes)

    def lose_everybody(self) -> tuple[int, ...]:
        lost, self.before = tuple(range(1, self.before + 1)), 0
        self._write(call="lose_everybody", ids=lost)
        return lost

    def reset(self) -> None:
        self._write(call="reset")

    def _write(self, **values: object) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")


def main() -> int:
    """Arguments: path of the log, seconds per image; then those of ROS."""
    log, delay_s, *arguments = sys.argv[1:]

    def factory(config: PipelineConfig) -> FakePipeline:
        LOG.info("A stand-in is made.")
        if config.model == "unfetched":
            raise AssetError("The file of 'unfetched' is not in the cache. Run moro fetch.")
        if config.model == "missing":
            raise CheckpointError("No model 'missing': expected a folder with model.yaml.")
        pipeline = FakePipeline(Path(log), float(delay_s))
        pipeline.config = config
        if config.model == "unfitted":
            pipeline.prediction_missing = "unfitted has no prediction.npz."
        return pipeline

    return run(arguments, factory)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
