"""MCAP: a rosbag2 recording of markers, which Foxglove and RViz show without moro_ros."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from moro_ros.io import marker_style as style
from moro_ros.io.bag_topics import qos_of
from moro_ros.io.export.axes import Axes
from moro_ros.io.export.tracks import Track
from moro_ros.io.frames import VideoFrame
from moro_ros.io.recording import MotionRecording

MARKERS, INFO, IMAGES, TF = (
    "/moro/markers", "/camera/camera_info", "/camera/image_raw/compressed", "/tf_static"
)  # fmt: skip
TYPES = {
    MARKERS: "visualization_msgs/msg/MarkerArray",
    INFO: "sensor_msgs/msg/CameraInfo",
    IMAGES: "sensor_msgs/msg/CompressedImage",
    TF: "tf2_msgs/msg/TFMessage",
}
# The frame of the markers; TF has the camera's pose in it.
MAP, CAMERA = "map", "camera_optical_frame"
LINE_STRIP, LINE_LIST, SPHERE_LIST, TEXT = 4, 5, 7, 9
JPEG_QUALITY = 85


class McapFile:
    """Writes serialised messages of the types of ROS 2 to folder/stem.mcap."""

    def __init__(self, folder: Path, stem: str, topics: Sequence[str]) -> None:
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._place, self._folder = folder / f"{stem}.mcap", folder / f".{stem}"
        # The index contains the name of the file.
        self._made = self._folder / stem
        self._folder.mkdir()
        # Humble's rosbag2 reads version 8.
        self._writer = Writer(self._made, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._topics: dict[str, Connection] = {
            topic: self._writer.add_connection(
                topic,
                TYPES[topic],
                typestore=self._typestore,
                offered_qos_profiles=qos_of(topic),
            )
            for topic in topics
        }

    def make(self, kind: str, *values: Any) -> Any:
        """Return a message of a type such as "std_msgs/Header", its fields in their order."""
        package, name = kind.split("/")
        return self._typestore.types[f"{package}/msg/{name}"](*values)

    def write(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Append a message. Raises: OSError."""
        data = self._typestore.serialize_cdr(message, TYPES[topic])
        self._writer.write(self._topics[topic], stamp_ns, data)

    def close(self) -> None:
        """Complete the file and move it to its place. Raises: OSError."""
        self._writer.close()
        (self._made / self._place.name).replace(self._place)
        shutil.rmtree(self._folder)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a header."""
        stamp = self.make("builtin_interfaces/Time", stamp_ns // 10**9, stamp_ns % 10**9)
        return self.make("std_msgs/Header", stamp, frame_id)

    def vector(self, kind: str, values: Sequence[float] | np.ndarray) -> Any:
        """Return a message of floats."""
        return self.make(kind, *(float(value) for value in values))


def write_mcap(
    folder: Path,
    stem: str,
    people: Sequence[Sequence[Track]],
    recording: MotionRecording,
    frame: Axes,
    images: Iterator[VideoFrame] | None,
) -> None:
    """Write folder/stem_markers.mcap: markers at the recorded stamps, the camera, its images.

    people: of each person the parts without long holes, in `frame`, z up. images: with the stamps
    of the recording, or None.
    """
    camera = recording.camera
    topics = [MARKERS, TF, *([INFO] if camera else []), *([IMAGES] if images else [])]
    # motion.mcap is the name of a recording of moro_recorder.
    file = McapFile(folder, f"{stem}_markers", topics)
    first_ns = min(recording.stamps_ns)
    by_stamp: dict[int, list[tuple[Track, int]]] = defaultdict(list)
    for track in (part for parts in people for part in parts):
        for number, time_s in enumerate(track.times_s.tolist()):
            by_stamp[first_ns + round(time_s * 1e9)].append((track, number))
    file.write(TF, first_ns, _camera_place(file, first_ns, frame))
    shown = next(images, None) if images else None
    for stamp_ns in sorted({*recording.stamps_ns, *by_stamp}):
        if camera:
            file.write(INFO, stamp_ns, _camera_info(file, stamp_ns, recording))
        while shown is not None and shown.stamp_ns <= stamp_ns:
            file.write(IMAGES, shown.stamp_ns, _image(file, shown))
            shown = next(images, None) if images else None
        markers = [
            m for part in by_stamp.get(stamp_ns, []) for m in _markers(file, *part, stamp_ns)
        ]
        file.write(MARKERS, stamp_ns, file.make("visualization_msgs/MarkerArray", markers))
    file.close()


def _camera_place(file: McapFile, stamp_ns: int, frame: Axes) -> Any:
    turn = Rotation.from_matrix(frame.rotation).as_quat()
    transform = file.make(
        "geometry_msgs/Transform",
        file.vector("geometry_msgs/Vector3", frame.translation),
        file.vector("geometry_msgs/Quaternion", turn),
    )
    header = file.header(stamp_ns, MAP)
    return file.make(
        "tf2_msgs/TFMessage",
        [file.make("geometry_msgs/TransformStamped", header, CAMERA, transform)],
    )


def _camera_info(file: McapFile, stamp_ns: int, recording: MotionRecording) -> Any:
    camera = recording.camera
    assert camera is not None
    model = camera.distortion_model
    if model == "plumb_bob" and len(camera.distortion) > 5:
        model = "rational_polynomial"
    return file.make(
        "sensor_msgs/CameraInfo",
        file.header(stamp_ns, CAMERA),
        camera.height,
        camera.width,
        model,
        np.array(camera.distortion or np.zeros(5), np.float64),
        camera.matrix.astype(np.float64).ravel(),
        np.eye(3).ravel(),
        np.hstack([camera.matrix, np.zeros((3, 1))]).astype(np.float64).ravel(),
        0,
        0,
        file.make("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False),
    )


def _image(file: McapFile, shown: VideoFrame) -> Any:
    _, data = cv2.imencode(".jpeg", shown.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    header = file.header(shown.stamp_ns, CAMERA)
    return file.make("sensor_msgs/CompressedImage", header, "jpeg", data.ravel())


def _markers(file: McapFile, track: Track, number: int, stamp_ns: int) -> list[Any]:
    """Return bones, joints, id and trail of a person in one frame of the track."""
    joints = track.joints[number]
    points = [file.vector("geometry_msgs/Point", joint) for joint in joints]
    colors = [
        file.vector("std_msgs/ColorRGBA", style.STATE_COLORS[s])
        for s in track.state[number].tolist()
    ]

    def marker(
        name: str, kind: int, scale: tuple[float, float, float], points: list[Any],
        colors: list[Any], color: tuple[float, ...] = style.LABEL_COLOR, text: str = "",
        place: np.ndarray | None = None,
    ) -> Any:  # fmt: skip
        position = file.vector("geometry_msgs/Point", np.zeros(3) if place is None else place)
        pose = file.make(
            "geometry_msgs/Pose", position, file.vector("geometry_msgs/Quaternion", (0, 0, 0, 1))
        )
        header, nothing = file.header(stamp_ns, MAP), file.make("builtin_interfaces/Time", 0, 0)
        no_image = file.make(
            "sensor_msgs/CompressedImage",
            file.make("std_msgs/Header", nothing, ""), "", np.zeros(0, np.uint8),
        )  # fmt: skip
        return file.make(
            "visualization_msgs/Marker",
            header, name, track.track_id, kind, 0, pose,
            file.vector("geometry_msgs/Vector3", scale), file.vector("std_msgs/ColorRGBA", color),
            file.make("builtin_interfaces/Duration", style.LIFETIME_S, 0), False, points, colors,
            "", no_image, [], text, "",
            file.make("visualization_msgs/MeshFile", "", np.zeros(0, np.uint8)), False,
        )  # fmt: skip

    since = np.searchsorted(track.times_s, track.times_s[number] - style.TRAIL_NS / 1e9)
    trail = track.joints[since : number + 1, style.PELVIS]
    person = style.PERSON_COLORS[track.track_id % len(style.PERSON_COLORS)]
    found = [
        marker(style.SKELETON, LINE_LIST, (style.BONE_WIDTH_M, 0, 0),
               [points[e] for e in style.BONE_ENDS], [colors[e] for e in style.BONE_ENDS]),
        marker(style.JOINTS, SPHERE_LIST, (style.JOINT_DIAMETER_M,) * 3, points, colors),
        marker(style.LABEL, TEXT, (0, 0, style.LABEL_HEIGHT_M), [], [], text=str(track.track_id),
               place=joints[style.HEAD] + [0, 0, style.LABEL_OFFSET_M]),
    ]  # fmt: skip
    if len(trail) > 1:
        line = [file.vector("geometry_msgs/Point", point) for point in trail]
        width, colour = (style.TRAIL_WIDTH_M, 0, 0), (*person, style.TRAIL_ALPHA)
        found.append(marker(style.TRAIL, LINE_STRIP, width, line, [], colour))
    return found
