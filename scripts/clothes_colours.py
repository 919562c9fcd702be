"""Print how much the colours of clothes differ between cameras, for one person and for two.

    python scripts/clothes_colours.py

On the trial "multi" of docs/cameras.md, with recover/fusion/clothes.py. Each track of a person in a
camera has the median over its images. Columns: brightness, red and blue over green of the trunk,
the same of the thighs, natural logarithms.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from moro_ros.cli.evaluate_video import remembering_frontend
from moro_ros.evaluation.pose2sim import load_trial
from moro_ros.recover.fusion.clothes import SPREAD, clothes_of, difference
from moro_ros.types import PersonObservation


class Observer:
    """The front-end of the benchmark, which also notes the colours; colours: by view and track."""

    def __init__(self) -> None:
        self.frontend = remembering_frontend("full")[0]
        self.colours: dict[tuple[int, int], list[np.ndarray]] = {}
        self.view = -1

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        """Return the people in an image."""
        people = self.frontend.observe(image_rgb, stamp_ns)
        for person in people:
            if person.keypoints is not None:
                colour = clothes_of(image_rgb, person.keypoints)
                self.colours.setdefault((self.view, person.track_id), []).append(colour)
        return people

    def reset(self) -> None:
        """Start the next view."""
        self.view += 1
        self.frontend.reset()


def main() -> None:
    """Print one line per track, and the differences between tracks of different cameras."""
    observer = Observer()
    trial = load_trial("multi", observer)
    colours = {}
    for person in trial.people:
        for track in sorted(person.tracks):
            colours[person.name, track] = np.nanmedian(observer.colours[track], axis=0)
            print(person.name, track, np.round(colours[person.name, track].ravel(), 2))
    for same in (True, False):
        pairs = [
            (colours[one], colours[two])
            for one, two in combinations(colours, 2)
            if one[1][0] != two[1][0] and (one[0] == two[0]) == same
        ]
        spread = np.sqrt(np.nanmean([np.square(a - b) for a, b in pairs], axis=0)).ravel()
        costs = [cost for a, b in pairs if (cost := difference(a, b)) is not None]
        print("one person" if same else "two people", "root mean square", np.round(spread, 2))
        print(f"  in {SPREAD}: {min(costs):.2f} to {max(costs):.2f}, mean {np.mean(costs):.2f}")


if __name__ == "__main__":
    main()
