"""Outputs: all topics of moro_node together, of which each works only for subscribers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.body.posture import CAMERA_UP
from moro_ros.recover.ground import GroundEstimator, GroundPlane
from moro_ros.ros.outputs.annotated import AnnotatedOutput
from moro_ros.ros.outputs.base import Body, Output, Scene, by_stamp
from moro_ros.ros.outputs.humans import HumansOutput, RefinedHumansOutput, WorldHumansOutput
from moro_ros.ros.outputs.markers import MarkersOutput
from moro_ros.ros.outputs.mesh import CloudOutput, MeshOutput
from moro_ros.ros.outputs.rep155 import BodiesOutput
from moro_ros.ros.outputs.tf import TransformsOutput, check_level, own_frames
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.publisher import available
from moro_ros.ros.stamps import latency_s
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
        self.placement = Placement(
            node, options.world_frame, options.ground_frame, own_frames(options.humans.id_prefix)
        )
        self.ground = GroundEstimator()
        self._describer = Describer()
        self._bodies: BodiesOutput | None = None
        listeners = int(self.placement.listens)
        if options.humans.enable and available():
            self._bodies = BodiesOutput(node, options, self._describer, listeners)
            listeners += self._bodies.tf_listeners
        elif options.humans.enable:
            node.get_logger().info(
                "hri_msgs is not installed: the topics of REP-155 (/humans) are left out."
            )
        self._described: tuple[Output, ...] = (
            HumansOutput(node),
            RefinedHumansOutput(node),
            WorldHumansOutput(node, self.placement),
        )
        self.outputs: tuple[Output, ...] = (
            *self._described,
            TransformsOutput(node, self._describer, listeners),
            *([self._bodies] if self._bodies else []),
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
        return {topic: made for output in self.outputs for topic, made in output.made().items()}

    def wanted(self, stamp_ns: int, options: NodeConfig) -> Wanted:
        """What to publish for the image of a stamp; call it once for each image."""
        watched = [output for output in self.outputs if output.watched(options)]
        due = [output for output in watched if output.due(stamp_ns, options)]
        if self._bodies is not None:
            if not watched:
                self._bodies.clear()
            elif self._bodies not in due:
                due.append(self._bodies)
        return Wanted(tuple(due), idle=not watched)

    def publish(
        self,
        result: PipelineResult,
        image: np.ndarray,
        header: Header,
        wanted: Wanted,
        options: NodeConfig,
    ) -> float:
        """Publish one image's result; returns the latency: see stamps.latency_s.

        image: (H, W, 3) uint8 RGB; header: stamp and camera frame.
        """
        for motion in result.motions:
            self.ground.add(motion)
        self._describer.keep([motion.track_id for motion in result.motions])
        ground = self.current_ground(header.frame_id)
        whole = Scene(result, header, image, self._body, ground)
        if any(output in wanted.outputs for output in self._described):
            whole = self._describe(whole, options)
        for scene in by_stamp(whole):
            for output in wanted.outputs:
                if output.prompt:
                    output.publish(scene, options)
        for output in self._described:
            if output not in wanted.outputs:
                output.skip(result)
        late_s = latency_s(header.stamp, self._clock)
        for output in wanted.outputs:
            if not output.prompt:
                output.publish(whole, options)
        return late_s

    def publish_lost(self, result: PipelineResult, header: Header, options: NodeConfig) -> None:
        """Publish between two images that people were lost.

        result: without people, and the ids lost; header: stamp of the message and camera frame.
        """
        self._describer.keep(())
        no_image = np.zeros((0, 0, 3), np.uint8)
        ground = self.current_ground(header.frame_id)
        scene = Scene(result, header, no_image, self._body, ground)
        for output in self.outputs:
            # The topics of bodies end with the bodies, whether somebody subscribes or not.
            if output is self._bodies or (output.watched(options) and not output.needs_image):
                output.publish(scene, options)
            else:
                output.skip(result)

    def _describe(self, scene: Scene, options: NodeConfig) -> Scene:
        """The scene with everybody's posture and falls, and the residual of each fit made."""
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        motions = scene.result.motions
        postures = {m.track_id: int(self._describer.behaviour(m, up)[0]) for m in motions}
        fallen: frozenset[int] = frozenset()
        if (ground := scene.ground) is not None:
            fallen = frozenset(m.track_id for m in motions if self._describer.fallen(m, ground))
        residuals = {}
        if options.tf_level == "rep155" or (self._bodies and self._bodies.watched(options)):
            residuals = {m.track_id: self._describer.fit(m).residual_m for m in motions}
        return replace(scene, postures=postures, residuals_m=residuals, fallen=fallen)

    def given_ground(self, camera_frame: str) -> GroundPlane | None:
        """The ground that a user vouches for, in the camera's frame: TF's, or one that is kept.

        The one that is still being estimated comes from the network, which must not hear of it.
        """
        if self.placement.ground_frame or self.ground.kept:
            return self.current_ground(camera_frame)
        return None

    def current_ground(self, camera_frame: str) -> GroundPlane | None:
        """The ground in the camera's frame: TF's if a frame is named, else the estimated one."""
        if self.placement.ground_frame:
            return self.placement.ground(camera_frame)
        return self.ground.plane
