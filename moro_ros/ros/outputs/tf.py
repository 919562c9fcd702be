"""The TF frames of a person: body_<id> with the axes of REP-155, and its child frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.body.anatomy import FINGER_JOINTS, INDEX
from moro_ros.body.targets import UNSEEN, Hands, Kind
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.errors import ConfigError
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.fit import JointFit
from moro_ros.ros.rep155.model import JOINTS as REP155_JOINTS
from moro_ros.ros.rep155.model import body_pose
from moro_ros.ros.rep155.options import body_id
from moro_ros.types import BodyMotion

# TF listeners keep the last 10 s and subscribe with this depth.
TF_DEPTH = 100
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
# The joints of SMPL-X behind the 22 of the body, in its order.
HAND_AND_FACE_JOINTS = (
    "jaw", "left_eye", "right_eye",
    *(f"left_{finger}{bone}" for finger in _FINGERS for bone in (1, 2, 3)),
    *(f"right_{finger}{bone}" for finger in _FINGERS for bone in (1, 2, 3)),
)  # fmt: skip
SMPLX_JOINTS = JOINT_NAMES + HAND_AND_FACE_JOINTS


def own_frames(*prefixes: str) -> re.Pattern[str]:
    """A pattern of all frames that nodes with the body id prefixes `prefixes` may publish."""
    links = {joint.child for joint in REP155_JOINTS} | {joint.parent for joint in REP155_JOINTS}
    targets = {kind.frame for kind in Kind}
    names = "|".join(sorted({"body", "person_anonymous", *SMPLX_JOINTS, *links, *targets}))
    beginnings = "|".join(map(re.escape, prefixes))
    return re.compile(rf"({names})_({beginnings})\d+")


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions x, y, z, w, (..., 4) float64, of rotation matrices (..., 3, 3).

    The same as in geometry.rotation, but without torch, so that wrong parameters are reported
    before it is loaded, and without scipy's orthogonalisation, which would double the time.
    """
    m = np.asarray(rotations, np.float64)
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    turned = np.swapaxes(m, -1, -2)
    odd, even = m - turned, m + turned
    wx, wy, wz = odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]
    xy, xz, yz = even[..., 0, 1], even[..., 0, 2], even[..., 1, 2]
    # Row i is 4 q_i q; that of the largest component is well conditioned for every rotation.
    rows = (
        1 + m00 - m11 - m22, xy, xz, wx, xy, 1 - m00 + m11 - m22, yz, wy,
        xz, yz, 1 - m00 - m11 + m22, wz, wx, wy, wz, 1 + m00 + m11 + m22,
    )  # fmt: skip
    outer = np.stack(rows, axis=-1).reshape(*m.shape[:-2], 4, 4)
    largest = outer.diagonal(axis1=-2, axis2=-1).argmax(-1)
    found = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def body_transform(motion: BodyMotion, header: Header, name: str) -> TransformStamped:
    """The transform header.frame_id -> body_<name> of the newest frame.

    name: the body's id; after REP-155 every frame of a body ends with it.
    """
    origin, rotation = body_pose(motion)
    return transform_message(header, f"body_{name}", origin, quaternions(rotation))


def joint_transforms(motion: BodyMotion, header: Header, name: str) -> list[TransformStamped]:
    """Transforms body_<name> -> <joint>_<name> of the newest frame, of the 22 joints.

    Joint frames keep the SMPL-X axes of the joints in HumanArray.
    """
    places, rotations = motion.joints[-1], motion.joint_rotations[-1]
    return _below_body(motion, header, name, JOINT_NAMES, places, rotations)


def link_transforms(fit: JointFit, header: Header, name: str) -> list[TransformStamped]:
    """Transforms of the links of REP-155 below body_<name>, as in its URDF."""
    return [
        transform_message(
            Header(stamp=header.stamp, frame_id=f"{parent}_{name}"),
            f"{child}_{name}",
            place,
            quaternions(turn),
        )
        for parent, child, place, turn in fit.model.transforms(fit.angles)
    ]


def hand_and_face_transforms(
    motion: BodyMotion,
    header: Header,
    name: str,
    rest: np.ndarray,
    parents: tuple[int, ...],
    hands: Hands = UNSEEN,
) -> list[TransformStamped]:
    """Transforms body_<name> -> <joint>_<name> of the joints of hands and face.

    rest: (N, 3) m joints of the body at rest; parents: of the N joints; hands: hands whose fingers
    are seen. Other hands and the face are at rest.
    """
    turns: dict[int, np.ndarray] = {}
    for first, hand in zip((INDEX, INDEX + FINGER_JOINTS), hands, strict=True):
        if hand is not None:
            own = Rotation.from_rotvec(hand.fingers.reshape(-1, 3)).as_matrix()
            turns |= {first + number: turn for number, turn in enumerate(own)}
    places, rotations = list(motion.joints[-1]), list(motion.joint_rotations[-1])
    for joint in range(NUM_JOINTS, len(parents)):
        parent = parents[joint]
        places.append(places[parent] + rotations[parent] @ (rest[joint] - rest[parent]))
        turn = turns.get(joint)
        rotations.append(rotations[parent] if turn is None else rotations[parent] @ turn)
    return _below_body(
        motion,
        header,
        name,
        HAND_AND_FACE_JOINTS,
        np.array(places[NUM_JOINTS:]),
        np.array(rotations[NUM_JOINTS:]),
    )


def _below_body(
    motion: BodyMotion,
    header: Header,
    body: str,
    names: Iterable[str],
    places: np.ndarray,
    rotations: np.ndarray,
) -> list[TransformStamped]:
    origin, rotation = body_pose(motion)
    local = (places.astype(np.float64) - origin) @ rotation
    turns = quaternions(rotation.T @ rotations.astype(np.float64))
    child_header = Header(stamp=header.stamp, frame_id=f"body_{body}")
    return [
        transform_message(child_header, f"{name}_{body}", place, turn)
        for name, place, turn in zip(names, local, turns, strict=True)
    ]


def transform_message(
    header: Header, child: str, place: Iterable[float], turn: Iterable[float]
) -> TransformStamped:
    """The transform from header.frame_id to a child frame: origin (3,) m, (4,) x, y, z, w."""
    message = TransformStamped(header=header, child_frame_id=child)
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = map(float, place)
    rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
    return message


class TransformsOutput(TopicOutput):
    """/tf: the frames of all people in view, to the level of the parameter tf_level.

    targets: creates the frames of targets; None unless the options request them.
    """

    prompt = True

    def __init__(
        self,
        node: Node,
        describer: Describer,
        targets: Callable[[Scene, NodeConfig], list[TransformStamped]],
        own_listeners: int = 0,
    ) -> None:
        super().__init__(node, TFMessage, "/tf", TF_DEPTH, rate_hz=lambda o: o.tf_rate_hz)
        self._describer, self._targets = describer, targets
        self._own_listeners = own_listeners

    def watched(self, options: NodeConfig) -> bool:
        """Whether frames are requested and another node subscribes to TF."""
        listeners = self.publisher.get_subscription_count() - self._own_listeners
        wanted = options.tf_level != "none" or options.planners.target_frames
        return wanted and listeners > 0

    def needs_hands(self, options: NodeConfig) -> bool:
        """Whether frames of fingers or palms are requested."""
        return options.tf_level == "smplx55" or options.planners.target_frames

    def messages(self, scene: Scene, options: NodeConfig) -> list[TFMessage]:
        """One message with the frames of all people; none without people."""
        transforms = self._targets(scene, options)
        for motion in scene.result.motions:
            if options.tf_level == "none":
                break
            name = body_id(motion.track_id, options.humans.id_prefix)
            transforms.append(body_transform(motion, scene.header, name))
            transforms += self._below(motion, scene, name, options.tf_level)
        return [TFMessage(transforms=transforms)] if transforms else []

    def _below(
        self, motion: BodyMotion, scene: Scene, name: str, level: str
    ) -> list[TransformStamped]:
        header = scene.header
        if level == "rep155":
            return link_transforms(self._describer.fit(motion), header, name)
        if level == "smplx22":
            return joint_transforms(motion, header, name)
        if level == "smplx55":
            rest = scene.body.rest_joints(motion.smplx.betas)
            parents = scene.body.joint_parents
            fingers = scene.hands.get(motion.track_id, UNSEEN)
            below = hand_and_face_transforms(motion, header, name, rest, parents, fingers)
            return joint_transforms(motion, header, name) + below
        return []


def check_level(level: str, joints: int) -> None:
    """Check that a body model has the joints of a tf_level; raises ConfigError."""
    if level == "smplx55" and joints != len(SMPLX_JOINTS):
        raise ConfigError(
            f"tf_level: got 'smplx55', but the body model in use has {joints} joints instead of "
            f"{len(SMPLX_JOINTS)}; expected smplx22, rep155, body or none with it."
        )
