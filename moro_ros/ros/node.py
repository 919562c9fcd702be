"""The process moro_node: one MoroNode, or one per camera sharing one loaded network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from moro_ros.config import PipelineConfig
from moro_ros.errors import ConfigError, missing_module
from moro_ros.ros.base_node import PipelineFactory
from moro_ros.ros.lifecycle import MoroNode
from moro_ros.ros.serve import SpinThread, run_process

if TYPE_CHECKING:
    from moro_ros.live.pipeline import HumanMotionPipeline


def camera_names(text: str) -> list[str]:
    """The cameras named in the parameter `cameras`; raises ConfigError for an invalid name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not (name.isidentifier() and name.isascii()):
            raise ConfigError(
                f"cameras: got '{name}', expected names of letters, digits and _ with commas "
                "between them, such as 'front,side'."
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"cameras: got '{text}', expected each name once.")
    return names


def make_nodes(pipeline_factory: PipelineFactory, on_failure: Callable[[], None]) -> list[MoroNode]:
    """The node of this process or, if `cameras` names several, one in the namespace of each.

    Raises: ConfigError if a parameter is wrong.
    """
    node = MoroNode(pipeline_factory, on_failure)
    names = camera_names(node.options.cameras)
    if node.options.fusion_frame and len(names) < 2:
        raise ConfigError(
            f"fusion_frame: got '{node.options.fusion_frame}', which requires the names of at "
            "least two cameras in 'cameras', such as 'front,side'."
        )
    if not names:
        return [node]
    namespace = node.get_namespace().rstrip("/")
    node.destroy_node()
    # A node's own arguments take precedence over those of the process, such as a namespace.
    nodes = [
        MoroNode(pipeline_factory, on_failure, ["--ros-args", "-r", f"__ns:={namespace}/{name}"])
        for name in names
    ]
    if frame := nodes[0].options.fusion_frame:
        from moro_ros.ros.outputs.fused import FusedPeople

        prefixes = {node.options.humans.id_prefix for node in nodes}
        fused = FusedPeople(nodes[0], namespace, names, frame, prefixes)
        for node, name in zip(nodes, names, strict=True):
            node.fused = fused, name
    return nodes


def start(node: MoroNode) -> bool:
    """Configure and activate a node if autostart is on; returns whether this succeeded."""
    if not node.options.autostart:
        node.get_logger().info("Unconfigured, as autostart is off: waiting for transitions.")
        return True
    steps = (node.trigger_configure, node.trigger_activate)
    return all(step() == TransitionCallbackReturn.SUCCESS for step in steps)


def run(args: list[str] | None, pipeline_factory: PipelineFactory) -> int:
    """Run the nodes until SIGINT or SIGTERM; returns the exit status."""

    def work(stop: threading.Event) -> int:
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            stop.set()

        executor = SingleThreadedExecutor()
        spinner = SpinThread(executor, fail)
        nodes: list[MoroNode] = []
        try:
            nodes = make_nodes(pipeline_factory, fail)
            if not all(start(node) for node in nodes):
                return 1
            for node in nodes:
                executor.add_node(node)
            spinner.start()
            stop.wait()
        finally:
            # Transitions and callbacks must not run in two threads at once: the thread ends first.
            spinner.end()
            for node in nodes:
                if node.state in ("unconfigured", "inactive", "active"):
                    node.trigger_shutdown()
        return int(failed.is_set())

    return run_process("moro", args, work)


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_node."""
    sys.exit(run(args, lazy_pool()))


def lazy_pool() -> PipelineFactory:
    """The pipelines of one PipelinePool, which is imported when the first one is requested.

    The import takes seconds, and a wrong parameter should be reported at once.
    """
    pipelines: list[PipelineFactory] = []

    def pipeline(config: PipelineConfig) -> HumanMotionPipeline:
        if not pipelines:
            try:
                from moro_ros.live.pipeline_pool import PipelinePool
            except ModuleNotFoundError as error:
                raise missing_module(error) from error
            pipelines.append(PipelinePool().pipeline)
        return pipelines[0](config)

    return pipeline


if __name__ == "__main__":
    main()
