"""`moro data`: import, info and sets as a user calls them."""

import json

import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.cli import data
from moro_ros.cli.cli import main
from moro_ros.data.bvh import SKELETONS
from moro_ros.data.mocap import load_motion

# Enough of a DAZ skeleton to stand: parent and offset of each bone.
BONES = {
    "hip": ("", "0 0 0"), "abdomen": ("hip", "0 8 0"), "chest": ("abdomen", "0 16 0"),
    "neck": ("chest", "0 20 0"), "head": ("neck", "0 8 0"),
    "lCollar": ("chest", "2 15 0"), "lShldr": ("lCollar", "9 -2 1"),
    "lForeArm": ("lShldr", "28 0 0"), "lHand": ("lForeArm", "22 0 0"),
    "rCollar": ("chest", "-2 15 0"), "rShldr": ("rCollar", "-9 -2 1"),
    "rForeArm": ("rShldr", "-28 0 0"), "rHand": ("rForeArm", "-22 0 0"),
    "lThigh": ("hip", "9 3 0"), "lShin": ("lThigh", "0 -37 0"), "lFoot": ("lShin", "0 -45 0"),
    "rThigh": ("hip", "-9 3 0"), "rShin": ("rThigh", "0 -37 0"), "rFoot": ("rShin", "0 -45 0"),
}  # fmt: skip


def bone(name):
    parent, offset = BONES[name]
    channels = "Xposition Yposition Zposition " if not parent else ""
    children = [child for child, (up, _) in BONES.items() if up == name]
    lines = [f"{'JOINT' if parent else 'ROOT'} {name}", "{", f"OFFSET {offset}"]
    lines.append(f"CHANNELS {6 if not parent else 3} {channels}Zrotation Xrotation Yrotation")
    for child in children:
        lines += bone(child)
    return [*lines, *([] if children else ["End Site", "{", "OFFSET 0 0 1", "}"]), "}"]


def write_walk(path, frames=242):
    """A body that turns its left thigh forward and walks along z."""
    order = [line.split()[1] for line in bone("hip") if line.startswith(("ROOT", "JOINT"))]
    rows = np.zeros((frames, 3 + 3 * len(order)))
    rows[:, 2] = np.arange(frames)
    column = 3 + 3 * order.index("lThigh") + 1
    rows[:, column] = -np.linspace(0, 60, frames)
    head = ["HIERARCHY", *bone("hip"), "MOTION", f"Frames: {frames}", "Frame Time: 0.0083333"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *(" ".join(f"{v:g}" for v in row) for row in rows)]))


@pytest.mark.parametrize(("out", "told"), [("raw", "got the folder"), ("file/a.npz", "Cannot")])
def test_a_place_that_cannot_be_written_is_refused_before_the_import(
    tmp_path, monkeypatch, capsys, out, told
):
    monkeypatch.setattr(data, "import_files", lambda *_: pytest.fail("too late"))
    write_walk(tmp_path / "raw" / "07_01-walk.bvh")
    (tmp_path / "file").touch()
    assert main(["data", "import", str(tmp_path / "raw"), "--out", str(tmp_path / out)]) == 1
    assert told in capsys.readouterr().err


def test_a_folder_is_imported_and_shown(tmp_path, capsys):
    write_walk(tmp_path / "raw" / "07" / "07_01-walk.bvh")
    write_walk(tmp_path / "raw" / "08" / "08_02.bvh")
    (tmp_path / "raw" / "08" / "08_03.bvh").write_text("HIERARCHY")
    out = tmp_path / "train.npz"
    assert main(["data", "import", str(tmp_path / "raw"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 clips, 0.1 min, 2 subjects from 2 files; 1 files skipped" in said
    assert "08_03.bvh: it has no HIERARCHY and MOTION" in said
    motion = load_motion(out)
    assert motion.lengths.tolist() == [61, 61] and motion.fps == 30
    hip = JOINT_NAMES.index("left_hip")
    turned = motion.rotations[60, hip] - motion.rotations[0, hip]
    assert np.degrees(turned) == pytest.approx([-60 * 240 / 241, 0, 0], abs=1.5)
    moved = motion.translation[60] - motion.translation[0]
    assert moved[1] < -1.5 and abs(moved[0]) < 1e-3  # z forward of BVH is -y of the z-up world
    assert main(["data", "info", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["clips"] == 2 and shown["subjects"] == {"07": 1, "08": 1}
    assert shown["categories"]["walk_run"]["clips"] == 1
    assert main(["data", "info", str(out)]) == 0
    assert "2 clips, 0.1 min at 30 Hz, 2 subjects" in capsys.readouterr().out


def test_the_rate_can_be_stated(tmp_path, capsys):
    write_walk(tmp_path / "raw" / "60_01.bvh")
    out = tmp_path / "a.npz"
    assert main(["data", "import", str(tmp_path / "raw"), "--out", str(out), "--fps", "60"]) == 0
    assert load_motion(out).lengths.tolist() == [121]
    assert main(["data", "import", str(tmp_path / "raw"), "--out", str(out), "--fps", "0"]) == 1
    assert "expected a rate" in capsys.readouterr().err


def test_nothing_usable_is_an_error_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "a.bvh").write_text("x")
    out = tmp_path / "out.npz"
    assert main(["data", "import", str(tmp_path), "--out", str(out)]) == 1
    assert "none of the 1 files" in capsys.readouterr().err and not out.exists()


def test_sets_are_listed_described_and_checked(tmp_path, capsys, walking):
    assert main(["data", "sets"]) == 0
    assert "| bedlam | BEDLAM |" in capsys.readouterr().out
    assert main(["data", "sets", "rich"]) == 0
    assert "https://rich.is.tue.mpg.de" in capsys.readouterr().out
    assert main(["data", "sets", "rich", str(tmp_path)]) == 1
    assert "bodies/test is missing" in capsys.readouterr().err
    assert main(["data", "sets", "cocoa"]) == 1
    assert "no data set 'cocoa'" in capsys.readouterr().err
    np.savez(
        tmp_path / "val.npz", rot=walking.rotations, trans=walking.translation, fps=30,
        lengths=walking.lengths, subjects=walking.subjects, category=walking.categories,
        names=walking.names,
    )  # fmt: skip
    assert main(["data", "sets", "open", str(tmp_path), "--split", "val"]) == 0
    assert "open: 2 clips, 180 frames" in capsys.readouterr().out


def test_the_small_skeleton_is_daz_s():
    assert set(SKELETONS["DAZ"]) <= BONES.keys()
