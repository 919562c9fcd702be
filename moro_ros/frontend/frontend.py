"""The front-end of the open model: an image in, the people in it with keypoints and ids out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from moro_ros.assets import fetch
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.frontend.blazepose import (
    BlazePoseDetector,
    BlazePoseLandmarker,
    Detection,
    Landmarks,
    Region,
)
from moro_ros.frontend.search import Sweep, Tile, tile_round
from moro_ros.frontend.tracker import PersonTracker, Sighting
from moro_ros.types import PersonObservation

LOGGER = logging.getLogger(__name__)
# A detection with a centre this near to a known region's (in sides of the larger) and a side this
# like it adds nothing.
SAME_CENTRE, SAME_SIDE = 0.2, 0.75
# Landmark flag of a newcomer: 0.99 and more on people, up to 0.75 on trees and walls.
SURE_FLAG = 0.9
# Side of the tile searched round somebody lost, in sides of his region.
LOST_TILE = 1.4


class Detector(Protocol):
    """Searches a whole image for people."""

    def detect(self, image_rgb: np.ndarray, min_score: float) -> list[Detection]: ...


class Landmarker(Protocol):
    """Locates the landmarks of the person in a region of an image."""

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks: ...


class KeypointFrontend:
    """Finds people, follows them and locates their keypoints, one image after the other.

    ignored_people: how often somebody was found and not followed because of max_people, ever.
    timings: seconds spent on the latest image: detect_s, landmark_s.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        detector_config: DetectorConfig,
        tracker_config: TrackerConfig,
        max_people: int,
    ) -> None:
        self._detector, self._landmarker = detector, landmarker
        self._config = detector_config
        self._tracker = PersonTracker(tracker_config, max_people)
        self._sweep = Sweep(detector_config.every, detector_config.smallest_person)
        self._stamp_ns: int | None = None
        self._offered: np.ndarray | None = None
        self.ignored_people = 0
        self.timings = {"detect_s": 0.0, "landmark_s": 0.0}

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        """Find and follow the people in the next image.

        image_rgb: (H, W, 3) uint8, the full image. stamp_ns: its acquisition time; a time that is
        not after the last one starts anew (a looping bag).
        Returns everybody in view and everybody out of sight for less than the hold time, by id.
        """
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            LOGGER.info("Time went back: the people followed are forgotten.")
            self.reset()
        self._stamp_ns = stamp_ns
        self.timings = {"detect_s": 0.0, "landmark_s": 0.0}
        regions = self._tracker.predict(stamp_ns)
        sightings, lost = [], []
        for region in regions:
            sighting = self._look(image_rgb, region)
            if sighting is None:
                lost.append(region)
            else:
                sightings.append(sighting)
        known = [sighting.region for sighting in sightings]
        offered, self._offered = self._offered, None
        if offered is None:
            found = self._search(image_rgb, lost)
        else:
            found = iter([Region.of_box(box) for box in offered])
        sightings += self._newcomers(image_rgb, known, found)
        height, width = image_rgb.shape[:2]
        self.ignored_people += self._tracker.update(sightings, (width, height))
        return self._tracker.observations()

    def offer(self, boxes_xyxy: np.ndarray) -> None:
        """Give the boxes (N, 4), pixels, of the people in the next image.

        They come from another detector and replace the search of that image.
        """
        self._offered = boxes_xyxy

    def number_from(self, ids: Iterator[int]) -> None:
        """Take new ids from an iterator that the front-ends of several cameras share."""
        self._tracker.ids = ids

    def correct(self, track_id: int, box_xyxy: np.ndarray) -> None:
        """Tell where an unseen person is now; box_xyxy: (4,) pixels (see PersonTracker.correct)."""
        self._tracker.correct(track_id, box_xyxy)

    def configure(
        self, detector_config: DetectorConfig, tracker_config: TrackerConfig, max_people: int
    ) -> None:
        """Change the options that may change at run time; everybody keeps his id."""
        self._tracker.configure(tracker_config, max_people)
        if detector_config != self._config:
            self._sweep = Sweep(detector_config.every, detector_config.smallest_person)
        self._config = detector_config

    def reset(self) -> None:
        """Forget everybody, as after a jump in time; ids are still not used twice."""
        self._tracker.reset()
        self._sweep.restart()
        self._stamp_ns = None

    def _look(self, image_rgb: np.ndarray, region: Region) -> Sighting | None:
        """What the landmark network sees in a region, or None if that is no person."""
        start = time.perf_counter()
        landmarks = self._landmarker.locate(image_rgb, region)
        self.timings["landmark_s"] += time.perf_counter() - start
        return None if landmarks.flag < self._config.min_flag else Sighting.of(landmarks)

    def _search(self, image_rgb: np.ndarray, lost: list[Region]) -> Iterator[Region]:
        """Where the detector finds people: round those just lost and along the sweep."""
        height, width = image_rgb.shape[:2]
        near = (tile_round(r.centre_px, LOST_TILE * r.side_px, width, height) for r in lost)
        tiles = [tile for tile in near if tile is not None]
        for tile in tiles + self._sweep.next_tiles(width, height):
            yield from self._detect(image_rgb, tile)

    def _newcomers(
        self, image_rgb: np.ndarray, known: list[Region], found: Iterable[Region]
    ) -> list[Sighting]:
        """The people in found regions that are none of the known ones."""
        known, sightings = list(known), []
        for region in found:
            if any(_same(region, other) for other in known):
                continue
            sighting = self._confirm(image_rgb, region)
            if sighting is not None:
                known.append(sighting.region)
                sightings.append(sighting)
        return sightings

    def _detect(self, image_rgb: np.ndarray, tile: Tile) -> list[Region]:
        """Regions of the people that the detector finds in a tile, in the full image."""
        start = time.perf_counter()
        detections = self._detector.detect(tile.crop(image_rgb), self._config.min_score)
        self.timings["detect_s"] += time.perf_counter() - start
        return [d.region.shifted(tile.left, tile.top) for d in detections]

    def _confirm(self, image_rgb: np.ndarray, region: Region) -> Sighting | None:
        """The person in a detected region, or None if two looks do not make sure of one."""
        rough = self._look(image_rgb, region)
        if rough is None:
            return None
        sighting = self._look(image_rgb, rough.region)
        if sighting is None or sighting.score < max(SURE_FLAG, self._config.min_flag):
            return None
        box = sighting.box_xyxy
        extent = float((box[2:] - box[:2]).max())
        if extent < self._config.smallest_person * min(image_rgb.shape[:2]):
            return None
        return replace(sighting, searched=True)


def load_frontend(
    detector_config: DetectorConfig, tracker_config: TrackerConfig, max_people: int
) -> KeypointFrontend:
    """Build the front-end with the published BlazePose models, fetched at the first use.

    Raises: AssetError if a model file can't be had.
    """
    threads = detector_config.threads
    return KeypointFrontend(
        BlazePoseDetector(fetch("pose_detection.tflite"), threads),
        BlazePoseLandmarker(fetch("pose_landmark_full.tflite"), threads),
        detector_config,
        tracker_config,
        max_people,
    )


def _same(a: Region, b: Region) -> bool:
    larger, smaller = max(a.side_px, b.side_px), min(a.side_px, b.side_px)
    gap = float(np.hypot(*(a.centre_px - b.centre_px)))
    return gap < SAME_CENTRE * larger and smaller > SAME_SIDE * larger
