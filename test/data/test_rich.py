"""RICH: calibrated cameras and bodies of the published layout."""

import json
import pickle

import numpy as np
import pytest

from moro_ros.data.posed import pose_clip, project_clip
from moro_ros.data.rich import open_rich
from moro_ros.errors import DataError

SEQUENCE, SUBJECT = "BBQ_001_guitar", "001"

XML = """<?xml version="1.0"?>
<opencv_storage>
<CameraMatrix type_id="opencv-matrix"><rows>3</rows><cols>4</cols><data>{pose}</data></CameraMatrix>
<Intrinsics type_id="opencv-matrix"><rows>3</rows><cols>3</cols><data>{matrix}</data></Intrinsics>
<Distortion type_id="opencv-matrix"><rows>4</rows><cols>1</cols><data>0 0 0 0</data></Distortion>
</opencv_storage>
"""


def numbers(matrix):
    return " ".join(repr(float(value)) for value in matrix.ravel())


def write_sequence(root, person, factor=1):
    """The person in camera 2; the fits lie in the frame of camera 0."""
    camera_from_fit = person.rigid((0.05, 0.7, -0.1), (-1.2, 0.2, 1.0))
    pose, transl = person.moved(np.linalg.inv(camera_from_fit))
    for index in range(len(pose)):
        fit = person.fit(pose, transl, index)
        folder = root / "bodies" / "test" / SEQUENCE / f"{index + 5:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{SUBJECT}.pkl").write_bytes(pickle.dumps(fit))
        images = root / "images" / "test" / SEQUENCE / "cam_02"
        person.write_image(images / f"{index + 5:05d}_02.jpeg")
    calibration = root / "scan_calibration" / "BBQ" / "calibration"
    calibration.mkdir(parents=True, exist_ok=True)
    matrix = np.diag([factor, factor, 1.0]) @ person.matrix
    text = XML.format(pose=numbers(camera_from_fit[:3]), matrix=numbers(matrix))
    (calibration / "002.xml").write_text(text)
    (root / "resource").mkdir(exist_ok=True)
    (root / "resource" / "gender.json").write_text(json.dumps({"1": "male"}))


@pytest.mark.parametrize("factor", [1, 4])
def test_joints_project_onto_the_image(tmp_path, person, open_body, factor):
    write_sequence(tmp_path, person, factor)
    rich = open_rich(tmp_path)
    assert rich.lengths.tolist() == [6]
    clip = rich.clip(0)
    posed = pose_clip(clip, open_body)
    np.testing.assert_allclose(posed.joints, person.joints, atol=1e-4)
    np.testing.assert_allclose(project_clip(clip, posed.joints), person.pixels, atol=0.1)
    assert (clip.subject, clip.fit.gender, clip.camera.distortion) == (SUBJECT, "male", ())
    assert clip.images[0].name == "00005_02.jpeg"


def test_a_missing_image_cuts_the_clip(tmp_path, person):
    write_sequence(tmp_path, person)
    next(tmp_path.rglob("00007_02.jpeg")).unlink()
    assert open_rich(tmp_path).lengths.tolist() == [2, 3]


def test_what_is_missing_or_damaged_is_named(tmp_path, person):
    with pytest.raises(DataError, match=r"bodies/test is missing(.|\n)*rich\.is\.tue\.mpg\.de"):
        open_rich(tmp_path)
    write_sequence(tmp_path, person)
    rich = open_rich(tmp_path)
    xml = next(tmp_path.rglob("002.xml"))
    xml.write_text(xml.read_text().replace("<Intrinsics", "<Nothing"))
    with pytest.raises(DataError, match=r"002\.xml is damaged"):
        rich.clip(0)
    xml.unlink()
    with pytest.raises(DataError, match=r"002\.xml is missing"):
        rich.clip(0)
    write_sequence(tmp_path, person)
    (tmp_path / "resource" / "gender.json").write_text("{}")
    with pytest.raises(DataError, match="no gender of subject 001"):
        rich.clip(0)
    with pytest.raises(DataError, match="bodies/train"):
        open_rich(tmp_path, "train")
