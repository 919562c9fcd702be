"""results.pkl of PromptHMR's video pipeline (Wang et al., CVPR 2025), written by joblib.

people: by id, each with frames (F,) and smplx_cam: rotmat (F, 55, 3, 3), shape (F, 10), trans
(F, 3) m of SMPL-X in the camera frame; smplx_world: the same in a world frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers.bodies import Bodies, body_of, posed_joints
from moro_ros.evaluation.readers.layout import arrays_of
from moro_ros.evaluation.readers.pickles import read_pickle

LAYOUT = {"rotmat": (55, 3, 3), "shape": (10,), "trans": (3,)}


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody in the camera frame.

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
        arrays = arrays_of(path, values.get("smplx_cam"), LAYOUT, f"{where}: smplx_cam")
        joints = posed_joints(body, arrays["rotmat"], arrays["shape"], arrays["trans"])
        people.append(FoundMotion(str(person), frames.astype(np.int64), joints))
    return people
