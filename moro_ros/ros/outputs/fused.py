"""fused/humans: the people of all cameras of this process, each once, in one frame.

The cameras' nodes are in one process and pass their results in memory, so keypoints need no topic.
Each camera's node continues to publish its own topics.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.views import View, misplaced
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.ros.conversions import ns_to_stamp, stamp_to_ns
from moro_ros.ros.diagnostics import diagnostic_array
from moro_ros.ros.outputs.base import Output, Scene
from moro_ros.ros.outputs.humans import HumansOutput
from moro_ros.ros.outputs.tf import own_frames
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_publisher
from moro_ros.ros.transforms import Placement
from moro_ros.types import Frame, PipelineResult

# The first camera that is at most this far behind the others provides the stamps of the messages.
# It is measured by the stamps of images, so that processing time has no effect, s.
BEHIND_S = 0.3
# A camera this far behind is lost and its people are forgotten. It is also the maximum wait for all
# cameras at the start, s.
LOST_S = 1.0
# Stamps that go back by more than this restart the fusion (a looping recording), s.
BACK_S = 1.0
PERIOD_S = 1.0
LOG_PERIOD_S = 10.0


class FusedPeople:
    """Fuses the results of several cameras of this process; for several threads.

    node: the first camera's; names: of the cameras, by rank; frame: TF frame of the people;
    prefixes: of the ids of the cameras' bodies, whose TF frames are ignored.
    """

    def __init__(
        self, node: Node, namespace: str, names: list[str], frame: str, prefixes: Collection[str]
    ) -> None:
        self._node, self._names, self._frame = node, names, frame
        self._name = f"{namespace}/fused"
        self._humans = HumansOutput(node, f"{namespace}/fused/humans")
        self._diagnostics = create_publisher(node, DiagnosticArray, "/diagnostics", 10)
        self._placement = Placement(node, frame, "", own_frames(*prefixes))
        self._lock = threading.Lock()
        self._fusion: Fusion | None = None
        self._received_ns: dict[str, int] = {}  # the newest stamp of each camera
        self._first_ns: int | None = None
        self._unplaced: dict[str, str] = {}  # cameras without TF, and their frames
        self._unusable = 0  # poses that are not finite, up to the last diagnostics
        self._wrong: dict[str, str] = {}  # cameras with impossible extrinsics, and the text
        self._published: frozenset[int] = frozenset()
        self._last_ns = -1
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(PERIOD_S, self._diagnose, clock=steady)

    @property
    def watched(self) -> bool:
        """Whether there is a subscriber."""
        return self._humans.publisher.get_subscription_count() > 0

    def take(self, name: str, body: BodyModel, scene: Scene, options: NodeConfig) -> None:
        """Add one camera's result of an image, and publish if this camera provides the stamps."""
        with self._lock:
            stamp_ns = stamp_to_ns(scene.header.stamp)
            if self._fusion is None:
                self._fusion = Fusion(body, ())
            fusion = self._fusion
            if stamp_ns < self._last_ns - BACK_S * 1e9:
                self._restart(fusion)
            if not self._placed(fusion, name, scene):
                return
            result = scene.result
            frame = Frame(stamp_ns, result.camera, result.people, scene.image)
            fusion.add(name, frame, result.motions)
            self._received_ns[name] = stamp_ns
            self._first_ns = self._first_ns or stamp_ns
            for camera in self._names:
                if self._behind_s(camera) > LOST_S:
                    fusion.drop(camera)
            usable = set(self._names) - self._unplaced.keys() - self._wrong.keys()
            complete = usable <= self._received_ns.keys()
            begun = complete or (stamp_ns - self._first_ns) * 1e-9 > LOST_S
            leader = next(n for n in self._names if self._behind_s(n) <= BEHIND_S)
            if begun and name == leader and stamp_ns > self._last_ns:
                self._last_ns = stamp_ns
                self._publish(fusion, scene, stamp_ns, options)

    def _behind_s(self, name: str) -> float:
        """Delay of a camera's newest image behind the newest of all; infinite without an image."""
        if name not in self._received_ns:
            return math.inf
        return (max(self._received_ns.values()) - self._received_ns[name]) * 1e-9

    def _restart(self, fusion: Fusion) -> None:
        self._last_ns, self._first_ns = -1, None
        self._received_ns.clear()
        for camera in self._names:
            fusion.drop(camera)

    def drop(self, name: str) -> None:
        """Forget a camera whose node was deactivated."""
        with self._lock:
            self._unplaced.pop(name, None)
            if self._fusion is not None:
                self._fusion.views.pop(name, None)
                self._check(self._fusion)
                self._forget(self._fusion, name)

    def _forget(self, fusion: Fusion, name: str) -> None:
        self._received_ns.pop(name, None)
        fusion.drop(name)

    def _placed(self, fusion: Fusion, name: str, scene: Scene) -> bool:
        """Update a camera's extrinsics; returns whether it can be used."""
        camera_frame = scene.header.frame_id
        pose = self._placement.pose(camera_frame)
        if pose is None:
            self._unplaced[name] = camera_frame
            fusion.views.pop(name, None)
            self._check(fusion)
            self._forget(fusion, name)
            return False
        self._unplaced.pop(name, None)
        rotation, place = pose
        before = fusion.views.get(name)
        if before is None or not (
            np.array_equal(before.rotation, rotation.T) and np.array_equal(before.centre, place)
        ):
            fusion.views[name] = View(name, scene.result.camera, rotation.T, -rotation.T @ place)
            self._check(fusion)
        if name in self._wrong:
            self._warn(self._wrong[name])
        return name not in self._wrong

    def _check(self, fusion: Fusion) -> None:
        """Find out which cameras have impossible extrinsics; they are not used."""
        self._wrong = misplaced(list(fusion.views.values()), f"TF of {self._frame}")
        for name in self._wrong:
            self._forget(fusion, name)

    def _missing(self, name: str) -> str:
        return (
            f"Camera {name} is not used: TF does not connect {self._unplaced[name]} with "
            f"{self._frame} (fusion_frame). Publish the transform of the camera."
        )

    def _warn(self, words: str) -> None:
        self._node.get_logger().warning(words, throttle_duration_sec=LOG_PERIOD_S)

    def _publish(self, fusion: Fusion, scene: Scene, stamp_ns: int, options: NodeConfig) -> None:
        people = fusion.at(stamp_ns)
        known = frozenset(fusion.matcher.members)
        lost = tuple(sorted(self._published - known))
        motions = tuple(one.motion for one in people)
        self._published = (self._published & known) | {motion.track_id for motion in motions}
        result = PipelineResult(stamp_ns, scene.result.camera, (), motions, lost=lost)
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=self._frame)
        # All else in the scene concerns the people of one camera, by other ids.
        there = Scene(result, header, scene.image, scene.body, eye=None)
        self._humans.publish(there, options)

    def _diagnose(self) -> None:
        with self._lock:
            level, message, values = self._condition()
        stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(self._name, values, level, message, stamp))

    def _condition(self) -> tuple[bytes, str, dict[str, Any]]:
        """Return level, message and values of the diagnostics."""
        fusion = self._fusion
        silent = [name for name in self._received_ns if self._behind_s(name) > LOST_S]
        words = [self._missing(name) for name in self._unplaced]
        words += [f"No images of camera {name}: the others continue." for name in silent]
        words += dict.fromkeys(self._wrong.values())
        if fusion is not None:
            words += fusion.judge.problems()
        unusable = 0 if fusion is None else fusion.unusable_poses
        if unusable > self._unusable:
            words.append("Poses that are not finite were not published.")
        self._unusable = unusable
        values: dict[str, Any] = {
            "cameras": [n for n in self._names if self._behind_s(n) <= LOST_S],
            "people": 0 if fusion is None else len(fusion.matcher.members),
            "unusable_poses": unusable,
            "residual": {} if fusion is None else dict(fusion.judge.residual),
        }
        level = DiagnosticStatus.WARN if words else DiagnosticStatus.OK
        return level, " ".join(words) or "Cameras are fused.", values


class FusedOutput(Output):
    """Passes one camera's results to the fusion of this process."""

    def __init__(self, fused: FusedPeople, name: str, body: BodyModel) -> None:
        self._fused, self._name, self._body = fused, name, body

    def watched(self, options: NodeConfig) -> bool:
        """Whether the fused people have a subscriber."""
        return self._fused.watched

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Pass on an image's result."""
        self._fused.take(self._name, self._body, scene, options)

    def made(self) -> dict[str, int]:
        """Empty: it has no topic of its own."""
        return {}

    def destroy(self, node: Node) -> None:
        """Leave the fusion."""
        self._fused.drop(self._name)
