"""Reading video files: the container's times, damage, turned images, pixels that are not square."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from moro_ros.errors import CalibrationError, VideoError
from moro_ros.io.camera_file import camera_of_video, note_on_pixels
from moro_ros.io.video import VideoReader, open_video

Make = Callable[..., Path]
NTSC = Fraction(30_000, 1001)
SECOND_NS = 10**9


def steady(frames: int, rate: Fraction | int = 30) -> list[Fraction]:
    return [index / Fraction(rate) for index in range(frames)]


def read(path: Path) -> tuple[list[int], list[np.ndarray], VideoReader]:
    """Stamps [ns], images, and the reader, at its end and closed."""
    reader = open_video(path)
    frames = list(reader)
    reader.close()
    return [frame.stamp_ns for frame in frames], [frame.image for frame in frames], reader


def packets(path: Path) -> list[tuple[int, int]]:
    """Place and size of every coded frame in a file."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def overwrite(path: Path, place: int, count: int) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + count] = bytes(count)
    path.write_bytes(data)


@pytest.mark.parametrize("rate", [25, 30, 60, NTSC])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_a_constant_rate_gives_the_frames_and_stamps_of_opencv(
    make_video: Make, tmp_path: Path, rate: Fraction, name: str
) -> None:
    """Stamps are index / rate to the nanosecond, also where the container counts milliseconds."""
    tick = 1 / Fraction(rate)  # AVI has no other
    codec = "mpeg2video" if name == "a.ts" else "mpeg4"
    path = make_video(tmp_path / name, steady(40, rate), (160, 120), rate, tick, codec)
    stamps, images, reader = read(path)
    capture = cv2.VideoCapture(str(path))
    assert reader.rate_hz == capture.get(cv2.CAP_PROP_FPS)
    assert stamps == [round(index * 1e9 / reader.rate_hz) for index in range(40)]
    for image in images:
        found, other = capture.read()
        assert found
        np.testing.assert_array_equal(image, other)
    assert not capture.read()[0]
    assert (reader.width, reader.height) == (160, 120)
    assert reader.report() == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_varying_rate_gives_the_times_of_the_container(
    make_video: Make, tmp_path: Path, name: str
) -> None:
    """30 Hz, then 10 Hz, then a pause, as phones and screen recorders have it; nothing is lost."""
    times = [*steady(15), *(0.5 + n / 10 for n in range(15)), *(6.0 + n / 30 for n in range(5))]
    stamps, images, reader = read(make_video(tmp_path / name, times))
    assert len(images) == len(times)
    np.testing.assert_allclose(np.array(stamps) / SECOND_NS, np.array(times, float), atol=1e-3)
    assert (np.diff(stamps) > 0).all()
    assert reader.report() == ""


def test_times_count_from_the_first_frame(make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "late.mkv", [2 + time for time in steady(5)])
    assert read(path)[0] == [round(index * 1e9 / 30) for index in range(5)]


def test_a_damaged_frame_is_left_out_and_told(make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "hole.mp4", steady(60), (320, 240))
    place, size = packets(path)[24]
    overwrite(path, place, size)
    stamps, _, reader = read(path)
    whole = [round(index * 1e9 / 30) for index in range(60)]
    assert stamps == whole[:24] + whole[25:]  # the others keep their times
    assert "is damaged or cut off: 1 frame is missing at 0.77 to 0.83 s" in reader.report()
    assert "ends early" not in reader.report()


def test_a_video_with_a_varying_rate_tells_the_damaged_frame_alone(
    make_video: Make, tmp_path: Path
) -> None:
    times = [0.1 * n + 0.3 * (n // 3) for n in range(40)]
    path = make_video(tmp_path / "hole.mp4", times, (320, 240))
    place, size = packets(path)[24]
    overwrite(path, place, size)
    stamps, _, reader = read(path)
    assert len(stamps) == 39
    assert f"1 frame is missing at {times[23]:.2f} to {times[25]:.2f} s" in reader.report()


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
def test_a_video_that_was_cut_off_is_read_and_told(
    make_video: Make, tmp_path: Path, name: str
) -> None:
    """The index first, as cameras that upload have it, and only half of the rest."""
    path = make_video(tmp_path / name, steady(90), (320, 240), tick=Fraction(1, 30))
    if name == "cut.mp4":
        path = faststart(path, tmp_path / "fast.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    stamps, _, reader = read(path)
    assert 30 < len(stamps) < 60
    assert stamps == [round(index * 1e9 / 30) for index in range(len(stamps))]
    assert f"ends early, at {len(stamps) / 30:.2f} s" in reader.report()
    if name != "cut.mkv":  # which does not count its frames
        assert f"with {len(stamps)} of 90 frames" in reader.report()


def faststart(path: Path, target: Path) -> Path:
    """The same video with its index before the frames."""
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options={"movflags": "faststart"}) as sink,
    ):
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    return target


def test_a_pause_in_a_constant_rate_is_told_as_a_pause(make_video: Make, tmp_path: Path) -> None:
    times = [*steady(60), *(5 + time for time in steady(60))]
    stamps, _, reader = read(make_video(tmp_path / "pause.mkv", times))
    assert len(stamps) == 120
    assert "was paused" in reader.report() and "1.97 to 5.00 s" in reader.report()


def test_nothing_is_told_of_what_was_not_read(make_video: Make, tmp_path: Path) -> None:
    reader = open_video(make_video(tmp_path / "a.mp4", steady(30)))
    shapes = [frame.image.shape for frame in itertools.islice(reader, 3)]
    assert shapes == 3 * [(48, 64, 3)]
    assert reader.report() == ""
    reader.close()


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
    ids=["right", "left", "over", "mirrored", "mirrored and turned"],
)
def test_images_are_upright_as_the_container_says(
    make_video: Make,
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    shown: Callable[[np.ndarray], np.ndarray],
) -> None:
    """The matrix of the track header, ISO/IEC 14496-12: rows (a b u), (c d v), (x y w)."""
    path = make_video(tmp_path / "turned.mp4", steady(3))
    stored = read(path)[1]
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    place = data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, place) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    _, images, reader = read(path)
    for image, other in zip(images, stored, strict=True):
        np.testing.assert_array_equal(image, shown(other))
        assert image.flags.c_contiguous
    assert (reader.height, reader.width) == images[0].shape[:2]


def test_pixels_are_made_square_and_the_camera_follows(make_video: Make, tmp_path: Path) -> None:
    """48 stored columns for 64 shown ones: a focal length of either describes the same camera."""
    wide = make_video(tmp_path / "wide.mp4", steady(3), (48, 48), aspect=Fraction(4, 3))
    _, images, reader = read(wide)
    assert (reader.width, reader.height, reader.stored_size) == (64, 48, (48, 48))
    assert {image.shape for image in images} == {(48, 64, 3)}
    means = images[0][24:].mean(axis=(0, 2))  # the stripes are stretched, not cut
    assert means[:3].mean() < 60 and means[-3:].mean() > 180
    assert "not square (4/3): its 48x48 pixels are resampled to 64x48" in note_on_pixels(reader)
    focal = camera_of_video(reader, 90.0, None)
    np.testing.assert_allclose(focal.matrix, [[120, 0, 32], [0, 120, 24], [0, 0, 1]])
    for text in (
        "[a]\nsize=[48, 48]\nmatrix=[[90.0,0.0,23.5],[0.0,120.0,23.5],[0.0,0.0,1.0]]\n",
        "[a]\nsize=[64, 48]\nmatrix=[[120.0,0.0,31.5],[0.0,120.0,23.5],[0.0,0.0,1.0]]\n",
    ):
        file = tmp_path / "camera.toml"
        file.write_text(text)
        camera = camera_of_video(reader, None, file)
        assert (camera.width, camera.height) == (64, 48)
        np.testing.assert_allclose(camera.matrix, [[120, 0, 31.5], [0, 120, 23.5], [0, 0, 1]])
    file.write_text(text.replace("[64, 48]", "[96, 48]"))
    with pytest.raises(CalibrationError, match=r"96x48 pixels, but the video .* has 64x48"):
        camera_of_video(reader, None, file)


def test_square_pixels_and_senseless_shapes_are_left_alone(
    make_video: Make, tmp_path: Path
) -> None:
    for name, aspect in {"a": None, "b": Fraction(1000, 1001), "c": Fraction(50, 1)}.items():
        reader = open_video(make_video(tmp_path / f"{name}.mp4", steady(2), aspect=aspect))
        assert (reader.width, reader.height) == reader.stored_size == (64, 48)
        assert note_on_pixels(reader) == ""
        reader.close()


def test_what_is_no_video_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No video at"):
        open_video(tmp_path / "none.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(VideoError, match="ffmpeg"):
        open_video(text)
