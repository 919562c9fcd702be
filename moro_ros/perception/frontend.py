"""The front-end of the open model: from an image to the people in it, with keypoints and ids."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from moro_ros.assets import fetch
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.perception.blazepose import (
    WIDER,
    BlazePoseDetector,
    BlazePoseLandmarker,
    Detection,
    Landmarks,
    Region,
)
from moro_ros.perception.search import Notices, Sweep, Tile, Turns, tile_round
from moro_ros.perception.sighting import LEAST_FIT, Sighting, sure_of_newcomer
from moro_ros.perception.tracker import PersonTracker, torso_colours
from moro_ros.types import PersonObservation

LOGGER = logging.getLogger(__name__)
# Minimum landmark flag of a new person: 0.99 and more on people, up to 0.75 on trees and walls.
SURE_FLAG = 0.9
# Side of the tile searched around a lost person, in sides of their region.
LOST_TILE = 1.4
# Looks per image at people who are not tracked yet: one, or two offline to find a lost person
# again. Without tracked people, and at low image rates, there is time for all.
NEW_LOOKS, LOST_LOOKS, ALL_LOOKS = 1, 2, 1000
# Maximum number of detected regions that wait for such a look.
WAITING = 4
# Time between images above which a lost person is searched for in each image by all means.
RARE_S = 0.075
# Maximum consecutive late images without a search: with all people in sight, and with one lost.
MOST_UNSEARCHED, MOST_UNSEARCHED_LOST = 2, 1
# The image rate for which detector.every is defined.
SEARCH_RATE_HZ = 30.0
# With max_people tracked, only a nearer person matters: one of this many images is searched.
FULL_EVERY = 3
T = TypeVar("T")
R = TypeVar("R")


class Detector(Protocol):
    """Searches a whole image for people; called from several threads at once."""

    def detect(self, image_rgb: np.ndarray, min_score: float) -> list[Detection]: ...


class Landmarker(Protocol):
    """Locates the landmarks of a person in a region; called from several threads at once."""

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A region in which a new person may be.

    looked_at: whether a first look found a person; widened: whether a first look found none, so a
    larger region is tried.
    """

    region: Region
    looked_at: bool = False
    widened: bool = False


class KeypointFrontend:
    """Detects people, tracks them and locates their keypoints, one image after the other.

    ignored_people: total number of times a detected person was not tracked because of max_people.
    carried_people: total number of times a visible person was skipped for lack of time (Turns);
    their keypoints are then extrapolated from the two looks before.
    timings: seconds of work on the latest image, sum of all threads: detect_s, landmark_s.
    Networks run on detector_config.threads threads, people in parallel.
    realtime: see PipelineConfig.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        detector_config: DetectorConfig,
        tracker_config: TrackerConfig,
        max_people: int,
        realtime: bool = True,
    ) -> None:
        self._detector, self._landmarker = detector, landmarker
        self._config, self._realtime = detector_config, realtime
        self._tracker = PersonTracker(tracker_config, max_people)
        self.notices = Notices()
        self._sweep = self._new_sweep()
        self._stamp_ns: int | None = None
        self._offered: np.ndarray | None = None
        self._waiting: list[Candidate] = []
        self._images = self._blind_images = self._unsearched = 0
        self._interval_s = 0.0
        self._spent: list[tuple[str, float]] = []
        threads = detector_config.threads
        self._pool = ThreadPoolExecutor(threads, "moro_detector") if threads > 1 else None
        self._turns = Turns(detector_config.look_share, threads)
        self.ignored_people = self.carried_people = 0
        self.timings = {"detect_s": 0.0, "landmark_s": 0.0}

    def observe(
        self, image_rgb: np.ndarray, stamp_ns: int, late: bool = False
    ) -> tuple[PersonObservation, ...]:
        """Detect and track the people in the next image.

        image_rgb: (H, W, 3) uint8, the full image. stamp_ns: its acquisition time; a time that is
        not after the last one restarts tracking (a looping bag). late: it had to wait, and the
        next one should not: only visible people who were skipped for two images are looked at, and
        there is no search, in at most two of three such images, with a lost person in one of two.
        Returns all people in view and those out of sight for less than the hold time, by id.
        """
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            LOGGER.info("Time jumped back: tracking restarts.")
            self.reset()
        self._interval_s = (stamp_ns - (self._stamp_ns or stamp_ns)) * 1e-9
        self._stamp_ns = stamp_ns
        self._images += 1
        self._spent.clear()
        self._turns.image(self._interval_s)
        regions = self._tracker.predict(stamp_ns)
        in_sight = len(regions) - self._tracker.out_of_sight
        offered, self._offered = self._offered, None
        # Offline, a lost person need not wait: by the next image they are farther away.
        hurried = self._interval_s <= RARE_S and (self._realtime or 0 < len(regions) == in_sight)
        late = late and self._may_spare(len(regions), in_sight)
        self._unsearched = self._unsearched + 1 if late else 0
        looked_for, tiles = self._plan(image_rgb, regions[:in_sight], regions[in_sight:], late)
        if offered is not None:
            tiles = []
        found = self._each(lambda tile: self._detect(image_rgb, tile), tiles)
        carried = self._carried(in_sight, late)
        looked_for = [r for i, r in enumerate(looked_for) if i not in carried]
        candidates = self._next_candidates(regions) if hurried and not late else []
        in_sight -= len(carried)
        asked = looked_for + [candidate.region for candidate in candidates]
        looks = list(self._each(lambda region: self._look(image_rgb, region), asked))
        looks, answers = looks[: len(looked_for)], looks[len(looked_for) :]
        sightings = [sighting for sighting in looks if sighting is not None]
        sightings += carried.values()
        places = [region for regions_found in found for region in regions_found]
        if offered is not None:
            places = [Region.of_box(box) for box in offered]
        known = zip(looked_for[:in_sight], looks[:in_sight], strict=True)
        just_lost = [region for region, look in known if look is None]
        if just_lost and offered is None and not (self._realtime and hurried):
            for tile in self._tiles_round(image_rgb, just_lost[:1]):
                places += self._detect(image_rgb, tile)
        if hurried:
            sightings += self._newcomers(image_rgb, sightings, candidates, answers)
            self._waiting += [Candidate(region) for region in places]
            self._waiting.sort(key=lambda candidate: candidate.widened)  # first looks go first
            del self._waiting[WAITING:]
        else:
            rare = not regions or self._interval_s > RARE_S
            looks_left = ALL_LOOKS if rare else LOST_LOOKS
            sightings += self._newcomers_at_once(image_rgb, sightings, places, looks_left)
        height, width = image_rgb.shape[:2]
        self.ignored_people += self._tracker.update(sightings, (width, height))
        self._tracker.judge_pictures(self.notices)
        self.notices.judge_small(self._config.smallest_person, stamp_ns, self._tracker.empty)
        self._keep_times()
        return self._tracker.observations()

    def _keep_times(self) -> None:
        for name, seconds in self._spent:
            if name == "landmark_s":
                self._turns.took(seconds)
        for stage in self.timings:
            self.timings[stage] = sum(seconds for name, seconds in self._spent if name == stage)

    def offer(self, boxes_xyxy: np.ndarray) -> None:
        """Provide the boxes (N, 4), pixels, of the people in the next image.

        They are from another detector and replace the search of that image.
        """
        self._offered = boxes_xyxy

    def number_from(self, ids: Iterator[int]) -> None:
        """Use ids from an iterator that the front-ends of several cameras share."""
        self._tracker.ids = ids

    def correct(self, track_id: int, points_px: np.ndarray, stamp_ns: int) -> None:
        """Set the place of an unseen person at a time (see PersonTracker.correct)."""
        self._tracker.correct(track_id, points_px, stamp_ns)

    def configure(
        self,
        detector_config: DetectorConfig,
        tracker_config: TrackerConfig,
        max_people: int,
        realtime: bool = True,
    ) -> None:
        """Change the options that can change at run time; people keep their ids."""
        self._tracker.configure(tracker_config, max_people)
        if (detector_config, realtime) != (self._config, self._realtime):
            self._config, self._realtime = detector_config, realtime
            self._sweep = self._new_sweep()
        self._turns.share = detector_config.look_share

    def _new_sweep(self) -> Sweep:
        config = self._config
        return Sweep(config.every, config.smallest_person, live=self._realtime)

    def renumber(self) -> None:
        """Give all people new ids, after the old ones were reported as lost."""
        self._tracker.renumber()

    def reset(self) -> None:
        """Forget all people, for instance after a jump in time; ids are never reused."""
        self._tracker.reset()
        self._sweep.restart()
        self._turns.restart()
        self._waiting.clear()
        self._stamp_ns = None

    def _plan(
        self, image_rgb: np.ndarray, in_sight: list[Region], blind: list[Region], late: bool
    ) -> tuple[list[Region], list[Tile]]:
        """The regions of known people in the next image, and the tiles to search.

        A person out of sight is looked for at the predicted place and in a tile around it, in
        turns. At low image rates both are done in each image, because people move far between two.
        """
        height, width = image_rgb.shape[:2]
        # If the next image does not wait, no image makes up for dropped ones.
        interval_s = self._turns.period_s if self._realtime else self._interval_s
        passed = interval_s * SEARCH_RATE_HZ
        if late:
            return in_sight, []
        self._blind_images = self._blind_images + 1 if blind else 0
        if not blind:
            full = self._tracker.full and self._images % FULL_EVERY
            return in_sight, [] if full else self._sweep.next_tiles(width, height, passed)
        turn, search = divmod(self._blind_images, 2)
        if self._interval_s > RARE_S:
            tiles = self._tiles_round(image_rgb, blind)
            return in_sight + blind, tiles + self._sweep.next_tiles(width, height, passed)
        if search:
            return in_sight, self._tiles_round(image_rgb, [blind[turn % len(blind)]])
        return in_sight + blind, self._sweep.next_tiles(width, height, passed)

    def _may_spare(self, people: int, in_sight: int) -> bool:
        """Whether to skip the search in this image so that the next one is not late."""
        if not self._realtime or self._interval_s > RARE_S or not people:
            return False
        most = MOST_UNSEARCHED if in_sight == people else MOST_UNSEARCHED_LOST
        return self._unsearched < most

    def _carried(self, in_sight: int, late: bool) -> dict[int, Sighting]:
        """Extrapolated sightings of people who are skipped in this image, by their index."""
        if not self._realtime:
            return {}
        spared = self._turns.spared(
            self._tracker.looked_ns[:in_sight], self._stamp_ns if late else None
        )
        carried = {place: self._tracker.carried(place) for place in spared}
        known = {place: sighting for place, sighting in carried.items() if sighting is not None}
        self.carried_people += len(known)
        return known

    @staticmethod
    def _tiles_round(image_rgb: np.ndarray, regions: list[Region]) -> list[Tile]:
        height, width = image_rgb.shape[:2]
        near = (tile_round(r.centre_px, LOST_TILE * r.side_px, width, height) for r in regions)
        return [tile for tile in near if tile is not None]

    def _each(self, work: Callable[[T], R], items: list[T]) -> Iterable[R]:
        """Run a function for each item, in parallel with other work."""
        return map(work, items) if self._pool is None else self._pool.map(work, items)

    def _look(self, image_rgb: np.ndarray, region: Region) -> Sighting | None:
        """The landmark network's output for a region; None if no person is seen there."""
        start = time.perf_counter()
        landmarks = self._landmarker.locate(image_rgb, region)
        self._spent.append(("landmark_s", time.perf_counter() - start))
        if landmarks.flag < self._config.min_flag:
            return None
        height, width = image_rgb.shape[:2]
        sighting = Sighting.of(landmarks, region.side_px, (width, height))
        if sighting.fit < LEAST_FIT:
            return None
        return replace(sighting, colours=torso_colours(image_rgb, landmarks.keypoints))

    def _next_candidates(self, regions: list[Region]) -> list[Candidate]:
        """Remove the waiting candidates that are looked at in parallel with the known people."""
        waiting = [c for c in self._waiting if not any(c.region.same_as(r) for r in regions)]
        self._waiting = waiting[NEW_LOOKS:]
        return waiting[:NEW_LOOKS]

    def _newcomers(
        self,
        image_rgb: np.ndarray,
        seen: list[Sighting],
        candidates: list[Candidate],
        answers: list[Sighting | None],
    ) -> list[Sighting]:
        """The people among the candidates who are not among those seen; answers: a look at each.

        Two looks are required to confirm a person: the second is in the next image.
        """
        known, sure = [sighting.region for sighting in seen], []
        for candidate, sighting in zip(candidates, answers, strict=True):
            if any(candidate.region.same_as(other) for other in known):
                continue
            if sighting is None:
                # The detector saw half of a person: a person behind furniture fits better into a
                # larger region.
                if not (candidate.looked_at or candidate.widened):
                    wider = candidate.region.widened(WIDER)
                    self._waiting.append(Candidate(wider, widened=True))
            elif not candidate.looked_at:
                self._waiting.insert(0, Candidate(sighting.region, looked_at=True))
            elif self._is_sure(sighting, image_rgb):
                known.append(sighting.region)
                sure.append(replace(sighting, searched=True))
        return sure

    def _newcomers_at_once(
        self, image_rgb: np.ndarray, seen: list[Sighting], places: list[Region], looks: int
    ) -> list[Sighting]:
        """The people in detected regions and among the waiting, by a number of successive looks.

        The rest waits for the next image.
        """
        found: list[Sighting] = []
        self._waiting += [Candidate(region) for region in places]
        while looks and self._waiting:
            candidate, known = self._waiting.pop(0), [*seen, *found]
            if any(candidate.region.same_as(other.region) for other in known):
                continue
            looks -= 1
            answer = self._look(image_rgb, candidate.region)
            found += self._newcomers(image_rgb, known, [candidate], [answer])
        del self._waiting[WAITING:]
        return found

    def _is_sure(self, sighting: Sighting, image_rgb: np.ndarray) -> bool:
        """Whether a new person may be tracked: certainly a person, and not too small."""
        if sighting.score < max(SURE_FLAG, self._config.min_flag):
            return False
        if not sure_of_newcomer(sighting.fit, sighting.region.angle):
            return False
        # From all points: furniture may hide most of a near person.
        share = float(np.ptp(sighting.points_px, axis=0).max()) / min(image_rgb.shape[:2])
        least = self._config.smallest_person
        if share < least:
            self.notices.small = share
        return share >= least

    def _detect(self, image_rgb: np.ndarray, tile: Tile) -> list[Region]:
        """Regions of the people detected in a tile, in the full image."""
        start = time.perf_counter()
        detections = self._detector.detect(tile.crop(image_rgb), self._config.min_score)
        self._spent.append(("detect_s", time.perf_counter() - start))
        return [d.region.shifted(tile.left, tile.top) for d in detections]


def load_frontend(
    detector_config: DetectorConfig,
    tracker_config: TrackerConfig,
    max_people: int,
    realtime: bool = True,
) -> KeypointFrontend:
    """Build the front-end with the published BlazePose models.

    Raises: AssetError if a model file was not downloaded.
    """
    threads = detector_config.threads
    return KeypointFrontend(
        BlazePoseDetector(fetch("pose_detection.tflite", download=False), threads),
        load_landmarker(detector_config),
        detector_config,
        tracker_config,
        max_people,
        realtime,
    )


def load_landmarker(config: DetectorConfig) -> BlazePoseLandmarker:
    """Load the landmark network of the configuration.

    Raises: AssetError if its file was not downloaded.
    """
    name = f"pose_landmark_{config.landmarks}.tflite"
    return BlazePoseLandmarker(fetch(name, download=False), config.threads)
