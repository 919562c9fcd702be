"""MoroNode: images and camera_info in, humans, TF, markers and diagnostics out."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo

from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError, MoroError
from moro_ros.ros import faults, parameters
from moro_ros.ros.boxes import boxes_input
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.diagnostics import HealthMonitor, diagnostic_array
from moro_ros.ros.image_input import ImageInput
from moro_ros.ros.logs import forward_library_logs
from moro_ros.ros.outputs import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.perception import Perception
from moro_ros.ros.profile import use_image_profile
from moro_ros.ros.slot import NewestSlot
from moro_ros.ros.statistics import NodeStatistics

if TYPE_CHECKING:
    from moro_ros.inference.pipeline import HumanMotionPipeline

DIAGNOSTICS_PERIOD_S = 1.0
# A fault is logged when it first occurs, and then at most this often.
FAULT_LOG_PERIOD_S = 5.0
PipelineFactory = Callable[[PipelineConfig], "HumanMotionPipeline"]


class MoroNode(Node):
    """The perception node: configure() loads the model, start() subscribes, stop() ends the work.

    The executor's thread only receives; a worker thread does the rest on the newest image.
    on_failure: called from the worker thread after an error that no input should cause.
    Raises: ConfigError if a parameter is wrong.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        super().__init__("moro", automatically_declare_parameters_from_overrides=True)
        self._on_failure = on_failure
        forward_library_logs(self.get_logger())
        self._config = parameters.declare(self, PipelineConfig)
        self._options = parameters.declare(self, NodeConfig)
        for warning in parameters.unknown(self, PipelineConfig, NodeConfig):
            self.get_logger().warning(warning)
        self._statistics = NodeStatistics()
        self._health = HealthMonitor()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._model = {"model": "", "model_sha256": ""}
        self._perception: Perception | None = None
        self._slot: NewestSlot[AnyImage] = NewestSlot()
        self._worker = threading.Thread(target=self._work, name="moro_worker", daemon=True)
        self._camera_info: CameraInfo | None = None
        self._input: ImageInput | None = None
        self._last_image_s = time.monotonic()
        self._quiet = False
        self._reported = 0
        self._last_fault = ""
        self._fault_logged_s: dict[str, float] = {}

    def configure(self, pipeline_factory: PipelineFactory) -> None:
        """Load the model and offer the outputs; raises MoroError if the model is not usable."""
        pipeline = pipeline_factory(self._config)
        self._model = {"model": pipeline.model_name, "model_sha256": pipeline.model_sha256}
        self._perception = Perception(
            pipeline,
            Outputs(self, self._options, pipeline),
            self._statistics,
            self.get_logger(),
            self._config,
            boxes_input(self, self._options),
        )

    def start(self) -> None:
        """Subscribe and begin to process."""
        self._input = ImageInput(self, self._options, self._on_image, self._on_camera_info)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # A simulated clock may stand still or jump; the watch over the node must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._on_diagnostics, clock=steady)
        self.create_timer(self._options.log_period_s, self._on_report, clock=steady)
        self._last_image_s = time.monotonic()
        self._worker.start()
        self.get_logger().info(
            f"Model {self._model['model']} ({self._model['model_sha256'][:12]}) is ready; waiting "
            f"for images on {self._input.topic}."
        )

    def stop(self) -> None:
        """Finish the image in work, then say what has been done."""
        self._slot.close()
        self._worker.join()
        self.get_logger().info(f"Done: {self._summary()}")

    def statistics(self) -> dict[str, Any]:
        """Counters and times (NodeStatistics.snapshot), the model's name and its checksum."""
        return self._statistics.snapshot() | self._model

    # What follows runs in the executor's thread and never waits for the worker.

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_image(self, message: AnyImage) -> None:
        self._statistics.count("received")
        now = time.monotonic()
        if self._quiet:
            self.get_logger().info(f"Images are back after {now - self._last_image_s:.1f} s.")
        self._quiet, self._last_image_s = False, now
        if self._slot.put(message):
            self._statistics.count("dropped")

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        values = {parameter.name: parameter.value for parameter in changes}
        try:
            config = parameters.updated(self._config, values)
            options = parameters.updated(self._options, values)
            if self._perception is not None:
                self._perception.check(options)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        # The worker takes them up with its next image.
        self._config, self._options = config, options
        return SetParametersResult(successful=True)

    def _on_diagnostics(self) -> None:
        pause_s = time.monotonic() - self._last_image_s
        too_long = pause_s > self._options.image_timeout_s
        if too_long and not self._quiet:
            self._quiet = True
            why = self._input.why_quiet() if self._input is not None else "not subscribed."
            self.get_logger().warning(f"No image for {pause_s:.1f} s: {why}")
        statistics = self.statistics()
        level, message = self._health.judge(
            statistics, pause_s if too_long else None, self._last_fault
        )
        name = f"{self.get_fully_qualified_name()}: human motion"
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(name, statistics, level, message, stamp))

    def _on_report(self) -> None:
        processed = self._statistics.snapshot()["processed"]
        if processed != self._reported:
            rate_hz = (processed - self._reported) / self._options.log_period_s
            self.get_logger().info(f"{rate_hz:.1f} Hz; {self._summary()}")
        self._reported = processed

    def _summary(self) -> str:
        now = self._statistics.snapshot()
        text = (
            f"{now['received']} images received, {now['processed']} processed, "
            f"{now['dropped']} dropped, {sum(now['bad'].values())} bad; {now['people']} people in "
            f"view, {now['people_seen']} so far"
        )
        latency = now["latency_s"]
        if latency["p50"] is not None:
            p50, p95 = latency["p50"] * 1e3, latency["p95"] * 1e3
            text += f"; latency p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        return text + "."

    # What follows runs in the worker's thread.

    def _work(self) -> None:
        perception = self._perception
        if perception is None:
            raise RuntimeError("start() before configure()")
        while (image := self._slot.take()) is not None:
            try:
                perception.process(image, self._camera_info, self._config, self._options)
            except MoroError as error:
                self._report_fault(error)
            except Exception:
                self.get_logger().fatal(f"Unexpected error, stopping:\n{traceback.format_exc()}")
                self._on_failure()
                return

    def _report_fault(self, error: MoroError) -> None:
        reason = faults.reason_of(error)
        times = self._statistics.bad_frame(reason)
        self._last_fault = str(error)
        now = time.monotonic()
        if now - self._fault_logged_s.get(reason, -math.inf) >= FAULT_LOG_PERIOD_S:
            self._fault_logged_s[reason] = now
            self.get_logger().warning(f"Image skipped ({reason}, {times} so far): {error}")


def run(args: list[str] | None, pipeline_factory: PipelineFactory) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit status."""
    stop, failed = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        stop.set()

    # Own handlers, so that the context outlives the signal and the summary gets out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    use_image_profile()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    spinner = threading.Thread(target=executor.spin, name="moro_executor", daemon=True)
    try:
        node = MoroNode(on_failure=fail)
        node.configure(pipeline_factory)
        executor.add_node(node)
        node.start()
        spinner.start()
        stop.wait()
        node.stop()
    except MoroError as error:
        rclpy.logging.get_logger("moro").fatal(str(error))
        return 1
    finally:
        executor.shutdown()
        if spinner.is_alive():
            spinner.join()
        rclpy.try_shutdown()
    return int(failed.is_set())


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_node."""

    def pipeline_factory(config: PipelineConfig) -> HumanMotionPipeline:
        # Imported late: it takes seconds, and a wrong parameter is to be told at once.
        from moro_ros.inference.pipeline import load_pipeline

        return load_pipeline(config)

    sys.exit(run(args, pipeline_factory))


if __name__ == "__main__":
    main()
