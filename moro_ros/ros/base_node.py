"""The state of a moro node that its parts share: parameters, counters, pipeline, outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode

from moro_ros.config import PipelineConfig
from moro_ros.ros import parameters
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.image_input import ImageInput, Worker
from moro_ros.ros.logs import forward_library_logs
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.perception import Perception
from moro_ros.ros.statistics import NodeStatistics

if TYPE_CHECKING:
    from moro_ros.live.pipeline import HumanMotionPipeline
    from moro_ros.ros.outputs.fused import FusedPeople

PipelineFactory = Callable[[PipelineConfig], "HumanMotionPipeline"]


class BaseNode(parameters.StartValues, LifecycleNode):
    """Declares the parameters and holds what the life cycle (MoroNode) creates and destroys.

    pipeline, outputs: None unless configured; perception, input, worker: None unless active.
    See MoroNode for the arguments. Raises: ConfigError if a parameter is wrong.
    """

    def __init__(
        self,
        pipeline_factory: PipelineFactory,
        on_failure: Callable[[], None],
        arguments: list[str] | None = None,
    ) -> None:
        super().__init__(
            "moro", automatically_declare_parameters_from_overrides=True, cli_args=arguments
        )
        self.make_pipeline = pipeline_factory
        forward_library_logs(self.get_logger())
        self.config = parameters.declare(self, PipelineConfig)
        self.options = parameters.declare(self, NodeConfig)
        for name in ("boxes_topic", "depth_topic", "depth_info_topic"):
            if topic := getattr(self.options, name):
                parameters.full_topic(self, name, topic)
        self.counters = NodeStatistics()
        self.faults = FaultLog(self.counters, self.get_logger(), on_failure)
        self.pipeline: HumanMotionPipeline | None = None
        self.outputs: Outputs | None = None
        self.perception: Perception | None = None
        self.input: ImageInput | None = None
        self.worker: Worker | None = None
        self.enabled = True
        # The fusion of the cameras of this process, and the name of this camera in it.
        self.fused: tuple[FusedPeople, str] | None = None

    @property
    def state(self) -> str:
        """unconfigured, inactive, active, finalized, or the current transition."""
        return self._state_machine.current_state[1]

    def statistics(self) -> dict[str, Any]:
        """Counters and times (NodeStatistics.snapshot), the model's name and its checksum."""
        model = {"model": "", "model_sha256": ""}
        if self.pipeline is not None:
            model = {
                "model": self.pipeline.model_name,
                "model_sha256": self.pipeline.model_sha256,
            }
        return self.counters.snapshot() | model
