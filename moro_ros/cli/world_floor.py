"""`--floor A,B,C,D`: a floor in the world frame of a calibration, for each of its cameras."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from moro_ros.errors import ConfigError
from moro_ros.geometry.views import View
from moro_ros.recover.ground import LEAST_HEIGHT_M, MOST_HEIGHT_M, GroundPlane

# Tolerance of a unit vector written with few digits.
UNIT_TOLERANCE = 1e-3
EXPECTED = (
    "expected A,B,C,D: the upward direction in the world frame of the calibration as a unit "
    "vector, and the height of the world's origin above the floor in metres; 0,0,1,0 for a world "
    "with z upwards and its origin on the floor"
)


def add_floor_option(parser: argparse.ArgumentParser) -> None:
    """--floor."""
    parser.add_argument(
        "--floor",
        metavar="A,B,C,D",
        help="the floor in the world frame, after = and without spaces: a point (x, y, z) is "
        "A x + B y + C z + D metres above it. --floor=0,0,1,0 for a world with z upwards and its "
        "origin on the floor",
    )


def read_floor(text: str, views: Sequence[View]) -> GroundPlane:
    """Return the floor of --floor, world frame.

    Raises: ConfigError if it is no plane, or cannot be the floor of one of the views.
    """
    try:
        numbers = np.array([float(word) for word in text.split(",")])
    except ValueError:
        numbers = np.zeros(0)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise ConfigError(f"--floor: got '{text}', {EXPECTED}.")
    length = float(np.linalg.norm(numbers[:3]))
    if abs(length - 1.0) > UNIT_TOLERANCE:
        raise ConfigError(
            f"--floor: got '{text}', whose A,B,C has the length {length:g}, {EXPECTED}."
        )
    floor = GroundPlane(numbers[:3] / length, float(numbers[3]))
    for view in views:
        height_m = float(floor.heights(view.centre))
        if not LEAST_HEIGHT_M <= height_m <= MOST_HEIGHT_M:
            side = "below" if height_m < 0.0 else "above"
            raise ConfigError(
                f"--floor: got '{text}', by which camera {view.name} is {abs(height_m):.2f} m "
                f"{side} the floor, expected {LEAST_HEIGHT_M:g} to {MOST_HEIGHT_M:g} m above it. "
                "Check the axis and the sign of the upward direction, and that D and the "
                "calibration are in metres (--unit-m)."
            )
    return floor


def floor_of_view(floor: GroundPlane, view: View) -> GroundPlane:
    """Return a floor of the world in the optical frame of a camera."""
    return floor.moved(view.rotation, view.translation)


def ignored_words(camera: str, ignored: Mapping[int, tuple[int, str]]) -> str:
    """Return a sentence about the people for whom a camera ignored the floor.

    ignored: number of images, and the last reason, by the camera's ids.
    """
    people = ", ".join(
        f"person {track_id} in {count} images ({why})"
        for track_id, (count, why) in sorted(ignored.items())
    )
    return (
        f"Camera {camera} ignored the floor for {people}. Check --floor; a step or furniture that "
        "people stand on has the same effect."
    )
