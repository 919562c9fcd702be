"""Services: what moro_node can be asked to do while it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from std_srvs.srv import SetBool, Trigger

from moro_ros.errors import ConfigError, MoroError
from moro_ros.recover.ground import GroundPlane
from moro_ros.ros.base_node import BaseNode
from moro_ros.ros.image_input import Worker
from moro_ros.ros.outputs.tf import SMPLX_JOINTS
from moro_ros.ros.perception import Perception, Roi
from moro_ros.srv import CalibrateGround, GetBodyModel, LockShape, SetRoi

# A unit vector that came through float32.
UNIT_TOLERANCE = 1e-3


class Services:
    """Offers ~/enable, ~/reset, ~/set_roi, ~/lock_shape, ~/calibrate_ground, ~/get_body_model.

    They answer in the executor's thread; what the worker uses is changed between two images.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        for kind, name, answer in (
            (SetBool, "~/enable", self._enable),
            (Trigger, "~/reset", self._reset),
            (SetRoi, "~/set_roi", self._set_roi),
            (LockShape, "~/lock_shape", self._lock_shape),
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
        response.message = "Everybody is forgotten; tracking restarts."

    def _set_roi(self, request: SetRoi.Request, response: SetRoi.Response) -> None:
        perception, worker = self._working()
        whole = request.width == 0 or request.height == 0
        roi = None if whole else Roi(
            request.x_offset, request.y_offset, request.width, request.height
        )  # fmt: skip
        with worker.busy:
            perception.set_roi(roi)
        response.message = (
            "People are looked for in the whole image."
            if roi is None
            else f"People are looked for in {roi.width}x{roi.height} pixels from "
            f"({roi.left}, {roi.top}) on."
        )

    def _lock_shape(self, request: LockShape.Request, response: LockShape.Response) -> None:
        perception, worker = self._working()
        with worker.busy:
            betas = perception.lock_shape(request.id, request.lock)
        if request.id and not betas:
            raise ConfigError(f"id: got {request.id}, expected somebody in view; see ~/humans.")
        response.ids = list(betas)
        response.betas = np.concatenate([np.zeros(0), *betas.values()]).astype(np.float32).tolist()
        done = "locked" if request.lock else "released"
        response.message = f"The shape of {len(betas)} people is {done}."

    def _calibrate_ground(
        self, request: CalibrateGround.Request, response: CalibrateGround.Response
    ) -> None:
        perception, worker = self._working()
        outputs = self._node.outputs
        assert outputs is not None  # whoever is active has been configured
        if outputs.placement.ground_frame:
            raise ConfigError(
                f"The ground is z = 0 of the TF frame '{outputs.placement.ground_frame}'; clear "
                "the parameter ground_frame to have it calibrated here."
            )
        ground = outputs.ground
        with worker.busy:
            perception.settle()
            if request.mode == CalibrateGround.Request.LEARN:
                ground.reset()
                response.message = "The ground is estimated again from foot contacts."
            elif request.mode == CalibrateGround.Request.FIX:
                if ground.plane is None:
                    raise ConfigError("The ground is not known yet; let people walk about first.")
                ground.keep()
                response.message = "The ground is fixed."
            elif request.mode == CalibrateGround.Request.SET:
                ground.keep(plane_of(request.ground_plane))
                response.message = "The ground is set."
            else:
                raise ConfigError(f"mode: got {request.mode}, expected LEARN 0, FIX 1 or SET 2.")
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
        """What works on the images; raises ConfigError unless the node is active."""
        node = self._node
        if node.perception is None or node.worker is None:
            raise ConfigError(f"The node is {node.state}: activate it first.")
        return node.perception, node.worker


def guarded(answer: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
    """A service's callback that answers a MoroError with success = false and its words."""

    def callback(request: Any, response: Any) -> Any:
        try:
            answer(request, response)
            response.success = True
        except MoroError as error:
            response.success, response.message = False, str(error)
        return response

    return callback


def plane_of(numbers: np.ndarray) -> GroundPlane:
    """The plane a, b, c, d (4,); raises ConfigError unless (a, b, c) is a unit vector."""
    values = np.asarray(numbers, np.float64)
    length = float(np.linalg.norm(values[:3]))
    if not np.isfinite(values).all() or abs(length - 1.0) > UNIT_TOLERANCE:
        raise ConfigError(
            f"ground_plane: got {values.tolist()}, expected a unit vector upwards and a height [m]."
        )
    return GroundPlane(values[:3] / length, float(values[3]))
