"""BVH files of the CMU conversions: limbs point where the file's own kinematics points them."""

import numpy as np
import pytest

from moro_ros.data import bvh
from moro_ros.data.bvh import SKELETONS, WRISTS, read_bvh
from moro_ros.data.mocap import resample_motion
from moro_ros.data.retarget import LIMBS, retarget, target_skeleton, world_joints
from moro_ros.errors import DataError

# Bones of a conversion: name, parent, offset. Legs spread by 20 degrees as in CMU's skeletons.
LEG, KNEE = (2.4, -6.5, 0.0), (2.5, -7.0, 0.1)
TREES = {
    "MotionBuilder": [
        ("Hips", None, (0, 0, 0)),
        ("LHipJoint", "Hips", (0, 0, 0)), ("LeftUpLeg", "LHipJoint", (1.8, -1.7, 0.8)),
        ("LeftLeg", "LeftUpLeg", LEG), ("LeftFoot", "LeftLeg", KNEE),
        ("LeftToeBase", "LeftFoot", (0.2, -0.5, 2.0)),
        ("RHipJoint", "Hips", (0, 0, 0)), ("RightUpLeg", "RHipJoint", (-1.8, -1.7, 0.8)),
        ("RightLeg", "RightUpLeg", (-2.4, -6.5, 0.0)), ("RightFoot", "RightLeg", (-2.5, -7, 0.1)),
        ("RightToeBase", "RightFoot", (-0.2, -0.5, 2.0)),
        ("LowerBack", "Hips", (0, 0, 0)), ("Spine", "LowerBack", (0, 2, -0.2)),
        ("Spine1", "Spine", (0, 2, 0)), ("Neck", "Spine1", (0, 0, 0)),
        ("Neck1", "Neck", (0, 1.5, 0.3)), ("Head", "Neck1", (0, 1.5, 0)),
        ("LeftShoulder", "Spine1", (0, 0, 0)), ("LeftArm", "LeftShoulder", (3.2, 0.8, 0)),
        ("LeftForeArm", "LeftArm", (5, 0, 0)), ("LeftHand", "LeftForeArm", (3, 0, 0.3)),
        ("LeftFingerBase", "LeftHand", (0.5, 0, 0)),
        ("RightShoulder", "Spine1", (0, 0, 0)), ("RightArm", "RightShoulder", (-3.2, 0.8, 0)),
        ("RightForeArm", "RightArm", (-5, 0, 0)), ("RightHand", "RightForeArm", (-3, 0, 0.3)),
        ("RightFingerBase", "RightHand", (-0.5, 0, 0)),
    ],
    "DAZ": [
        ("hip", None, (0, 0, 0)), ("abdomen", "hip", (0, 8, 0)), ("chest", "abdomen", (0, 16, 0)),
        ("neck", "chest", (0, 20, 0)), ("head", "neck", (0, 8, 0)),
        ("lCollar", "chest", (2, 15, 0)), ("lShldr", "lCollar", (9, -2, 1.5)),
        ("lForeArm", "lShldr", (28, -1.7, 0.5)), ("lHand", "lForeArm", (22, 0.8, 7)),
        ("rCollar", "chest", (-2, 15, 0)), ("rShldr", "rCollar", (-9, -2, 1.5)),
        ("rForeArm", "rShldr", (-28, -1.7, 0.5)), ("rHand", "rForeArm", (-22, 0.8, 7)),
        ("lButtock", "hip", (8.8, 4, 1)), ("lThigh", "lButtock", (0, -1.7, -2)),
        ("lShin", "lThigh", (0, -37, 0.7)), ("lFoot", "lShin", (-0.7, -45, -5)),
        ("rButtock", "hip", (-8.8, 4, 1)), ("rThigh", "rButtock", (0, -1.7, -2)),
        ("rShin", "rThigh", (0, -37, 0.7)), ("rFoot", "rShin", (0.7, -45, -5)),
    ],
}  # fmt: skip
OTHER_NAMES = {
    **dict(zip(SKELETONS["MotionBuilder"], SKELETONS["3ds Max"], strict=True)),
    **dict(zip(WRISTS["MotionBuilder"], WRISTS["3ds Max"], strict=True)),
}
TREES["3ds Max"] = [
    (OTHER_NAMES.get(name, name), OTHER_NAMES.get(parent, parent), offset)
    for name, parent, offset in TREES["MotionBuilder"]
]


def axis_turn(axis, degrees):
    """(F,) angles about one axis, (F, 3, 3), written out."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    o, z = np.ones_like(c), np.zeros_like(c)
    rows = {
        "X": [[o, z, z], [z, c, -s], [z, s, c]],
        "Y": [[c, z, s], [z, o, z], [-s, z, c]],
        "Z": [[c, -s, z], [s, c, z], [z, z, o]],
    }[axis]
    return np.array(rows).transpose(2, 0, 1)


def smooth_angles(frames, bones, seed, size=35.0):
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1.5 * frames / 120, frames)[:, None, None]
    return size * np.sin(time + rng.uniform(0, 6, (bones, 3))) * rng.uniform(0.2, 1, (bones, 3))


def write_bvh(path, tree, angles, root, order="ZYX", seconds=1 / 120, t_pose=True):
    """angles: (F, bones, 3) degrees in the order of the channels; root: (F, 3)."""
    names = [name for name, _, _ in tree]
    lines = ["HIERARCHY"]

    def write(index, depth):
        name, parent, offset = tree[index]
        pad = "  " * depth
        lines.append(f"{pad}{'ROOT' if parent is None else 'JOINT'} {name}")
        lines.append(f"{pad}{{")
        lines.append(f"{pad}  OFFSET {' '.join(map(str, offset))}")
        turns = " ".join(f"{axis}rotation" for axis in order)
        places = "6 Xposition Yposition Zposition" if parent is None else "3"
        lines.append(f"{pad}  CHANNELS {places} {turns}")
        children = [i for i, (_, up, _) in enumerate(tree) if up == name]
        written.append(index)
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.append(f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 0 1\n{pad}  }}")
        lines.append(f"{pad}}}")

    written: list[int] = []
    write(0, 0)
    rows = np.concatenate([root, angles[:, written].reshape(len(root), -1)], 1)
    if t_pose:
        rows = np.concatenate([np.zeros((1, rows.shape[1])), rows])
    lines += ["MOTION", f"Frames:\t{len(rows)}", f"Frame Time: {seconds:.7f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return names


def source_places(tree, angles, root, order="ZYX"):
    """The file's own kinematics: place (F, 3) of every bone."""
    turn, place = {}, {}
    for index, (name, parent, offset) in enumerate(tree):
        local = np.eye(3)
        for column, axis in enumerate(order):
            local = local @ axis_turn(axis, angles[:, index, column])
        turn[name] = local if parent is None else turn[parent] @ local
        place[name] = root if parent is None else place[parent] + turn[parent] @ np.array(offset)
    return place


def apart(a, b):
    """Angles in degrees between directions (..., 3)."""
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def motion_of(path, rate_hz=None):
    """The motion of a file of one person that is read at once."""
    (source,) = read_bvh(path, rate_hz)
    return source


def z_up(vectors):
    return vectors[..., [0, 2, 1]] * (1, -1, 1)


@pytest.mark.parametrize("conversion", TREES)
@pytest.mark.parametrize("order", ["ZYX", "ZXY"])
def test_limbs_point_as_in_the_file(tmp_path, open_body, conversion, order):
    tree, frames = TREES[conversion], 241
    angles = smooth_angles(frames, len(tree), 1)
    angles += 25  # so that the T-pose before them is a jump
    root = np.array([3, 17, -5]) + np.cumsum(np.full((frames, 3), 0.02), 0)
    write_bvh(tmp_path / "a.bvh", tree, angles, root, order)
    source = motion_of(tmp_path / "a.bvh")
    assert len(source.hips) == frames and source.rate_hz == pytest.approx(120, abs=0.01)
    target = target_skeleton(open_body)
    rotations, places = retarget(source, target)
    assert rotations.shape == (61, 22, 3)
    _, joints = world_joints(rotations, places, target)
    expected = {
        name: z_up(place[::4]) for name, place in source_places(tree, angles, root, order).items()
    }
    names = [*SKELETONS[conversion][:20], *WRISTS[conversion]]
    for joint, child in LIMBS.items():
        truth = expected[names[child]] - expected[names[joint]]
        assert apart(joints[:, child] - joints[:, joint], truth).max() < 0.1, names[joint]
    hips = (expected[names[1]] + expected[names[2]]) / 2
    moved = (joints[:, 1] + joints[:, 2]) / 2
    scale = np.linalg.norm(np.diff(moved, axis=0), axis=-1) / np.linalg.norm(
        np.diff(hips, axis=0), axis=-1
    )
    bones = [np.array(offset) for name, _, offset in tree if name in (names[4], names[7])]
    leg = sum(np.linalg.norm(bone) for bone in bones)
    own = np.linalg.norm(target.rest[4] - target.rest[1]) + np.linalg.norm(
        target.rest[7] - target.rest[4]
    )
    assert scale == pytest.approx(np.full(len(scale), own / leg), rel=1e-3)


def test_without_a_t_pose_no_frame_is_lost(tmp_path):
    tree = TREES["MotionBuilder"]
    angles, root = smooth_angles(20, len(tree), 1), np.zeros((20, 3))
    write_bvh(tmp_path / "a.bvh", tree, angles, root, t_pose=False)
    assert len(motion_of(tmp_path / "a.bvh").hips) == 20


def test_a_stated_rate_replaces_the_file_s(tmp_path):
    tree = TREES["DAZ"]
    write_bvh(
        tmp_path / "a.bvh", tree, smooth_angles(61, len(tree), 1), np.zeros((61, 3)), t_pose=False
    )
    source = motion_of(tmp_path / "a.bvh", 60.0)
    assert source.rate_hz == 60
    rotations = np.zeros((61, 22, 3), np.float32)
    assert len(resample_motion(rotations, rotations[:, 0], source.rate_hz, 30.0)[0]) == 31


def test_damage_is_named(tmp_path):
    tree, path = TREES["DAZ"], tmp_path / "a.bvh"
    write_bvh(path, tree, smooth_angles(8, len(tree), 1), np.zeros((8, 3)))
    text = path.read_text()
    cases = {
        text[:900]: "no HIERARCHY and MOTION",
        text[: text.rindex("\n", 0, -200)]: "whole frames of 9|values for",
        text.replace("MOTION", "}\nMOTION"): "HIERARCHY is damaged",
        text.replace("}", "", 1): "HIERARCHY is cut off",
        text.replace("Frame Time", "Frame"): "MOTION is damaged",
        text.replace("0.000000", "nan", 1): "not finite",
        text.replace("0.000000", "zero", 1): "MOTION is damaged",
        "": "not a BVH file",
    }
    for damaged, reason in cases.items():
        path.write_text(damaged)
        with pytest.raises(DataError, match=reason):
            motion_of(path)
    path.write_text(text.replace("lShin", "leftCalf"))
    with pytest.raises(DataError, match=r"not those of a known conversion: MotionBuilder, 3ds Max"):
        motion_of(path)
    with pytest.raises(DataError, match="cannot be read"):
        motion_of(tmp_path / "absent.bvh")


def walking(path, tree=TREES["MotionBuilder"], frames=240, **more):
    """Somebody walks by 20 units along z; returns the text."""
    root = np.array([3.0, 17.0, 0.0]) + np.linspace(0, 1, frames)[:, None] * (0, 0, 20)
    angles = smooth_angles(frames, len(tree), 1)
    write_bvh(path, tree, angles, root, t_pose=False, **more)
    return path.read_text()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.bvh"


@pytest.fixture
def plain(file):
    """A file of 240 frames, and the motion of it."""
    text = walking(file)
    return text, motion_of(file)


def same(found, expected):
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-5)
    np.testing.assert_allclose(np.ptp(found.hips, axis=0), np.ptp(expected.hips, axis=0), atol=1e-4)
    np.testing.assert_allclose(found.rest, expected.rest)
    assert found.rate_hz == expected.rate_hz


def body(text):
    """The lines of the values."""
    return text[text.index("Frame Time") :].splitlines()[1:]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("rotation", "Rotation").replace("position", "POSITION"),
        lambda text: text.replace("Frames:", "Frames :").replace("Time:", "Time :"),
        lambda text: text.replace("Frames:\t", "frames:"),
        lambda text: text.replace("HIERARCHY", "\ufeffHierarchy").replace("MOTION", " Motion "),
        lambda text: text.replace("ROOT ", "root Anna:").replace("JOINT ", "Joint Anna:"),
        lambda text: text.replace("Hips\n{", "Hips{"),
        lambda text: text.replace("\n", "\r\n"),
    ],
)
def test_spellings_that_programs_use_are_read(file, plain, change):
    text, expected = plain
    assert change(text) != text
    file.write_text(change(text), newline="")
    same(motion_of(file), expected)


@pytest.mark.parametrize("moves", ["hips", "armature"])
def test_bones_above_the_hips_carry_them(file, plain, moves):
    """The way is walked by whichever bone has the positions, and turned by the bones above."""
    text, expected = plain
    head, values = text.split("MOTION")[0].replace("HIERARCHY", ""), body(text)
    places = "CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation"
    above = "HIERARCHY\nROOT Armature\n{\nOFFSET 0 0 0\n" + places + "\n"
    rows = []
    for row in values:
        way, angles = row.split()[:3], row.split()[3:]
        top = ["0"] * 3 if moves == "hips" else way
        below = way if moves == "hips" else ["0"] * 3
        rows.append(" ".join([*top, "0", "90", "0", *below, *angles]))
    timing = "MOTION\nFrames: 240\nFrame Time: 0.0083333\n"
    file.write_text(above + head.replace("ROOT", "JOINT") + "}\n" + timing + "\n".join(rows))
    found = motion_of(file)
    quarter = axis_turn("Y", np.array([90.0]))[0]
    np.testing.assert_allclose(found.rotations, quarter @ expected.rotations, atol=1e-5)
    way = found.hips[-1] - found.hips[0]
    # In the hips' case the armature turns the way, too.
    turned = quarter @ (expected.hips[-1] - expected.hips[0])
    assert np.linalg.norm(way) == pytest.approx(np.linalg.norm(turned), rel=0.05)
    if moves == "hips":
        np.testing.assert_allclose(way, turned, atol=1e-4)


@pytest.mark.parametrize("relative", [False, True])
def test_positions_of_all_bones_are_places_or_shifts(file, plain, relative):
    text, expected = plain
    tree, places = TREES["MotionBuilder"], " Xposition Yposition Zposition Zrotation"
    offsets = [offset for _, parent, offset in tree if parent is not None]
    rows = []
    for row in body(text):
        words = row.split()
        cells = words[:6]
        for index, offset in enumerate(offsets):
            cells += map(str, (0, 0, 0) if relative else offset)
            cells += words[6 + 3 * index : 9 + 3 * index]
        rows.append(" ".join(cells))
    head = text[: text.index(body(text)[0])]
    file.write_text(head.replace("CHANNELS 3 Zrotation", "CHANNELS 6" + places) + "\n".join(rows))
    same(motion_of(file), expected)


@pytest.mark.parametrize("own_root", [True, False])
def test_everybody_in_a_file_is_read(file, plain, own_root):
    text, expected = plain
    head = text.split("MOTION")[0].replace("HIERARCHY", "")
    rows = body(text)
    other = rows[::-1]
    both = head + head
    if not own_root:
        both = "ROOT Scene\n{\nOFFSET 0 0 0\n" + both.replace("ROOT", "JOINT") + "}\n"
    lines = [f"{one} {two}" for one, two in zip(rows, other, strict=True)]
    timing = text[text.index("MOTION") : text.index(rows[0])]
    file.write_text("HIERARCHY\n" + both + timing + "\n".join(lines))
    first, second = read_bvh(file)
    same(first, expected)
    np.testing.assert_allclose(second.rotations, expected.rotations[::-1], atol=1e-5)
    assert (second.hips[-1] - second.hips[0]) @ (0, 0, 1) < -19


@pytest.mark.parametrize("block", [50, 80, 500])
def test_long_files_are_read_in_parts(file, plain, monkeypatch, block):
    _, expected = plain
    monkeypatch.setattr(bvh, "BLOCK", block)
    monkeypatch.setattr(bvh, "CHUNK", 1000)
    parts = list(read_bvh(file))
    assert [len(part.hips) for part in parts[:-1]] == [block] * (-(-240 // block) - 1)
    assert max(len(part.hips) for part in parts) <= block
    np.testing.assert_array_equal(np.concatenate([p.hips for p in parts]), expected.hips)
    np.testing.assert_array_equal(np.concatenate([p.rotations for p in parts]), expected.rotations)


def test_a_rate_in_the_place_of_the_time_is_named(file, plain):
    text, expected = plain
    for time, reason in (
        ("30", "Frame Time of 30 s, expected 0.001 to 0.2 s; if that is its rate, use --fps 30"),
        ("3600", r"3600 s, expected 0.001 to 0.2 s$"),
        ("0", "Frame Time of 0 s"),
        ("-0.01", "Frame Time of -0.01 s"),
        ("nan", "Frame Time of nan s"),
        ("0,008", "MOTION is damaged"),
    ):
        file.write_text(text.replace("Frame Time: 0.0083333", f"Frame Time: {time}"))
        with pytest.raises(DataError, match=reason):
            motion_of(file)
    file.write_text(text.replace("Frame Time: 0.0083333", "Frame Time: 30"))
    assert motion_of(file, 30.0).rate_hz == 30
    np.testing.assert_array_equal(motion_of(file, 30.0).hips, expected.hips)


def test_what_is_no_channel_or_too_long_is_named(file, plain, monkeypatch):
    text, _ = plain
    monkeypatch.setattr(bvh, "CHUNK", 1000)
    cases = {
        text.replace("Zrotation", "Zscale", 1): "Hips has the channel 'zscale'; expected Xposition",
        text.replace("Zrotation Yrotation", "Zrotation Zrotation", 1): "Hips has the channels",
        text.replace("CHANNELS 3", "CHANNELS 1000000000", 1): "HIERARCHY is damaged",
        text.replace("OFFSET 0 0 0", "OFFSET 0 nan 0", 1): "HIERARCHY is damaged",
        "HIERARCHY\n" + "x" * (2 << 20): "no MOTION within 1048576",
        text + "9" * 5000: r"MOTION is damaged \(at '999",
        text.replace("Frames:\t240", "Frames: 1000000000000"): "240 whole frames of 1000000000000",
        text.rstrip().rpartition(" ")[0]: "239 whole frames of 240",
        text + "1.0\n": "1 values for 84 channels",
    }
    for damaged, reason in cases.items():
        file.write_text(damaged)
        with pytest.raises(DataError, match=reason):
            list(read_bvh(file))


def test_a_bone_without_length_is_named(file, plain, open_body):
    text, _ = plain
    file.write_text(text.replace("OFFSET 2.4 -6.5 0.0", "OFFSET 0 0 0"))
    with pytest.raises(DataError, match="zero length from left_hip to left_knee"):
        retarget(motion_of(file), target_skeleton(open_body))


def test_absurd_places_are_no_motion(file, plain, open_body):
    text, _ = plain
    file.write_text(text.replace("\n3.000000 ", "\n1e300 "))
    with pytest.raises(DataError, match="no valid position"):
        retarget(motion_of(file), target_skeleton(open_body))
