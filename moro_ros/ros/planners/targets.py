"""~/targets: points on people that an assistive robot moves to, and their TF frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from moro_ros.body.anatomy import Anatomy, measure_anatomy
from moro_ros.body.hand_pose import pose_hand
from moro_ros.body.posture import CAMERA_UP
from moro_ros.body.targets import SIDES, UNSEEN, Grade, Hands, Kind, Target, find_targets
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.msg import HumanTarget, HumanTargets
from moro_ros.ros.outputs.base import Body, Scene, TopicOutput
from moro_ros.ros.outputs.tf import quaternions, transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.shapes import LostIds
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.options import body_id
from moro_ros.ros.stamps import latency_s
from moro_ros.types import BodyMotion, Keypoints, PersonObservation, PipelineResult

if TYPE_CHECKING:
    from moro_ros.perception.hands import HandReader
    from moro_ros.perception.mouth import MouthReader

# A shape is measured again if one of its coefficients has changed by more than this.
SAME_SHAPE = 0.1


class TargetFinder:
    """Computes the targets of people, once for each frame of a person; for one thread.

    reader: finds the landmarks of hands; None: fingers are not seen.
    """

    def __init__(self, describer: Describer, reader: HandReader | None = None) -> None:
        self._describer, self._reader = describer, reader
        self._found: dict[int, tuple[int, list[Target]]] = {}
        self._anatomies: dict[int, tuple[np.ndarray, Anatomy]] = {}

    def find(self, motion: BodyMotion, scene: Scene) -> list[Target]:
        """The targets of the newest frame of a person."""
        stamp_ns, known = int(motion.stamps_ns[-1]), self._found.get(motion.track_id)
        if known is not None and known[0] == stamp_ns:
            return known[1]
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        posture, _ = self._describer.behaviour(motion, up)
        anatomy = self._anatomy(motion, scene.body)
        camera, details = scene.result.camera, details_of(motion, scene.result)
        hands = scene.hands.get(motion.track_id, UNSEEN)
        targets = find_targets(motion, details, camera, anatomy, posture, up, hands)
        self._found[motion.track_id] = stamp_ns, targets
        return targets

    def hands(self, scene: Scene) -> dict[int, Hands]:
        """The hands of all people in the image, by track id; empty without a reader."""
        if self._reader is None:
            return {}
        return {motion.track_id: self._hands_of(motion, scene) for motion in scene.result.motions}

    def _hands_of(self, motion: BodyMotion, scene: Scene) -> Hands:
        person = person_of(motion, scene.result)
        if person is None or person.keypoints is None or person.details is None:
            return UNSEEN
        anatomy = self._anatomy(motion, scene.body)
        if anatomy.hands is None:
            return UNSEEN
        assert self._reader is not None
        found = []
        for side, hand in zip(SIDES, anatomy.hands, strict=True):
            wrist = motion.joints[-1, JOINT_NAMES.index(f"{side}_wrist")].astype(np.float64)
            points = self._reader.read(scene.image, person.keypoints, person.details, side)
            camera = scene.result.camera
            found.append(None if points is None else pose_hand(points, wrist, hand, camera))
        return found[0], found[1]

    def _anatomy(self, motion: BodyMotion, body: Body) -> Anatomy:
        betas, known = motion.smplx.betas, self._anatomies.get(motion.track_id)
        if known is not None and np.abs(known[0] - betas).max() <= SAME_SHAPE:
            return known[1]
        joints, vertices = body.rest_joints(betas), body.rest_vertices(betas)
        anatomy = measure_anatomy(joints, vertices, body.vertex_parts)
        self._anatomies[motion.track_id] = betas.copy(), anatomy
        return anatomy

    def transforms(self, scene: Scene, options: NodeConfig) -> list[TransformStamped]:
        """Transforms from the camera to <kind>_target_<id>, of all targets that are not stale.

        None unless the options ask for them.
        """
        if not options.planners.target_frames:
            return []
        return [
            transform_message(
                scene.header,
                f"{target.kind.frame}_{body_id(motion.track_id, options.humans.id_prefix)}",
                target.position,
                quaternions(target.rotation),
            )
            for motion in scene.result.motions
            for target in self.find(motion, scene)
            if target.grade != Grade.STALE
        ]

    def forget(self, track_ids: tuple[int, ...]) -> None:
        """Forget people whose track has ended."""
        for track_id in track_ids:
            self._found.pop(track_id, None)
            self._anatomies.pop(track_id, None)


def mouth_reader(options: NodeConfig) -> MouthReader | None:
    """The reader of mouth opening, None unless the options request it.

    Raises: AssetError if its file was not downloaded.
    """
    if not options.planners.mouth_opening:
        return None
    # Imported here, so that the node starts and reports a missing package without the networks.
    from moro_ros.perception.mouth import load_mouth_reader

    return load_mouth_reader()


def hand_reader(options: NodeConfig) -> HandReader | None:
    """The reader of hand landmarks, None unless the options request it.

    Raises: AssetError if its file was not downloaded.
    """
    if not options.planners.hand_landmarks:
        return None
    from moro_ros.perception.hands import load_hand_reader

    return load_hand_reader()


def person_of(motion: BodyMotion, result: PipelineResult) -> PersonObservation | None:
    """The person's observation in the newest image, if the motion describes that image."""
    if int(motion.stamps_ns[-1]) != result.stamp_ns:
        return None
    return next((p for p in result.people if p.track_id == motion.track_id), None)


def details_of(motion: BodyMotion, result: PipelineResult) -> Keypoints | None:
    """The landmarks of a person's face and hands, if the motion describes the newest image."""
    person = person_of(motion, result)
    return None if person is None else person.details


def target_message(
    track_id: int,
    target: Target,
    opening: float = math.nan,
    opening_score: float = math.nan,
) -> HumanTarget:
    """One target; opening, opening_score: of the mouth."""
    message = HumanTarget(
        id=track_id,
        kind=int(target.kind),
        grade=int(target.grade),
        sigma=target.sigma_m,
        skin=target.skin_m,
        opening=opening,
        opening_score=opening_score,
        grip=target.grip,
        grip_score=target.grip_score,
    )
    message.covariance = target.covariance.astype(np.float32).ravel()
    place, turn, speed = message.pose.position, message.pose.orientation, message.velocity
    place.x, place.y, place.z = target.position.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternions(target.rotation).tolist()
    speed.x, speed.y, speed.z = target.velocity.tolist()
    return message


class TargetsOutput(TopicOutput):
    """~/targets: the targets of all people in view, and the ids of lost people, once each.

    mouths: measures the opening of mouths; None: it stays unknown.
    """

    prompt = True
    needs_postures = True

    def __init__(self, node: Node, finder: TargetFinder, mouths: MouthReader | None = None) -> None:
        super().__init__(node, HumanTargets, "~/targets")
        self._clock = node.get_clock()
        self._finder, self._mouths = finder, mouths
        self._lost = LostIds()

    def messages(self, scene: Scene, options: NodeConfig) -> list[HumanTargets]:
        """One message."""
        self.skip(scene.result)
        message = HumanTargets(header=scene.header, ttl=scene.ttl_s(options))
        message.lost = self._lost.report([motion.track_id for motion in scene.result.motions])
        for motion in scene.result.motions:
            for target in self._finder.find(motion, scene):
                mouth = self._mouth(motion, target, scene)
                message.targets.append(target_message(motion.track_id, target, *mouth))
        message.latency = latency_s(scene.header.stamp, self._clock)
        return [message]

    def needs_hands(self, options: NodeConfig) -> bool:
        """Always: they give the positions of the palms."""
        return True

    def _mouth(
        self, motion: BodyMotion, target: Target, scene: Scene
    ) -> tuple[float, float] | tuple[()]:
        """Opening and score of a mouth that is visible."""
        if self._mouths is None or (target.kind, target.grade) != (Kind.MOUTH, Grade.OBSERVED):
            return ()
        details = details_of(motion, scene.result)
        assert details is not None  # the mouth was observed
        return self._mouths.read(scene.image, details)

    def skip(self, result: PipelineResult) -> None:
        """Store the lost people, who are reported with the next message."""
        self._finder.forget(result.lost)
        self._lost.note(result.lost)
