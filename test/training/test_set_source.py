"""Published data sets as training clips, and the paper's stages on them at toy size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.cli.cli import main
from moro_ros.data.image_labels import POINT_NAMES
from moro_ros.data.sets import open_set
from moro_ros.errors import DataError
from moro_ros.training.clips import Draw
from moro_ros.training.mesh_terms import box_units
from moro_ros.training.set_source import Person, SetItems, SetSource, seen
from moro_ros.training.setup import STAGES

FRAMES, SIZE = 8, (64, 48)
MATRIX = np.array([[60.0, 0, 30], [0, 60, 25], [0, 0, 1]])


@pytest.fixture()
def poses() -> tuple[np.ndarray, np.ndarray]:
    """Somebody upright 3 m before a camera: pose (F, 66) rad and transl (F, 3) m."""
    rng = np.random.default_rng(0)
    pose = rng.normal(size=(1, 66)) * 0.2 + rng.normal(size=(FRAMES, 66)) * 0.02
    pose[:, :3] = (np.pi - 0.1, 0.05, 0.1)
    return pose, np.array([0.1, 0.3, 3.0]) + np.arange(FRAMES)[:, None] * (0.02, 0, 0.01)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_amass(root: Path, poses) -> None:
    for subset in ("CMU", "SFU"):
        folder = root / subset / "s"
        folder.mkdir(parents=True)
        np.savez(
            folder / "walk_stageii.npz", gender="neutral", mocap_frame_rate=30.0,
            betas=np.ones(16), trans=poses[1], poses=np.pad(poses[0], ((0, 0), (0, 99))),
        )  # fmt: skip


def write_bedlam(root: Path, poses, rate: int = 30) -> None:
    scene = f"20221024_3-10_100_batch01hand_static_bigOffice_{rate}fps"
    names = [f"seq_000000/seq_000000_{30 // rate * n:04d}.png" for n in range(FRAMES)]
    folder = root / "training_labels" / "all_npz_12_training"
    folder.mkdir(parents=True)
    np.savez(
        folder / f"{scene}.npz", imgname=np.array(names), center=np.full((FRAMES, 2), 31.0),
        scale=np.full(FRAMES, 0.2), pose_cam=np.pad(poses[0], ((0, 0), (0, 99))),
        shape=np.ones((FRAMES, 11)), trans_cam=poses[1], cam_int=np.tile(MATRIX, (FRAMES, 1, 1)),
        cam_ext=np.tile(np.eye(4), (FRAMES, 1, 1)), sub=np.array(["anna"] * FRAMES),
        gtkps=np.full((FRAMES, 22, 2), 20.0),
    )  # fmt: skip
    for name in names:
        write_image(root / "training_images" / scene / "png" / name)


def write_coco(root: Path, poses) -> None:
    name = "train2014/COCO_train2014_000000044474.jpg"
    (root / "real_training_labels").mkdir(parents=True)
    part = np.ones((1, 24, 3))
    part[0, :, 0] = 31 + np.arange(24)  # the box is 40 px wide: a point is 1/20 further each
    np.savez(
        root / "real_training_labels" / "coco.npz", imgname=np.array([name]),
        center=np.full((1, 2), 31.0), scale=np.full(1, 0.2), part=part,
        pose=np.pad(poses[0][:1], ((0, 0), (0, 6))), shape=np.ones((1, 10)),
    )  # fmt: skip
    write_image(root / "real_training_images" / "coco" / name)


@pytest.fixture()
def sets(tmp_path, poses) -> Path:
    """A folder with a tiny AMASS, BEDLAM and COCO."""
    write_amass(tmp_path / "amass", poses)
    write_bedlam(tmp_path / "bedlam", poses)
    write_coco(tmp_path / "coco", poses)
    return tmp_path


def source(open_body, root: Path, *names: str, filmed: bool, workers: int = 0) -> SetSource:
    coarse = open_body.subset(torch.arange(0, open_body.num_vertices, 500))
    people = {"neutral": Person(open_body, coarse)}
    opened = [open_set(name, root / name) for name in names]
    return SetSource(SetItems(opened, people, filmed=filmed), workers)


def test_a_clip_has_its_bodies_where_the_labels_say(sets, poses, open_body):
    made = source(open_body, sets, "bedlam", filmed=True)
    clips = next(made.batches(iter([Draw(0, 0, 0, 3, FRAMES)])))
    assert clips.shape == (3, FRAMES)
    rest = open_body.skeleton(torch.ones(1, 10)).joints[0, 0].numpy()
    np.testing.assert_allclose(clips.translation[1], poses[1] + rest, atol=1e-5)
    np.testing.assert_allclose(clips.joints[:, :, 0], clips.translation, atol=1e-5)
    view = clips.view
    assert view.observation.shape == (3, FRAMES, 3, 256, 192) and view.placed.all()
    assert view.observation.dtype is torch.uint8 and view.observation.float().std() > 20
    # Half a box beside its centre is 1, also through the camera.
    depth = torch.tensor(3.0)
    beside = torch.tensor([(31 + 20 - 30) / 60, (31 - 25) / 60, 1.0]) * depth
    units = box_units(beside.expand(3, FRAMES, 1, 3), view)
    assert torch.allclose(units, torch.tensor([1.0, 0.0]), atol=1e-4)
    assert float(view.points_2d.abs().sum()) == 0
    mesh = open_body.local_mesh(clips.body_rotations[0], clips.betas[:1].expand(FRAMES, -1))
    assert torch.allclose(clips.mesh[0], mesh[:, ::500], atol=1e-5)


def test_labelled_points_come_in_the_regressors_order(sets, open_body):
    made = source(open_body, sets, "coco", filmed=True)
    clips = next(made.batches(iter([Draw(0, 0, 0, 2, 1)])))
    points = clips.view.points_2d
    assert points.shape == (2, 1, 17, 3) and (points[..., 2] == 1).all()
    expected = [POINT_NAMES.index(name) for name in ("right_ankle", "neck", "head", "pelvis")]
    found = (points[0, 0, [0, 12, 13, 14], 0] * 20).round().int().tolist()
    assert found == expected
    assert not clips.view.placed.any()  # SMPL's place and shape mean little in SMPL-X
    assert float(clips.betas.abs().sum()) == 0


def test_extreme_crops_and_jitter_move_the_boxes_and_nothing_else(sets, open_body):
    draw = Draw(0, 0, 0, 6, FRAMES)
    plain = next(source(open_body, sets, "bedlam", filmed=True).batches(iter([draw])))
    items = SetItems(
        [open_set("bedlam", sets / "bedlam")],
        {"neutral": Person(open_body, open_body.subset(torch.arange(5)))},
        filmed=True, extreme=0.0, jitter=True,
    )  # fmt: skip
    moved = next(SetSource(items, 0).batches(iter([draw])))
    assert torch.equal(moved.translation, plain.translation)
    shift = (moved.view.box_center - plain.view.box_center).abs()
    assert 0.5 < float(shift.max()) <= 4.0 + 1e-4  # a tenth of 40 px
    assert torch.equal(moved.view.box_side, plain.view.box_side)
    items.extreme, items.jitter = 1.0, False
    clip = items.drawn(FRAMES, np.random.default_rng(0))
    spread = np.zeros((FRAMES, 22, 3))
    spread[..., 0], spread[..., 1], spread[..., 2] = np.linspace(5, 60, 22), 20, 1
    clip = replace(clip, points_px=spread, point_names=JOINT_NAMES)
    sides = items.boxed(clip, items.posed(clip)[1], np.random.default_rng(1)).boxes_px[:, 2]
    assert (sides != 40).any()


def test_a_lost_picture_within_a_video_is_black(sets, open_body):
    files = sorted((sets / "bedlam" / "training_images").rglob("*.png"))
    files[3].write_bytes(b"no picture")
    clip = open_set("bedlam", sets / "bedlam").clip(0)
    view = seen(clip)
    assert float(view.observation[0, 3].float().sum()) == 0 < float(view.observation[0, 2].sum())
    files[0].write_bytes(b"no picture")
    with pytest.raises(DataError):
        seen(clip)


def test_workers_give_what_one_process_gives(sets, open_body):
    draws = [Draw(1, step, 0, 2, 4) for step in range(3)]
    batches = []
    for workers in (0, 1):
        made = source(open_body, sets, "amass", "bedlam", filmed=False, workers=workers)
        batches.append(list(made.batches(iter(draws))))
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(alone.translation, shared.translation)
    first, second = batches[0][0].translation, batches[0][1].translation
    assert not torch.equal(first, second)


def test_what_cannot_be_used_is_told(tmp_path, sets, poses, open_body):
    with pytest.raises(DataError, match="no clip of 20 frames"):
        next(source(open_body, sets, "bedlam", filmed=True).batches(iter([Draw(0, 0, 0, 1, 20)])))
    write_bedlam(tmp_path / "slow" / "bedlam", poses, rate=6)
    slow = source(open_body, tmp_path / "slow", "bedlam", filmed=True)
    with pytest.raises(DataError, match="30 frames per second"):
        next(slow.batches(iter([Draw(0, 0, 0, 1, 4)])))
    assert next(slow.batches(iter([Draw(0, 0, 0, 1, 1)]))).shape == (1, 1)
    file = tmp_path / "amass" / "CMU" / "s" / "walk_stageii.npz"
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, **{**arrays, "gender": "female"})
    with pytest.raises(DataError, match=r"data\.female"):
        next(source(open_body, sets, "amass", filmed=False).batches(iter([Draw(0, 0, 0, 1, 2)])))


LOOP = {
    "steps": 2, "report_every": 1, "learning_rate": 1e-4, "precision": "float32", "workers": 0,
}  # fmt: skip
PLACED = {
    "tokens": 1.0, "mesh": 10.0, "coarse_rotation_squared": 1.0, "final_rotation_squared": 1.0,
    "coarse_translation_squared": 1.0, "final_translation_squared": 1.0,
    "mesh_joints_coarse": 1.0, "mesh_joints_final": 1.0, "mesh_plane_coarse": 1.0,
    "mesh_plane_final": 1.0,
}  # fmt: skip


def recipe(sets: Path, motion_file: Path) -> dict:
    return {
        "codec": {"kind": "patch"},
        "mesh": {"vertices": 128, "tokens": 6, "seen": 40, "rebuilt": 24, "width": 48},
        "data": {
            "motion": str(motion_file),
            "points_regressor": str(sets / "points.npy"),
            "sets": {name: str(sets / name) for name in ("amass", "bedlam", "coco")},
        },
        "moro": {
            "dim": 32, "heads": 4, "mlp_ratio": 2, "encoder_depth": 1, "decoder_depth": 1,
            "num_tokens": 6,
            "vit": {"embed_dim": 32, "depth": 2, "heads": 2, "mlp_ratio": 2, "encoder_depth": 1},
        },
        "tokenizer": {
            "data": ["amass", "bedlam"], "validation": ["amass:val"], "batch": 20,
            "loop": {**LOOP, "optimizer": "muon"},
        },
        "pose": {
            "task": "motion", "data": ["amass"], "phases": [[1.0, 3, 1]], "loop": LOOP,
            "masks": {"random": 1.0}, "smooth": False,
            "weights": {"tokens": 1.0, "mesh": 10.0, "mesh_joints_rel": 1.0},
        },
        "motion": {
            "task": "motion", "data": ["amass"], "phases": [[1.0, 2, 6]], "loop": LOOP,
            "start": {"motion_encoder": "pose"}, "masks": {"random": 0.5, "joint": 0.5},
            "weights": {
                "tokens": 1.0, "clean_trajectory": 10.0, "mesh": 10.0, "mesh_joints_rel": 1.0,
                "mesh_steps_rel": 20.0, "mesh_skating_rel": 1.0, "contact": 1.0,
            },
        },
        "image": {
            "task": "image", "data": ["coco"], "phases": [[1.0, 2, 1]], "loop": LOOP,
            "smooth": False, "true_translation": True, "drop_path": 0.5,
            "weights": {
                "tokens": 1.0, "mesh": 10.0, "coarse_rotation_squared": 1.0,
                "final_rotation_squared": 1.0, "mesh_joints_coarse": 1.0,
                "mesh_joints_final": 1.0, "mesh_plane_weak": 1.0,
            },
        },
        "frames": {
            "task": "image", "data": ["bedlam:frames"], "phases": [[1.0, 2, 1]], "loop": LOOP,
            "start": {"image_encoder": "image", "decoder": "image"}, "weights": PLACED,
        },
        "video": {
            "task": "video", "data": ["bedlam"], "phases": [[1.0, 2, 6]], "loop": LOOP,
            "start": {"motion_encoder": "motion", "image_encoder": "frames", "decoder": "frames"},
            "frozen": ["image_encoder"], "masks": {"guided": 0.5, "random": 0.5},
            "weights": {
                **PLACED, "mesh_joints_rel": 1.0, "mesh_steps_rel": 20.0,
                "mesh_steps_coarse": 20.0, "mesh_steps_final": 20.0, "mesh_skating_final": 1.0,
                "contact": 1.0,
            },
        },
    }  # fmt: skip


@pytest.mark.slow
def test_the_papers_stages_run_on_published_sets(tmp_path, sets, motion_file, open_body):
    points = np.zeros((17, open_body.num_vertices), np.float32)
    points[:, :17] = np.eye(17)
    np.save(sets / "points.npy", points)
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump(recipe(sets, motion_file)))
    out = tmp_path / "run"
    for stage in ("tokenizer", *(stage for stage in STAGES if stage != "estimate")):
        words = ["train", stage, "--config", str(config), "--out", str(out), "--threads", "1"]
        assert main([*words, "--device", "cpu"]) == 0, stage
        assert (out / stage / "log.jsonl").read_text().count("\n") == 2
    frames, video = (load_file(out / name / "weights.safetensors") for name in ("frames", "video"))
    for name, value in video.items():
        same = torch.equal(value, frames[name])
        if name.startswith("image_encoder."):
            assert same, name
    assert not torch.equal(video["decoder.camera_embedding.weight"],
                           frames["decoder.camera_embedding.weight"])  # fmt: skip
