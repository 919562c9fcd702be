"""HumanArray messages of recovered motion, and the topics ~/humans and ~/humans_world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header

from moro_ros.body.targets import UNSEEN
from moro_ros.msg import Human, HumanArray, HumanJoint
from moro_ros.recover.ground import GroundPlane, moved
from moro_ros.recover.uncertainty import distance_sigma
from moro_ros.ros.outputs.base import Scene, TopicOutput, by_stamp
from moro_ros.ros.outputs.tf import quaternions
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.stamps import latency_s
from moro_ros.ros.transforms import Placement
from moro_ros.types import PRIOR, BodyMotion, PipelineResult

NO_FIT = -1.0


def human_array(scene: Scene, lost: tuple[BodyMotion, ...] = ()) -> HumanArray:
    """The newest frame of each person, then lost people; the publisher sets the latency.

    lost: the last motion of people whose track has ended.
    """
    message = HumanArray(header=scene.header)
    message.humans = [human_message(motion, scene) for motion in (*scene.result.motions, *lost)]
    for human in message.humans[len(scene.result.motions) :]:
        human.tracking_state = Human.TRACKING_LOST
    if scene.ground is not None:
        plane = np.append(scene.ground.normal, scene.ground.offset)
        message.ground_plane = plane.astype(np.float32)
    return message


def human_message(motion: BodyMotion, scene: Scene) -> Human:
    """The newest frame of one person."""
    seen = bool(motion.keypoints_seen[-1])
    message = Human(
        id=motion.track_id,
        tracking_state=Human.TRACKING_OBSERVED if seen else Human.TRACKING_EXTRAPOLATED,
        posture=scene.postures.get(motion.track_id, Human.POSTURE_OTHER),
        fall=motion.track_id in scene.fallen,
        confidence=float(motion.confidence[-1].mean()),
        joint_fit_residual=scene.residuals_m.get(motion.track_id, NO_FIT),
    )
    message.place_source, message.place_sigma = PRIOR, distance_sigma(motion, scene.eye)
    if motion.place is not None:
        message.place_source = motion.place.source
    ground = None if motion.track_id in scene.groundless else scene.ground
    message.joints = _joints(motion, ground)
    message.contacts = motion.contact[-1].astype(np.float32)
    message.betas = motion.smplx.betas.astype(np.float32)
    message.shape_locked = motion.shape_locked
    message.global_orient = motion.smplx.global_orient[-1].astype(np.float32)
    message.body_pose = motion.smplx.body_pose[-1].astype(np.float32)
    message.transl = motion.smplx.transl[-1].astype(np.float32)
    left, right = scene.hands.get(motion.track_id, UNSEEN)
    if left is not None:
        message.left_hand_pose = left.fingers.astype(np.float32)
    if right is not None:
        message.right_hand_pose = right.fingers.astype(np.float32)
    return message


def joint_states(motion: BodyMotion) -> np.ndarray:
    """STATE_* of the joints of the newest frame, (J,) int64."""
    if motion.held[-1]:
        return np.full(len(motion.observed[-1]), HumanJoint.STATE_HELD)
    if not motion.keypoints_seen[-1]:
        return np.full(len(motion.observed[-1]), HumanJoint.STATE_EXTRAPOLATED)
    return np.where(motion.observed[-1], HumanJoint.STATE_OBSERVED, HumanJoint.STATE_INFERRED)


def _joints(motion: BodyMotion, ground: GroundPlane | None) -> list[HumanJoint]:
    places = motion.joints[-1]
    heights = np.zeros(len(places)) if ground is None else ground.heights(places)
    covariances = motion.covariance[-1].reshape(-1, 9).astype(np.float32)
    rows = zip(
        places.tolist(),
        quaternions(motion.joint_rotations[-1]).tolist(),
        motion.velocity[-1].tolist(),
        covariances,
        heights.tolist(),
        motion.confidence[-1].tolist(),
        joint_states(motion).tolist(),
        strict=True,
    )
    joints = []
    for place, turn, speed, covariance, height, confidence, state in rows:
        joint = HumanJoint(height=height, confidence=confidence, state=state)
        joint.covariance = covariance
        position, orientation = joint.pose.position, joint.pose.orientation
        position.x, position.y, position.z = place
        orientation.x, orientation.y, orientation.z, orientation.w = turn
        joint.velocity.x, joint.velocity.y, joint.velocity.z = speed
        joints.append(joint)
    return joints


class HumansOutput(TopicOutput):
    """~/humans: all people in the camera's frame; a lost person is reported once."""

    prompt = True
    needs_postures = True

    def __init__(self, node: Node, topic: str = "~/humans") -> None:
        super().__init__(node, HumanArray, topic)
        self._clock = node.get_clock()
        self._known: dict[int, BodyMotion] = {}
        # People who were published and lost, but not reported as lost yet.
        self._gone: dict[int, BodyMotion] = {}

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanArray]:
        """One array, with its latency."""
        motions = scene.result.motions
        self.skip(scene.result)
        gone, self._gone = tuple(self._gone.values()), {}
        self._known |= {motion.track_id: motion for motion in motions}
        message = human_array(scene, gone)
        message.latency = latency_s(scene.header.stamp, self._clock)
        return [message]

    def needs_hands(self, options: NodeConfig) -> bool:
        """Always: the message contains the hand poses."""
        return True

    def skip(self, result: PipelineResult) -> None:
        """Store the lost people, who are reported with the next message."""
        for track_id in result.lost:
            if (motion := self._known.pop(track_id, None)) is not None:
                self._gone[track_id] = motion


class RefinedHumansOutput(HumansOutput):
    """~/humans_refined: frames refined after motion.refined_lag, with their own stamps."""

    shows_refined = True
    prompt = False

    def __init__(self, node: Node) -> None:
        super().__init__(node, "~/humans_refined")

    def needs_hands(self, options: NodeConfig) -> bool:
        """Never: the images of its frames are not kept."""
        return False

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanArray]:
        """One array per refined stamp; usually one."""
        result = replace(scene.result, motions=scene.result.refined)
        scene = replace(scene, hands={})
        if not result.motions and not result.lost and not self._gone:
            return []
        messages = []
        for part in by_stamp(replace(scene, result=result)):
            messages += super().messages(part, options)
        return messages


class WorldHumansOutput(HumansOutput):
    """~/humans_world: the same in the world frame, while TF connects it with the camera."""

    def __init__(self, node: Node, placement: Placement) -> None:
        super().__init__(node, "~/humans_world")
        self._placement = placement

    def watched(self, options: NodeConfig) -> bool:
        """Whether a world frame is set and there is a subscriber."""
        return bool(self._placement.world_frame) and super().watched(options)

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanArray]:
        """One array; none while TF does not connect the two frames."""
        pose = self._placement.pose(scene.header.frame_id)
        if pose is None:
            self.skip(scene.result)
            return []
        motions = tuple(moved(motion, *pose) for motion in scene.result.motions)
        there = replace(
            scene,
            result=replace(scene.result, motions=motions),
            header=Header(stamp=scene.header.stamp, frame_id=self._placement.world_frame),
            ground=None if scene.ground is None else scene.ground.moved(*pose),
            eye=pose[1],
        )
        return super().messages(there, options)
