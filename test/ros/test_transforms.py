"""TF chains, with tf_transformations and with the file that stands in for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.ros import tf_math
from moro_ros.ros.frames import transform_message
from moro_ros.ros.transforms import Placement, TransformTree, matrix_of

try:
    import tf_transformations
except ModuleNotFoundError:
    tf_transformations = None


@pytest.fixture(params=["tf_math", "tf_transformations"])
def library(request: pytest.FixtureRequest) -> Any:
    """The two that offer the functions of tf_transformations."""
    if request.param == "tf_math":
        return tf_math
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
