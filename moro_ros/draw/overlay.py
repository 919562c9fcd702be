"""overlay.mp4 and sheet.png: a recorded motion drawn on its video."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from tqdm import tqdm

from moro_ros.body.body_model import BodyModel
from moro_ros.draw.render import Person, draw_overlay, draw_top_view, project, sheet
from moro_ros.errors import DataError
from moro_ros.geometry.camera import resized_camera
from moro_ros.io.frames import VideoFrame
from moro_ros.io.image_file import write_image
from moro_ros.io.recording import OBSERVED, MotionRecording
from moro_ros.io.video_writer import VideoWriter
from moro_ros.types import Camera

OVERLAY, SHEET = "overlay.mp4", "sheet.png"
SHEET_FRAMES = 8
# Maximum width of the drawing of larger videos: sufficient for the motion, in half the time.
MAX_WIDTH = 1280
# A picture without its own motion repeats the one before for this long, then shows the video.
_HOLD_NS = 250_000_000


class Images(Protocol):
    """The images of a video: ns since its start, and (H, W, 3) uint8 BGR."""

    rate_hz: float

    def __iter__(self) -> Iterator[VideoFrame]: ...


def write_overlay(
    video: Images, stamps_ns: np.ndarray, recording: MotionRecording, body: BodyModel, out: Path
) -> tuple[Path, Path]:
    """Write out/overlay.mp4 with the video's times and out/sheet.png; return their paths.

    stamps_ns: (N,) int64, the stamp under which the video's i-th frame was processed, or -1.
    A dropped image repeats the picture before, so that drawing and image match.
    Raises: VideoError if the overlay cannot be written; DataError if the recording has no camera or
    no frame was processed, or the image cannot be written.
    """
    camera = recording.camera
    if camera is None:
        raise DataError("The recording has no camera calibration, so nothing can be projected.")
    if len(stamps_ns) == 0:
        raise DataError("No image of the video was published, so there is nothing to draw on.")
    camera = _fitting(camera)
    size = (camera.width, camera.height)
    people = _people_by_stamp(recording)
    reach_m = _reach_m(recording)
    faces = body.faces.numpy()
    described = set(recording.stamps_ns)
    chosen = _sheet_frames(stamps_ns, people) or _sheet_frames(stamps_ns, set(stamps_ns.tolist()))
    kept: dict[int, np.ndarray] = {}
    target, page = out / OVERLAY, out / SHEET
    with VideoWriter(target, video.rate_hz, size) as writer:
        shown, shown_ns = None, 0
        # The video may continue after the last published image.
        timeline = zip(stamps_ns.tolist(), video, strict=False)
        for index, (stamp_ns, (time_ns, image)) in enumerate(
            tqdm(timeline, "Drawing", len(stamps_ns), unit="frame", disable=None)
        ):
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if stamp_ns in described:
                present = _posed(people.get(stamp_ns, []), body)
                rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
                drawn = draw_overlay(rgb, present, faces, camera)
                if index in chosen:
                    kept[index] = drawn.copy()  # without the top view
                if reach_m > 0:
                    draw_top_view(drawn, present, camera, reach_m)
                shown, shown_ns = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), time_ns
            else:
                if index in chosen:
                    kept[index] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
                if time_ns - shown_ns > _HOLD_NS:
                    shown = None
            writer.write(small if shown is None else shown, time_ns)
    left, top, right, bottom = _region([int(stamps_ns[i]) for i in kept], people, camera)
    _write_sheet([kept[i][top:bottom, left:right] for i in sorted(kept)], page)
    return target, page


def _fitting(camera: Camera) -> Camera:
    """The camera of the overlay's images, which have even sides and at most MAX_WIDTH columns."""
    factor = min(1.0, MAX_WIDTH / camera.width)
    width, height = (2 * max(1, round(side * factor / 2)) for side in (camera.width, camera.height))
    return resized_camera(camera, width, height)


def _people_by_stamp(recording: MotionRecording) -> dict[int, list[tuple[int, np.ndarray]]]:
    """Stamp -> (id, row of ROW) of all people in that image."""
    by_stamp: dict[int, list[tuple[int, np.ndarray]]] = {}
    for track_id, rows in recording.people().items():
        for row in rows:
            by_stamp.setdefault(int(row["stamps_ns"]), []).append((track_id, row))
    return by_stamp


def _posed(rows: list[tuple[int, np.ndarray]], body: BodyModel) -> tuple[Person, ...]:
    """People to draw, their meshes posed from the recorded SMPL-X parameters."""
    if not rows:
        return ()
    names = ("betas", "global_orient", "body_pose", "transl")
    parameters = [torch.from_numpy(np.stack([row[name] for _, row in rows])) for name in names]
    with torch.inference_mode():
        vertices = body(*parameters).vertices.numpy()
    return tuple(
        Person(track_id, row["joints"], row["state"] == OBSERVED, mesh)
        for (track_id, row), mesh in zip(rows, vertices, strict=True)
    )


def _reach_m(recording: MotionRecording) -> float:
    """Depth range of the top view, m; 0 without people."""
    depths = [rows["joints"][:, 0, 2] for rows in recording.people().values()]
    return float(np.percentile(np.concatenate(depths), 99) * 1.1) if depths else 0.0


def _sheet_frames(stamps_ns: np.ndarray, wanted: Container[int]) -> set[int]:
    """Indices of up to eight frames, evenly spread over those with the given stamps."""
    shown = [index for index, stamp in enumerate(stamps_ns.tolist()) if stamp in wanted]
    places = np.linspace(0, len(shown) - 1, SHEET_FRAMES + 2)[1:-1]
    return {shown[round(place)] for place in places} if shown else set()


def _region(
    stamps_ns: list[int], people: dict[int, list[tuple[int, np.ndarray]]], camera: Camera
) -> tuple[int, int, int, int]:
    """The part of the image in which the people of some frames are: left, top, right, bottom px."""
    rows = [row for stamp_ns in stamps_ns for _, row in people.get(stamp_ns, [])]
    points = [project(row["joints"], camera) for row in rows]
    seen = np.concatenate([np.zeros((0, 2)), *points])
    size = np.array([camera.width, camera.height])
    seen = seen[((seen >= 0) & (seen < size)).all(1)]
    if len(seen) == 0:
        return 0, 0, camera.width, camera.height
    low, high = seen.min(0), seen.max(0)
    # Joints are inside the body: a margin for the mesh and the label, and a minimum size.
    half = np.maximum((high - low) / 2 + 0.08 * size, size / 6)
    middle = np.clip((low + high) / 2, half, np.maximum(size - half, half))
    left, top = np.maximum(middle - half, 0).astype(int).tolist()
    right, bottom = np.minimum(middle + half, size).astype(int).tolist()
    return left, top, right, bottom


def _write_sheet(pictures: list[np.ndarray], path: Path) -> None:
    """Write RGB pictures of one size, in one row if they are narrow and in two if they are wide."""
    narrow = pictures[0].shape[1] < 0.8 * pictures[0].shape[0]
    columns = SHEET_FRAMES if narrow else SHEET_FRAMES // 2
    page = sheet(pictures, columns, tile_width=2560 // columns)
    write_image(path, cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
