"""ASF/AMC files: limbs point where the files' own kinematics points them."""

import numpy as np
import pytest

from moro_ros.data import asf_amc
from moro_ros.data.asf_amc import BONES, WRISTS, read_amc, read_asf
from moro_ros.data.retarget import LIMBS, retarget, target_skeleton, world_joints
from moro_ros.errors import DataError

# Name, parent, direction, length, axis [deg], degrees of freedom; after CMU's skeleton.
SKELETON = [
    ("lhipjoint", "root", (0.56, -0.8, 0.22), 2.5, (0, 0, 0), ""),
    ("lfemur", "lhipjoint", (0.342, -0.94, 0), 8.0, (0, 0, 20), "rx ry rz"),
    ("ltibia", "lfemur", (0.342, -0.94, 0), 8.1, (0, 0, 20), "rx"),
    ("lfoot", "ltibia", (0.07, -0.2, 0.98), 2.2, (-90, 0, 20), "rx rz"),
    ("ltoes", "lfoot", (0, 0, 1), 1.1, (-90, 0, 20), "rx"),
    ("rhipjoint", "root", (-0.56, -0.8, 0.22), 2.5, (0, 0, 0), ""),
    ("rfemur", "rhipjoint", (-0.342, -0.94, 0), 8.0, (0, 0, -20), "rx ry rz"),
    ("rtibia", "rfemur", (-0.342, -0.94, 0), 8.1, (0, 0, -20), "rx"),
    ("rfoot", "rtibia", (-0.07, -0.2, 0.98), 2.2, (-90, 0, -20), "rx rz"),
    ("rtoes", "rfoot", (0, 0, 1), 1.1, (-90, 0, -20), "rx"),
    ("lowerback", "root", (0, 1, -0.1), 2.0, (0, 0, 0), "rx ry rz"),
    ("upperback", "lowerback", (0, 1, 0), 2.0, (0, 0, 0), "rx ry rz"),
    ("thorax", "upperback", (0, 1, 0), 2.0, (0, 0, 0), "rx ry rz"),
    ("lowerneck", "thorax", (0, 1, 0.1), 1.6, (0, 0, 0), "rx ry rz"),
    ("upperneck", "lowerneck", (0, 1, 0), 1.6, (0, 0, 0), "rx ry rz"),
    ("head", "upperneck", (0, 1, 0), 1.6, (0, 0, 0), "rx ry rz"),
    ("lclavicle", "thorax", (0.96, 0.25, -0.07), 3.3, (0, 0, 0), "ry rz"),
    ("lhumerus", "lclavicle", (1, 0, 0), 5.7, (180, -30, -90), "rx ry rz"),
    ("lradius", "lhumerus", (1, 0, 0), 3.2, (180, -30, -90), "rx"),
    ("lwrist", "lradius", (1, 0, 0), 1.6, (0, 90, 90), "ry"),
    ("lhand", "lwrist", (1, 0, 0), 0.6, (0, 90, 90), "rx rz"),
    ("rclavicle", "thorax", (-0.96, 0.25, -0.07), 3.3, (0, 0, 0), "ry rz"),
    ("rhumerus", "rclavicle", (-1, 0, 0), 5.7, (180, 30, 90), "rx ry rz"),
    ("rradius", "rhumerus", (-1, 0, 0), 3.2, (180, 30, 90), "rx"),
    ("rwrist", "rradius", (-1, 0, 0), 1.6, (0, -90, -90), "ry"),
    ("rhand", "rwrist", (-1, 0, 0), 0.6, (0, -90, -90), "rx rz"),
]


def write_asf(path, skip=(), angle="deg"):
    unit = 1.0 if angle == "deg" else np.pi / 180
    lines = [":version 1.10", ":name VICON", ":units", "  mass 1.0", "  length 0.45"]
    lines += [f"  angle {angle}", ":documentation", "   made by hand", ":root"]
    lines += ["   order TX TY TZ RX RY RZ", "   axis XYZ", "   position 0 0 0"]
    lines += ["   orientation 0 0 0", ":bonedata"]
    children = {}
    for number, (name, parent, direction, length, axis, dof) in enumerate(SKELETON):
        if name in skip:
            continue
        children.setdefault(parent, []).append(name)
        lines += ["  begin", f"     id {number + 1}", f"     name {name}"]
        lines += [f"     direction {' '.join(map(str, direction))}", f"     length {length}"]
        lines += [f"     axis {' '.join(repr(v * unit) for v in axis)}  XYZ"]
        if dof:
            limits = "\n           ".join(["(-160.0 20.0)"] * len(dof.split()))
            lines += [f"    dof {dof}", f"    limits {limits}"]
        lines.append("  end")
    lines += [":hierarchy", "  begin"]
    lines += [f"    {parent} {' '.join(names)}" for parent, names in children.items()]
    lines.append("  end")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_amc(path, values, frames, unit=1.0):
    """values: bone -> (F, n); the root's are place and degrees."""
    lines = ["#!OML:ASF made by hand", ":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(frames):
        lines.append(str(frame + 1))
        for name, numbers in values.items():
            row = numbers[frame].copy()
            row[3 if name == "root" else 0 :] *= unit
            lines.append(f"{name} {' '.join(f'{value:.7g}' for value in row)}")
    path.write_text("\n".join(lines) + "\n")


def fixed_axes(angles, names):
    """Turns about the fixed axes in the given order, written out: (F, n) degrees -> (F, 3, 3)."""
    total = np.eye(3)
    for column, name in enumerate(names):
        a = np.radians(angles[..., column])
        c, s, o, z = np.cos(a), np.sin(a), np.ones_like(a), np.zeros_like(a)
        rows = {
            "x": [[o, z, z], [z, c, -s], [z, s, c]],
            "y": [[c, z, s], [z, o, z], [-s, z, c]],
            "z": [[c, -s, z], [s, c, z], [z, z, o]],
        }[name[-1]]
        total = np.moveaxis(np.array(rows), (0, 1), (-2, -1)) @ total
    return total


def source_ends(values):
    """The files' own kinematics: where each bone begins (F, 3)."""
    turn = {"root": fixed_axes(values["root"][:, 3:], "xyz")}
    end, begin = {"root": values["root"][:, :3]}, {"root": values["root"][:, :3]}
    for name, parent, direction, length, axis, dof in SKELETON:
        axes = fixed_axes(np.array(axis, float), "xyz")
        local = np.eye(3)
        if dof:
            local = axes @ fixed_axes(values[name], dof.split()) @ axes.T
        turn[name] = turn[parent] @ local
        begin[name] = end[parent]
        unit = np.array(direction) / np.linalg.norm(direction)
        end[name] = begin[name] + turn[name] @ (unit * length)
    return begin


def smooth_values(frames, seed=0, size=30.0):
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1.5 * frames / 120, frames)[:, None]
    values = {"root": size * np.sin(time + rng.uniform(0, 6, 6))}
    values["root"][:, :3] = (1, 17, 3) + time * (2, 0.1, 1)
    for name, _, _, _, _, dof in SKELETON:
        if dof:
            values[name] = size * np.sin(time + rng.uniform(0, 6, len(dof.split())))
    return values


def apart(a, b):
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize("angle", ["deg", "rad"])
def test_limbs_point_as_in_the_files(tmp_path, open_body, angle):
    values = smooth_values(161)
    write_asf(tmp_path / "86.asf", angle=angle)
    write_amc(tmp_path / "86_01.amc", values, 161, 1.0 if angle == "deg" else np.pi / 180)
    (source,) = read_amc(tmp_path / "86_01.amc", read_asf(tmp_path / "86.asf"))
    assert source.rate_hz == 120
    target = target_skeleton(open_body)
    rotations, places = retarget(source, target)
    assert len(rotations) == 41
    _, joints = world_joints(rotations, places, target)
    begin = {name: p[::4][:, [0, 2, 1]] * (1, -1, 1) for name, p in source_ends(values).items()}
    names = [*BONES[:20], *WRISTS]
    for joint, child in LIMBS.items():
        truth = begin[names[child]] - begin[names[joint]]
        assert apart(joints[:, child] - joints[:, joint], truth).max() < 0.1, BONES[joint]


def test_a_body_in_the_rest_pose_stands_on_the_floor_with_flat_soles(tmp_path, open_body):
    values = {name: np.zeros_like(rows) for name, rows in smooth_values(161).items()}
    values["root"][:, 1] = 17
    write_asf(tmp_path / "a.asf")
    # Legs that come together by 18 degrees: the spread of the rest pose less the target's own.
    for name, sign in (("lfemur", -1), ("rfemur", 1)):
        values[name][:, 2] = 18.3 * sign
    write_amc(tmp_path / "a.amc", values, 161)
    target = target_skeleton(open_body)
    (source,) = read_amc(tmp_path / "a.amc", read_asf(tmp_path / "a.asf"))
    rotations, places = retarget(source, target)
    turns, joints = world_joints(rotations, places, target)
    for ankle in (7, 8):
        assert abs(np.degrees(np.arcsin(turns[:, ankle, 2, 0]))).max() < 1.0
    lowest = min(
        float((points @ turns[0, joint, 2]).min() + joints[0, joint, 2])
        for joint, points in target.soles.items()
    )
    assert abs(lowest) < 0.002
    assert joints[0, 15, 2] > 1.3 and (joints[:, 20, 0] > 0.4).all()  # left hand at +x


def test_damage_is_named(tmp_path):
    asf, amc = tmp_path / "a.asf", tmp_path / "a.amc"
    write_asf(asf, skip=("lfemur", "ltibia", "lfoot", "ltoes"))
    with pytest.raises(DataError, match="lacks the bones lfemur, ltibia, lfoot, ltoes"):
        read_asf(asf)
    write_asf(asf)
    text = asf.read_text()
    for damaged in (
        text[:700], text.replace("direction", "course"), "", text.replace("XYZ", ""),
        text.replace("length 8.0", "length nan"), text.replace("TX TY TZ", "TX TY"),
        text.replace("dof rx ry rz", "dof rx rx rz"), text.replace("0.342 -0.94 0", "0 0 0"),
        text + "#" * (1 << 20),
    ):  # fmt: skip
        asf.write_text(damaged)
        with pytest.raises(DataError, match="skeleton"):
            read_asf(asf)
    write_asf(asf)
    skeleton = read_asf(asf)
    values = smooth_values(5)
    write_amc(amc, values, 5)
    whole = amc.read_text()
    cases = {
        "": "no frames",
        "\n".join(whole.splitlines()[:-3]): "lacks values",
        whole.replace("\n3\nroot", "\n7\nroot"): "frame 7 after 2",
        whole.replace("\nltibia ", "\nltibia x", 1): "damaged",
        whole.replace("\nltibia ", "\nltibia 1 ", 1): "lacks values",
        whole.replace("\nltibia ", "\nltibia nan ", 1): "not finite",
    }
    for damaged, reason in cases.items():
        amc.write_text(damaged)
        with pytest.raises(DataError, match=reason):
            list(read_amc(amc, skeleton))


def test_long_files_are_read_in_parts(tmp_path, monkeypatch):
    write_asf(tmp_path / "a.asf")
    write_amc(tmp_path / "a.amc", smooth_values(25), 25)
    skeleton = read_asf(tmp_path / "a.asf")
    (whole,) = read_amc(tmp_path / "a.amc", skeleton)
    monkeypatch.setattr(asf_amc, "BLOCK", 10)
    parts = list(read_amc(tmp_path / "a.amc", skeleton))
    assert [len(part.hips) for part in parts] == [10, 10, 5]
    np.testing.assert_array_equal(np.concatenate([part.hips for part in parts]), whole.hips)


def test_a_bone_without_length_is_named(tmp_path, open_body):
    write_asf(tmp_path / "a.asf")
    text = (tmp_path / "a.asf").read_text()
    (tmp_path / "a.asf").write_text(text.replace("length 8.1", "length 0.0"))
    write_amc(tmp_path / "a.amc", smooth_values(25), 25)
    (source,) = read_amc(tmp_path / "a.amc", read_asf(tmp_path / "a.asf"))
    with pytest.raises(DataError, match="zero length from left_knee to left_ankle"):
        retarget(source, target_skeleton(open_body))
