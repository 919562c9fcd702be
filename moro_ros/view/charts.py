"""Curves and strips over time: a person's speed, height and joint states."""

from __future__ import annotations

import base64
from html import escape
from typing import NamedTuple

import cv2
import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.io.export.axes import Axes
from moro_ros.io.recording import STATE_NAMES
from moro_ros.view.people import COLORS
from moro_ros.view.result import Moment

# The speed is computed over this time before and after, at least from the image before to the one
# after [s]. A longer gap [s] is a gap in the curve; also as a multiple of the usual period.
SMOOTH_S, HOLE_S, HOLE_IMAGES = 0.1, 0.3, 3.0
# The end of the axis, relative to the 95th percentile of the values.
PEAK = 4.0
# Maximum number of points of a curve and of columns of a strip.
MOST_POINTS, MOST_COLUMNS = 1200, 300
ROW_PX, NAMES_PX, CHART_PX = 13, 84, 80
# The first and the second result.
CURVE_COLORS = ("#1971c2", "#e8590c")


class Course(NamedTuple):
    """One person over time.

    times_s: (F,) since the timeline's start. speed: (F,) m/s and height: (F,) m, of the pelvis
    over the ground. state: (F, 22).
    """

    times_s: np.ndarray
    speed: np.ndarray
    height: np.ndarray
    state: np.ndarray


def course(moments: list[Moment], track_id: int, start_ns: int, frame: Axes) -> Course | None:
    """Return the course of a person over some moments; None if they are in none of them."""
    rows = [m.people[track_id].row for m in moments if track_id in m.people]
    if not rows:
        return None
    times = (np.array([int(row["stamps_ns"]) for row in rows]) - start_ns) * 1e-9
    pelvis = frame.points(np.array([row["joints"][0] for row in rows], np.float64))
    places, last = np.arange(len(times)), len(times) - 1
    before = np.searchsorted(times, times - SMOOTH_S)
    before = np.minimum(before, np.maximum(places - 1, 0))
    after = np.searchsorted(times, times + SMOOTH_S, side="right") - 1
    after = np.maximum(after, np.minimum(places + 1, last))
    most_s = longest_s(times)
    before = np.where(times - times[before] > most_s, places, before)
    after = np.where(times[after] - times > most_s, places, after)
    seconds = times[after] - times[before]
    way = np.linalg.norm(pelvis[after] - pelvis[before], axis=1)
    speed = np.where(seconds > 0, way / np.maximum(seconds, 1e-6), np.nan)
    return Course(times, speed, pelvis[:, 2], np.array([row["state"] for row in rows]))


def longest_s(times_s: np.ndarray) -> float:
    """Return the maximum time between two moments (F,) [s] without a gap."""
    usual_s = float(np.median(np.diff(times_s))) if len(times_s) > 2 else 0.0
    return max(HOLE_S, HOLE_IMAGES * usual_s)


def chart(title: str, courses: list[Course | None], field: str, end_s: float, now_s: float) -> str:
    """Return the HTML of one field of some courses over time, with gaps where a person is missing.

    end_s: length of the time axis; now_s: position of the cursor.
    """
    end_s = max(end_s, 1e-3)
    known = [getattr(one, field) for one in courses if one is not None]
    finite = np.concatenate([np.zeros(1), *known])
    finite = finite[np.isfinite(finite)]
    # Whole and half units, so that the axis does not change all the time.
    # A single outlier does not flatten the rest: the curve leaves the picture there.
    highest = min(finite.max(), PEAK * np.percentile(finite, 95))
    low, high = np.floor(2 * finite.min()) / 2, max(np.ceil(2 * highest) / 2, 0.5)
    lines = "".join(
        f"<path d='{path(one, field, end_s, low, high)}' fill='none' stroke='{color}' "
        "stroke-width='1.5' vector-effect='non-scaling-stroke'/>"
        for one, color in zip(courses, CURVE_COLORS[: len(courses)], strict=True)
        if one is not None
    )
    labels = "".join(
        f"<div style='position:absolute;right:6px;{edge}:-2px'>{value:g}</div>"
        for edge, value in (("top", high), ("bottom", low))
    )
    picture = (
        "<svg viewBox='0 0 1000 100' preserveAspectRatio='none' style='display:block;width:100%;"
        f"height:{CHART_PX}px;background:#f4f4f4'>{lines}</svg>"
    )
    return block(title, labels, picture, end_s, now_s)


def path(one: Course, field: str, end_s: float, low: float, high: float) -> str:
    """Return one field of a course as an SVG path in a box of 1000 x 100, y down."""
    every = max(1, len(one.times_s) // MOST_POINTS)
    times, values = one.times_s[::every], getattr(one, field)[::every]
    holes = np.diff(times, prepend=-np.inf) > longest_s(times)
    x, y = 1000.0 * times / end_s, 100.0 * (high - values) / (high - low)
    words = [
        f"{'M' if hole else 'L'}{a:.1f} {b:.1f}"
        for a, b, hole in zip(x, y, holes, strict=True)
        if np.isfinite(b)
    ]
    return " ".join(["M" + words[0][1:], *words[1:]]) if words else ""


def block(title: str, left: str, picture: str, end_s: float, now_s: float) -> str:
    """Return the HTML of a picture over the time axis: title, names to the left, cursor."""
    cursor = 100.0 * min(max(now_s / end_s, 0.0), 1.0)
    return (
        f"<div style='padding:0 0.8em 0.6em;font-size:10px;line-height:{ROW_PX}px'>"
        f"<div style='font-size:12px;margin-bottom:3px'>{title}</div><div style='display:flex'>"
        f"<div style='position:relative;width:{NAMES_PX}px;flex:none'>{left}</div>"
        f"<div style='position:relative;flex:1'>{picture}"
        f"<div style='position:absolute;top:0;bottom:0;left:{cursor:.2f}%;width:1px;"
        "background:#000'></div></div></div></div>"
    )


def strip(one: Course | None, end_s: float, now_s: float) -> str:
    """Return the HTML of the joints' states over time, one row per joint, and of the legend."""
    end_s = max(end_s, 1e-3)
    image = np.full((len(JOINT_NAMES), MOST_COLUMNS, 3), 225, np.uint8)
    if one is not None:
        times = (np.arange(MOST_COLUMNS) + 0.5) / MOST_COLUMNS * end_s
        place = np.clip(np.searchsorted(one.times_s, times), 0, len(one.times_s) - 1)
        earlier = np.maximum(place - 1, 0)
        nearer = np.abs(one.times_s[earlier] - times) < np.abs(one.times_s[place] - times)
        place = np.where(nearer, earlier, place)
        seen = np.abs(one.times_s[place] - times) <= longest_s(one.times_s) / 2
        image[:, seen] = COLORS[np.minimum(one.state[place[seen]], 3)].transpose(1, 0, 2)
    _, file = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    picture = base64.b64encode(file.tobytes()).decode()
    names = "".join(
        f"<div style='height:{ROW_PX}px'>{escape(name.replace('_', ' '))}</div>"
        for name in JOINT_NAMES
    )
    strips = (
        f"<img alt='joint states' src='data:image/png;base64,{picture}' style='display:block;"
        f"width:100%;height:{ROW_PX * len(JOINT_NAMES)}px;image-rendering:pixelated'>"
    )
    return block(legend(), names, strips, end_s, now_s)


def legend() -> str:
    """Return the HTML that names the colours of the states."""
    words = []
    for color, name in zip(COLORS.tolist(), STATE_NAMES, strict=True):
        rgb = ",".join(map(str, color))
        words.append(
            "<span style='white-space:nowrap;margin-right:0.8em'>"
            "<span style='display:inline-block;width:9px;height:9px;"
            f"background:rgb({rgb})'></span> {name}</span>"
        )
    return "".join(words)
