"""Plots of a report as images, drawn with OpenCV: bars and lines, no window, no extra package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np

WIDTH, HEIGHT = 900, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 130
FONT = cv2.FONT_HERSHEY_SIMPLEX
BLACK, GREY = (20, 20, 20), (200, 200, 200)
Colour = tuple[float, float, float]  # BGR
COLOURS: Sequence[Colour] = (
    (180, 119, 31),
    (14, 127, 255),
    (44, 160, 44),
    (40, 39, 214),
    (189, 103, 148),
)


def bar_chart(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]]
) -> np.ndarray:
    """Return grouped bars, (H, W, 3) uint8 BGR; NaN bars are omitted."""
    every = [v for values in series.values() for v in values if np.isfinite(v)]
    image, top = _frame(title, max(every, default=1.0), list(series))
    slot = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    bar = 0.8 * slot / max(len(series), 1)
    for group, label in enumerate(labels):
        x = LEFT + slot * (group + 0.1)
        for number, values in enumerate(series.values()):
            if np.isfinite(values[group]):
                a = (round(x + bar * number), _y(values[group], top))
                b = (round(x + bar * (number + 1)) - 1, HEIGHT - BOTTOM)
                cv2.rectangle(image, a, b, COLOURS[number % len(COLOURS)], cv2.FILLED)
        _slanted(image, label, round(LEFT + slot * (group + 0.5)))
    return image


def line_chart(
    title: str,
    x_label: str,
    series: Mapping[str, np.ndarray],
    span: tuple[float, float] | None = None,
    colours: Sequence[Colour] = COLOURS,
) -> np.ndarray:
    """Return lines over their index, (H, W, 3) uint8 BGR; gaps where values are not numbers.

    span: values of the first and the last index; None: the index itself. colours: BGR.
    """
    every = np.concatenate([np.ravel(v) for v in series.values()] or [np.zeros(1)])
    finite = every[np.isfinite(every)]
    highest = float(finite.max()) if finite.size else 1.0
    image, top = _frame(title, highest, list(series), colours)
    longest = max((len(v) for v in series.values()), default=1)
    for number, values in enumerate(series.values()):
        colour = colours[number % len(colours)]
        for index, (first, second) in enumerate(pairwise(values.tolist())):
            if np.isfinite(first) and np.isfinite(second):
                start, end = (_x(index, longest), _y(first, top)), _x(index + 1, longest)
                cv2.line(image, start, (end, _y(second, top)), colour, 1, cv2.LINE_AA)
    cv2.putText(image, x_label, (WIDTH // 2, HEIGHT - 90), FONT, 0.45, BLACK, 1, cv2.LINE_AA)
    low, high = span or (0.0, longest - 1.0)
    step = _step(high - low)
    for value in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
        x = round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / max(high - low, 1e-9))
        cv2.line(image, (x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 4), GREY, 1)
        cv2.putText(image, f"{value:.6g}", (x - 8, HEIGHT - 110), FONT, 0.4, BLACK, 1, cv2.LINE_AA)
    return image


def path_chart(
    title: str, paths: Mapping[str, np.ndarray], colours: Sequence[Colour] = COLOURS
) -> np.ndarray:
    """Return paths (F, 2) in the plane, (H, W, 3) uint8 BGR; a dot marks the start of each.

    Both axes have one scale; the second one points up. The origin is always in view.
    """
    every = np.concatenate([*(path[np.isfinite(path).all(1)] for path in paths.values()), [[0, 0]]])
    low, high = every.min(0), every.max(0)
    room = np.array([WIDTH - LEFT - RIGHT, HEIGHT - TOP - RIGHT], float)
    step = _step(float((high - low).max()))
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    scale = float((room / np.maximum(high - low, step)).min())

    def place(point: Sequence[float]) -> tuple[int, int]:
        return round(LEFT + (point[0] - low[0]) * scale), round(
            HEIGHT - 20 - (point[1] - low[1]) * scale
        )

    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for axis in (0, 1):
        for value in np.arange(low[axis], high[axis] + step / 2, step):
            ends = [
                (value, other) if axis == 0 else (other, value)
                for other in (low[1 - axis], high[1 - axis])
            ]
            cv2.line(image, place(ends[0]), place(ends[1]), GREY, 1)
            x, y = place(ends[0])
            at = (x - 8, y + 15) if axis == 0 else (10, y + 4)
            cv2.putText(image, f"{value:g}", at, FONT, 0.4, BLACK, 1, cv2.LINE_AA)
    for number, path in enumerate(paths.values()):
        colour = colours[number % len(colours)]
        for first, second in pairwise(path.tolist()):
            if np.isfinite([first, second]).all():
                cv2.line(image, place(first), place(second), colour, 2, cv2.LINE_AA)
        if len(path) and np.isfinite(path[0]).all():
            cv2.circle(image, place(path[0].tolist()), 5, colour, cv2.FILLED, cv2.LINE_AA)
    _legend(image, title, list(paths), colours)
    return image


def _step(highest: float) -> float:
    """Return a round step of which six reach at least a height."""
    step = 10.0 ** np.floor(np.log10(max(highest, 1e-9)))
    return float(
        next(s for s in (step / 5, step / 2, step, 2 * step, 5 * step) if highest <= 6 * s)
    )


def _frame(
    title: str, highest: float, names: Sequence[str], colours: Sequence[Colour] = COLOURS
) -> tuple[np.ndarray, float]:
    """Return an empty chart with grid and legend, and the value at its upper edge."""
    step = _step(highest)
    top = step * np.ceil(max(highest, 1e-9) / step)
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for value in np.arange(0, top + step / 2, step):
        y = _y(value, top)
        cv2.line(image, (LEFT, y), (WIDTH - RIGHT, y), GREY, 1)
        cv2.putText(image, f"{value:g}", (10, y + 4), FONT, 0.4, BLACK, 1, cv2.LINE_AA)
    _legend(image, title, names, colours)
    return image, float(top)


def _legend(image: np.ndarray, title: str, names: Sequence[str], colours: Sequence[Colour]) -> None:
    cv2.putText(image, title, (LEFT, 20), FONT, 0.55, BLACK, 1, cv2.LINE_AA)
    apart = min(160, (WIDTH - LEFT) // max(len(names), 1))
    for number, name in enumerate(names):
        x = LEFT + apart * number
        cv2.rectangle(image, (x, 30), (x + 10, 40), colours[number % len(colours)], cv2.FILLED)
        cv2.putText(image, name[:18], (x + 14, 40), FONT, 0.4, BLACK, 1, cv2.LINE_AA)


def _x(index: int, count: int) -> int:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * index / max(count - 1, 1))


def _y(value: float, top: float) -> int:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top)


def _slanted(image: np.ndarray, text: str, x: int) -> None:
    """Write a label below the axis, rising to the right end at x."""
    label = np.full((20, 150, 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(text, FONT, 0.4, 1)
    cv2.putText(label, text, (148 - width, 14), FONT, 0.4, BLACK, 1, cv2.LINE_AA)
    size = (WIDTH, HEIGHT)
    turn = cv2.getRotationMatrix2D((148.0, 10.0), 50, 1.0)
    turn[:, 2] += (x - 148, HEIGHT - BOTTOM + 8 - 10)
    drawn = cv2.warpAffine(label, turn, size, borderValue=(255, 255, 255))
    np.minimum(image, drawn, out=image)
