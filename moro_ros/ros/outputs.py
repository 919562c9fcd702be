"""Outputs: all topics of moro_node together, of which each works only for subscribers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.inference.world import GroundEstimator, GroundPlane
from moro_ros.ros.annotated import AnnotatedOutput
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.frames import TransformsOutput, check_level
from moro_ros.ros.humans import HumansOutput, RefinedHumansOutput, WorldHumansOutput
from moro_ros.ros.markers import MarkersOutput
from moro_ros.ros.meshes import CloudOutput, MeshOutput
from moro_ros.ros.output import Body, Output, Scene, by_stamp
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.transforms import Placement
from moro_ros.types import PipelineResult


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of one image: the outputs that are watched and due.

    idle: nobody subscribes to anything, so that the image need not be looked at. mesh: the meshes
    are needed.
    """

    outputs: tuple[Output, ...]
    idle: bool

    @property
    def mesh(self) -> bool:
        """Whether an output needs the meshes."""
        return any(output.needs_mesh for output in self.outputs)


class Outputs:
    """Publishes what one image gave; the ground is learned here, for it belongs to the camera.

    body: of the model in use. Raises: ConfigError if it cannot serve the options.
    """

    def __init__(self, node: Node, options: NodeConfig, body: Body) -> None:
        self._clock = node.get_clock()
        self._body = body
        self.check(options)
        self.placement = Placement(node, options.world_frame, options.ground_frame)
        self.ground = GroundEstimator()
        self.outputs: tuple[Output, ...] = (
            HumansOutput(node),
            RefinedHumansOutput(node),
            TransformsOutput(node, own_listeners=int(self.placement.listens)),
            WorldHumansOutput(node, self.placement),
            MarkersOutput(node),
            MeshOutput(node),
            CloudOutput(node),
            AnnotatedOutput(node),
        )

    def check(self, options: NodeConfig) -> None:
        """Check that the body model can serve the options; raises ConfigError."""
        check_level(options.tf_level, len(self._body.joint_parents))

    def destroy(self, node: Node) -> None:
        """Take every topic down."""
        for output in self.outputs:
            output.destroy(node)
        self.placement.destroy(node)

    def made(self) -> dict[str, int]:
        """How many messages were made so far, by topic."""
        return {output.topic: output.made for output in self.outputs}

    def wanted(self, stamp_ns: int, options: NodeConfig) -> Wanted:
        """What to publish for the image of a stamp; call it once for each image."""
        watched = [output for output in self.outputs if output.watched(options)]
        due = tuple(output for output in watched if output.due(stamp_ns, options))
        return Wanted(due, idle=not watched)

    def publish(
        self,
        result: PipelineResult,
        image: np.ndarray,
        header: Header,
        wanted: Wanted,
        options: NodeConfig,
    ) -> float:
        """Publish one image's result; returns the latency: publication minus header.stamp, s.

        image: (H, W, 3) uint8 RGB; header: stamp and camera frame.
        """
        for motion in result.motions:
            self.ground.add(motion)
        ground = self.current_ground(header.frame_id)
        whole = Scene(result, header, image, self._body, ground)
        for scene in by_stamp(whole):
            for output in wanted.outputs:
                if output.prompt:
                    output.publish(scene, options)
        latency_s = (self._clock.now().nanoseconds - stamp_to_ns(header.stamp)) * 1e-9
        for output in wanted.outputs:
            if not output.prompt:
                output.publish(whole, options)
        return latency_s

    def current_ground(self, camera_frame: str) -> GroundPlane | None:
        """The ground in the camera's frame: TF's if a frame is named, else the estimated one."""
        if self.placement.ground_frame:
            return self.placement.ground(camera_frame)
        return self.ground.plane
