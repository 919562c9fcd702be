"""The recorded motion of all people, and its files motion.npz and joints.csv.

motion.npz contains, readable without pickle (F = frames in which the person was published):

    stamps_ns                 (N,) int64, every described image, also those without people
    ids                       (P,) int64, the people
    frame_id                  str, the camera optical frame: x right, y down, z forward. Of people
                              of several cameras, a frame that no camera has: then without camera
    joint_names               (22,) str, the order of every joint axis
    camera_matrix             (3, 3) float64, pixels; zeros when no camera was recorded
    image_size                (2,) int64, width and height, pixels
    distortion                (D,) float64, OpenCV order; empty when rectified
    distortion_model          str
    <id>/stamps_ns            (F,) int64, acquisition stamps of the images described
    <id>/betas                (F, 10) float32, shape coefficients
    <id>/global_orient        (F, 3) float32, rotation vector, rad
    <id>/body_pose            (F, 63) float32, rotation vectors of joints 1..21, rad
    <id>/transl               (F, 3) float32, m
    <id>/joints               (F, 22, 3) float32, m, in frame_id
    <id>/confidence           (F, 22) float32 in [0, 1]
    <id>/state                (F, 22) uint8, 0 observed, 1 inferred, 2 extrapolated: nothing of the
                              person was seen, 3 held: the measured pose was unreachable
    <id>/tracking_state       (F,) uint8, 0 something of the person was seen, 2 nothing was
    <id>/contacts             (F, 4) float32 in [0, 1], ground contact of left ankle, left toes,
                              right ankle, right toes
    <id>/sigma                (F, 22) float32, m, standard deviation of a joint in its least certain
                              direction; 0: unknown
    <id>/place_source         (F,) uint8, what the distance is from: index of PLACE_SOURCES
                              (types.py; docs/place.md)
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import NPZ_ERRORS, DataError
from moro_ros.types import PLACE_SOURCES, PRIOR, BodyMotion, Camera

OBSERVED, INFERRED, EXTRAPOLATED, HELD = 0, 1, 2, 3

# One person in one image.
ROW = np.dtype(
    [
        ("stamps_ns", "<i8"),
        ("betas", "<f4", (10,)),
        ("global_orient", "<f4", (3,)),
        ("body_pose", "<f4", (63,)),
        ("transl", "<f4", (3,)),
        ("joints", "<f4", (22, 3)),
        ("confidence", "<f4", (22,)),
        ("state", "u1", (22,)),
        ("tracking_state", "u1"),
        ("contacts", "<f4", (4,)),
        ("sigma", "<f4", (22,)),
        ("place_source", "u1"),
    ]
)
# Recordings of earlier versions do not have these.
ADDED = ("sigma", "place_source")

ROWS_AT_ONCE = 1024
CSV_HEADER = "stamp_ns,id,joint,x,y,z,confidence,state,sigma,place_source\n"
STATE_NAMES = ("observed", "inferred", "extrapolated", "held")


def camera_of_frame(frame_id: str, camera: Camera | None) -> Camera | None:
    """Return the camera if motion in a frame is in its frame; a name that is empty is no other."""
    if camera is None or not frame_id or not camera.frame_id:
        return camera
    return camera if frame_id.lstrip("/") == camera.frame_id.lstrip("/") else None


class MotionRecording:
    """Rows of ROW per person in the order of publication, every image's stamp, and the camera.

    frame_id: of the motion, empty if unknown. camera: None if it is unknown or has another frame.
    """

    def __init__(self, camera: Camera | None = None) -> None:
        self.camera = camera
        self.frame_id = camera.frame_id if camera else ""
        self.stamps_ns: list[int] = []
        self._rows: dict[int, list[np.ndarray]] = {}

    def add(self, track_id: int, row: np.ndarray) -> None:
        """Append one row, () of dtype ROW."""
        self._rows.setdefault(track_id, []).append(row)

    def people(self) -> dict[int, np.ndarray]:
        """Every person's rows, (F,) of dtype ROW, by id."""
        return {
            track_id: np.array(rows, dtype=ROW) for track_id, rows in sorted(self._rows.items())
        }

    def in_camera_frame(self) -> bool:
        """Return whether it is in a camera's frame, which REP 103 names with the end _optical."""
        return self.camera is not None or not self.frame_id or "optical" in self.frame_id

    def check_camera_frame(self, path: Path) -> None:
        """Check that it is in a camera's frame; path: for the message. Raises: DataError."""
        if not self.in_camera_frame():
            raise DataError(
                f"{path} is in the frame '{self.frame_id}', expected motion in the frame of a "
                "camera: run moro fuse with --frame CAMERA, or record the people of one camera "
                "(~/humans of moro_node, with its camera_info)."
            )

    def save(self, path: Path) -> None:
        """Write motion.npz (layout above)."""
        with path.open("wb") as file:
            write_table(file, self.camera, self.stamps_ns, self.people(), self.frame_id)


class Rows(Protocol):
    """The rows of one person: an array (F,) of dtype ROW, or an object that returns parts of it."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> np.ndarray: ...


def write_table(
    file: BinaryIO,
    camera: Camera | None,
    stamps_ns: Sequence[int],
    people: Mapping[int, Rows],
    frame_id: str = "",
) -> None:
    """Write motion.npz (layout above), a part of a person at a time, and truncate the file.

    frame_id: of the motion if it may be in another frame than the camera's.
    """
    frame_id = frame_id or (camera.frame_id if camera else "")
    camera = camera_of_frame(frame_id, camera)
    arrays: dict[str, Any] = {
        "stamps_ns": np.array(stamps_ns, dtype=np.int64),
        "ids": np.array(sorted(people), dtype=np.int64),
        "frame_id": np.array(frame_id),
        "joint_names": np.array(JOINT_NAMES),
        "camera_matrix": camera.matrix if camera else np.zeros((3, 3)),
        "image_size": np.array([camera.width, camera.height] if camera else [0, 0]),
        "distortion": np.array(camera.distortion if camera else (), dtype=np.float64),
        "distortion_model": np.array(camera.distortion_model if camera else ""),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        for track_id, rows in sorted(people.items()):
            for name in ROW.names or ():
                with archive.open(f"{track_id}/{name}.npy", "w", force_zip64=True) as entry:
                    write_column(entry, name, rows)
    file.truncate()


def write_column(file: Any, name: str, rows: Rows) -> None:
    """Write one field of a person's rows as an array of the npy format."""
    base, shape = ROW[name].base, ROW[name].shape
    header = {
        "descr": np.lib.format.dtype_to_descr(base),
        "fortran_order": False,
        "shape": (len(rows), *shape),
    }
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        file.write(rows[start : start + ROWS_AT_ONCE][name].tobytes())


def row_of(motion: BodyMotion, frame: int = -1) -> np.ndarray:
    """One frame of a BodyMotion as a row, () of dtype ROW."""
    row = np.zeros((), dtype=ROW)
    row["stamps_ns"] = motion.stamps_ns[frame]
    row["betas"] = motion.smplx.betas
    row["global_orient"] = motion.smplx.global_orient[frame]
    row["body_pose"] = motion.smplx.body_pose[frame]
    row["transl"] = motion.smplx.transl[frame]
    row["joints"] = motion.joints[frame]
    row["confidence"] = motion.confidence[frame]
    hidden = INFERRED if motion.keypoints_seen[frame] else EXTRAPOLATED
    state = np.where(motion.observed[frame], OBSERVED, hidden)
    row["state"] = HELD if motion.held[frame] else state
    row["tracking_state"] = OBSERVED if motion.keypoints_seen[frame] else EXTRAPOLATED
    row["contacts"] = motion.contact[frame]
    row["sigma"] = largest_sigma(motion.covariance[frame])
    row["place_source"] = PRIOR if motion.place is None else motion.place.source
    return row


def row_of_human(human: Any, stamp_ns: int) -> np.ndarray:
    """One message moro_ros/msg/Human, of rclpy or rosbags, as a row, () of dtype ROW."""
    row = np.zeros((), dtype=ROW)
    row["stamps_ns"] = stamp_ns
    for name in ("betas", "global_orient", "body_pose", "transl", "contacts"):
        row[name] = getattr(human, name)
    places = [joint.pose.position for joint in human.joints]
    row["joints"] = [(place.x, place.y, place.z) for place in places]
    row["confidence"] = [joint.confidence for joint in human.joints]
    row["state"] = [joint.state for joint in human.joints]
    row["tracking_state"] = human.tracking_state
    covariances = np.array([joint.covariance for joint in human.joints], np.float32)
    row["sigma"] = largest_sigma(covariances.reshape(-1, 3, 3))
    row["place_source"] = human.place_source
    return row


def largest_sigma(covariances: np.ndarray) -> np.ndarray:
    """Return the standard deviation in the least certain direction, (..., 3, 3) m^2 -> (...) m."""
    return np.sqrt(np.maximum(np.linalg.eigvalsh(covariances)[..., -1], 0.0))


def csv_lines(track_id: int, row: np.ndarray) -> str:
    """The lines of joints.csv, one per joint, of one row, () of dtype ROW."""
    stamp_ns = int(row["stamps_ns"])
    joints = zip(
        JOINT_NAMES,
        row["joints"].tolist(),
        row["confidence"].tolist(),
        row["state"].tolist(),
        row["sigma"].tolist(),
        strict=True,
    )
    place = PLACE_SOURCES[row["place_source"]]
    return "".join(
        f"{stamp_ns},{track_id},{name},{x:.4f},{y:.4f},{z:.4f},{confidence:.3f},"
        f"{STATE_NAMES[state]},{sigma:.4f},{place}\n"
        for name, (x, y, z), confidence, state, sigma in joints
    )


def load_recording(path: Path) -> MotionRecording:
    """Read motion.npz.

    Raises: DataError if the file is missing or not of the layout above.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            recording = MotionRecording(_camera_of(arrays))
            recording.frame_id = str(arrays["frame_id"])
            recording.stamps_ns = arrays["stamps_ns"].tolist()
            for track_id in arrays["ids"].tolist():
                for row in _rows_of(arrays, track_id):
                    recording.add(track_id, row)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no {path}: expected a motion.npz of moro_ros, or the folder that has it."
        ) from error
    except NPZ_ERRORS as error:
        # numpy assumes that an unknown file is a pickle, and recommends loading it.
        reason = "not an npz file" if "pickle" in str(error) else error
        raise DataError(
            f"{path} is not a motion.npz of moro_ros, or is damaged ({reason}). Give that of moro "
            "demo, moro predict or moro_recorder, or the folder that has it."
        ) from error
    return recording


def _camera_of(arrays: Any) -> Camera | None:
    width, height = arrays["image_size"].tolist()
    if width == 0:
        return None
    return Camera(
        matrix=arrays["camera_matrix"],
        width=width,
        height=height,
        distortion=tuple(arrays["distortion"].tolist()),
        distortion_model=str(arrays["distortion_model"]),
        frame_id=str(arrays["frame_id"]),
    )


def _rows_of(arrays: Any, track_id: int) -> Iterator[np.ndarray]:
    wanted = [n for n in ROW.names or () if n not in ADDED or f"{track_id}/{n}" in arrays]
    columns = {name: arrays[f"{track_id}/{name}"] for name in wanted}
    for index in range(len(columns["stamps_ns"])):
        row = np.zeros((), dtype=ROW)
        for name, column in columns.items():
            row[name] = column[index]
        yield row
