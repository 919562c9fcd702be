"""Services of moro_node."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from std_srvs.srv import SetBool, Trigger

from moro_ros.body.topology import LEAST_STATURE_M, MOST_STATURE_M
from moro_ros.errors import ConfigError, MoroError
from moro_ros.recover.ground import LEARNED_SIGMA, MOST_HEIGHT_M, GroundEstimator, GroundPlane
from moro_ros.ros.base_node import BaseNode
from moro_ros.ros.image_input import Worker
from moro_ros.ros.outputs.tf import SMPLX_JOINTS
from moro_ros.ros.perception import Perception
from moro_ros.ros.roi import Roi
from moro_ros.srv import CalibrateGround, GetBodyModel, LockShape, SetRoi, SetStature

# Tolerance of a unit vector in float32.
UNIT_TOLERANCE = 1e-3


class Services:
    """The services of a node.

    These are ~/enable, ~/reset, ~/set_roi, ~/lock_shape, ~/set_stature, ~/calibrate_ground and
    ~/get_body_model. They respond in the executor's thread; objects of the worker are changed
    between two images.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        for kind, name, answer in (
            (SetBool, "~/enable", self._enable),
            (Trigger, "~/reset", self._reset),
            (SetRoi, "~/set_roi", self._set_roi),
            (LockShape, "~/lock_shape", self._lock_shape),
            (SetStature, "~/set_stature", self._set_stature),
            (CalibrateGround, "~/calibrate_ground", self._calibrate_ground),
            (GetBodyModel, "~/get_body_model", self._get_body_model),
        ):
            node.create_service(kind, name, guarded(answer))

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> None:
        node = self._node
        before, node.enabled = node.enabled, request.data
        if before and not request.data and node.worker is not None and node.perception is not None:
            with node.worker.busy:
                node.perception.lose_everybody(node.options)
                node.perception.restart()
        response.message = "Images are processed." if request.data else "Images are ignored."

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> None:
        perception, worker = self._working()
        with worker.busy:
            perception.restart()
        response.message = "All people are forgotten; tracking restarts."

    def _set_roi(self, request: SetRoi.Request, response: SetRoi.Response) -> None:
        perception, worker = self._working()
        whole = request.width == 0 or request.height == 0
        roi = None if whole else Roi(
            request.x_offset, request.y_offset, request.width, request.height
        )  # fmt: skip
        with worker.busy:
            perception.set_roi(roi)
        response.message = (
            "People are detected in the whole image."
            if roi is None
            else f"People are detected in {roi.width}x{roi.height} pixels from "
            f"({roi.left}, {roi.top})."
        )

    def _lock_shape(self, request: LockShape.Request, response: LockShape.Response) -> None:
        perception, worker = self._working()
        with worker.busy:
            betas = perception.lock_shape(request.id, request.lock)
        if request.id and not betas:
            raise ConfigError(f"id: got {request.id}, expected a person in view; see ~/humans.")
        response.ids = list(betas)
        response.betas = np.concatenate([np.zeros(0), *betas.values()]).astype(np.float32).tolist()
        done = "locked" if request.lock else "released"
        response.message = f"The shape of {len(betas)} people is {done}."

    def _set_stature(self, request: SetStature.Request, response: SetStature.Response) -> None:
        perception, worker = self._working()
        stature_m = request.stature
        # False for NaN, too.
        if not (stature_m == 0.0 or LEAST_STATURE_M <= stature_m <= MOST_STATURE_M):
            raise ConfigError(
                f"stature: got {stature_m:g}, expected {LEAST_STATURE_M:g} to {MOST_STATURE_M:g} "
                "metres, or 0 to forget it."
            )
        with worker.busy:
            perception.set_stature(request.id, stature_m)
        response.message = (
            f"Person {request.id} is {stature_m:.2f} m tall."
            if stature_m
            else f"The stature of person {request.id} is forgotten."
        )

    def _calibrate_ground(
        self, request: CalibrateGround.Request, response: CalibrateGround.Response
    ) -> None:
        perception, worker = self._working()
        outputs = self._node.outputs
        assert outputs is not None  # an active node has been configured
        if outputs.placement.ground_frame:
            raise ConfigError(
                f"The ground is z = 0 of the TF frame '{outputs.placement.ground_frame}'; clear "
                "the parameter ground_frame to calibrate it here."
            )
        ground = outputs.ground
        with worker.busy:
            perception.settle()
            try:
                response.message = calibrate(ground, request)
            finally:  # also if the request is refused
                if ground.plane is not None:
                    plane = np.append(ground.plane.normal, ground.plane.offset)
                    response.ground_plane = plane.astype(np.float32)

    def _get_body_model(
        self, request: GetBodyModel.Request, response: GetBodyModel.Response
    ) -> None:
        pipeline = self._node.pipeline
        if pipeline is None:
            raise ConfigError("No model is loaded: configure the node first.")
        betas = np.asarray(request.betas, np.float32)
        if not np.isfinite(betas).all():
            raise ConfigError(f"betas: got {betas.tolist()}, expected finite numbers.")
        response.model, response.model_sha256 = pipeline.model_name, pipeline.model_sha256
        parents = pipeline.joint_parents
        more = (f"joint{index}" for index in itertools.count(len(SMPLX_JOINTS)))
        response.joint_names = [
            name for name, _ in zip(itertools.chain(SMPLX_JOINTS, more), parents)
        ]
        response.joint_parents = list(parents)
        places = pipeline.rest_joints(betas).astype(np.float64)
        response.rest_joints = [Point(x=x, y=y, z=z) for x, y, z in places.tolist()]
        response.faces = pipeline.faces.ravel().tolist()
        response.vertex_parts = pipeline.vertex_parts.tolist()

    def _working(self) -> tuple[Perception, Worker]:
        """The node's Perception; raises ConfigError unless the node is active."""
        node = self._node
        if node.perception is None or node.worker is None:
            raise ConfigError(f"The node is {node.state}: activate it first.")
        return node.perception, node.worker


def guarded(answer: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
    """A service callback that responds to a MoroError with success = false and its text."""

    def callback(request: Any, response: Any) -> Any:
        try:
            answer(request, response)
            response.success = True
        except MoroError as error:
            response.success, response.message = False, str(error)
        return response

    return callback


def fixed_words(sigma: float) -> str:
    """The response when the ground is fixed; sigma: see GroundEstimator."""
    words = (
        "The ground is fixed. The camera's height above it is known to "
        f"{100.0 * sigma:.1f} % (standard deviation)."
    )
    if sigma <= LEARNED_SIGMA:
        return words
    return (
        f"{words} It is based on the network's output only, so it is not given to the network. "
        "Let people walk around with depth or a stature (~/set_stature), and fix it again, or use "
        "mode SET."
    )


def calibrate(ground: GroundEstimator, request: CalibrateGround.Request) -> str:
    """Estimate the ground again, keep or set it; returns what was done. Raises: ConfigError."""
    if request.mode == CalibrateGround.Request.LEARN:
        ground.reset()
        return "The ground is estimated again from foot contacts."
    if request.mode == CalibrateGround.Request.FIX:
        if ground.plane is None:
            raise ConfigError("The ground is not known yet; let people walk around first.")
        ground.keep()
        return fixed_words(ground.sigma)
    if request.mode == CalibrateGround.Request.SET:
        ground.keep(plane_of(request.ground_plane))
        return "The ground is set."
    raise ConfigError(f"mode: got {request.mode}, expected LEARN 0, FIX 1 or SET 2.")


def plane_of(numbers: np.ndarray) -> GroundPlane:
    """The plane a, b, c, d (4,); raises ConfigError unless (a, b, c) is a unit vector, d > 0."""
    values = np.asarray(numbers, np.float64)
    length = float(np.linalg.norm(values[:3]))
    if not np.isfinite(values).all() or abs(length - 1.0) > UNIT_TOLERANCE:
        raise ConfigError(
            f"ground_plane: got {values.tolist()}, expected a unit vector upwards and a height [m]."
        )
    if values[3] > MOST_HEIGHT_M:
        raise ConfigError(
            f"ground_plane: got a camera {values[3]:g} m above the ground, expected at most "
            f"{MOST_HEIGHT_M:g} m. Give metres, not millimetres."
        )
    if values[3] <= 0.0:
        raise ConfigError(
            f"ground_plane: got {values.tolist()}, by which the camera is {-values[3]:.2f} m below "
            "the ground. Expected a unit vector upwards and the camera's height above the ground, "
            "more than 0 m."
        )
    return GroundPlane(values[:3] / length, float(values[3]))
