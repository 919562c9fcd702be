"""Imagined people published after REP-155, as a process that is told on ~/show who is in view.

~/show (std_msgs/String): ids of those in view, one space between them; one in brackets is there but
hidden from the camera. Person 1 walks, person 2 sits; where they are follows from the stamp.
~/made: the counters as JSON, with every image.
"""

from __future__ import annotations

import json
import sys
import threading

import numpy as np
import torch
from rclpy.node import Node
from std_msgs.msg import Header, String

from moro_ros.body.body_model import load_body_model
from moro_ros.config import from_dict
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.synthetic import SyntheticFrontend
from moro_ros.live.synthetic_scenes import sitter, walker
from moro_ros.resources import share_path
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.rep155.options import HumansConfig
from moro_ros.ros.rep155.publisher import HumansPublisher
from moro_ros.ros.serve import run_process, spin
from moro_ros.types import BodyMotion, Camera, PersonObservation, PipelineResult, SmplxParams

FRAME = "lens"
PERIOD_NS = 100_000_000
SCENES = {1: walker, 2: sitter}
CAMERA: Camera = camera_from_focal(300.0, 320, 240, FRAME)


class People:
    """Makes the motions of imagined people; scene_s of a stamp is where in the play it lies."""

    def __init__(self) -> None:
        path = share_path("models", "open_body", "OPEN_NEUTRAL.npz")
        self._body = load_body_model(path)
        self._rest = self._body.skeleton(torch.zeros(1, 10)).joints[:, :22]
        self._frontend = SyntheticFrontend(self._body, 2)
        self._frontend.camera = CAMERA

    def motion(self, track_id: int, stamp_ns: int, seen: bool) -> BodyMotion:
        pose, pelvis, _ = SCENES[track_id](scene_s(stamp_ns))
        turns = rotvec_to_matrix(torch.tensor(pose).float())[None]
        rotations, joints = self._body.forward_kinematics(turns, self._rest)
        return BodyMotion(
            track_id=track_id,
            stamps_ns=np.array([stamp_ns], np.int64),
            joints=(joints + torch.tensor(pelvis).float()).numpy(),
            joint_rotations=rotations.numpy(),
            velocity=np.zeros((1, 22, 3), np.float32),
            covariance=np.zeros((1, 22, 3, 3), np.float32),
            confidence=np.full((1, 22), 0.9 if seen else 0.4, np.float32),
            observed=np.full((1, 22), seen),
            contact=np.zeros((1, 4), np.float32),
            smplx=SmplxParams(
                betas=np.zeros(10, np.float32),
                global_orient=pose[None, 0].astype(np.float32),
                body_pose=pose[1:].reshape(1, 63).astype(np.float32),
                transl=(pelvis[None] - self._rest[:, 0].numpy()).astype(np.float32),
            ),
            vertices=None,
            token_ids=np.zeros((1, 1), np.int64),
            keypoints_seen=np.array([seen]),
            held=np.zeros(1, bool),
        )

    def seen(self, track_id: int, stamp_ns: int) -> PersonObservation | None:
        self._frontend.reset()
        self._frontend.number_from(iter((1, 2)))
        self._frontend.observe(np.zeros((1, 1, 3), np.uint8), 0)
        time_ns = round(scene_s(stamp_ns) * 1e9)
        people = self._frontend.observe(np.zeros((1, 1, 3), np.uint8), time_ns)
        return next((person for person in people if person.track_id == track_id), None)


def scene_s(stamp_ns: int) -> float:
    """Seconds into the play, which begins anew every 8 s."""
    return stamp_ns % 8_000_000_000 * 1e-9


def image_at(stamp_ns: int) -> np.ndarray:
    """An image in which every pixel tells where it lies."""
    rows, columns = np.mgrid[: CAMERA.height, : CAMERA.width]
    return np.stack([rows, columns % 256, columns // 256], axis=2).astype(np.uint8)


def work(stop: threading.Event) -> int:
    """Arguments: the options of HumansConfig as JSON; then those of ROS."""
    node = Node("people")
    humans = HumansPublisher(node, from_dict(HumansConfig, json.loads(sys.argv[1])))
    people, shown = People(), [""]
    node.create_subscription(String, "~/show", lambda m: shown.__setitem__(0, m.data), 10)
    counters = node.create_publisher(String, "~/made", 10)

    def step() -> None:
        stamp_ns = node.get_clock().now().nanoseconds
        words = shown[0].split()
        ids = {int(word.strip("()")): "(" not in word for word in words}
        motions = tuple(people.motion(i, stamp_ns, seen) for i, seen in ids.items())
        observed = [people.seen(i, stamp_ns) for i, seen in ids.items() if seen]
        result = PipelineResult(
            stamp_ns, CAMERA, tuple(person for person in observed if person), motions
        )
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=FRAME)
        humans.publish(result, header, image_at(stamp_ns))
        made = humans.made() | {
            "fits": humans.describer.fits_made,
            "behaviours": humans.describer.behaviours_made,
        }
        counters.publish(String(data=json.dumps(made)))

    node.create_timer(PERIOD_NS * 1e-9, step)
    spin(node, stop)
    humans.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_process("rep155_people", sys.argv[2:], work))
