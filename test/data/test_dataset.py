"""Clips, their parts and windows, of the open set."""

import numpy as np
import pytest
import torch

from moro_ros.data.dataset import cut_windows
from moro_ros.data.open_motion import OpenMotion, open_motion
from moro_ros.data.posed import pose_clip, project_clip
from moro_ros.errors import DataError
from moro_ros.geometry.rotation import rotvec_to_matrix


def test_a_clip_of_open_motion_stands_where_the_file_says(walking, open_body):
    clip = OpenMotion(walking).clip(1)
    posed = pose_clip(clip, open_body)
    np.testing.assert_allclose(posed.pelvis, walking.translation[90:], atol=1e-6)
    rest = open_body.joint_template[:22].expand(90, -1, -1)
    _, joints = open_body.forward_kinematics(
        rotvec_to_matrix(torch.from_numpy(walking.rotations[90:])), rest
    )
    np.testing.assert_allclose(posed.joints - posed.pelvis[:, None], joints, atol=1e-6)
    assert clip.subject == "b"
    with pytest.raises(DataError, match="has no camera"):
        project_clip(clip, posed.joints)


def test_windows_tile_the_clips(walking):
    windows = cut_windows(OpenMotion(walking), 40, 38)
    assert windows.places.tolist() == [[0, 0], [0, 38], [1, 0], [1, 38]]
    assert windows.lengths.tolist() == [40] * 4
    second = windows.clip(1)
    assert len(second) == 40 and second.stamps_ns[0] == round(38 / 30 * 1e9)
    np.testing.assert_array_equal(second.fit.params.transl, walking.translation[38:78])
    inner = windows.clip(1, slice(5, 8))
    np.testing.assert_array_equal(inner.fit.params.transl, walking.translation[43:46])


def test_single_frames_with_a_step(walking):
    assert len(cut_windows(OpenMotion(walking), 1, 5)) == 36
    assert len(cut_windows(OpenMotion(walking), 91)) == 0
    with pytest.raises(ValueError, match="at least 1"):
        cut_windows(OpenMotion(walking), 10, 0)


def test_parts_are_consecutive(walking):
    clip = OpenMotion(walking).clip(0)
    assert len(clip.part(slice(3, None))) == 87
    with pytest.raises(ValueError, match="consecutive"):
        clip.part(slice(0, 10, 2))


def test_a_file_or_a_folder_of_splits_is_opened(tmp_path, walking):
    arrays = {
        "rot": walking.rotations, "trans": walking.translation, "lengths": walking.lengths,
        "subjects": walking.subjects, "category": walking.categories, "names": walking.names,
        "fps": 30,
    }  # fmt: skip
    np.savez(tmp_path / "val.npz", **arrays)
    assert len(open_motion(tmp_path, "val")) == len(open_motion(tmp_path / "val.npz")) == 2
    with pytest.raises(DataError, match=r"train\.npz is missing(.|\n)*moro data import"):
        open_motion(tmp_path)
