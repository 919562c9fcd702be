"""MCAP files are read back by rosbags, the mcap library and, where it is installed, by rclpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from moro_ros.body.topology import PARENTS
from moro_ros.cli import cli
from moro_ros.io.marker_style import STATE_COLORS
from moro_ros.io.recording import OBSERVED, load_recording
from moro_ros.types import Camera

STORE = get_typestore(Stores.ROS2_JAZZY)
SIZE = (32, 24)
MARKER_FRAMES = 44


@pytest.fixture()
def walk(recorded: Any) -> Path:
    """The recording with a camera."""
    recorded.recording.camera = Camera(np.diag([30.0, 30.0, 1.0]) + 1e-9, *SIZE)
    recorded.recording.camera.matrix[:2, 2] = SIZE[0] / 2, SIZE[1] / 2
    recorded.recording.save(recorded.path)
    return Path(recorded.path)


def messages(path: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with Reader(path) as reader:
        for connection, stamp_ns, data in reader.messages():
            message = STORE.deserialize_cdr(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((stamp_ns, message))
    return found


def test_markers_lie_on_the_recorded_joints(recorded: Any, walk: Path) -> None:
    assert cli.main(["export", "mcap", str(walk)]) == 0
    found = messages(walk.with_name("walk_markers.mcap"))
    stamps = recorded.recording.stamps_ns
    assert [stamp for stamp, _ in found["/moro/markers"]] == stamps
    for frame, (_, array) in enumerate(found["/moro/markers"]):
        present = {i for i, frames in recorded.joints.items() if frame in frames}
        assert {marker.id for marker in array.markers} == present
        for number in present:
            own = {marker.ns: marker for marker in array.markers if marker.id == number}
            expected = recorded.at(number, frame, "z")
            spheres = [[p.x, p.y, p.z] for p in own["joints"].points]
            np.testing.assert_allclose(spheres, expected, atol=1e-5)
            bones = [[p.x, p.y, p.z] for p in own["skeleton"].points]
            assert len(bones) == 2 * sum(parent >= 0 for parent in PARENTS)
            np.testing.assert_allclose(bones[1], expected[1], atol=1e-5)
            color = own["joints"].colors[0]
            assert (color.r, color.g, color.b) == pytest.approx(
                STATE_COLORS[OBSERVED][:3], abs=1e-6
            )
            assert own["label"].text == str(number)
            assert own["label"].pose.position.z > expected[15, 2]  # z is up
            assert own["skeleton"].header.frame_id == "map"
            assert own["skeleton"].header.stamp.sec == stamps[frame] // 10**9


def test_the_camera_has_its_place_in_the_map(walk: Path) -> None:
    words = ["--camera-height", "2", "--camera-pitch", "30"]
    assert cli.main(["export", "mcap", str(walk), *words]) == 0
    found = messages(walk.with_name("walk_markers.mcap"))
    info = found["/camera/camera_info"][0][1]
    assert (info.width, info.height, info.k[0]) == (*SIZE, pytest.approx(30))
    ((_, tf),) = found["/tf_static"]
    (place,) = tf.transforms
    assert (place.header.frame_id, place.child_frame_id) == ("map", "camera_optical_frame")
    assert place.transform.translation.z == pytest.approx(2)
    turn = place.transform.rotation
    from scipy.spatial.transform import Rotation

    axis = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).apply([0, 0, 1])
    # The optical axis looks ahead (y) and down by 30 degrees.
    np.testing.assert_allclose(axis, [0, np.cos(np.pi / 6), -0.5], atol=1e-6)


def test_rviz_gets_the_place_of_the_camera(walk: Path) -> None:
    """It subscribes to transient local publishers only; ros2 bag play reads this from the file."""
    make_reader = pytest.importorskip("mcap.reader").make_reader
    assert cli.main(["export", "mcap", str(walk)]) == 0
    with walk.with_name("walk_markers.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    channel = next(c for c in summary.channels.values() if c.topic == "/tf_static")
    assert "durability: 1" in channel.metadata["offered_qos_profiles"]
    names = {schema.name for schema in summary.schemas.values()}
    assert not any(name.startswith("moro_ros") for name in names)


def test_ros_reads_the_markers(walk: Path) -> None:
    serialization = pytest.importorskip("rclpy.serialization")
    msg = pytest.importorskip("visualization_msgs.msg")
    assert cli.main(["export", "mcap", str(walk)]) == 0
    with Reader(walk.with_name("walk_markers.mcap")) as reader:
        topics = [c for c in reader.connections if c.topic == "/moro/markers"]
        data = [bytes(data) for _, _, data in reader.messages(topics)]
    arrays = [serialization.deserialize_message(one, msg.MarkerArray) for one in data]
    assert len(arrays) == MARKER_FRAMES
    marker = arrays[1].markers[0]
    assert (marker.type, marker.lifetime.sec) == (msg.Marker.LINE_LIST, 1)
    assert marker.scale.x > 0 and marker.pose.orientation.w == 1


def images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        grey = np.full((SIZE[1], SIZE[0], 3), 5 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), grey)
    return folder


def since_zero(walk: Path, rate_hz: float = 30.0) -> None:
    """Give the recording the stamps of a folder of images."""
    recording = load_recording(walk)
    first = recording.stamps_ns[0]
    scale = 30.0 / rate_hz
    recording.stamps_ns = [round((stamp - first) * scale) for stamp in recording.stamps_ns]
    for rows in recording._rows.values():
        for row in rows:
            row["stamps_ns"] = round((int(row["stamps_ns"]) - first) * scale)
    recording.save(walk)


@pytest.mark.parametrize("rate_hz", [30.0, 29.97003, 0.0123456])
def test_images_have_the_stamps_of_the_recording(
    walk: Path, tmp_path: Path, rate_hz: float
) -> None:
    since_zero(walk, rate_hz)
    folder = images(tmp_path / "images", MARKER_FRAMES + 5)
    assert cli.main(["export", "mcap", str(walk), "--video", str(folder)]) == 0
    found = messages(walk.with_name("walk_markers.mcap"))
    shown = found["/camera/image_raw/compressed"]
    assert [stamp for stamp, _ in shown] == [stamp for stamp, _ in found["/moro/markers"]]
    for number in (0, 20, MARKER_FRAMES - 1):
        image = cv2.imdecode(shown[number][1].data, cv2.IMREAD_COLOR)
        assert image.shape == (SIZE[1], SIZE[0], 3) and abs(int(image[0, 0, 0]) - 5 * number) <= 2


def test_images_of_another_video_are_refused(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = images(tmp_path / "images", 3)
    assert cli.main(["export", "mcap", str(walk), "--video", str(folder)]) == 1
    error = capsys.readouterr().err
    assert "expected the input of moro predict for this recording" in error
    assert {path.name for path in tmp_path.iterdir()} == {"walk.npz", "images"}
