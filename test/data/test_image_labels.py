"""COCO, MPII, Human3.6M and MPI-INF-3DHP: labelled images in the published layout."""

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.data.image_labels import POINT_NAMES, read_labels
from moro_ros.data.posed import pose_clip, project_clip, smpl_as_smplx
from moro_ros.data.sets import open_set
from moro_ros.errors import DataError

LABELS = {
    "coco": ("coco.npz", "coco", "train2014/COCO_train2014_000000044474.jpg"),
    "mpii": ("mpii.npz", "mpii", "images/015601864.jpg"),
    "human36m": ("h36m_train.npz", "h36m", "Images/S1/Directions_1.54138969/000001.jpg"),
    "mpi_inf_3dhp": (
        "mpi_inf_3dhp_train.npz", "mpi_inf_3dhp", "S1/Seq1/imageFrames/video_0/frame_000001.jpg"
    ),
}  # fmt: skip
SHARED = {name: POINT_NAMES.index(name) for name in ("left_knee", "right_wrist")}
JOINT_IDS = {"left_knee": 4, "right_wrist": 21}


def write_set(root, name, person, **more):
    labels, folder, image = LABELS[name]
    part = np.zeros((2, 24, 3))
    joints = np.zeros((2, 24, 4))
    for point, index in SHARED.items():
        part[:, index, :2] = person.pixels[:2, JOINT_IDS[point]]
        part[:, index, 2] = 1
        joints[:, index, :3] = (person.joints - person.joints[:, :1])[:2, JOINT_IDS[point]]
        joints[:, index, 3] = 1
    arrays = {
        "imgname": np.array([image] * 2),
        "center": person.pixels[:2].mean(1),
        "scale": np.full(2, 1.5),
        "part": part,
        "S": joints,
        "pose": np.concatenate([person.pose[:2], np.zeros((2, 6))], 1),
        "shape": np.tile(person.betas, (2, 1)),
        "has_smpl": np.array([1, 0]),
    }
    arrays.update(more)
    (root / "real_training_labels").mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "real_training_labels" / labels,
        **{key: value for key, value in arrays.items() if value is not None},
    )
    person.write_image(root / "real_training_images" / folder / image)
    return root / "real_training_images" / folder / image


@pytest.mark.parametrize("name", LABELS)
def test_a_set_comes_back(tmp_path, person, name):
    image = write_set(tmp_path, name, person)
    labelled = open_set(name, tmp_path)
    assert labelled.name == name and len(labelled) == 2 and labelled.lengths.tolist() == [1, 1]
    clip = labelled.clip(0)
    assert clip.images == (image,) and len(clip) == 1 and clip.fps == 0
    for point, index in SHARED.items():
        np.testing.assert_allclose(
            clip.points_px[0, index, :2], person.pixels[0, JOINT_IDS[point]], rtol=1e-5
        )
        relative = person.joints[0, JOINT_IDS[point]] - person.joints[0, 0]
        np.testing.assert_allclose(clip.joints[0, index], relative, atol=1e-6)
    assert clip.fit.model == "smpl" and not clip.fit.placed
    np.testing.assert_allclose(clip.fit.params.body_pose[0], person.pose[0, 3:], rtol=1e-5)
    assert labelled.clip(1).fit is None  # has_smpl is 0
    assert clip.boxes_px[0].tolist() == pytest.approx([*person.pixels[0].mean(0), 300])
    focal = {"human36m": 1145, "mpi_inf_3dhp": 1500}.get(name, np.hypot(640, 480))
    assert clip.camera.matrix[0, 0] == pytest.approx(focal)
    assert clip.camera.matrix[:2, 2].tolist() == [320, 240]
    assert clip.has_measured_truth == (name == "human36m")


def test_full_cameras_of_the_labels_place_the_person(tmp_path, person, open_body):
    cameras = {
        "cam_int": np.tile(person.matrix, (2, 1, 1)),
        "trans_cam": person.transl[:2],
        "shape": np.zeros((2, 10)),
    }
    write_set(tmp_path, "coco", person, **cameras)
    clip = open_set("coco", tmp_path).clip(0)
    assert clip.fit.placed
    with pytest.raises(DataError, match="smpl_as_smplx"):
        pose_clip(clip, open_body)
    posed = pose_clip(replace(clip, fit=smpl_as_smplx(clip.fit)), open_body)
    pixels = project_clip(clip, posed.joints)[0].numpy()
    # The mean shape instead of the person's own: near, but not the same.
    np.testing.assert_allclose(pixels[1:3].mean(0), person.pixels[0, 1:3].mean(0), atol=40)
    assert not smpl_as_smplx(clip.fit).placed


def test_focal_length_of_the_labels_wins(tmp_path, person):
    more = {"focal_l": np.array([700.0, 800.0]), "global_t": person.transl[:2]}
    write_set(tmp_path, "mpii", person, **more)
    clip = open_set("mpii", tmp_path).clip(0)
    assert clip.camera.matrix[0, 0] == clip.camera.matrix[1, 1] == 700
    np.testing.assert_allclose(clip.fit.params.transl[0], person.transl[0], rtol=1e-6)


@pytest.mark.parametrize("name", LABELS)
def test_what_is_missing_or_damaged_is_named(tmp_path, person, name):
    labels = LABELS[name][0]
    with pytest.raises(DataError, match=rf"{labels} is missing(.|\n)*real_training_labels\.zip"):
        open_set(name, tmp_path)
    image = write_set(tmp_path, name, person)
    image.unlink()
    labelled = open_set(name, tmp_path)
    with pytest.raises(DataError, match=rf"{image.name} is missing"):
        labelled.clip(0)
    write_set(tmp_path, name, person, part=np.zeros((2, 17, 3)))
    read_labels.cache_clear()
    with pytest.raises(DataError, match=r"part \(2, 17, 3\), expected"):
        open_set(name, tmp_path)


def test_a_damaged_image_is_named(tmp_path, person):
    image = write_set(tmp_path, "coco", person)
    image.write_bytes(b"no image")
    with pytest.raises(DataError, match="damaged"):
        open_set("coco", tmp_path).clip(0)
