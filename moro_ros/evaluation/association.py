"""Association of people in several calibrated views: joins tracks whose keypoints meet in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from moro_ros.evaluation.multiview import MIN_VISIBILITY, normalised, reprojection_px
from moro_ros.geometry.views import View, intersect
from moro_ros.types import KEYPOINTS, Frame, PersonObservation

# Maximum median distance of the keypoints of two tracks of one person in space.
MAX_MEETING_PX = 25.0
# Minimum number of keypoints seen by both tracks of a pair, over all frames.
MIN_COMMON = 60
# Minimum frames of a track, and minimum views of a person: two rays meet accidentally too often.
MIN_FRAMES = 10
MIN_VIEWS = 3

# A track: the number of the view and the id from its front-end.
Track = tuple[int, int]


def associate(
    views: Sequence[View], frames: Sequence[Sequence[Frame]], min_views: int = MIN_VIEWS
) -> list[frozenset[Track]]:
    """Return the people seen by at least min_views views, each as their tracks.

    Tracks are merged, the best matching pair first; a merged person has at most one track per view
    and frame. A view may have several successive tracks of a person.
    frames: of each view, synchronous.
    """
    sightings = _sightings(views, frames)
    costs = _meeting_costs(views, sightings)
    people = [frozenset([track]) for track in sightings]
    while True:
        best, pair = MAX_MEETING_PX, None
        for first, second in combinations(people, 2):
            if _clash(first, second, sightings):
                continue
            between = [costs[key] for a in first for b in second if (key := _key(a, b)) in costs]
            if between and float(np.mean(between)) < best and max(between) < 2 * MAX_MEETING_PX:
                best, pair = float(np.mean(between)), (first, second)
        if pair is None:
            break
        people = [person for person in people if person not in pair] + [pair[0] | pair[1]]
    found = [p for p in people if len({view for view, _ in p}) >= min_views]
    return sorted(found, key=lambda person: -sum(len(sightings[track]) for track in person))


def only(frames: Sequence[Sequence[Frame]], person: frozenset[Track]) -> list[list[Frame]]:
    """Return the frames of each view with only this person, where they are seen."""
    result = []
    for number, of_view in enumerate(frames):
        ids = {track_id for view, track_id in person if view == number}
        result.append(
            [
                replace(f, people=tuple(p for p in f.people if p.track_id in ids and p.keypoints))
                for f in of_view
            ]
        )
    return result


# Per frame number: keypoints (K, 2) on the normalised plane and their weight (K,), 0 if unseen.
_Sightings = dict[int, tuple[np.ndarray, np.ndarray]]


def _sightings(views: Sequence[View], frames: Sequence[Sequence[Frame]]) -> dict[Track, _Sightings]:
    result: dict[Track, _Sightings] = {}
    for row, (view, of_view) in enumerate(zip(views, frames, strict=True)):
        for number, frame in enumerate(of_view):
            for person in frame.people:
                if person.keypoints is not None:
                    seen = result.setdefault((row, person.track_id), {})
                    seen[number] = _observation(view, person)
    return {track: seen for track, seen in result.items() if len(seen) >= MIN_FRAMES}


def _observation(view: View, person: PersonObservation) -> tuple[np.ndarray, np.ndarray]:
    keypoints = person.keypoints
    if keypoints is None:
        return np.zeros((len(KEYPOINTS), 2)), np.zeros(len(KEYPOINTS))
    seen = keypoints.visibility >= MIN_VISIBILITY
    return normalised(keypoints, view), np.where(seen, keypoints.visibility, 0)


def _key(a: Track, b: Track) -> tuple[Track, Track]:
    return (a, b) if a < b else (b, a)


def _meeting_costs(
    views: Sequence[View], sightings: dict[Track, _Sightings]
) -> dict[tuple[Track, Track], float]:
    """Median reprojection distance [px] between two tracks of different views."""
    costs = {}
    for a, b in combinations(sorted(sightings), 2):
        common = sorted(sightings[a].keys() & sightings[b].keys())
        if a[0] == b[0] or not common:
            continue
        pair = [views[a[0]], views[b[0]]]
        point = np.stack([[sightings[t][n][0] for n in common] for t in (a, b)])  # (2, F, K, 2)
        weight = np.stack([[sightings[t][n][1] for n in common] for t in (a, b)])
        both = (weight > 0).all(0)
        if both.sum() >= MIN_COMMON:
            missed = reprojection_px(pair, intersect(pair, point, weight), point).max(0)
            costs[a, b] = float(np.median(missed[both]))
    return costs


def _clash(
    first: frozenset[Track], second: frozenset[Track], sightings: dict[Track, _Sightings]
) -> bool:
    """Whether two people are seen separately in one image."""
    return any(
        a[0] == b[0] and sightings[a].keys() & sightings[b].keys() for a in first for b in second
    )
