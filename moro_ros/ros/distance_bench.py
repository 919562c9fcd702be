"""Cost of one measurement of moro_distance: an arm of seven joints and two simulated people."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage

from moro_ros.body.capsules import body_capsules
from moro_ros.config import PipelineConfig
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.msg import HumanCapsule, HumanCapsules, HumanDistances
from moro_ros.ros.distance import LAST_ONE, DistanceNode
from moro_ros.ros.message_bench import CAMERA, percentiles, scenes
from moro_ros.ros.serve import print_measured

JOINTS, LINK_M, RADIUS_M = 7, 0.18, 0.06
RATE_HZ = 100.0


def arm() -> str:
    """The URDF of an arm whose links are cylinders with a ball at the joint."""
    parts = ['<robot name="arm">']
    shape = '<collision><origin xyz="0 0 {z}"/><geometry>{shape}</geometry></collision>'
    cylinder = f'<cylinder radius="{RADIUS_M}" length="{LINK_M}"/>'
    ball = f'<sphere radius="{1.2 * RADIUS_M}"/>'
    for number in range(JOINTS + 1):
        both = shape.format(z=LINK_M / 2, shape=cylinder) + shape.format(z=0, shape=ball)
        parts.append(f'<link name="link{number}">{both}</link>')
    for number in range(JOINTS):
        parts.append(
            f'<joint name="joint{number}" type="continuous"><parent link="link{number}"/>'
            f'<child link="link{number + 1}"/><axis xyz="0 1 0"/></joint>'
        )
    return "".join([*parts, "</robot>"])


def arm_transforms(angles: Sequence[float]) -> TFMessage:
    """The transforms of the arm's links at some joint angles, rad."""
    transforms = []
    for number, angle in enumerate(angles):
        axis = (0.0, 1.0, 0.0) if number % 2 else (0.0, 0.0, 1.0)
        message = TransformStamped(
            header=Header(frame_id=f"link{number}"), child_frame_id=f"link{number + 1}"
        )
        message.transform.translation.z = LINK_M
        turn = message.transform.rotation
        turn.x, turn.y, turn.z, turn.w = (
            Rotation.from_rotvec(angle * np.array(axis)).as_quat().tolist()
        )
        transforms.append(message)
    return TFMessage(transforms=transforms)


def capsules_of(pipeline: HumanMotionPipeline, number: int, images: int) -> Iterator[HumanCapsules]:
    """The capsules of simulated people, image by image."""
    rest = body_capsules(pipeline.stream.body, torch.zeros(10))
    for scene in scenes(pipeline, number, images):
        message = HumanCapsules(header=Header(frame_id=CAMERA.frame_id), ttl=1e6)
        for motion in scene.result.motions:
            posed = rest.posed(motion.joints[-1], motion.joint_rotations[-1])
            rows = zip(posed.starts, posed.ends, posed.radii, strict=True)
            for joint, (start, end, radius) in enumerate(rows):
                part = HumanCapsule(id=motion.track_id, joint=joint, body_radius=float(radius))
                part.start.x, part.start.y, part.start.z = map(float, start)
                part.end.x, part.end.y, part.end.z = map(float, end)
                message.capsules.append(part)
        yield message


def bench(people: Sequence[int], rounds: int, seconds: float) -> list[dict[str, object]]:
    """Measure for each number of people; seconds: also in a separate process, 0: not.

    rclpy must be initialised.
    """
    torch.set_num_threads(1)
    found = [measured(number, rounds) for number in people]
    if seconds:
        for cost, number in zip(found, people, strict=True):
            cost.update(achieved(number, seconds))
    return found


def measured(number: int, rounds: int) -> dict[str, object]:
    """Measure the CPU time of one measurement of the node."""
    pipeline = load_pipeline(PipelineConfig(people="synthetic"))
    seen = list(capsules_of(pipeline, number, 20))
    node = DistanceNode()
    try:
        node.take_robot(String(data=arm()))
        camera = TransformStamped(header=Header(frame_id="link0"), child_frame_id=CAMERA.frame_id)
        camera.transform.rotation.w = 1.0
        node.tree.take_static(TFMessage(transforms=[camera]))
        times: dict[str, list[float]] = {"inputs": [], "measure": [], "serialise": []}
        gc.collect()
        for index in range(rounds):
            transforms = arm_transforms(np.sin(0.01 * index + np.arange(JOINTS)))
            start = time.thread_time()
            node.tree.take(transforms)
            if index % 3 == 0:  # people are published at a third of the rate
                node.sources[0].take(seen[index // 3 % len(seen)])
            taken = time.thread_time()
            message = node.measure(time.monotonic())
            measured = time.thread_time()
            serialize_message(message)
            done = time.thread_time()
            assert message.status == HumanDistances.STATUS_OK
            spans = (taken - start, measured - taken, done - measured)
            for name, span in zip(times, spans, strict=True):
                times[name].append(1e3 * span)
        total = np.sum(list(times.values()), axis=0)
        return {
            "people": number,
            "links": JOINTS + 1,
            "pairs": len(message.distances),
            "total_ms": percentiles(total.tolist()),
            **{f"{name}_ms": percentiles(spans) for name, spans in times.items()},
            "core_share": float(total.mean() * 1e-3 * RATE_HZ),
        }
    finally:
        node.destroy_node()


def achieved(number: int, seconds: float) -> dict[str, float]:
    """Rate and CPU share (of one core) of the node in a separate process, over DDS.

    This process publishes the robot at 100 Hz and the people at 33 Hz.
    """
    pipeline = load_pipeline(PipelineConfig(people="synthetic"))
    seen = list(capsules_of(pipeline, number, 20))
    process = subprocess.Popen([sys.executable, "-m", "moro_ros.ros.distance"])
    node = rclpy.create_node("distance_bench")
    got: list[int] = []
    topic = "moro_distance/distances"

    def take(message: HumanDistances) -> None:
        got.append(message.status)

    node.create_subscription(HumanDistances, topic, take, 10)
    create = node.create_publisher
    robot, tf = create(String, "robot_description", LAST_ONE), create(TFMessage, "/tf", 10)
    capsules = create(HumanCapsules, "moro/capsules", 10)
    robot.publish(String(data=arm()))
    camera = TransformStamped(header=Header(frame_id="link0"), child_frame_id=CAMERA.frame_id)
    camera.transform.rotation.w = 1.0

    def play(duration_s: float) -> None:
        start_s = time.monotonic()
        for index in range(round(duration_s * RATE_HZ)):
            transforms = arm_transforms(np.sin(0.01 * index + np.arange(JOINTS)))
            transforms.transforms.append(camera)
            tf.publish(transforms)
            if index % 3 == 0:
                capsules.publish(seen[index // 3 % len(seen)])
            due_s = start_s + (index + 1) / RATE_HZ
            while (left_s := due_s - time.monotonic()) > 0.0:
                rclpy.spin_once(node, timeout_sec=left_s)

    try:
        while HumanDistances.STATUS_OK not in got:
            if process.poll() is not None:
                raise ProcessLookupError("moro_distance has ended")
            play(0.5)
        got.clear()
        before_s, start_s = cpu_s(process.pid), time.monotonic()
        play(seconds)
        elapsed_s = time.monotonic() - start_s
        return {
            "achieved_hz": got.count(HumanDistances.STATUS_OK) / elapsed_s,
            "achieved_core_share": (cpu_s(process.pid) - before_s) / elapsed_s,
        }
    finally:
        process.terminate()
        process.wait()
        node.destroy_node()


def cpu_s(process_id: int) -> float:
    """CPU time of all threads of a process."""
    words = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print_measured(bench)  # started by `moro bench distance`
