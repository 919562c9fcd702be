"""Readers of the result files of other methods, by name of the method."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.data.pickles import read_pickle
from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion, TrueMotion
from moro_ros.evaluation.readers.bodies import Bodies, body_of, posed_joints
from moro_ros.io.recording import load_recording


def arrays_of(
    path: Path, values: Any, layout: Mapping[str, tuple[int, ...]], where: str = ""
) -> dict[str, np.ndarray]:
    """Return arrays by name, as float64, with the same number of frames.

    layout: name -> shape without the frames; where: the place in the file, for messages.
    Raises: DataError if one is missing or has another shape.
    """
    if not isinstance(values, Mapping):
        raise DataError(
            f"{path}{where}: got {type(values).__name__}, expected a dictionary of arrays "
            f"{', '.join(layout)}."
        )
    arrays: dict[str, np.ndarray] = {}
    for name, shape in layout.items():
        if name not in values:
            raise DataError(
                f"{path}{where}: the array {name} is missing; expected {', '.join(layout)}, got "
                f"{', '.join(map(str, values))}."
            )
        array = np.asarray(values[name], np.float64)
        if array.shape[1:] != shape:
            raise DataError(
                f"{path}{where}: {name} has shape {array.shape}, expected (frames, "
                f"{', '.join(map(str, shape))})."
            )
        arrays[name] = array
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise DataError(f"{path}{where}: the arrays have different numbers of frames: {counts}.")
    return arrays


def read_moro(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read all people; a frame's number is the index of its stamp among all images.

    motion.npz of this project (io/recording.py): joints in the camera frame, by person.

    Raises: DataError if the file is missing or damaged.
    """
    recording = load_recording(path)
    stamps_ns = np.array(recording.stamps_ns)
    return [
        FoundMotion(
            str(track_id),
            np.searchsorted(stamps_ns, rows["stamps_ns"]),
            rows["joints"].astype(np.float64),
        )
        for track_id, rows in recording.people().items()
    ]


WHAM_LAYOUT = {"pose": (72,), "trans": (3,), "betas": (10,), "frame_ids": ()}


def read_wham(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody in the camera frame.

    wham_output.pkl of WHAM (Shin et al., CVPR 2024), written by joblib. A dictionary by person
    of pose (F, 72) rotation vectors of SMPL, trans (F, 3) m, betas (F, 10) and verts (F, 6890,
    3) m, all in the camera frame, frame_ids (F,), and pose_world, trans_world.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL.
    """
    body = body_of(bodies, "smpl")
    people = []
    for person, values in read_pickle(path).items():
        arrays = arrays_of(path, values, WHAM_LAYOUT)
        rotations = Rotation.from_rotvec(arrays["pose"].reshape(-1, 3)).as_matrix()
        joints = posed_joints(
            body, rotations.reshape(-1, 24, 3, 3), arrays["betas"], arrays["trans"]
        )
        vertices = values.get("verts")
        people.append(
            FoundMotion(
                str(person),
                arrays["frame_ids"].astype(np.int64),
                joints,
                None if vertices is None else np.asarray(vertices, np.float64),
            )
        )
    return people


GVHMR_LAYOUT = {"global_orient": (3,), "body_pose": (63,), "betas": (10,), "transl": (3,)}
GVHMR_PART = "smpl_params_incam"


def read_gvhmr(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read the person in the camera frame; frames are numbered from 0.

    hmr4d_results.pt of GVHMR (Shen et al., SIGGRAPH Asia 2024), written by torch.save.
    smpl_params_incam: global_orient (F, 3), body_pose (F, 63), betas (F, 10), transl (F, 3) m
    of SMPL-X in the camera frame; smpl_params_global: the same in a gravity-aligned world. One
    person.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL-X.
    """
    body = body_of(bodies, "smplx")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        part = values[GVHMR_PART]
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not hmr4d_results.pt of GVHMR: {error}") from error
    arrays = arrays_of(path, part, GVHMR_LAYOUT, f": {GVHMR_PART}")
    pose = np.concatenate([arrays["global_orient"], arrays["body_pose"]], 1)
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, 22, 3, 3)
    joints = posed_joints(body, rotations, arrays["betas"], arrays["transl"])
    return [FoundMotion("0", np.arange(len(joints)), joints)]


PROMPTHMR_LAYOUT = {"rotmat": (55, 3, 3), "shape": (10,), "trans": (3,)}


def read_prompthmr(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody in the camera frame.

    results.pkl of PromptHMR's video pipeline (Wang et al., CVPR 2025), written by joblib.
    people: by id, each with frames (F,) and smplx_cam: rotmat (F, 55, 3, 3), shape (F, 10), trans
    (F, 3) m of SMPL-X in the camera frame; smplx_world: the same in a world frame.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL-X.
    """
    body = body_of(bodies, "smplx")
    results = read_pickle(path)
    if not isinstance(results, dict) or "people" not in results:
        raise DataError(f"{path} is not results.pkl of PromptHMR: it has no people.")
    people = []
    for person, values in results["people"].items():
        where = f": people {person}"
        frames = arrays_of(path, values, {"frames": ()}, where)["frames"]
        arrays = arrays_of(path, values.get("smplx_cam"), PROMPTHMR_LAYOUT, f"{where}: smplx_cam")
        joints = posed_joints(body, arrays["rotmat"], arrays["shape"], arrays["trans"])
        people.append(FoundMotion(str(person), frames.astype(np.int64), joints))
    return people


def read_tokenhmr(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read all people relative to the pelvis.

    Tracks of TokenHMR (Dwivedi et al., CVPR 2024), written by its PHALP tracker with joblib. A
    dictionary by frame name, each with time (the frame's number) and lists with one entry a
    person: tid, and smpl: global_orient (1, 3, 3), body_pose (23, 3, 3), betas (10,). The
    camera translation is that of an assumed focal length, so the position in space is not valid.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL.
    """
    body = body_of(bodies, "smpl")
    rows: dict[int, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    tracks = read_pickle(path)
    try:
        for frame in tracks.values():
            for track_id, smpl in zip(frame["tid"], frame["smpl"]):
                rows.setdefault(int(track_id), {})[int(frame["time"])] = _tokenhmr_parameters(smpl)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a track file of TokenHMR ({error!r}); expected, by frame name, time, "
            "tid and smpl with global_orient, body_pose and betas."
        ) from error
    people = []
    for track_id, frames in sorted(rows.items()):
        numbers = sorted(frames)
        rotations = np.stack([frames[n][0] for n in numbers])
        betas = np.stack([frames[n][1] for n in numbers])
        joints = posed_joints(body, rotations, betas, np.zeros((len(numbers), 3)))
        people.append(FoundMotion(str(track_id), np.array(numbers), joints, placed=False))
    return people


def _tokenhmr_parameters(smpl: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    root = np.asarray(smpl["global_orient"], np.float64).reshape(1, 3, 3)
    pose = np.asarray(smpl["body_pose"], np.float64).reshape(23, 3, 3)
    return np.concatenate([root, pose]), np.asarray(smpl["betas"], np.float64).reshape(10)


ROHM_FOUND, ROHM_TRUTH, ROHM_SEEN = (
    "rec_ric_data_rec_list_from_smpl",
    "joints_gt_scene_coord_list",
    "mask_joint_vis_list",
)
ROHM_RATE_HZ = 30.0


def read_rohm(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read every clip in the scene's frame; a clip's name is its number.

    Test results of RoHM (Zhang et al., CVPR 2024) on PROX and EgoBody, a plain pickle a
    recording. Arrays over C clips of F frames: rec_ric_data_rec_list_from_smpl (C, F, 22, 3) m,
    joints in each clip's canonical frame, trans_scene2cano_list (C, 4, 4), and on EgoBody
    joints_gt_scene_coord_list (C, >= F, 22, 3) m and mask_joint_vis_list (C, >= F, 22), 1 where
    a joint is seen. Clips are not placed on the recording's time axis, so each is a separate
    motion with its own truth.

    Raises: DataError if the file is damaged or of another layout.
    """
    values = _rohm_values(path)
    joints = np.asarray(values[ROHM_FOUND], np.float64)
    scene_from_clip = np.linalg.inv(np.asarray(values["trans_scene2cano_list"], np.float64))
    moved = np.einsum("cab,cfjb->cfja", scene_from_clip[:, :3, :3], joints)
    moved += scene_from_clip[:, None, None, :3, 3]
    return [FoundMotion(str(n), np.arange(len(clip)), clip) for n, clip in enumerate(moved)]


def rohm_truths(path: Path) -> list[TrueMotion]:
    """Read the truth in the file, one motion per clip, by the clip's number.

    Raises: DataError if the file has none (PROX has no truth).
    """
    values = _rohm_values(path)
    if ROHM_TRUTH not in values:
        raise DataError(f"{path} has no ground truth ({ROHM_TRUTH}); PROX has none.")
    count = np.asarray(values[ROHM_FOUND]).shape[1]
    true = np.asarray(values[ROHM_TRUTH], np.float64)[:, :count]
    seen = (
        np.asarray(values[ROHM_SEEN])[:, :count] > 0 if ROHM_SEEN in values else [None] * len(true)
    )
    return [
        TrueMotion(str(n), ROHM_RATE_HZ, np.arange(count), clip, shown)
        for n, (clip, shown) in enumerate(zip(true, seen))
    ]


def _rohm_values(path: Path) -> dict[str, np.ndarray]:
    values = read_pickle(path)
    arrays_of(path, values, {"trans_scene2cano_list": (4, 4)})
    joints = np.asarray(values.get(ROHM_FOUND, ()))
    if joints.ndim != 4 or joints.shape[2:] != (22, 3):
        raise DataError(f"{path}: {ROHM_FOUND} has shape {joints.shape}, expected (C, F, 22, 3).")
    return dict(values)


Reader = Callable[[Path, Bodies], list[FoundMotion]]

READERS: Mapping[str, Reader] = {
    "moro": read_moro,
    "wham": read_wham,
    "gvhmr": read_gvhmr,
    "prompthmr": read_prompthmr,
    "tokenhmr": read_tokenhmr,
    "rohm": read_rohm,
}
