"""read_motion_bag: the motion in a rosbag2 recording, such as motion.mcap, read without ROS."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader

from moro_ros.errors import CalibrationError, DataError, ImageError, MoroError
from moro_ros.io.bag_topics import COMPRESSED, IMAGE, INFO
from moro_ros.io.camera_info import camera_of_info
from moro_ros.io.image_data import bgr_pixels, stamp_of
from moro_ros.io.pictures import Pictures
from moro_ros.io.recording import MotionRecording, camera_of_frame, row_of_human

HUMANS = "moro_ros/msg/HumanArray"
# A message with this tracking state repeats a pose; one stamped this much after the one before
# reports that the images stopped [ns].
LOST, AFTER_LAST_NS = 3, 1
# Positions in humans_world are not in the camera's frame, unlike everywhere else.
OTHER_FRAME = "_world"


@dataclass(slots=True)
class BagMotion:
    """The messages of one topic of HumanArray.

    covariances: (22, 3, 3) m^2 by stamp and id, without unknown ones. ground_plane: (4,) as in
    HumanArray, the newest known one. pictures: shared by the topics of a recording.
    """

    topic: str
    recording: MotionRecording = field(default_factory=MotionRecording)
    covariances: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    ground_plane: np.ndarray | None = None
    pictures: Pictures | None = None

    def add(self, message: Any) -> None:
        """Add a HumanArray."""
        stamp_ns = stamp_of(message)
        stamps_ns = self.recording.stamps_ns
        if stamps_ns and stamp_ns - stamps_ns[-1] <= AFTER_LAST_NS:
            return
        self.recording.frame_id = self.recording.frame_id or message.header.frame_id
        stamps_ns.append(stamp_ns)
        if np.any(message.ground_plane):
            self.ground_plane = np.array(message.ground_plane, np.float64)
        for human in message.humans:
            if human.tracking_state == LOST:
                continue
            self.recording.add(human.id, row_of_human(human, stamp_ns))
            covariance = covariance_of(human)
            if covariance.any():
                self.covariances[stamp_ns, human.id] = covariance


def covariance_of(human: Any) -> np.ndarray:
    """Return the covariances of a message's joints, (22, 3, 3) float32 m^2."""
    rows = [joint.covariance for joint in human.joints]
    return np.array(rows, np.float32).reshape(-1, 3, 3)


def read_motion_bag(path: Path) -> list[BagMotion]:
    """Read a recording of rosbag2: its folder or an mcap file; one entry per topic of HumanArray.

    ~/humans is first, then ~/humans_refined if it was recorded.
    Raises: DataError if it cannot be read or has no HumanArray.
    """
    try:
        with AnyReader([path]) as reader:
            return _read(reader, path)
    except MoroError:
        raise
    except Exception as error:  # each storage has errors of its own
        reason = str(error).rstrip(".") or repr(error)
        raise DataError(
            f"{path} cannot be read as a recording ({reason}). If it was cut off, recover it "
            "first: mcap recover."
        ) from error


def has_motion(path: Path) -> bool:
    """Return whether a recording has a HumanArray, also if it cannot be read."""
    try:
        with AnyReader([path]) as reader:
            return any(c.msgtype == HUMANS for c in reader.connections)
    except Exception:  # each storage has errors of its own; read_motion_bag tells them
        return True


def _read(reader: AnyReader, path: Path) -> list[BagMotion]:
    topics = {c.topic for c in reader.connections if c.msgtype == HUMANS}
    found = {name: BagMotion(name) for name in sorted(topics) if not name.endswith(OTHER_FRAME)}
    if not found:
        recorded = ", ".join(sorted({c.topic for c in reader.connections})) or "nothing"
        raise DataError(f"{path} has no topic of {HUMANS} in the camera's frame, but {recorded}.")
    wanted = [c for c in reader.connections if c.msgtype in (INFO, IMAGE, COMPRESSED)]
    wanted += [c for c in reader.connections if c.topic in found]
    pictures, camera = Pictures(), None
    for connection, _, data in reader.messages(wanted):
        message = reader.deserialize(data, connection.msgtype)
        if connection.topic in found:
            found[connection.topic].add(message)
        elif connection.msgtype == INFO:
            with suppress(CalibrationError):
                camera = camera or camera_of_info(message)
        else:
            with suppress(ImageError):
                pictures.add(stamp_of(message), bgr_pixels(message))
    for motion in found.values():
        motion.recording.camera = camera_of_frame(motion.recording.frame_id, camera)
        motion.pictures = pictures if len(pictures) else None
    motions = list(found.values())
    # Those of several cameras are in no camera's frame.
    return [m for m in motions if m.recording.in_camera_frame()] or motions
