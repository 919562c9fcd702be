"""A causal tracker of several people that assigns ids from sightings, without using images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from moro_ros.config import TrackerConfig
from moro_ros.perception.blazepose import Region
from moro_ros.perception.borrowed import without_borrowed
from moro_ros.perception.search import Notices
from moro_ros.perception.sighting import Sighting, pose_distance
from moro_ros.perception.track import SIZE_RATIO_LIMIT, Track
from moro_ros.types import KEYPOINTS, Keypoints, PersonObservation

_CORNERS = [
    list(KEYPOINTS).index(name)
    for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
]
# Samples along each side of the torso, and levels of each colour channel.
SAMPLES, LEVELS = 12, 4
# Margin of the torso that is excluded, because it shows the background and the arms.
MARGIN = 0.15
_STEPS = np.linspace(MARGIN, 1.0 - MARGIN, SAMPLES)


def torso_colours(image_rgb: np.ndarray, keypoints: Keypoints) -> np.ndarray | None:
    """Histogram of the colours between shoulders and hips, (LEVELS ** 3,) float32, sum 1.

    image_rgb: (H, W, 3) uint8, the full image. None if the torso is not in the image.
    """
    left, right, left_hip, right_hip = keypoints.points_px[_CORNERS].astype(np.float64)
    across, down = _STEPS[None, :, None], _STEPS[:, None, None]
    top, bottom = left + across * (right - left), left_hip + across * (right_hip - left_hip)
    places = np.rint(top + down * (bottom - top)).astype(np.int64).reshape(-1, 2)
    height, width = image_rgb.shape[:2]
    places = places[np.all((places >= 0) & (places < (width, height)), axis=1)]
    if len(places) < SAMPLES:
        return None
    # Linear interpolation between the two nearest levels, so that small changes of light have small
    # effects.
    colours = image_rgb[places[:, 1], places[:, 0]].astype(np.float32) * ((LEVELS - 1) / 255.0)
    low = np.minimum(colours.astype(np.int64), LEVELS - 2)
    share = colours - low
    histogram = np.zeros(LEVELS**3, np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1.0 - share), axis=1)
        index = (low + corner) @ (LEVELS**2, LEVELS, 1)
        histogram += np.bincount(index, weight, LEVELS**3).astype(np.float32)
    return histogram / histogram.sum()


def likeness(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Bhattacharyya coefficient of two histograms, 1 for equal colours; 0.5 if one is missing."""
    return 0.5 if a is None or b is None else float(np.sqrt(a * b).sum())


# Distances below are in units of the body circle's diameter (about the person's height).
DUPLICATE_DISTANCE = 0.12
GATE = 0.35
GATE_GROWTH_PER_S = 2.0
GATE_LIMIT = 1.5
# Distance between a person and a sighting that entirely different clothes add.
COLOUR_WEIGHT = 0.3
# A new person who appears when another is lost, in clothes this similar and no farther away, is the
# same person.
SAME_CLOTHES = 0.6
RETURN_DISTANCE = 2.0
# How much larger a new person must be to replace a tracked person.
NEARER_RATIO = 1.25
LATE_IMAGE_S = 1.0
# Minimum number of known keypoints for correcting a person's place and size.
CORRECTED_POINTS = 4
# A new person with more than this share of keypoints in the box of a seen person is part of them.
INSIDE_FRACTION = 0.6
# Distance from the left or right edge, in sides of their region, at which an unseen person leaves.
LEAVING = 0.15


class PersonTracker:
    """Assigns one id to each person in a stream of sightings.

    Per image: `predict` returns the regions to look at, `update` takes the sightings,
    `observations` is the result. A person is published after being seen in `min_hits` images, and
    held with a predicted box for `hold_time_s` after the last. That time is accumulated by
    confident sightings and used up out of sight, so flickering false people disappear soon.
    ids: iterator of new ids; trackers of several cameras may share it.
    """

    def __init__(self, config: TrackerConfig, max_people: int) -> None:
        self._config = config
        self._max_people = max_people
        self._tracks: list[Track] = []
        self.ids: Iterator[int] = itertools.count(1)
        self._now_ns = self._previous_ns = 0
        self._interval_s = 0.0

    def configure(self, config: TrackerConfig, max_people: int) -> None:
        """Change the options; people keep their ids, and those above max_people leave over time."""
        self._config, self._max_people = config, max_people

    def reset(self) -> None:
        """Forget all people; ids continue, so none is ever reused."""
        self._tracks.clear()

    def renumber(self) -> None:
        """Give all people who have an id a new one."""
        for track in self._tracks:
            if track.track_id:
                track.track_id = next(self.ids)

    @property
    def full(self) -> bool:
        """Whether max_people are tracked."""
        return len(self._tracks) >= self._max_people

    @property
    def empty(self) -> bool:
        """Whether no people are tracked."""
        return not self._tracks

    @property
    def looked_ns(self) -> list[int]:
        """When the last predicted people were last looked at, in their order."""
        return [track.looks[-1][0] for track in self._tracks]

    def carried(self, place: int) -> Sighting | None:
        """The extrapolated sighting of one of the last predicted people, from their last two looks.

        None if there are no recent looks (Track.carried), and for new people, who must be confirmed
        by looks.
        """
        track = self._tracks[place]
        return track.carried(self._now_ns) if track.track_id else None

    @property
    def out_of_sight(self) -> int:
        """How many of the last predicted people, at the end, were not seen in the image before."""
        return sum(track.seen_ns < self._previous_ns for track in self._tracks)

    def predict(self, stamp_ns: int) -> list[Region]:
        """Advance to the time of the next image and return the predicted people.

        The most recently seen and longest tracked people are first. People who were out of sight
        for too long are dropped.
        """
        previous, self._now_ns = self._now_ns, stamp_ns
        self._previous_ns = previous
        self._interval_s = (stamp_ns - previous) * 1e-9 if self._tracks else 0.0
        # In view until the last image: one late image is no reason to lose a person.
        late_s = max(self._config.hold_time_s, LATE_IMAGE_S)
        self._tracks = [
            track
            for track in self._tracks
            if (stamp_ns - track.seen_ns) * 1e-9
            <= (late_s if track.seen_ns == previous else track.credit_s)
        ]
        self._tracks.sort(key=lambda track: (-track.seen_ns, -track.hits))
        return [track.region(stamp_ns) for track in self._tracks]

    def update(self, sightings: list[Sighting], image_size: tuple[int, int]) -> int:
        """Add the sightings of the image announced by `predict`.

        sightings: any number; of two of one person the earlier in the list is kept.
        image_size: (width, height), pixels.
        Returns the number of new people who are not tracked because max_people already are.
        """
        sightings = without_borrowed(merge_duplicates(sightings))
        taken = self._match(sightings)
        for track in self._tracks:
            track.misses += track.seen_ns != self._now_ns
        self._tracks = [track for track in self._tracks if self._worth_keeping(track, image_size)]
        ignored = 0
        newcomers = [s for i, s in enumerate(sightings) if i not in taken and s.searched]
        for sighting in sorted(newcomers, key=lambda s: -s.diameter_px):
            if self._is_part_of_somebody(sighting):
                continue
            if not self._make_room(sighting):
                ignored += 1
                continue
            self._tracks.append(Track(sighting, self._now_ns, self._now_ns))
        for track in list(self._tracks):
            if track.track_id == 0 and track.hits >= self._config.min_hits:
                lost = self._who_returned(track)
                if lost is not None:
                    self._tracks.remove(lost)
                track.track_id = next(self.ids) if lost is None else lost.track_id
        return ignored

    def judge_pictures(self, notices: Notices) -> None:
        """Find people who have never moved, once after each `update`, and record new ones.

        People who are dropped for this reason are lost: they get a new id for a later return.
        """
        found = []
        for track in self._tracks:
            still, limit_s = track.stillness, self._config.picture_s
            picture = 0.0 < limit_s <= still.watched_s and not still.moved
            if picture and not track.picture and track.track_id:
                found.append(track.track_id)
            track.picture = picture and track.track_id > 0
            dropped = track.picture and self._config.drop_pictures
            if dropped and not track.dropped:
                track.track_id = next(self.ids)
            track.dropped = dropped
        notices.pictures(found, self._config.picture_s, self._config.drop_pictures)

    def observations(self) -> tuple[PersonObservation, ...]:
        """All people to publish, by id; keypoints only of those seen."""
        people = []
        for track in sorted(self._tracks, key=lambda track: track.track_id):
            if track.track_id == 0 or track.dropped:
                continue
            now = track.predicted(self._now_ns)
            seen = track.seen_ns == self._now_ns
            keypoints = Keypoints(now.points_px, now.visibility, now.presence) if seen else None
            details = track.sighting.details if seen else None
            people.append(
                PersonObservation(track.track_id, now.box_xyxy, now.score, keypoints, details)
            )
        return tuple(people)

    def correct(self, track_id: int, points_px: np.ndarray, stamp_ns: int) -> None:
        """Move an unseen person to a better estimate of their place (from the motion model).

        points_px: (K, 2) keypoints at the time stamp_ns, NaN where unknown. There is no effect if
        the person was seen at that time or later, or is not known any more.
        """
        known = np.isfinite(points_px).all(axis=1)
        if known.sum() < CORRECTED_POINTS:
            return
        for track in self._tracks:
            if track.track_id == track_id and track.position_ns < stamp_ns:
                track.correct(points_px, known, stamp_ns)

    def _match(self, sightings: list[Sighting]) -> set[int]:
        """Assign each sighting to the person it fits best, if any; returns the assigned ones."""
        if not sightings or not self._tracks:
            return set()
        cost = np.array([[self._cost(track, s) for s in sightings] for track in self._tracks])
        rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e3))
        taken = set()
        for row, column in zip(rows, columns, strict=True):
            if np.isfinite(cost[row, column]):
                self._tracks[row].take(
                    sightings[column], self._now_ns, self._interval_s, self._config.hold_time_s
                )
                taken.add(int(column))
        return taken

    def _cost(self, track: Track, sighting: Sighting) -> float:
        """Distance between a person's prediction and a sighting; inf if they cannot match."""
        predicted = track.predicted(self._now_ns)
        # In one bad image a person may have any size: the usual size is used as well.
        ratios = np.array([predicted.diameter_px, track.usual_px]) / sighting.diameter_px
        alike_in_size = np.any((ratios >= 1 / SIZE_RATIO_LIMIT) & (ratios <= SIZE_RATIO_LIMIT))
        unseen_s = (self._now_ns - track.seen_ns) * 1e-9
        gate = min(GATE + GATE_GROWTH_PER_S * unseen_s, GATE_LIMIT)
        alike = likeness(track.colours, sighting.colours)
        if track.seen_ns < self._previous_ns:  # lost: colours widen or narrow the search
            gate *= 0.5 + alike
        distance = pose_distance(predicted, sighting)
        possible = distance <= gate and alike_in_size
        return distance + COLOUR_WEIGHT * (1.0 - alike) if possible else np.inf

    def _who_returned(self, newcomer: Track) -> Track | None:
        """Lost people who may be a new person, whether predicted at that place or not.

        The last looks at a person before they are lost may be wrong and mislead the prediction.
        """
        best, nearest = None, RETURN_DISTANCE
        for track in self._tracks:
            if track.track_id == 0 or track.seen_ns >= newcomer.first_ns:
                continue
            ratio = track.usual_px / newcomer.usual_px
            gap = track.sighting.region.centre_px - newcomer.sighting.region.centre_px
            distance = float(np.hypot(*gap)) / max(track.usual_px, newcomer.usual_px)
            alike = likeness(track.colours, newcomer.colours) >= SAME_CLOTHES
            if alike and 1 / SIZE_RATIO_LIMIT <= ratio <= SIZE_RATIO_LIMIT and distance < nearest:
                best, nearest = track, distance
        return best

    def _worth_keeping(self, track: Track, image_size: tuple[int, int]) -> bool:
        """Whether to hold a person: if unseen, only if confirmed and not beyond the edge."""
        if track.seen_ns == self._now_ns:
            return True
        now = track.predicted(self._now_ns)
        box = now.box_xyxy
        inside = bool(np.all(box[2:] > 0) and np.all(box[:2] < image_size))
        # Keypoints are inferred inside the image until the end: a person at its edge has left.
        edge = now.region.centre_px[0], image_size[0] - now.region.centre_px[0]
        outward = -track.velocity_px_s[0], track.velocity_px_s[0]
        near = LEAVING * now.region.side_px
        leaves = any(gap < near and v > 0 for gap, v in zip(edge, outward, strict=True))
        return track.track_id > 0 and inside and not leaves and self._config.hold_time_s > 0

    def _is_part_of_somebody(self, newcomer: Sighting) -> bool:
        """True if a new person is within a seen one: the network also fits bodies to limbs.

        It sees the limb of such a body and infers the rest.
        """
        points = newcomer.shown_px
        for track in self._tracks:
            if track.seen_ns != self._now_ns:
                continue
            box = track.sighting.box_xyxy
            inside = np.all((points > box[:2]) & (points < box[2:]), axis=1)
            if inside.mean() > INSIDE_FRACTION:
                return True
        return False

    def _make_room(self, newcomer: Sighting) -> bool:
        """True if a new person can be tracked; a clearly smaller (farther) one may be dropped."""
        if len(self._tracks) < self._max_people:
            return True
        smallest = min(self._tracks, key=lambda track: track.sighting.diameter_px)
        if newcomer.diameter_px < NEARER_RATIO * smallest.sighting.diameter_px:
            return False
        self._tracks.remove(smallest)
        return True


def merge_duplicates(sightings: list[Sighting]) -> list[Sighting]:
    """Keep one sighting of each person, the first in the list.

    Two regions close to one another often end on the same body.
    """
    kept: list[Sighting] = []
    for sighting in sightings:
        for i, other in enumerate(kept):
            if pose_distance(other, sighting) < DUPLICATE_DISTANCE:
                kept[i] = replace(other, searched=other.searched or sighting.searched)
                break
        else:
            kept.append(sighting)
    return kept
