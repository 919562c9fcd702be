"""For launch_testing: the launch file brings up a node that works, obeys transitions and ends well.

The camera is a plain grey video and the people are imagined, so that what arrives does not depend
on what a detector finds. Started by test_launch_testing.py, or by hand: launch_test <this file>.
"""

from __future__ import annotations

import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import cv2
import launch_testing
import launch_testing.actions
import launch_testing.asserts
import numpy as np
import rclpy
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from lifecycle_msgs.msg import State
from moro_ros.msg import HumanArray

from launch import LaunchDescription
from moro_ros.ros.lifecycle_client import LifecycleClient

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "moro.launch.py"
# The model is loaded, and discovery may take its time.
PATIENCE_S = 60.0
PARAMETERS = "/**:\n  ros__parameters:\n    people: synthetic\n"


def grey_video(path: Path) -> str:
    """Write one second of nothing to see."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (320, 240))
    for _ in range(10):
        writer.write(np.full((240, 320, 3), 127, np.uint8))
    writer.release()
    return str(path)


def generate_test_description() -> LaunchDescription:
    """Called by launch_testing."""
    folder = Path(tempfile.mkdtemp(prefix="moro_launch_"))
    parameters = folder / "imagined.yaml"
    parameters.write_text(PARAMETERS, encoding="utf-8")
    given = {
        "namespace": "launched",
        "video": grey_video(folder / "grey.mp4"),
        "focal": "300",
        "loop": "true",
        "params_file": str(parameters),
    }
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILE)), launch_arguments=given.items()
    )
    return LaunchDescription([included, launch_testing.actions.ReadyToTest()])


class TestRunning(unittest.TestCase):
    """While it runs."""

    @classmethod
    def setUpClass(cls) -> None:
        rclpy.init()
        cls.node = rclpy.create_node("launch_test")
        cls.asking = rclpy.create_node("launch_test_asking")
        cls.managed = LifecycleClient(cls.asking, "/launched/moro")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.managed.close()
        cls.asking.destroy_node()
        cls.node.destroy_node()
        rclpy.shutdown()

    def state(self) -> int:
        return self.managed.state().id

    def wait_for_state(self, wanted: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.state() != wanted and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual(self.state(), wanted)

    def humans(self, count: int) -> list[HumanArray]:
        """The next messages with somebody in them."""
        found: list[HumanArray] = []

        def hear(message: HumanArray) -> None:
            if message.humans:
                found.append(message)

        subscription = self.node.create_subscription(HumanArray, "/launched/moro/humans", hear, 5)
        end = time.monotonic() + PATIENCE_S
        while len(found) < count and time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.2)
        self.node.destroy_subscription(subscription)
        self.assertGreaterEqual(len(found), count, "nobody is published")
        return found

    def test_people_come_with_rising_stamps(self) -> None:
        self.wait_for_state(State.PRIMARY_STATE_ACTIVE)
        messages = self.humans(5)
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages]
        self.assertEqual(stamps, sorted(set(stamps)))
        self.assertTrue(all(m.header.frame_id for m in messages))

    def test_the_life_cycle_is_obeyed(self) -> None:
        self.wait_for_state(State.PRIMARY_STATE_ACTIVE)
        self.assertTrue(self.managed.change("deactivate"))
        self.assertEqual(self.state(), State.PRIMARY_STATE_INACTIVE)
        self.assertTrue(self.managed.change("activate"))
        self.assertEqual(self.state(), State.PRIMARY_STATE_ACTIVE)
        self.humans(1)


@launch_testing.post_shutdown_test()
class TestAfterwards(unittest.TestCase):
    """When launch has ended it."""

    def test_all_processes_ended_well(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
        self.assertEqual(len(proc_info.process_names()), 2)
