"""MoroNode: from images and camera_info of one camera to humans, TF, markers, diagnostics."""

from __future__ import annotations

import ctypes
import gc
import sys
import traceback
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo

from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError, MoroError
from moro_ros.ros import parameters, qos
from moro_ros.ros.base_node import BaseNode, PipelineFactory
from moro_ros.ros.boxes import BoxesInput, boxes_input
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.depth_input import DepthInput, depth_input
from moro_ros.ros.health import Health
from moro_ros.ros.image_input import ImageInput, Worker
from moro_ros.ros.logs import speaking_as
from moro_ros.ros.outputs.base import Output
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.perception import Perception
from moro_ros.ros.process_bag import BagAction
from moro_ros.ros.roi import Roi
from moro_ros.ros.services import Services


class MoroNode(BaseNode):
    """The perception node of one camera, a managed (lifecycle) node of ROS 2.

    configure loads the model, warms it up and creates the outputs; activate subscribes; deactivate
    ends the subscriptions and forgets all people; cleanup frees the model's memory. The executor's
    thread only receives; a worker thread processes the newest image.

    pipeline_factory: creates the pipeline, ready to run; on_failure: called from the worker thread
    after an unexpected error; arguments: of this node alone, as on a command line.
    Raises: ConfigError if a parameter is wrong.
    """

    def __init__(
        self,
        pipeline_factory: PipelineFactory,
        on_failure: Callable[[], None],
        arguments: list[str] | None = None,
    ) -> None:
        super().__init__(pipeline_factory, on_failure, arguments)
        parameters.warn_of_unknown(self, PipelineConfig, NodeConfig)
        qos.check(self)
        self._boxes: BoxesInput | None = None
        self._depth: DepthInput | None = None
        self._camera_info: CameraInfo | None = None
        self._roi: Roi | None = None
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.health = Health(self)
        self._offered = Services(self)
        self._bag_action = BagAction(self)
        self._refuse_wrong_transitions()

    def _refuse_wrong_transitions(self) -> None:
        """Respond to a transition that is not possible in this state with success = false.

        rclpy would raise an error, which ends the executor.
        """
        service = self._service_change_state
        change = service.callback

        def callback(request: Any, response: Any) -> Any:
            try:
                return change(request, response)
            except RCLError as error:
                self.get_logger().warning(f"No such transition from {self.state}: {error}")
                response.success = False
                return response

        service.callback = callback

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, warm it up and create the outputs."""
        return self._attempt(self._configure, self._cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start processing."""
        return self._attempt(self._activate, self._deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the current image, end the subscriptions and forget all people."""
        return self._attempt(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the outputs and free the model's memory."""
        return self._attempt(self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop all activity, from any state."""
        return self._attempt(self._shut_down)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up after an error, so that the node is unconfigured again."""
        return self._attempt(self._shut_down)

    def _attempt(
        self, work: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        """Run a transition: a MoroError is a failure, any other exception an error."""
        try:
            with speaking_as(self.get_logger()):
                work()
        except MoroError as error:
            self.get_logger().fatal(str(error))
            if undo is not None:
                undo()
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().fatal(f"Unexpected error:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self.pipeline = self.make_pipeline(self.config)
        others: tuple[Output, ...] = ()
        if self.fused is not None:
            from moro_ros.ros.outputs.fused import FusedOutput

            others = (FusedOutput(*self.fused, self.pipeline.stream.body),)
        self.outputs = Outputs(self, self.options, self.pipeline, others)

    def _activate(self) -> None:
        if self.pipeline is None or self.outputs is None:
            raise RuntimeError("activated before it was configured")
        self._boxes = boxes_input(self, self.options)
        self._depth = depth_input(self, self.options)
        self.perception = Perception(
            self.pipeline,
            self.outputs,
            self.counters,
            self.faults,
            self.get_logger(),
            self._boxes,
            self._depth,
            self._roi,
        )
        self._camera_info = None
        self.worker = Worker(
            self._process, self._pause, self.counters, self.faults, self.get_logger()
        )
        self.input = ImageInput(
            self, self.options, self._on_image, self._on_camera_info, self._on_lost
        )
        self.health.start()
        for warning in qos.unused(self):
            self.get_logger().warning(warning)
        sha256 = self.pipeline.model_sha256[:12]
        self.get_logger().info(
            f"Model {self.pipeline.model_name} ({sha256}) is ready; waiting for images on "
            f"{self.input.topic}."
        )

    def _deactivate(self) -> None:
        if self.input is not None:
            self.input.destroy()
        for extra in (self._boxes, self._depth):
            if extra is not None:
                extra.destroy(self)
        if self.worker is not None:
            self.worker.stop()
            self.get_logger().info(f"Done: {self.health.summary()}")
        if self.perception is not None:
            self.perception.lose_everybody(self.options)
            self.perception.restart()
            self._roi = self.perception.roi
        self.input = self._boxes = self._depth = self.worker = self.perception = None

    def _cleanup(self) -> None:
        self._bag_action.stop()
        if self.outputs is not None:
            self.outputs.destroy(self)
        self.outputs = self.pipeline = None
        give_back_memory()

    def _shut_down(self) -> None:
        self._deactivate()
        self._cleanup()

    # The following methods run in the executor's thread and never wait for the worker.

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_image(self, message: AnyImage) -> None:
        self.counters.count("received")
        self.health.image_came(stamp_to_ns(message.header.stamp))
        if not self.enabled:
            self.counters.count("disabled")
        elif self.worker is not None:
            self.worker.put(message)

    def _on_lost(self, images: int) -> None:
        self.counters.count("lost_in_transport", images)

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        values = {parameter.name: parameter.value for parameter in changes}
        try:
            config = parameters.updated(self.config, values)
            options = parameters.updated(self.options, values)
            if self.outputs is not None:
                self.outputs.check(options)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        # The worker applies them with its next image.
        self.config, self.options = config, options
        return SetParametersResult(successful=True)

    # The following methods run in the worker's thread.

    def _process(self, image: AnyImage, late: bool) -> None:
        if not self.enabled:
            self.counters.count("disabled")  # after it was handed over
        elif self.perception is not None:
            self.perception.process(image, self._camera_info, self.config, self.options, late)

    def _pause(self) -> None:
        if self.perception is not None:
            self.perception.lose_everybody(self.options)


def give_back_memory() -> None:
    """Return unused memory to the system and to the GPU's driver."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    # Only glibc keeps freed memory, and only glibc has this function.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
