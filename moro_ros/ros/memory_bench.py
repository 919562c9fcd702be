"""Memory growth of a node as many simulated people enter and leave."""

from __future__ import annotations

import gc
import importlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from moro_ros.config import PipelineConfig
from moro_ros.errors import MoroError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.load import load_stream
from moro_ros.live.pipeline import HumanMotionPipeline
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.live.synthetic_scenes import walker
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp
from moro_ros.ros.diagnostics import memory
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.lifecycle import MoroNode
from moro_ros.ros.serve import SpinThread, print_measured
from moro_ros.types import PersonObservation

CAMERA = camera_from_focal(300.0, 320, 240, "bench_optical_frame")
# Distance between neighbours [m].
SPACING_M = 0.7
# Number of rows of the table.
ROWS = 10
DISCOVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Level:
    """Resident memory after a number of people and images; time_s: of the images."""

    people: int
    images: int
    time_s: float
    memory_bytes: int


class Visitors(SyntheticFrontend):
    """Simulated people who walk side by side, each replaced by another after a while.

    in_view: people at a time; stay_s: how long each stays. Ids start at 1.
    """

    def __init__(self, pipeline: HumanMotionPipeline, in_view: int, stay_s: float) -> None:
        super().__init__(pipeline.stream.body, in_view)
        self._in_view, self._stay_s = in_view, stay_s
        self.seen = 0

    def observe(
        self, image_rgb: np.ndarray, stamp_ns: int, late: bool = False
    ) -> tuple[PersonObservation, ...]:
        """Return the people at a time since the first image."""
        if self.camera is None:
            raise ValueError("set camera before the first image")
        self._start_ns = stamp_ns if self._start_ns is None else self._start_ns
        seconds = (stamp_ns - self._start_ns) * 1e-9
        people = []
        for place in range(self._in_view):
            # They are replaced one after another, not all at once.
            turn = math.floor(seconds / self._stay_s + place / self._in_view)
            track_id = 1 + turn * self._in_view + place
            self.seen = max(self.seen, track_id)
            pose, pelvis, hidden = walker(seconds + place)
            aside = (place - 0.5 * (self._in_view - 1)) * SPACING_M
            pelvis = pelvis + np.array([aside, 0.0, 0.0])
            seen = self._look(track_id, (pose, pelvis, hidden), self.camera)
            if seen is not None:
                people.append(seen)
        return tuple(people)


def images(rate_hz: float, minutes: float, start_ns: int) -> Iterator[tuple[Image, CameraInfo]]:
    """Black images with their camera_info."""
    pixels = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    for index in range(round(60.0 * minutes * rate_hz)):
        stamp = ns_to_stamp(start_ns + round(index * 1e9 / rate_hz))
        header = Header(stamp=stamp, frame_id=CAMERA.frame_id)
        yield cv2_to_imgmsg(pixels, "rgb8", header), camera_info_message(CAMERA, header)


def pass_over(message: object) -> None:
    """Discard a message."""


class Listener(Node):
    """Subscribes to all topics of a node, and publishes its clock."""

    def __init__(self) -> None:
        super().__init__("moro_memory_bench")
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10)

    def listen_to(self, name: str, rep155: bool) -> None:
        """Subscribe to all topics of a node and discard the messages.

        rep155: also to the lists of REP-155, so that each person gets their topics.
        """
        for topic, kinds in self.get_publisher_names_and_types_by_node(name, "/"):
            package, _, kind = kinds[0].split("/")
            if "/_action/" in topic or (topic.startswith("/humans/") and not rep155):
                continue
            message = getattr(importlib.import_module(f"{package}.msg"), kind)
            self.create_subscription(message, topic, pass_over, 10, raw=True)

    def tell(self, stamp: Time) -> None:
        """Publish the time."""
        self._clock_publisher.publish(Clock(clock=stamp))


def bench(people: int, in_view: int, minutes: float, rate: float, rep155: bool) -> list[Level]:
    """Run a node on a number of people in a simulated time; rclpy must be initialised.

    rate: images per second; rep155: see Listener.listen_to. Raises: MoroError if the node cannot
    work or an image fails.
    """
    stay_s = 60.0 * minutes * in_view / people
    made: list[Visitors] = []

    def factory(config: PipelineConfig) -> HumanMotionPipeline:
        stream = load_stream(config)
        # The pipeline's own front-end is replaced; no image is analysed.
        pipeline = HumanMotionPipeline(config, SyntheticFrontend(stream.body, 0), stream)
        made.append(Visitors(pipeline, in_view, stay_s))
        pipeline.frontend = made[-1]
        return pipeline

    failed = threading.Event()
    words = ["--ros-args", "-p", "use_sim_time:=true", "-p", f"max_people:={in_view}"]
    node, listener = MoroNode(factory, failed.set, words), Listener()
    executor = SingleThreadedExecutor()
    spinner = SpinThread(executor, failed.set)
    try:
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise MoroError("The node could not be started; see its log.")
        executor.add_node(node)
        executor.add_node(listener)
        spinner.start()
        time.sleep(DISCOVERY_S)
        listener.listen_to("moro", rep155)
        time.sleep(DISCOVERY_S)
        return levels(node, listener, made[-1], images(rate, minutes, time.time_ns()), people)
    finally:
        spinner.end()
        node.trigger_shutdown()
        node.destroy_node()
        listener.destroy_node()


def levels(
    node: MoroNode,
    listener: Listener,
    visitors: Visitors,
    given: Iterator[tuple[Image, CameraInfo]],
    people: int,
) -> list[Level]:
    """Feed the images to the node in its own threads; the memory after each ROWS-th part."""
    found: list[Level] = []
    perception = node.perception
    if perception is None:
        raise MoroError("The node is not active.")
    start_ns = None
    for number, (image, info) in enumerate(given, start=1):
        stamp = image.header.stamp
        start_ns = start_ns or stamp.sec * 10**9 + stamp.nanosec
        listener.tell(stamp)
        perception.process(image, info, node.config, node.options)
        if visitors.seen >= people * (len(found) + 1) / ROWS:
            perception.settle()
            gc.collect()
            time_s = (stamp.sec * 10**9 + stamp.nanosec - start_ns) * 1e-9
            size = memory()["memory_bytes"]
            found.append(Level(visitors.seen, number, time_s, size))
    if node.statistics()["processed"] == 0:
        raise MoroError("The node processed nothing: it had no subscribers.")
    return found


if __name__ == "__main__":
    print_measured(bench)  # started by `moro bench memory`
