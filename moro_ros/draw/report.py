"""report.html: one page about a recorded motion with pictures and plots, without other files."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from moro_ros.draw.plots import line_chart, path_chart
from moro_ros.draw.render import colour_of
from moro_ros.io.image_file import read_image
from moro_ros.io.recording import OBSERVED, MotionRecording

REPORT = "report.html"
# Time over which speeds are averaged [s].
SPEED_S = 0.2
# Maximum width of the sheet [px], because the page may be sent by mail.
SHEET_WIDTH, JPEG_QUALITY = 1600, 80
STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%;border:1px solid #ddd}table{border-collapse:collapse}"
    "td,th{border:1px solid #ddd;padding:.25em .7em;text-align:left}"
    "td.n{text-align:right}.note{background:#fff4d6;padding:.6em 1em}"
    "i{display:inline-block;width:.9em;height:.9em;margin-right:.4em}"
)


def report_page(
    title: str,
    notes: Sequence[str],
    facts: Mapping[str, str],
    people: Sequence[Mapping[str, object]],
    recording: MotionRecording,
    sheet: Path,
    origin_ns: int = 0,
) -> str:
    """Return the page; texts are escaped.

    notes: remarks to read before the numbers. facts, people: the rows of two tables; each person
    has an `id`. sheet: a picture. origin_ns: stamp of time 0.
    """
    rows = recording.people()
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in notes]
    parts += [_table(["", ""], [list(fact) for fact in facts.items()])]
    if people:
        names = list(people[0])
        cells = [[person[name] for name in names] for person in people]
        colours = [colour_of(int(str(person["id"]))) for person in people]
        parts += ["<h2>People</h2>", _table(names, cells, colours)]
    else:
        parts += ["<h2>People</h2><p>No people were found.</p>"]
    parts += [
        "<h2>Pictures</h2>",
        _picture(_scaled(sheet), "Bodies drawn over eight images", "jpeg"),
    ]
    if rows:
        parts += ["<h2>Plots</h2>", *_plots(recording, rows, origin_ns)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _plots(recording: MotionRecording, rows: Mapping[int, np.ndarray], origin_ns: int) -> list[str]:
    stamps_ns = np.array(recording.stamps_ns, np.int64)
    times = (stamps_ns - origin_ns) / 1e9
    series: dict[str, dict[str, np.ndarray]] = {"distance": {}, "speed": {}, "seen": {}}
    for track_id, own in rows.items():
        at = np.searchsorted(stamps_ns, own["stamps_ns"])
        values = {
            "distance": np.linalg.norm(own["joints"][:, 0], axis=1),
            "speed": speeds(own["stamps_ns"], own["joints"][:, 0]),
            "seen": 100.0 * (own["state"] == OBSERVED).mean(1),
        }
        for name, value in values.items():
            line = np.full(len(stamps_ns), np.nan)
            line[at] = value
            series[name][f"person {track_id}"] = line
    titles = {
        "distance": "Distance of the pelvis from the camera [m]",
        "speed": f"Speed of the pelvis [m/s], over {SPEED_S:g} s",
        "seen": "Joints that were seen [%]",
    }
    colours = [colour_of(track_id) for track_id in rows]
    span = (float(times[0]), float(times[-1]))
    pictures = [
        _picture(line_chart(titles[name], "time [s]", series[name], span, colours), titles[name])
        for name in titles
    ]
    paths = {f"person {i}": own["joints"][:, 0][:, [0, 2]] for i, own in rows.items()}
    title = "Paths from above [m]: a dot marks the start; the camera is at 0, 0 and faces the top"
    return [*pictures, _picture(path_chart(title, paths, colours), title)]


def speeds(stamps_ns: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the speed [m/s] at each stamp (F,) of points (F, 3) m, a mean over SPEED_S.

    NaN where there is no other point in that time.
    """
    times = stamps_ns / 1e9
    before = np.searchsorted(times, times - SPEED_S / 2)
    after = np.searchsorted(times, times + SPEED_S / 2, side="right") - 1
    passed = times[after] - times[before]
    moved = np.linalg.norm(points[after] - points[before], axis=1)
    return np.divide(moved, passed, out=np.full(len(times), np.nan), where=passed > 0)


def _scaled(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image is not None  # it was written just now
    factor = min(1.0, SHEET_WIDTH / image.shape[1])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _picture(image: np.ndarray, words: str, kind: str = "png") -> str:
    """Return an image (H, W, 3) uint8 BGR as an element of the page."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpeg" else []
    _, data = cv2.imencode(f".{kind}", image, options)
    text = base64.b64encode(data.tobytes()).decode()
    return f'<p><img alt="{html.escape(words)}" src="data:image/{kind};base64,{text}"></p>'


def _table(
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    colours: Sequence[tuple[float, float, float]] = (),
) -> str:
    """Return a table; colours: RGB 0..255 of a mark before each row."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names) if any(names) else ""
    lines = [f"<tr>{head}</tr>"] if head else []
    for number, row in enumerate(rows):
        mark = ""
        if colours:
            red, green, blue = (round(value) for value in colours[number])
            mark = f'<i style="background:rgb({red},{green},{blue})"></i>'
        cells = [
            f'<td class="{"n" if isinstance(cell, int | float) else ""}">'
            f"{mark * (k == 0)}{html.escape(str(cell))}</td>"
            for k, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"
