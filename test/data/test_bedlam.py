"""BEDLAM: labels and images of the published layout come back as static-camera clips."""

import numpy as np
import pytest
import torch

from moro_ros.data.bedlam import open_bedlam, well_seen
from moro_ros.data.posed import pose_clip, project_clip
from moro_ros.errors import DataError

STATIC = "20221013_3_250_batch01hand_static_bigOffice_6fps"
CLOSEUP = "20221011_1_250_batch01hand_closeup_suburb_a_6fps"
ORBIT = "20221013_3_250_batch01hand_orbit_bigOffice_6fps"
VALIDATION = "20221024_3-10_100_batch01handhair_static_highSchoolGym_30fps"


def write_scene(root, scene, person, step=5, drop=(), turned=False, **more):
    """Two people in one sequence, rows shuffled by person, the second one metre farther left."""
    count = len(person.transl)
    numbers = np.arange(count) * step
    names = [f"seq_000000/seq_000000_{number:04d}.png" for number in numbers]
    shift = np.array([0.2, -0.1, 0.4])
    external = np.tile(np.eye(4), (2 * count, 1, 1))
    external[:, :3, 3] = shift
    pose = np.concatenate([person.pose, np.zeros((count, 99))], 1)
    points = np.concatenate([person.pixels, np.zeros((count, 5, 2))], 1)
    arrays = {
        "imgname": np.array(names * 2),
        "center": np.concatenate([person.pixels.mean(1)] * 2),
        "scale": np.full(2 * count, 1.5),
        "pose_cam": np.concatenate([pose] * 2),
        "shape": np.tile(np.append(person.betas, 0.0), (2 * count, 1)),
        "trans_cam": np.concatenate([person.transl - shift, person.transl - shift - (1, 0, 0)]),
        "cam_int": np.tile(person.matrix, (2 * count, 1, 1)),
        "cam_ext": external,
        "gtkps": np.concatenate([points] * 2),
        "sub": np.array(["rp_anna"] * count + ["rp_bert"] * count),
    }
    arrays.update(more)
    keep = [row for row in range(2 * count) if row % count not in drop]
    arrays = {key: np.asarray(value)[keep] for key, value in arrays.items() if value is not None}
    folder = root / "training_labels" / "all_npz_12_training"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{scene}.npz", **arrays)
    size = (person.height, person.width) if turned else (person.width, person.height)
    for name in names:
        person.write_image(root / "training_images" / scene / "png" / name, size)


def test_joints_project_onto_the_labelled_points(tmp_path, person, open_body):
    write_scene(tmp_path, STATIC, person)
    bedlam = open_bedlam(tmp_path)
    assert len(bedlam) == 2 and bedlam.lengths.tolist() == [6, 6]
    clip = bedlam.clip(0)
    assert clip.subject == "rp_anna" and clip.fps == 6.0
    assert np.diff(clip.stamps_ns).tolist() == [
        166666667,
        166666666,
        166666667,
        166666667,
        166666666,
    ]
    posed = pose_clip(clip, open_body)
    np.testing.assert_allclose(posed.joints, person.joints, atol=1e-4)
    pixels = project_clip(clip, posed.joints)
    np.testing.assert_allclose(pixels, clip.points_px[..., :2], atol=0.05)
    assert clip.images[2].is_file() and clip.boxes_px[0, 2] == 300
    other = pose_clip(bedlam.clip(1), open_body)
    np.testing.assert_allclose(other.pelvis - posed.pelvis, np.tile([-1, 0, 0], (6, 1)), atol=1e-5)


def test_frames_of_a_clip_are_those_of_the_whole(tmp_path, person):
    write_scene(tmp_path, STATIC, person)
    bedlam = open_bedlam(tmp_path)
    part, whole = bedlam.clip(0, slice(2, 5)), bedlam.clip(0).part(slice(2, 5))
    assert part.images == whole.images and part.stamps_ns.tolist() == whole.stamps_ns.tolist()
    np.testing.assert_array_equal(part.fit.params.transl, whole.fit.params.transl)
    np.testing.assert_array_equal(part.points_px, whole.points_px)


def test_closeups_lie_on_their_side(tmp_path, person):
    write_scene(tmp_path, CLOSEUP, person, turned=True)
    clip = open_bedlam(tmp_path).clip(0)
    assert clip.image_turns == 1
    assert (clip.camera.width, clip.camera.height) == (person.width, person.height)


def test_a_missing_frame_cuts_the_clip(tmp_path, person):
    write_scene(tmp_path, STATIC, person, drop=(3,))
    assert open_bedlam(tmp_path).lengths.tolist() == [3, 2, 3, 2]


def test_splits_and_moving_cameras(tmp_path, person):
    for scene in (STATIC, ORBIT, VALIDATION):
        write_scene(tmp_path, scene, person, step=1 if scene == VALIDATION else 5)
    assert len(open_bedlam(tmp_path, "train")) == 2
    assert len(open_bedlam(tmp_path, "frames")) == 4
    assert len(open_bedlam(tmp_path, "val")) == 2
    assert len(open_bedlam(tmp_path, "all")) == 6
    assert open_bedlam(tmp_path, "val").clip(0).fps == 30.0


def test_people_outside_the_image_are_told(tmp_path, person):
    write_scene(tmp_path, STATIC, person)
    clip = open_bedlam(tmp_path).clip(0)
    assert well_seen(clip)
    clip.points_px[:3, :10, 0] = -5
    assert not well_seen(clip)


def test_labels_of_objects_are_read_and_code_is_not_run(tmp_path, person):
    write_scene(tmp_path, STATIC, person, sub=np.array(["a"] * 12, dtype=object))
    assert open_bedlam(tmp_path).tracks[0].subject == "a"
    write_scene(tmp_path, STATIC, person, sub=np.array([torch.nn.ReLU] * 12, dtype=object))
    with pytest.raises(DataError, match="not an array"):
        open_bedlam(tmp_path)


def test_what_is_missing_or_damaged_is_named(tmp_path, person):
    with pytest.raises(DataError, match=r"all_npz_12_training(.|\n)*bedlam\.is\.tue\.mpg\.de"):
        open_bedlam(tmp_path)
    write_scene(tmp_path, STATIC, person, trans_cam=None)
    with pytest.raises(DataError, match="the arrays trans_cam are missing"):
        open_bedlam(tmp_path)
    write_scene(tmp_path, STATIC, person, imgname=np.array(["x.png"] * 12))
    with pytest.raises(DataError, match=r"imgname 'x\.png'"):
        open_bedlam(tmp_path)
    write_scene(tmp_path, ORBIT, person)
    (tmp_path / "training_labels" / "all_npz_12_training" / f"{STATIC}.npz").unlink()
    with pytest.raises(DataError, match="at least one scene of the split 'train'"):
        open_bedlam(tmp_path)
    write_scene(tmp_path, STATIC, person)
    bedlam = open_bedlam(tmp_path)
    for image in tmp_path.rglob("*_0000.png"):
        image.unlink()
    with pytest.raises(DataError, match=r"seq_000000_0000\.png is missing"):
        bedlam.clip(0)
