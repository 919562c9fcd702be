"""Images of every encoding come out as the colours that went in."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from moro_ros.errors import ImageError
from moro_ros.io import image_data
from moro_ros.io.image_data import LAYOUTS, imgmsg_to_cv2
from moro_ros.ros import bridge as bridge_module
from moro_ros.ros.bridge import CV_BRIDGE_ENCODINGS, image_size, rgb_pixels
from moro_ros.ros.fallbacks import cv2_to_imgmsg

try:
    from cv_bridge import CvBridge
except ModuleNotFoundError:
    CvBridge = None

HEIGHT, WIDTH = 12, 16
# RGB of the left and right halves: apart in all channels, not grey.
LEFT, RIGHT = (200, 60, 30), (40, 90, 180)


# Encodings of 16 bits a value, and those of 8 bits that look the same.
DEEP = {name: name.replace("16", "8") for name in LAYOUTS if "16" in name}


def two_colors() -> np.ndarray:
    rgb = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[:, : WIDTH // 2], rgb[:, WIDTH // 2 :] = LEFT, RIGHT
    return rgb


def bayer(rgb: np.ndarray, pattern: str) -> np.ndarray:
    mosaic = np.empty(rgb.shape[:2], dtype=rgb.dtype)
    for i, letter in enumerate(pattern):
        row, column = divmod(i, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return mosaic


def packed_yuv(rgb: np.ndarray, order: str) -> np.ndarray:
    """4:2:2: of each pair of pixels both lumas and the chroma of the first."""
    yuv = full_range_less_yuv(rgb)
    pairs = {"y": yuv[:, ::2, 0], "Y": yuv[:, 1::2, 0], "u": yuv[:, ::2, 1], "v": yuv[:, ::2, 2]}
    return np.stack([pairs[name] for name in order], -1).reshape(HEIGHT, WIDTH, 2)


def planar_yuv(rgb: np.ndarray, order: str) -> np.ndarray:
    """4:2:0 with interleaved chroma: rows of luma, then half as many of chroma."""
    yuv = full_range_less_yuv(rgb)
    chroma = yuv[::2, ::2, 1:] if order == "uv" else yuv[::2, ::2, :0:-1]
    return np.vstack([yuv[..., 0], chroma.reshape(HEIGHT // 2, WIDTH)])


def full_range_less_yuv(rgb: np.ndarray) -> np.ndarray:
    """BT.601 with studio range, as cameras send it."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return np.stack([y, u, v], -1).round().astype(np.uint8)


@pytest.fixture(params=["image_data", "cv_bridge"])
def converter(request: pytest.FixtureRequest) -> Any:
    """The two that offer the functions of cv_bridge."""
    if request.param == "image_data":
        return image_data
    if CvBridge is None:
        pytest.skip("cv_bridge is not installed")
    return CvBridge()


def encoded(encoding: str) -> np.ndarray:
    rgb = two_colors()
    if encoding in DEEP:
        return encoded(DEEP[encoding]).astype(np.uint16) * 257
    alpha = np.full((HEIGHT, WIDTH, 1), 77, dtype=np.uint8)
    if encoding.startswith("bayer"):
        return bayer(rgb, encoding[6:10])
    return {
        "rgb8": lambda: rgb,
        "bgr8": lambda: rgb[..., ::-1],
        "8UC3": lambda: rgb[..., ::-1],
        "rgba8": lambda: np.concatenate([rgb, alpha], -1),
        "bgra8": lambda: np.concatenate([rgb[..., ::-1], alpha], -1),
        "yuv422": lambda: packed_yuv(rgb, "uyvY"),
        "uyvy": lambda: packed_yuv(rgb, "uyvY"),
        "yuv422_yuy2": lambda: packed_yuv(rgb, "yuYv"),
        "yuyv": lambda: packed_yuv(rgb, "yuYv"),
        "nv12": lambda: planar_yuv(rgb, "uv"),
        "nv21": lambda: planar_yuv(rgb, "vu"),
        "mono8": lambda: rgb[..., 0],
        "8UC1": lambda: rgb[..., 0],
    }[encoding]()


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
@pytest.mark.parametrize("padding", [0, 6])
def test_every_encoding_and_step_gives_the_colours(
    converter: Any, encoding: str, padding: int
) -> None:
    if converter is not image_data and encoding not in CV_BRIDGE_ENCODINGS:
        pytest.skip(f"cv_bridge does not know {encoding}")
    message = cv2_to_imgmsg(encoded(encoding), encoding)
    assert (message.width, message.height) == (WIDTH, HEIGHT)
    if padding:
        rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.step)
        padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
        # Drivers leave the padding of the last row out.
        cut = padding if converter is image_data else 0
        message.data = array.array("B", padded.tobytes()[: padded.size - cut])
        message.step += padding
    rgb = converter.imgmsg_to_cv2(message, "rgb8")
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8
    grey = encoding in ("mono8", "8UC1", "mono16", "16UC1")
    # Away from the border of the colours, where Bayer and chroma are interpolated.
    for column, color in ((3, LEFT), (WIDTH - 4, RIGHT)):
        expected = np.full(3, color[0]) if grey else np.array(color)
        np.testing.assert_allclose(rgb[HEIGHT // 2, column].astype(int), expected, atol=3)
    bgr = converter.imgmsg_to_cv2(message, "bgr8")
    np.testing.assert_array_equal(bgr[..., ::-1], rgb)


@pytest.mark.parametrize("encoding", ["mono16", "bgr16"])
def test_either_byte_order_gives_the_colours(converter: Any, encoding: str) -> None:
    message = cv2_to_imgmsg(encoded(encoding), encoding)
    expected = converter.imgmsg_to_cv2(message, "rgb8")
    swapped = np.frombuffer(message.data, np.uint16).byteswap()
    message.data = array.array("B", swapped.tobytes())
    message.is_bigendian = 1 - message.is_bigendian
    np.testing.assert_array_equal(converter.imgmsg_to_cv2(message, "rgb8"), expected)


@pytest.mark.parametrize(("suffix", "error"), [(".jpg", 12), (".png", 0)])
def test_compressed_images_give_the_colours(converter: Any, suffix: str, error: int) -> None:
    bgr = np.ascontiguousarray(two_colors()[..., ::-1])
    _, data = cv2.imencode(suffix, bgr)
    message = CompressedImage(format=f"bgr8; {suffix[1:]} compressed bgr8")
    message.data = array.array("B", data.tobytes())
    rgb = converter.compressed_imgmsg_to_cv2(message, "rgb8")
    difference = np.abs(rgb.astype(int) - two_colors())
    assert difference[:, [3, WIDTH - 4]].max() <= error
    np.testing.assert_array_equal(rgb_pixels(message), rgb)
    assert image_size(message) is None


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty_image"), (b"no jpeg", "undecodable")])
def test_what_cannot_be_decoded_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as error:
        rgb_pixels(CompressedImage(format="jpeg", data=array.array("B", data)))
    assert error.value.reason == reason


def test_the_bridge_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bridge:
        def imgmsg_to_cv2(self, message: Image, desired_encoding: str) -> np.ndarray:
            return np.full((1, 1, 3), 7, np.uint8)

    monkeypatch.setattr(bridge_module, "BRIDGE", Bridge())
    assert rgb_pixels(cv2_to_imgmsg(two_colors(), "rgb8")).shape == (1, 1, 3)
    # Planar encodings are beyond it, and what is broken is refused before it is asked.
    assert rgb_pixels(cv2_to_imgmsg(encoded("nv12"), "nv12")).shape == (HEIGHT, WIDTH, 3)
    short = cv2_to_imgmsg(two_colors(), "rgb8")
    short.data = short.data[:-1]
    with pytest.raises(ImageError):
        rgb_pixels(short)


def test_passthrough_is_a_view_of_the_data() -> None:
    message = cv2_to_imgmsg(two_colors(), "rgb8")
    pixels = imgmsg_to_cv2(message)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))
    assert not pixels.flags.writeable
    np.testing.assert_array_equal(pixels, two_colors())


def test_messages_keep_header_and_pixels_of_strided_arrays() -> None:
    header = Header(frame_id="lens")
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    message = cv2_to_imgmsg(image[::2, ::2, ::-1], "bgr8", header)
    assert message.header == header and isinstance(message.data, array.array)
    np.testing.assert_array_equal(imgmsg_to_cv2(message, "bgr8"), image[::2, ::2, ::-1])
    with pytest.raises(ValueError, match="3 uint8 channels"):
        cv2_to_imgmsg(image[..., 0], "bgr8")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "32FC1"}, "unknown_encoding"),
        ({"width": 0}, "empty_image"),
        ({"height": 0}, "empty_image"),
        ({"step": WIDTH * 3 - 1}, "image_layout"),
        ({"height": HEIGHT + 1}, "short_data"),
        ({"data": array.array("B")}, "short_data"),
        ({"encoding": "nv12", "width": WIDTH - 1}, "image_layout"),
        ({"encoding": "yuv422", "width": WIDTH - 1}, "image_layout"),
    ],
)
def test_what_cannot_be_an_image_is_refused_by_name(change: dict, reason: str) -> None:
    message = cv2_to_imgmsg(two_colors(), "rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError) as error:
        imgmsg_to_cv2(message, "rgb8")
    assert error.value.reason == reason


def test_opencv_agrees_on_bayer_away_from_borders() -> None:
    rng = np.random.default_rng(1)
    smooth = cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (80, 64))
    for encoding in (f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")):
        message = cv2_to_imgmsg(bayer(smooth, encoding[6:10]), encoding)
        difference = imgmsg_to_cv2(message, "rgb8").astype(int) - smooth
        assert np.abs(difference[2:-2, 2:-2]).mean() < 4.0
