"""Who is who from image to image: a causal tracker of several people that never sees an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from moro_ros.config import TrackerConfig
from moro_ros.perception.blazepose import Region
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
# The rim of the torso shows the background on one side and the arms on the other.
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
    # Linear shares of the two nearest levels: a little more light moves no whole pixels.
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
    """Bhattacharyya coefficient of two histograms, 1: the same colours; 0.5 if one is missing."""
    return 0.5 if a is None or b is None else float(np.sqrt(a * b).sum())


# Distances below are in units of the body circle's diameter (about the person's height).
DUPLICATE_DISTANCE = 0.12
GATE = 0.35
GATE_GROWTH_PER_S = 2.0
GATE_LIMIT = 1.5
# What quite another dress adds to the distance between a person and a sighting.
COLOUR_WEIGHT = 0.3
# A newcomer who turns up as somebody is lost, in clothes so alike and no farther away, is him.
SAME_CLOTHES = 0.6
RETURN_DISTANCE = 2.0
# How much larger a newcomer must be to take the place of a followed person.
NEARER_RATIO = 1.25
LATE_IMAGE_S = 1.0
# So many keypoints must be known for a person's place and size to be corrected.
CORRECTED_POINTS = 4
# A newcomer with more than this part of his keypoints in the box of somebody seen is part of him.
INSIDE_FRACTION = 0.6
# How near to the left or right edge, in sides of his region, somebody unseen is leaving by it.
LEAVING = 0.15


class PersonTracker:
    """Gives each person in a stream of sightings one id.

    Per image: `predict` tells where to look, `update` takes what was seen there, `observations`
    is the answer. A person is published after `min_hits` images in which he was seen, and held
    with a predicted box for `hold_time_s` after the last. That time must be earned: being seen
    surely fills it up, being out of sight uses it up, so flickering false people go soon.
    ids: where new ids come from; trackers of several cameras may share it.
    """

    def __init__(self, config: TrackerConfig, max_people: int) -> None:
        self._config = config
        self._max_people = max_people
        self._tracks: list[Track] = []
        self.ids: Iterator[int] = itertools.count(1)
        self._now_ns = self._previous_ns = 0
        self._interval_s = 0.0

    def configure(self, config: TrackerConfig, max_people: int) -> None:
        """Change the options; everybody keeps his id, and too many people leave by themselves."""
        self._config, self._max_people = config, max_people

    def reset(self) -> None:
        """Forget everybody; ids go on where they were, so that none is ever used twice."""
        self._tracks.clear()

    def renumber(self) -> None:
        """Give everybody who has an id a new one."""
        for track in self._tracks:
            if track.track_id:
                track.track_id = next(self.ids)

    @property
    def full(self) -> bool:
        """Whether max_people are followed."""
        return len(self._tracks) >= self._max_people

    @property
    def empty(self) -> bool:
        """Whether nobody is followed."""
        return not self._tracks

    @property
    def looked_ns(self) -> list[int]:
        """When those last predicted were last looked at, in that order."""
        return [track.looks[-1][0] for track in self._tracks]

    def carried(self, place: int) -> Sighting | None:
        """What a look at one of those last predicted would show, by their last two looks.

        None for somebody of whom they say too little (Track.carried), and for newcomers, of whom
        only looks can make sure.
        """
        track = self._tracks[place]
        return track.carried(self._now_ns) if track.track_id else None

    @property
    def out_of_sight(self) -> int:
        """How many of the people last predicted were not seen in the image before; the last."""
        return sum(track.seen_ns < self._previous_ns for track in self._tracks)

    def predict(self, stamp_ns: int) -> list[Region]:
        """Move to the time of the next image and tell where the people should be in it.

        Those seen last and followed longest come first. Drops whoever was out of sight too long.
        """
        previous, self._now_ns = self._now_ns, stamp_ns
        self._previous_ns = previous
        self._interval_s = (stamp_ns - previous) * 1e-9 if self._tracks else 0.0
        # In view until the last image: one late image is no reason to lose anybody.
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
        """Tell what was seen in the image announced by `predict`.

        sightings: in any number; of two of one person the earlier in the list is kept.
        image_size: (width, height), pixels.
        Returns how many new people are not followed because max_people already are.
        """
        sightings = merge_duplicates(sightings)
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
        """Judge who has never moved, once after each `update`, and note whoever is new.

        Whoever is not reported for that and moves after all gets a new id, since theirs ended.
        """
        found = []
        for track in self._tracks:
            still, limit_s = track.stillness, self._config.picture_s
            picture = 0.0 < limit_s <= still.watched_s and not still.moved
            if picture and not track.picture and track.track_id:
                found.append(track.track_id)
            elif track.picture and not picture and self._config.drop_pictures:
                track.track_id = next(self.ids)
            track.picture = picture and track.track_id > 0
        notices.pictures(found, self._config.picture_s, self._config.drop_pictures)

    def observations(self) -> tuple[PersonObservation, ...]:
        """Everybody of whom something may be published, by id; keypoints only of those seen."""
        people = []
        for track in sorted(self._tracks, key=lambda track: track.track_id):
            if track.track_id == 0 or (track.picture and self._config.drop_pictures):
                continue
            now = track.predicted(self._now_ns)
            seen = track.seen_ns == self._now_ns
            keypoints = Keypoints(now.points_px, now.visibility, now.presence) if seen else None
            people.append(PersonObservation(track.track_id, now.box_xyxy, now.score, keypoints))
        return tuple(people)

    def correct(self, track_id: int, points_px: np.ndarray, stamp_ns: int) -> None:
        """Put an unseen person where somebody who knows better (the motion model) says he was.

        points_px: (K, 2) keypoints at the time stamp_ns, NaN where unknown. Nothing happens to a
        person who has been seen at that time or later, or is not known any more.
        """
        known = np.isfinite(points_px).all(axis=1)
        if known.sum() < CORRECTED_POINTS:
            return
        for track in self._tracks:
            if track.track_id == track_id and track.position_ns < stamp_ns:
                track.correct(points_px, known, stamp_ns)

    def _match(self, sightings: list[Sighting]) -> set[int]:
        """Give each sighting to the person it fits best, if it fits; returns the ones given."""
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
        """Distance between where a person should be and a sighting; inf where it can't be him."""
        predicted = track.predicted(self._now_ns)
        # One bad image makes a person of any size: his usual size counts as well.
        ratios = np.array([predicted.diameter_px, track.usual_px]) / sighting.diameter_px
        alike_in_size = np.any((ratios >= 1 / SIZE_RATIO_LIMIT) & (ratios <= SIZE_RATIO_LIMIT))
        unseen_s = (self._now_ns - track.seen_ns) * 1e-9
        gate = min(GATE + GATE_GROWTH_PER_S * unseen_s, GATE_LIMIT)
        alike = likeness(track.colours, sighting.colours)
        if track.seen_ns < self._previous_ns:  # lost: his clothes widen or narrow the search
            gate *= 0.5 + alike
        distance = pose_distance(predicted, sighting)
        possible = distance <= gate and alike_in_size
        return distance + COLOUR_WEIGHT * (1.0 - alike) if possible else np.inf

    def _who_returned(self, newcomer: Track) -> Track | None:
        """Whoever was lost before a newcomer came and may be him, expected elsewhere or not.

        The last looks at somebody who is being lost may be wrong, and lead the prediction astray.
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
        """Unseen people are held only once confirmed, and not beyond the image's edge."""
        if track.seen_ns == self._now_ns:
            return True
        now = track.predicted(self._now_ns)
        box = now.box_xyxy
        inside = bool(np.all(box[2:] > 0) and np.all(box[:2] < image_size))
        # Keypoints are guessed inside the image to the last: who walks into its edge has left.
        edge = now.region.centre_px[0], image_size[0] - now.region.centre_px[0]
        outward = -track.velocity_px_s[0], track.velocity_px_s[0]
        near = LEAVING * now.region.side_px
        leaves = any(gap < near and v > 0 for gap, v in zip(edge, outward, strict=True))
        return track.track_id > 0 and inside and not leaves and self._config.hold_time_s > 0

    def _is_part_of_somebody(self, newcomer: Sighting) -> bool:
        """True if a newcomer lies within a person seen: the network fits bodies to limbs, too.

        What it sees of such a body is the limb; the rest it guesses beyond.
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
        """True if a newcomer can be followed; a clearly smaller (farther) person may have to go."""
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
