"""Outputs: all topics of moro_node; each is computed only for subscribers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.body.posture import CAMERA_UP
from moro_ros.live.camera_guard import CameraGuard
from moro_ros.recover.ground import GIVEN_SIGMA, GroundEstimator, GroundPlane
from moro_ros.ros.outputs.annotated import AnnotatedOutput
from moro_ros.ros.outputs.base import Body, Output, Scene, by_stamp
from moro_ros.ros.outputs.humans import HumansOutput, RefinedHumansOutput, WorldHumansOutput
from moro_ros.ros.outputs.markers import MarkersOutput
from moro_ros.ros.outputs.mesh import CloudOutput, MeshOutput
from moro_ros.ros.outputs.tf import TransformsOutput, check_level, own_frames
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners import navigation
from moro_ros.ros.planners import scene as planning_scene
from moro_ros.ros.planners.capsules import CapsulesOutput
from moro_ros.ros.planners.intents import IntentsOutput
from moro_ros.ros.planners.obstacles import ClearingOutput, ObstaclesOutput
from moro_ros.ros.planners.prediction import PredictionOutput
from moro_ros.ros.planners.shapes import Shaper
from moro_ros.ros.planners.targets import TargetFinder, TargetsOutput, hand_reader, mouth_reader
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.publisher import BodiesOutput, available
from moro_ros.ros.stamps import latency_s
from moro_ros.ros.transforms import Placement
from moro_ros.types import PipelineResult


@dataclass(frozen=True, slots=True)
class Wanted:
    """The outputs of one image: those that have subscribers and are due.

    idle: no output has a subscriber, so the image need not be processed. mesh: the meshes are
    required.
    """

    outputs: tuple[Output, ...]
    idle: bool

    @property
    def mesh(self) -> bool:
        """Whether an output requires the meshes."""
        return any(output.needs_mesh for output in self.outputs)


class Outputs:
    """Publishes the results of images, and keeps what belongs to the place of the camera.

    ground: its estimate; guard: the view, to detect that the camera was moved; camera_frame: the TF
    frame of both, empty before the first image. They outlive pauses and lifecycle transitions.
    people: track ids of those in view whose motion was published. body: of the model in use;
    others: further outputs. Raises: ConfigError if the body does not support the options,
    AssetError if the file of planners.mouth_opening or planners.hand_landmarks is missing.
    """

    def __init__(
        self, node: Node, options: NodeConfig, body: Body, others: tuple[Output, ...] = ()
    ) -> None:
        self._clock = node.get_clock()
        self._body = body
        self.check(options)
        hands = hand_reader(options)
        self.placement = Placement(
            node,
            options.world_frame,
            options.ground_frame,
            own_frames(options.humans.id_prefix),
            options.planners.frames,
            listen=bool(options.depth_topic),
        )
        self._shaper = Shaper(self.placement, self._clock)
        self.ground = GroundEstimator()
        self.guard = CameraGuard()
        self.camera_frame = ""
        self.people: frozenset[int] = frozenset()
        self._describer = Describer()
        self._bodies: BodiesOutput | None = None
        listeners = int(self.placement.listens)
        if options.humans.enable and available():
            self._bodies = BodiesOutput(node, options, self._describer, listeners)
            listeners += self._bodies.tf_listeners
        elif options.humans.enable:
            node.get_logger().info(
                "The topics of REP-155 (/humans) are unavailable: hri_msgs is not installed."
            )
        self._finder = finder = TargetFinder(self._describer, hands)
        self.outputs: tuple[Output, ...] = (
            HumansOutput(node),
            RefinedHumansOutput(node),
            WorldHumansOutput(node, self.placement),
            TargetsOutput(node, finder, mouth_reader(options)),
            TransformsOutput(node, self._describer, finder.transforms, listeners),
            *([self._bodies] if self._bodies else []),
            CapsulesOutput(node, self._shaper),
            IntentsOutput(node, self._shaper, self.placement, finder),
            ObstaclesOutput(node, self._shaper),
            ClearingOutput(node, self._shaper),
            *self._for_planners(node, options),
            MarkersOutput(node),
            MeshOutput(node),
            CloudOutput(node),
            AnnotatedOutput(node),
            *others,
        )

    def _for_planners(self, node: Node, options: NodeConfig) -> Iterator[Output]:
        """The outputs that require an optional package or model, if it is there."""
        if reason := self._body.prediction_missing:
            node.get_logger().info(f"~/humans_predicted is unavailable: {reason}")
        else:
            yield PredictionOutput(node)
        if planning_scene.available():
            yield planning_scene.PlanningSceneOutput(node, options, self._shaper)
        else:
            node.get_logger().info("~/planning_scene is unavailable: moveit_msgs is not installed.")
        if navigation.People is not None:
            yield navigation.PeopleOutput(node, self._shaper)
        else:
            node.get_logger().info("~/people is unavailable: people_msgs is not installed.")
        if navigation.Detection3DArray is not None:
            yield navigation.DetectionsOutput(node, self._shaper)
        else:
            node.get_logger().info("~/detections is unavailable: vision_msgs is not installed.")

    def check(self, options: NodeConfig) -> None:
        """Check that the body model supports the options; raises ConfigError."""
        check_level(options.tf_level, len(self._body.joint_parents))

    def destroy(self, node: Node) -> None:
        """Destroy all publishers."""
        for output in self.outputs:
            output.destroy(node)
        self.placement.destroy(node)

    def made(self) -> dict[str, int]:
        """Number of messages created so far, by topic."""
        return {topic: made for output in self.outputs for topic, made in output.made().items()}

    def wanted(self, stamp_ns: int, options: NodeConfig) -> Wanted:
        """The outputs to publish for the image of a stamp; call it once per image."""
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
        groundless: Collection[int] = (),
    ) -> float:
        """Publish one image's result; returns the latency: see stamps.latency_s.

        image: (H, W, 3) uint8 RGB; header: stamp and camera frame; groundless: track ids of
        people for whom the ground is not valid. If it is valid for none in view, it is unknown.
        With look-ahead and irregular images, the pose that this image completes may have been
        published already. Then nothing is: an empty message would mean that nobody is there.
        """
        for motion in result.motions:
            self.ground.add(motion)
        self._keep(
            {motion.track_id for motion in result.motions}
            | (self.people & {person.track_id for person in result.people})
        )
        if self.people and not result.motions:
            others = tuple(output for output in wanted.outputs if output.shows_refined)
            wanted = replace(wanted, outputs=others)
        ground = self.current_ground(header.frame_id)
        if result.motions and {m.track_id for m in result.motions} <= set(groundless):
            ground = None
        whole = Scene(result, header, image, self._body, ground, groundless=frozenset(groundless))
        if any(output.needs_postures for output in wanted.outputs):
            whole = self._describe(whole, options)
        if any(output.needs_hands(options) for output in wanted.outputs):
            whole = replace(whole, hands=self._finder.hands(whole))
        for part in by_stamp(whole):
            for output in wanted.outputs:
                if output.prompt:
                    output.publish(part, options)
        for output in self.outputs:
            if output not in wanted.outputs:
                output.skip(result)
        late_s = latency_s(header.stamp, self._clock)
        for output in wanted.outputs:
            if not output.prompt:
                output.publish(whole, options)
        return late_s

    def publish_lost(self, result: PipelineResult, header: Header, options: NodeConfig) -> None:
        """Publish the end of all people when images stop.

        result: without people, with the lost ids; without any, only the persons of REP-155 end, who
        include people who left. header: stamp of the message and camera frame.
        """
        self._keep(())
        no_image = np.zeros((0, 0, 3), np.uint8)
        ground = self.current_ground(header.frame_id)
        scene = Scene(result, header, no_image, self._body, ground, final=True)
        for output in self.outputs:
            wanted = result.lost and output.watched(options) and not output.needs_image
            # The topics of a body end with the body, with or without subscribers.
            if output is self._bodies or wanted:
                output.publish(scene, options)
            else:
                output.skip(result)

    def _keep(self, track_ids: Collection[int]) -> None:
        """Forget all other people."""
        self.people = frozenset(track_ids)
        self._describer.keep(track_ids)
        self._shaper.keep(track_ids)

    def _describe(self, scene: Scene, options: NodeConfig) -> Scene:
        """The scene with all postures and falls, and the residual of each computed fit."""
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        motions = scene.result.motions
        postures = {m.track_id: int(self._describer.behaviour(m, up)[0]) for m in motions}
        fallen: frozenset[int] = frozenset()
        if (ground := scene.ground) is not None:
            standing = [m for m in motions if m.track_id not in scene.groundless]
            fallen = frozenset(m.track_id for m in standing if self._describer.fallen(m, ground))
        residuals = {}
        if options.tf_level == "rep155" or (self._bodies and self._bodies.watched(options)):
            residuals = {m.track_id: self._describer.fit(m).residual_m for m in motions}
        return replace(scene, postures=postures, residuals_m=residuals, fallen=fallen)

    def trusted_ground(self, camera_frame: str) -> tuple[GroundPlane | None, float, bool]:
        """The ground on which people are placed: see the arguments of Placing.set_floor.

        It is from TF, or see GroundEstimator.trusted.
        """
        if self.placement.ground_frame:
            return self.current_ground(camera_frame), GIVEN_SIGMA, True
        return self.ground.trusted()

    def current_ground(self, camera_frame: str) -> GroundPlane | None:
        """The ground in the camera's frame: TF's if a frame is named, else the estimated one."""
        if self.placement.ground_frame:
            return self.placement.ground(camera_frame)
        return self.ground.plane
