"""The open body: the shipped file is sound, its checksum is stated, and it can be made again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from moro_ros.body.hierarchy import first_component
from moro_ros.body.topology import JOINT_NAMES, PARENTS, SURFACE_VERTICES
from moro_ros.cli.open_body.anny_rig import SMPLX_PARENTS, joint_of_bone
from moro_ros.cli.open_body.open_body import NUM_VERTICES, TIP_VERTICES, make_open_body
from moro_ros.errors import BodyModelError

FOLDER = Path(__file__).parents[2] / "models/open_body"
JOINT = {name: number for number, name in enumerate(JOINT_NAMES)}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "OPEN_NEUTRAL.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_card_states_the_checksum_of_the_file() -> None:
    checksum = hashlib.sha256((FOLDER / "OPEN_NEUTRAL.npz").read_bytes()).hexdigest()
    assert checksum in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_tree_is_that_of_smplx(arrays) -> None:
    assert tuple(arrays["kintree_table"][0]) == SMPLX_PARENTS
    assert SMPLX_PARENTS[:22] == PARENTS
    assert len(SMPLX_PARENTS) == 55
    assert SMPLX_PARENTS[25:31] == (20, 25, 26, 20, 28, 29)
    assert SMPLX_PARENTS[40:43] == (21, 40, 41)
    assert all(parent < joint for joint, parent in enumerate(SMPLX_PARENTS))


def test_mesh_is_one_closed_piece_with_sound_weights(arrays) -> None:
    vertices, faces = arrays["v_template"], arrays["f"].astype(int)
    assert vertices.shape == (NUM_VERTICES, 3)
    assert set(np.unique(faces)) == set(range(NUM_VERTICES))
    assert len(first_component(vertices, faces)) == NUM_VERTICES
    np.testing.assert_allclose(arrays["weights"].sum(1), 1, atol=1e-5)
    assert (arrays["weights"] >= 0).all()
    np.testing.assert_allclose(arrays["J_regressor"].sum(1), 1, atol=1e-5)


def test_body_stands_in_a_t_pose_of_human_size(arrays) -> None:
    vertices = arrays["v_template"]
    joints = arrays["J_regressor"] @ vertices
    assert 1.6 < np.ptp(vertices[:, 1]) < 1.85
    np.testing.assert_allclose(joints[0], 0, atol=0.01)
    for side, sign in (("left", 1), ("right", -1)):
        arm = joints[JOINT[f"{side}_wrist"]] - joints[JOINT[f"{side}_shoulder"]]
        leg = joints[JOINT[f"{side}_ankle"]] - joints[JOINT[f"{side}_hip"]]
        assert sign * arm[0] / np.linalg.norm(arm) > 0.98
        assert -leg[1] / np.linalg.norm(leg) > 0.98
        assert joints[JOINT[f"{side}_foot"]][2] > joints[JOINT[f"{side}_ankle"]][2] + 0.05


def test_named_points_lie_where_their_names_say(arrays) -> None:
    vertices = arrays["v_template"]
    point = {name: vertices[i] for name, i in {**SURFACE_VERTICES, **TIP_VERTICES}.items()}
    joints = arrays["J_regressor"] @ vertices
    head = vertices[arrays["weights"][:, JOINT["head"]] > 0.6]
    assert abs(point["nose"][0]) < 0.01
    assert point["nose"][2] > head[:, 2].max() - 0.01
    for side, sign in (("left", 1), ("right", -1)):
        assert sign * point[f"{side}_ear"][0] > 0.05
        assert point[f"{side}_heel"][1] < vertices[:, 1].min() + 0.06
        assert point[f"{side}_big_toe"][2] > point[f"{side}_heel"][2] + 0.15
        assert sign * (point[f"{side}_small_toe"] - point[f"{side}_big_toe"])[0] > 0.02
        wrist = joints[JOINT[f"{side}_wrist"]]
        reach = {
            finger: np.linalg.norm(point[f"{side}_{finger}"] - wrist)
            for finger in ("thumb", "index", "middle", "ring", "pinky")
        }
        assert max(reach, key=reach.__getitem__) == "middle"
        assert min(reach, key=reach.__getitem__) in ("thumb", "pinky")


def test_first_shape_direction_is_body_size(arrays) -> None:
    tall = arrays["v_template"] + 2 * arrays["shapedirs"][..., 0]
    assert np.ptp(tall[:, 1]) > np.ptp(arrays["v_template"][:, 1]) + 0.05
    assert not arrays["shapedirs"][..., 10:].any()


def test_bones_of_a_side_go_to_the_joint_of_that_side() -> None:
    assert joint_of_bone("lowerleg02.R") == JOINT["right_knee"]
    assert joint_of_bone("upperarm01.L") == JOINT["left_shoulder"]
    assert joint_of_bone("pelvis.R") == JOINT["pelvis"]
    assert joint_of_bone("finger2-3.L") == 27
    assert joint_of_bone("finger1-1.R") == 52
    with pytest.raises(KeyError, match="tail"):
        joint_of_bone("tail")


def test_refuses_an_unknown_gender(tmp_path) -> None:
    with pytest.raises(BodyModelError, match="expected one of NEUTRAL"):
        make_open_body(tmp_path, ("CHILD",))


def test_generator_gives_the_shipped_arrays(tmp_path, arrays) -> None:
    pytest.importorskip("anny", reason="anny is needed only to generate the open body")
    (path,) = make_open_body(tmp_path)
    with np.load(path) as again:
        assert set(again.files) == set(arrays)
        for name, shipped in arrays.items():
            if shipped.dtype.kind == "U":
                assert str(again[name]) == str(shipped)
            else:
                np.testing.assert_allclose(again[name], shipped, rtol=0, atol=1e-6, err_msg=name)
