"""TF chains, with tf_transformations and with the file that stands in for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.io import tf_matrices
from moro_ros.io.transform_tree import MOST_FRAMES, MOST_NAMED, TransformTree, matrix_of
from moro_ros.ros.outputs.tf import (
    body_transform,
    hand_and_face_transforms,
    joint_transforms,
    link_transforms,
    own_frames,
    transform_message,
)
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.options import body_id
from moro_ros.ros.transforms import Placement

try:
    import tf_transformations
except ModuleNotFoundError:
    tf_transformations = None


@pytest.fixture(params=["tf_matrices", "tf_transformations"])
def library(request: pytest.FixtureRequest) -> Any:
    """The two that offer the functions of tf_transformations."""
    if request.param == "tf_matrices":
        return tf_matrices
    if tf_transformations is None:
        pytest.skip("tf_transformations is not installed")
    return tf_transformations


def test_quaternions_and_matrices(library: Any) -> None:
    for rotation in Rotation.random(20, random_state=0):
        matrix = library.quaternion_matrix(rotation.as_quat())
        np.testing.assert_allclose(matrix[:3, :3], rotation.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(matrix[3], [0, 0, 0, 1])
        back = np.asarray(library.quaternion_from_matrix(matrix))
        assert abs(back @ rotation.as_quat()) == pytest.approx(1.0)
    # Unit length is not asked for: x, y, z, w with w last.
    np.testing.assert_allclose(library.quaternion_matrix((0, 0, 0, 2.0)), np.eye(4))


def test_products_and_inverses(library: Any) -> None:
    turn = library.quaternion_matrix(Rotation.random(random_state=1).as_quat())
    shift = library.translation_matrix((1.0, 2.0, 3.0))
    both = library.concatenate_matrices(shift, turn)
    np.testing.assert_allclose(library.translation_from_matrix(both), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(both[:3, :3], turn[:3, :3])
    np.testing.assert_allclose(both @ library.inverse_matrix(both), np.eye(4), atol=1e-12)
    other = library.concatenate_matrices(turn, shift)
    np.testing.assert_allclose(
        library.translation_from_matrix(other), turn[:3, :3] @ [1.0, 2.0, 3.0]
    )


def link(parent: str, child: str, seed: int) -> TransformStamped:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_quat()
    return transform_message(Header(frame_id=parent), child, rng.normal(size=3), turn)


def tree() -> tuple[TransformTree, dict[str, np.ndarray]]:
    """map -> base -> mast -> lens, base -> floor, and a frame that hangs on nothing."""
    links = [
        link("base", "mast", 1), link("map", "base", 2), link("mast", "lens", 3),
        link("/base", "/floor", 4), link("moon", "crater", 5),
    ]  # fmt: skip
    result = TransformTree()
    result.take(TFMessage(transforms=links[:2]))
    result.take(TFMessage(transforms=links[2:]))
    return result, {item.child_frame_id.lstrip("/"): matrix_of(item.transform) for item in links}


def test_chains_are_followed_up_and_down() -> None:
    result, links = tree()
    np.testing.assert_allclose(
        result.lookup("map", "lens"), links["base"] @ links["mast"] @ links["lens"], atol=1e-12
    )
    up_and_down = np.linalg.inv(links["floor"]) @ links["mast"] @ links["lens"]
    np.testing.assert_allclose(result.lookup("floor", "lens"), up_and_down, atol=1e-12)
    there, back = result.lookup("lens", "floor"), result.lookup("floor", "lens")
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(result.lookup("lens", "lens"), np.eye(4))
    assert result.lookup("map", "crater") is None
    assert result.lookup("nowhere", "lens") is None


def test_the_newest_transform_counts_and_loops_end() -> None:
    result, _ = tree()
    moved = link("map", "base", 9)
    result.take(TFMessage(transforms=[moved]))
    np.testing.assert_allclose(result.lookup("map", "base"), matrix_of(moved.transform))
    result.take(TFMessage(transforms=[link("lens", "map", 7)]))
    assert result.lookup("moon", "lens") is None


class Silent:
    """What of a node a placement uses."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.warnings: list[str] = []

    def get_logger(self) -> Silent:
        return self

    def warning(self, text: str, **_: Any) -> None:
        self.warnings.append(text)

    def create_subscription(self, kind: type, topic: str, *_: Any) -> str:
        self.topics.append(topic)
        return topic


def test_tf_is_listened_to_only_for_a_named_frame() -> None:
    node = Silent()
    placement = Placement(node, "", "")  # type: ignore[arg-type]
    assert placement.pose("lens") is None and placement.ground("lens") is None
    assert node.topics == [] and node.warnings == []
    placement = Placement(node, "map", "")  # type: ignore[arg-type]
    assert node.topics == ["/tf", "/tf_static"]
    assert placement.pose("lens") is None
    assert "TF does not connect the camera's frame 'lens' with 'map'" in node.warnings[0]


def test_each_frame_without_a_transform_is_logged_once_and_kept_as_a_problem() -> None:
    node = Silent()
    placement = Placement(node, "map", "", None, ("arm", "cup"))  # type: ignore[arg-type]
    for _ in range(3):
        assert placement.pose("lens") is None
        assert placement.between("arm", "lens", 0.5) is None
        assert placement.between("cup", "lens", 0.5) is None
    assert len(node.warnings) == len(placement.problems) == 3
    for text, problem, frame in zip(
        node.warnings, placement.problems, ("map", "arm", "cup"), strict=True
    ):
        assert text.startswith(problem)
        assert problem.startswith(f"TF does not connect the camera's frame 'lens' with '{frame}'")
    placement.tree.take(TFMessage(transforms=[link("map", "lens", 1), link("lens", "arm", 2)]))
    assert placement.pose("lens") is not None
    assert placement.between("arm", "lens", 0.0) is None
    stale = "TF between the camera's frame 'lens' and 'arm' was not updated for 0 s"
    assert node.warnings[3].startswith(stale)
    assert [stale in problem for problem in placement.problems] == [True, False]


def test_the_ground_is_the_plane_z_0_of_its_frame() -> None:
    placement = Placement(Silent(), "map", "floor")  # type: ignore[arg-type]
    placement.tree, links = tree()
    points = np.random.default_rng(3).normal(size=(6, 3))
    matrix = placement.tree.lookup("floor", "lens")
    expected = points @ matrix[2, :3] + matrix[2, 3]
    np.testing.assert_allclose(placement.ground("lens").heights(points), expected)
    rotation, translation = placement.pose("lens")
    chain = links["base"] @ links["mast"] @ links["lens"]
    np.testing.assert_allclose(rotation, chain[:3, :3], atol=1e-12)
    np.testing.assert_allclose(translation, chain[:3, 3], atol=1e-12)


def links_message(*names: tuple[str, str]) -> TFMessage:
    """Transforms parent -> child by their names."""
    message = TFMessage()
    for parent, child in names:
        message.transforms.append(
            TransformStamped(header=Header(frame_id=parent), child_frame_id=child)
        )
    return message


def test_the_memory_of_frames_is_bounded_and_keeps_what_is_asked_for() -> None:
    tree = TransformTree()
    tree.take_static(links_message(("map", "base")))
    # The mast is told once, on the wrong topic, and then only looked up.
    tree.take(links_message(("base", "mast"), ("mast", "lens")))
    for i in range(3 * MOST_FRAMES):
        tree.take(links_message(("lens", f"visitor_{i}")))
        if i % 100 == 0:
            assert tree.lookup("map", "lens") is not None
    assert tree.lookup("map", "lens") is not None
    assert len(tree) == MOST_FRAMES + 1
    assert tree.lookup("map", f"visitor_{3 * MOST_FRAMES - 1}") is not None
    assert tree.lookup("map", "visitor_0") is None


def test_the_memory_of_static_frames_is_bounded_and_keeps_what_is_asked_for() -> None:
    tree = TransformTree()
    tree.take_static(links_message(("map", "mast"), ("mast", "lens")))
    for i in range(3 * MOST_FRAMES):
        tree.take_static(links_message(("lens", f"marker_{i}")))
        if i % 100 == 0:
            assert tree.lookup("map", "lens") is not None
    assert len(tree) == MOST_FRAMES
    assert tree.lookup("map", f"marker_{3 * MOST_FRAMES - 1}") is not None
    assert tree.lookup("map", "marker_0") is None


def broken(number: str, value: float) -> TransformStamped:
    """The transform floor -> lens with one number, such as "rotation.w", replaced."""
    item = link("floor", "lens", 5)
    part, name = number.split(".")
    setattr(getattr(item.transform, part), name, value)
    return item


BROKEN = [
    *(broken("translation.y", value) for value in (math.nan, math.inf, 1e300)),
    *(broken("rotation.w", value) for value in (math.nan, -math.inf, 1e200)),
    transform_message(Header(frame_id="floor"), "lens", (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
]


@pytest.mark.parametrize("item", BROKEN)
@pytest.mark.parametrize("take", ["take", "take_static"])
def test_a_transform_that_is_not_finite_leaves_the_one_before_it(
    item: TransformStamped, take: str
) -> None:
    node = Silent()
    placement = Placement(node, "floor", "floor")  # type: ignore[arg-type]
    give = getattr(placement.tree, take)
    give(TFMessage(transforms=[item]))
    assert placement.pose("lens") is None and placement.ground("lens") is None
    good, other = link("floor", "lens", 4), link("lens", "tip", 6)
    give(TFMessage(transforms=[good]))
    # The rest of a message with a bad one counts.
    give(TFMessage(transforms=[item, other]))
    rotation, place = placement.pose("lens")
    np.testing.assert_allclose(rotation, matrix_of(good.transform)[:3, :3])
    np.testing.assert_allclose(place, matrix_of(good.transform)[:3, 3])
    assert np.isfinite([*placement.ground("lens").normal, placement.ground("lens").offset]).all()
    assert placement.between("tip", "lens", math.inf) is not None
    assert placement.tree.unusable == 2
    said = [text for text in node.warnings if "TF of frame 'lens'" in text]
    assert len(said) == 1 and "expected finite numbers and a unit quaternion" in said[0]


def test_the_log_does_not_name_frames_without_end() -> None:
    node = Silent()
    tree = TransformTree(logger=node)  # type: ignore[arg-type]
    for i in range(2 * MOST_NAMED):
        tree.take(TFMessage(transforms=[link("map", f"visitor_{i}", 1), BROKEN[0]]))
        bad = broken("rotation.x", math.nan)
        bad.child_frame_id = f"visitor_{i}"
        tree.take(TFMessage(transforms=[bad]))
    assert len(node.warnings) == MOST_NAMED and tree.unusable == 4 * MOST_NAMED


def test_a_node_does_not_listen_to_its_own_people() -> None:
    tree = TransformTree(own_frames("b"))
    mine = ["body_b1", "left_knee_b12", "jaw_b3", "person_anonymous_b7", "head_b2"]
    others = ["body_c1", "wheel_b1", "body_b", "lens", "anybody_b1"]
    tree.take(links_message(*(("lens", name) for name in mine)))
    assert len(tree) == 0
    tree.take(links_message(*(("map", name) for name in others)))
    assert len(tree) == len(others)
    both = own_frames("front_", "b")
    assert both.fullmatch("body_front_1") and both.fullmatch("body_b1")
    assert not both.fullmatch("body_front_b1")


def test_every_frame_of_a_body_is_one_s_own(fake_node: Any) -> None:
    motion, header = fake_node.body_motion(5, 0), Header(frame_id="lens")
    own = own_frames("front_")
    name = body_id(5, "front_")
    rest = np.zeros((55, 3))
    parents = fake_node.FakePipeline.joint_parents
    for message in (
        body_transform(motion, header, name),
        *joint_transforms(motion, header, name),
        *hand_and_face_transforms(motion, header, name, rest, parents),
        *link_transforms(Describer().fit(motion), header, name),
    ):
        assert own.fullmatch(message.child_frame_id), message.child_frame_id


def test_transforms_that_ended_are_told_from_those_that_hold(monkeypatch: Any) -> None:
    now_s = 100.0
    monkeypatch.setattr("moro_ros.io.transform_tree.time.monotonic", lambda: now_s)
    links = TransformTree()
    links.take_static(TFMessage(transforms=[link("mast", "lens", 1)]))
    links.take(TFMessage(transforms=[link("map", "mast", 2), link("map", "wheel", 3)]))
    now_s = 102.0
    links.take(TFMessage(transforms=[link("map", "wheel", 4)]))
    assert links.lookup("map", "lens", 1.0) is None and links.lookup("map", "lens", 3.0) is not None
    assert links.lookup("map", "lens") is not None, "without a limit"
    assert links.lookup("map", "wheel", 1.0) is not None
    assert links.lookup("mast", "lens", 1.0) is not None, "static, and nothing else between them"
    links.take(TFMessage(transforms=[link("map", "mast", 5)]))
    assert links.lookup("map", "lens", 1.0) is not None
