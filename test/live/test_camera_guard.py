"""The guard says that a camera moved, and never that people or light did."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from moro_ros.live.camera_guard import CONFIRMATIONS, PERIOD_S, CameraGuard, ViewChange

WIDTH, HEIGHT = 640, 480
STEP_NS = round(PERIOD_S * 1e9)


def scene(seed: int, size: tuple[int, int] = (1000, 1400)) -> np.ndarray:
    """A room of random rectangles, larger than the view."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 120, np.uint8)
    for _ in range(400):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        w, h = rng.integers(15, 120, 2)
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return cv2.GaussianBlur(image, (3, 3), 0)


def view(room: np.ndarray, dx: float = 0.0, dy: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """The part of the room that a camera sees, moved by pixels and turned by degrees."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2 + 300, HEIGHT / 2 + 200), turn, 1.0)
    matrix[:, 2] -= 300 + dx, 200 + dy
    return cv2.warpAffine(room, matrix, (WIDTH, HEIGHT))


def watch(
    guard: CameraGuard,
    images: Callable[[int], np.ndarray],
    count: int,
    boxes: Callable[[int], list[np.ndarray]] = lambda i: [],
    start: int = 0,
) -> list[ViewChange]:
    seen = [guard.look(images(i), (start + i) * STEP_NS, boxes(i)) for i in range(count)]
    return [change for change in seen if change is not None]


@pytest.fixture(scope="module")
def room() -> np.ndarray:
    return scene(1)


def noisy(image: np.ndarray, seed: int, gain: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, 4.0, image.shape)
    return np.clip(image * gain + noise, 0, 255).astype(np.uint8)


def test_a_static_camera_with_noise_and_a_lamp_is_static(room: np.ndarray) -> None:
    still = view(room)
    assert watch(CameraGuard(), lambda i: noisy(still, i, 0.6 if i > 10 else 1.0), 25) == []


@pytest.mark.parametrize(
    ("dx", "dy", "turn"), [(12.0, 0.0, 0.0), (0.0, -9.0, 0.0), (25.0, 10.0, 0.0), (0.0, 0.0, 6.0)]
)
def test_a_moved_camera_is_told_once(room: np.ndarray, dx: float, dy: float, turn: float) -> None:
    guard = CameraGuard()
    assert watch(guard, lambda i: noisy(view(room), i), 5) == []
    changes = watch(guard, lambda i: noisy(view(room, dx, dy, turn), i), 10, start=5)
    assert len(changes) == 1
    if turn == 0.0 and changes[0].shift is not None:
        assert changes[0].shift == pytest.approx(np.hypot(dx, dy) / WIDTH, rel=0.15)


def test_another_view_is_told_once(room: np.ndarray) -> None:
    guard, other = CameraGuard(), scene(2)
    watch(guard, lambda i: view(room), 3)
    assert watch(guard, lambda i: view(other), 10, start=3) == [ViewChange(None)]


def test_a_slow_drift_adds_up(room: np.ndarray) -> None:
    assert len(watch(CameraGuard(), lambda i: view(room, 0.5 * i), 40)) >= 1


def test_a_person_who_walks_is_no_motion_of_the_camera(room: np.ndarray) -> None:
    person = scene(3)[:300, :200]

    def images(i: int) -> np.ndarray:
        image = view(room).copy()
        image[100:400, 20 * i : 20 * i + 200] = person
        return image

    def boxes(i: int) -> list[np.ndarray]:
        return [np.array([20 * i, 100, 20 * i + 200, 400], float)]

    assert watch(CameraGuard(), images, 20, boxes) == []


def test_a_blink_is_not_a_move(room: np.ndarray) -> None:
    dark = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    during = range(5, 5 + CONFIRMATIONS - 1)
    assert watch(CameraGuard(), lambda i: dark if i in during else view(room), 20) == []


def test_without_background_nothing_is_said() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    assert watch(CameraGuard(), lambda i: noisy(grey, 0), 8) == []
    everywhere = [np.array([0.0, 0.0, WIDTH, HEIGHT])]
    assert watch(CameraGuard(), lambda i: view(scene(i)), 8, lambda i: everywhere) == []


def test_stamps_of_the_past_are_looked_at_too(room: np.ndarray) -> None:
    guard = CameraGuard()
    watch(guard, lambda i: view(room), 3, start=1000)
    assert len(watch(guard, lambda i: view(room, 30.0), 10)) == 1


def zoomed(room: np.ndarray, factor: float) -> np.ndarray:
    """The still view through a lens whose focal length has grown by a factor."""
    matrix = np.diag([factor, factor, 1.0])
    matrix[:2, 2] = (1 - factor) * WIDTH / 2, (1 - factor) * HEIGHT / 2
    return cv2.warpPerspective(view(room), matrix, (WIDTH, HEIGHT))


def intrinsics(factor: float) -> np.ndarray:
    return np.array([[500.0 * factor, 0, WIDTH / 2], [0, 500.0 * factor, HEIGHT / 2], [0, 0, 1.0]])


def test_a_lens_that_zooms_as_it_says_is_no_moved_camera(room: np.ndarray) -> None:
    def moved(told: Callable[[float], np.ndarray]) -> int:
        guard = CameraGuard()
        looks = (
            guard.look(zoomed(room, factor), i * STEP_NS, [], told(factor))
            for i, factor in enumerate(np.linspace(1.0, 1.15, 20))
        )
        return sum(look is not None for look in looks)

    assert moved(intrinsics) == 0
    assert moved(lambda factor: intrinsics(1.0)) >= 1


def test_an_estimated_calibration_that_wavers_is_no_moved_camera(room: np.ndarray) -> None:
    guard = CameraGuard()
    for i in range(20):
        look = guard.look(view(room), i * STEP_NS, [], intrinsics(1.0 if i < 5 else 1.1))
        assert look is None
    looks = [guard.look(view(room, 30.0), i * STEP_NS, [], intrinsics(1.1)) for i in range(20, 26)]
    assert sum(look is not None for look in looks) == 1
