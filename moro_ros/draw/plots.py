"""Plots of a report as images, drawn by matplotlib without a window."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moro_ros.assets import cache_dir
from moro_ros.errors import missing_module

Colour = tuple[float, float, float]  # RGB 0..255
SIZE_IN, DPI = (9.0, 4.8), 100


def bar_chart(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]]
) -> np.ndarray:
    """Return grouped bars, (H, W, 3) uint8 BGR; NaN bars are omitted."""
    width = 0.8 / max(len(series), 1)
    places = np.arange(len(labels))
    axes = _axes(title)
    for number, (name, values) in enumerate(series.items()):
        axes.bar(places + (number + 0.5) * width - 0.4, values, width, label=name)
    axes.set_xticks(places, labels, rotation=50, ha="right", rotation_mode="anchor")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(labels) - 0.4)
    return _image(axes)


def line_chart(
    title: str,
    x_label: str,
    series: Mapping[str, np.ndarray],
    span: tuple[float, float] | None = None,
    colours: Sequence[Colour] = (),
) -> np.ndarray:
    """Return lines over their index, (H, W, 3) uint8 BGR; gaps where values are not numbers.

    span: values of the first and the last index; None: the index itself. colours: of the lines.
    """
    axes = _axes(title)
    for number, (name, values) in enumerate(series.items()):
        low, high = span or (0.0, len(values) - 1.0)
        colour = _rgb(colours, number)
        axes.plot(np.linspace(low, high, len(values)), values, color=colour, label=name)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylim(bottom=0.0)
    axes.margins(x=0.0)
    return _image(axes)


def path_chart(
    title: str, paths: Mapping[str, np.ndarray], colours: Sequence[Colour] = ()
) -> np.ndarray:
    """Return paths (F, 2) in the plane, (H, W, 3) uint8 BGR; a dot marks the start of each.

    Both axes have one scale; the second one points up. The origin is always in view.
    """
    axes = _axes(title)
    for number, (name, path) in enumerate(paths.items()):
        axes.plot(*path.T, color=_rgb(colours, number), label=name, marker="o", markevery=[0], lw=2)
    axes.plot(0.0, 0.0, "k+")
    axes.set_aspect("equal", adjustable="datalim")
    return _image(axes)


def _axes(title: str) -> Any:
    """Return the matplotlib.axes.Axes of an empty chart. Raises: InstallationError."""
    # Else its list of fonts would be written outside of the package's own cache.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_dir() / "matplotlib"))
    try:
        # Imported here, because only reports need it.
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing_module(error) from error
    figure = Figure(SIZE_IN, DPI, constrained_layout=True)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes = figure.add_subplot()
    axes.grid(color="0.85")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    return axes


def _image(axes: Any) -> np.ndarray:
    """Return a chart with its legend as an image (H, W, 3) uint8 BGR."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if names := axes.get_legend_handles_labels()[1]:
        columns = 5 if len(names) <= 5 else 3  # long rows of names would make the axes narrower
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncol": columns}
        axes.legend(**place, fontsize=8, frameon=False)
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 2::-1].copy()


def _rgb(colours: Sequence[Colour], number: int) -> tuple[float, ...] | None:
    """Return a colour with channels in [0, 1], or None for matplotlib's next one."""
    return tuple(channel / 255 for channel in colours[number]) if colours else None
