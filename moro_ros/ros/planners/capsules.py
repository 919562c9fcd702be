"""~/capsules: all people as capsules, for any kind of planner."""

from __future__ import annotations

from geometry_msgs.msg import Point, Vector3
from rclpy.node import Node

from moro_ros.msg import HumanCapsule, HumanCapsules
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.outputs.humans import joint_states
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.shapes import LostIds, Shape, Shaper
from moro_ros.ros.stamps import latency_s
from moro_ros.types import PipelineResult


def capsule_messages(shape: Shape) -> list[HumanCapsule]:
    """The capsules of one person, without parts that have no surface in the body model."""
    clear, motion = shape.keep_clear, shape.motion
    rows = zip(
        shape.body.starts.tolist(),
        shape.body.ends.tolist(),
        shape.body.radii.tolist(),
        clear.starts.tolist(),
        clear.ends.tolist(),
        clear.radii.tolist(),
        shape.sigma_m.tolist(),
        motion.velocity[-1].tolist(),
        joint_states(motion).tolist(),
        strict=True,
    )
    messages = []
    for joint, (start, end, own, clear_start, clear_end, radius, sigma, speed, state) in enumerate(
        rows
    ):
        if own > 0.0:
            capsule = HumanCapsule(id=motion.track_id, joint=joint, state=state)
            capsule.start, capsule.end = _point(start), _point(end)
            capsule.clear_start, capsule.clear_end = _point(clear_start), _point(clear_end)
            capsule.body_radius, capsule.clear_radius, capsule.sigma = own, radius, sigma
            capsule.velocity = Vector3(x=speed[0], y=speed[1], z=speed[2])
            messages.append(capsule)
    return messages


def _point(place: list[float]) -> Point:
    x, y, z = place
    return Point(x=x, y=y, z=z)


class CapsulesOutput(TopicOutput):
    """~/capsules: all people in planners.frame, and the ids of lost people."""

    prompt = True

    def __init__(self, node: Node, shaper: Shaper) -> None:
        super().__init__(node, HumanCapsules, "~/capsules")
        self._clock, self._shaper, self._lost = node.get_clock(), shaper, LostIds()

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanCapsules]:
        """One array."""
        self.skip(scene.result)
        shapes = self._shaper.shapes(scene, options)
        message = HumanCapsules(header=self._shaper.header(scene, options))
        message.ttl = scene.ttl_s(options)
        message.capsules = [item for shape in shapes for item in capsule_messages(shape)]
        message.lost = self._lost.report([shape.motion.track_id for shape in shapes])
        message.latency = latency_s(scene.header.stamp, self._clock)
        return [message]

    def skip(self, result: PipelineResult) -> None:
        """Store the lost people, who are reported with the next message."""
        self._lost.note(result.lost)
