"""Cost of moro_node's messages: each output fills and serialises those of the same images."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from moro_ros.config import PipelineConfig
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.outputs.humans import HumansOutput
from moro_ros.ros.outputs.markers import MarkersOutput
from moro_ros.ros.outputs.mesh import CloudOutput, MeshOutput
from moro_ros.ros.outputs.tf import TransformsOutput
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners import navigation
from moro_ros.ros.planners import scene as planning_scene
from moro_ros.ros.planners.capsules import CapsulesOutput
from moro_ros.ros.planners.intents import IntentsOutput
from moro_ros.ros.planners.obstacles import ObstaclesOutput
from moro_ros.ros.planners.shapes import Shaper
from moro_ros.ros.planners.targets import TargetFinder, TargetsOutput
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.serve import print_measured
from moro_ros.ros.transforms import Placement

LEVELS = ("body", "smplx22", "rep155", "smplx55")
# The first images fill caches and publish the mesh's triangles.
WARM_UP = 10
RATE_HZ = 30.0
CAMERA = camera_from_focal(900.0, 1280, 720)


@dataclasses.dataclass(frozen=True, slots=True)
class MessageCost:
    """One topic's messages for one image of a number of people.

    count, size_bytes: number of messages and their total serialised size. fill_ms, serialise_ms:
    median and 95th percentile over the images. If a message is written in serialised form
    directly, fill_ms includes that.
    """

    name: str
    people: int
    count: int
    size_bytes: int
    fill_ms: tuple[float, float]
    serialise_ms: tuple[float, float]


def outputs_of(node: Node) -> Iterator[tuple[str, TopicOutput, NodeConfig]]:
    """The outputs with their names and options, created for a node."""
    options = NodeConfig()
    yield "~/humans", HumansOutput(node), options
    yield "~/mesh", MeshOutput(node), options
    yield "~/cloud", CloudOutput(node), options
    yield "~/markers", MarkersOutput(node), options
    yield "~/targets", TargetsOutput(node, TargetFinder(Describer())), options
    yield from planner_outputs(node, options)
    for level in LEVELS:
        leveled = dataclasses.replace(options, tf_level=level)
        describer = Describer()
        targets = TargetFinder(describer)
        yield f"/tf, {level}", TransformsOutput(node, describer, targets.transforms), leveled


def planner_outputs(
    node: Node, options: NodeConfig
) -> Iterator[tuple[str, TopicOutput, NodeConfig]]:
    """The outputs for planners whose messages are installed; each computes its own shapes."""
    placement = Placement(node, "", "")

    def shaper() -> Shaper:
        return Shaper(placement, node.get_clock())

    finder = TargetFinder(Describer())
    yield "~/capsules", CapsulesOutput(node, shaper()), options
    if planning_scene.available():
        scene = planning_scene.PlanningSceneOutput(node, options, shaper())
        yield "~/planning_scene", scene, options
    yield "~/obstacles", ObstaclesOutput(node, shaper()), options
    if navigation.People is not None:
        yield "~/people", navigation.PeopleOutput(node, shaper()), options
    if navigation.Detection3DArray is not None:
        yield "~/detections", navigation.DetectionsOutput(node, shaper()), options
    yield "~/intents", IntentsOutput(node, shaper(), placement, finder), options


def scenes(pipeline: HumanMotionPipeline, people: int, images: int) -> Iterator[Scene]:
    """The results for images of simulated people; people beyond the scene's two are copies."""
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    for index in range(images):
        stamp_ns = 10**9 + round(index * 1e9 / RATE_HZ)
        result = pipeline.push(image, stamp_ns, CAMERA, mesh=True)
        again = itertools.islice(itertools.cycle(result.motions), people)
        motions = tuple(
            dataclasses.replace(motion, track_id=number)
            for number, motion in enumerate(again, start=1)
        )
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=CAMERA.frame_id)
        yield Scene(dataclasses.replace(result, motions=motions), header, image, pipeline)


def measure(
    name: str, output: TopicOutput, options: NodeConfig, given: Sequence[Scene]
) -> MessageCost:
    """Time an output's messages of each scene, except for the first WARM_UP."""
    fill, serialise, count, size = [], [], 0, 0
    for scene in given:
        start = time.perf_counter()
        messages = output.messages(scene, options)
        filled = time.perf_counter()
        wire = [m if isinstance(m, bytes) else serialize_message(m) for m in messages]
        done = time.perf_counter()
        fill.append(1e3 * (filled - start))
        serialise.append(1e3 * (done - filled))
        count, size = len(wire), sum(len(part) for part in wire)
    people = len(given[-1].result.motions)
    return MessageCost(name, people, count, size, percentiles(fill), percentiles(serialise))


def percentiles(durations: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile after the warm-up."""
    median, high = np.percentile(durations[WARM_UP:], (50, 95))
    return float(median), float(high)


def bench(people: Sequence[int], images: int) -> list[MessageCost]:
    """Measure all outputs for each number of people; rclpy must be initialised."""
    pipeline = load_pipeline(PipelineConfig(people="synthetic"))
    node = rclpy.create_node("moro_message_bench")
    costs = []
    try:
        for number in people:
            pipeline.reset()
            given = list(scenes(pipeline, number, WARM_UP + images))
            for name, output, options in outputs_of(node):
                gc.collect()
                costs.append(measure(name, output, options, given))
                output.destroy(node)
    finally:
        node.destroy_node()
    return costs


if __name__ == "__main__":
    print_measured(bench)  # started by `moro bench messages`
