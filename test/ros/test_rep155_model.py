"""The kinematic model of REP-155: the joint fit, and the URDF read and moved as its readers do."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.live.synthetic_scenes import sitter, walker
from moro_ros.ros.rep155.fit import fit_joints
from moro_ros.ros.rep155.model import JOINT_ORDER, LANDMARKS, LOWER, UPPER, body_pose
from moro_ros.ros.rep155.urdf import urdf_text

AT = {name: index for index, name in enumerate(JOINT_NAMES)}
# "Kinematic Model of the Human" of REP-155: child link, its joint, parent link.
REP_TREE = {
    ("waist", "waist", "body"),
    ("torso", "torso", "waist"),
    ("r_head", "r_head", "torso"),
    ("y_head", "y_head", "r_head"),
    ("p_head", "p_head", "y_head"),
    ("head", "head", "p_head"),
    *((f"{s}_y_shoulder", f"{s}_y_shoulder", "torso") for s in "lr"),
    *((f"{s}_y_hip", f"{s}_y_hip", "body") for s in "lr"),
} | {
    (f"{side}_{child}", f"{side}_{joint}", f"{side}_{parent}")
    for side in "lr"
    for child, joint, parent in (
        ("p_shoulder", "p_shoulder", "y_shoulder"),
        ("shoulder", "r_shoulder", "p_shoulder"),
        ("elbow", "elbow", "shoulder"),
        ("wrist", "wrist", "elbow"),
        ("p_hip", "p_hip", "y_hip"),
        ("hip", "r_hip", "p_hip"),
        ("knee", "knee", "hip"),
        ("ankle", "ankle", "knee"),
    )
}  # fmt: skip
FIXED = {"torso", "head", "l_wrist", "r_wrist", "l_ankle", "r_ankle"}


class Urdf:
    """A URDF as robot_state_publisher understands it: a tree of joints with origins and axes."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text.encode())
        self.links = [link.get("name") for link in self.root.iter("link")]
        self.joints = {joint.get("name"): joint for joint in self.root.findall("joint")}

    def parent(self, joint: str) -> str:
        return self.joints[joint].find("parent").get("link")

    def child(self, joint: str) -> str:
        return self.joints[joint].find("child").get("link")

    def vector(self, joint: str, tag: str, key: str) -> np.ndarray:
        return np.array([float(v) for v in self.joints[joint].find(tag).get(key).split()])

    def limits(self, joint: str) -> tuple[float, float]:
        limit = self.joints[joint].find("limit")
        return float(limit.get("lower")), float(limit.get("upper"))

    def places(self, angles: dict[str, float], root: str) -> dict[str, np.ndarray]:
        """Pose (4, 4) of every link in the root link."""
        poses, waiting = {root: np.identity(4)}, set(self.joints)
        while waiting:
            for joint in [name for name in waiting if self.parent(name) in poses]:
                step = np.identity(4)
                step[:3, 3] = self.vector(joint, "origin", "xyz")
                turn = Rotation.from_euler("xyz", self.vector(joint, "origin", "rpy"))
                if self.joints[joint].get("type") == "revolute":
                    turn *= Rotation.from_rotvec(angles[joint] * self.vector(joint, "axis", "xyz"))
                step[:3, :3] = turn.as_matrix()
                poses[self.child(joint)] = poses[self.parent(joint)] @ step
                waiting.remove(joint)
        return poses


@pytest.fixture(scope="module")
def urdf(posed) -> Urdf:
    return Urdf(urdf_text(fit_joints(posed(np.zeros((22, 3)))).model, "b7"))


def test_links_and_joints_are_those_of_the_rep(urdf):
    tree = {(urdf.child(j), j, urdf.parent(j)) for j in urdf.joints}
    assert tree == {tuple(f"{name}_b7" for name in row) for row in REP_TREE}
    assert set(urdf.links) == {"body_b7"} | {child for child, _, _ in tree}
    assert len(urdf.links) == len(set(urdf.links))
    for name, joint in urdf.joints.items():
        fixed = name.removesuffix("_b7") in FIXED
        assert joint.get("type") == ("fixed" if fixed else "revolute")


def test_joint_states_name_every_moving_joint_once():
    assert len(JOINT_ORDER) == 20
    assert set(JOINT_ORDER) == {joint for _, joint, _ in REP_TREE} - FIXED


# Axes of the reference model; s is 1 on the left and -1 on the right.
AXES = {
    "waist": (0, 1, 0), "r_head": (1, 0, 0), "y_head": (0, 0, 1), "p_head": (0, -1, 0),
    **{
        f"{side}_{name}": axis
        for side, s in (("l", 1), ("r", -1))
        for name, axis in {
            "y_shoulder": (0, 0, -s), "p_shoulder": (s, 0, 0), "r_shoulder": (0, 0, s),
            "elbow": (0, -1, 0), "y_hip": (0, 0, -1), "p_hip": (s, 0, 0), "r_hip": (0, -1, 0),
            "knee": (0, -1, 0),
        }.items()
    },
}  # fmt: skip
# Limits of the reference model, which ours must not be narrower than, and what sitting needs.
REFERENCE_LIMITS = {
    "waist": (-0.2, 1.0), "r_head": (-1.0, 1.0), "y_head": (-1.4, 1.4), "p_head": (-1.5, 1.5),
    **{
        f"{side}_{name}": limits
        for side in "lr"
        for name, limits in {
            "y_shoulder": (-1.7, 1.9), "p_shoulder": (-0.4, 3.3), "r_shoulder": (-1.7, 1.5),
            "elbow": (0.0, 2.5), "y_hip": (-0.1, 0.6), "p_hip": (-0.4, 3.3), "r_hip": (-0.4, 2.0),
            "knee": (-2.5, 0.0),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("joint", AXES)
def test_axes_and_limits(urdf, joint):
    np.testing.assert_array_equal(urdf.vector(f"{joint}_b7", "axis", "xyz"), AXES[joint])
    lower, upper = urdf.limits(f"{joint}_b7")
    assert lower <= REFERENCE_LIMITS[joint][0]
    assert upper >= REFERENCE_LIMITS[joint][1]


def test_every_segment_has_capsules_for_display_and_collision(urdf):
    shaped = {
        link.get("name") for link in urdf.root.iter("link") if link.find("collision") is not None
    }
    segments = {f"{s}_{name}_b7" for s in "lr" for name in ("shoulder", "elbow", "hip", "knee")}
    assert shaped == segments | {"torso_b7", "head_b7"}
    for link in urdf.root.iter("link"):
        assert len(link.findall("visual")) == len(link.findall("collision"))
        for cylinder in link.iter("cylinder"):
            assert float(cylinder.get("length")) > 0.05


def compare(motion) -> tuple[float, np.ndarray]:
    """The residual told, and how far links moved through the URDF lie from the joints, (14,) m."""
    fit = fit_joints(motion)
    urdf = Urdf(urdf_text(fit.model, "b7"))
    angles = {f"{name}_b7": value for name, value in zip(JOINT_ORDER, fit.angles, strict=True)}
    for name, value in angles.items():
        lower, upper = urdf.limits(name)
        assert lower - 1e-6 <= value <= upper + 1e-6
    poses = urdf.places(angles, "body_b7")
    origin, rotation = body_pose(motion)
    found = np.array([rotation @ poses[f"{link}_b7"][:3, 3] + origin for link in LANDMARKS])
    wanted = motion.joints[0, [AT[name] for name in LANDMARKS.values()]]
    return fit.residual_m, np.linalg.norm(found - wanted, axis=1)


@pytest.mark.parametrize("scene", [walker, sitter])
@pytest.mark.parametrize("seconds", [0.0, 0.6, 1.3, 2.5, 4.1])
def test_urdf_and_joint_states_give_the_body(posed, scene, seconds):
    """Who walks or sits is met to the centimetre, in their own size, through the URDF alone."""
    pose, pelvis, _ = scene(seconds)
    betas = np.random.default_rng(1).normal(0.0, 1.0, 10)
    residual_m, errors = compare(posed(pose, tuple(pelvis), betas))
    assert errors.max() < 0.015
    assert residual_m == pytest.approx(float(np.sqrt((errors**2).mean())), abs=2e-5)


def bodily_pose(rng: np.random.Generator) -> np.ndarray:
    """Limbs anywhere people put them; the trunk upright, for the model's can only bend forward."""
    pose = np.zeros((22, 3))
    pose[0] = rng.normal(0.0, 1.5, 3)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        down = Rotation.from_rotvec([0.0, 0.0, -1.3 * sign])
        raise_arm = Rotation.from_rotvec([0.0, -sign * rng.uniform(-0.2, 1.4), 0.0])
        lift = Rotation.from_rotvec([0.0, 0.0, sign * rng.uniform(0.0, 2.2)])
        pose[AT[f"{side}_shoulder"]] = (raise_arm * lift * down).as_rotvec()
        pose[AT[f"{side}_elbow"]] = 0.0, -sign * rng.uniform(0.0, 2.2), 0.0
        pose[AT[f"{side}_hip"]] = -rng.uniform(-0.4, 1.9), 0.0, sign * rng.uniform(-0.1, 0.5)
        pose[AT[f"{side}_knee"]] = rng.uniform(0.0, 2.3), 0.0, 0.0
    pose[AT["head"]] = rng.normal(0.0, 0.15, 3)
    return pose


@pytest.mark.parametrize("seed", range(30))
def test_limbs_in_any_pose_are_met(posed, seed):
    rng = np.random.default_rng(seed)
    _, errors = compare(posed(bodily_pose(rng), betas=rng.normal(0.0, 1.0, 10)))
    # The model turns the head about the neck, so that a head that looks aside is displaced.
    head = list(LANDMARKS).index("head")
    assert np.delete(errors, head).max() < 0.01
    assert errors[head] < 0.06


def test_what_the_model_cannot_do_is_told(posed):
    """A twisted and bent trunk: wrists are still aimed at, shoulders miss, the residual says so."""
    pose = np.zeros((22, 3))
    for name in ("spine1", "spine2", "spine3"):
        pose[AT[name]] = 0.0, 0.3, 0.15
    residual_m, errors = compare(posed(pose))
    assert residual_m > 0.03
    assert residual_m == pytest.approx(float(np.sqrt((errors**2).mean())), abs=2e-5)


def test_head_looks_where_the_person_looks(posed):
    pose = np.zeros((22, 3))
    pose[AT["head"]] = Rotation.from_euler("YXZ", [0.8, 0.4, 0.1]).as_rotvec()
    fit = fit_joints(posed(pose))
    front, _ = fit.model.links(fit.angles)["head"]
    expected = Rotation.from_rotvec(pose[AT["head"]]).as_matrix()[:, 2]  # front, SMPL-X axes
    np.testing.assert_allclose(front[:, 0], expected[[2, 0, 1]], atol=1e-5)


def test_angles_change_little_between_frames(posed):
    """No jump between two descriptions of one pose, such as half a turn of a hanging arm."""
    before, angles = None, []
    for index in range(60):
        pose, pelvis, _ = walker(index / 30)
        before = fit_joints(posed(pose, tuple(pelvis)), before)
        angles.append(before.angles)
    assert np.abs(np.diff(angles, axis=0)).max() < 0.25
    assert (np.array(angles) >= LOWER).all()
    assert (np.array(angles) <= UPPER).all()


def test_the_model_has_the_persons_own_lengths(posed):
    pose, pelvis, _ = sitter(1.0)
    small, tall = (
        fit_joints(posed(pose, tuple(pelvis), np.array([size] + [0.0] * 9))).model
        for size in (-2.0, 2.0)
    )
    lengths = [
        sum(np.linalg.norm(m.origins[f"l_{n}"]) for n in ("knee", "ankle")) for m in (small, tall)
    ]
    assert abs(lengths[0] - lengths[1]) > 0.05
    # Whatever the pose.
    standing = fit_joints(posed(np.zeros((22, 3)), betas=np.array([2.0] + [0.0] * 9))).model
    assert not standing.differs(tall, 1e-4)
    assert standing.differs(small, 0.005)
