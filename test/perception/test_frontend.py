"""The front-end as a whole with scripted networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros import assets
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.errors import AssetError
from moro_ros.perception.blazepose import Detection, Landmarks, Region
from moro_ros.perception.frontend import KeypointFrontend, load_frontend, load_landmarker
from moro_ros.perception.hands import load_hand_reader
from moro_ros.perception.mouth import load_mouth_reader

FRAME_NS = 33_333_333


class World:
    """People as vertical strokes of their own colour; both networks are played on the pixels."""

    def __init__(self) -> None:
        self.people: list[tuple[float, float, float]] = []
        self.flag = 1.0
        self.peak = 1.0
        # Least region, in heights of a person, in which the landmark network sees somebody.
        self.least_region = 0.0
        # The share of everybody, from the head on, that no furniture hides.
        self.shown = 1.0
        self.detections = 0
        self.looks = 0

    def image(self) -> np.ndarray:
        canvas = np.zeros((480, 640, 3), np.uint8)
        for index, (x, y, height) in enumerate(self.people):
            top, bottom = int(y - height / 2), int(y + height / 2)
            canvas[top:bottom, int(x) - 4 : int(x) + 4] = 50 + index
        return canvas

    def detect(self, image_rgb: np.ndarray, min_score: float) -> list[Detection]:
        self.detections += 1
        found = []
        for colour in range(50, 50 + len(self.people)):
            y, x = np.nonzero(image_rgb[..., 0] == colour)
            if len(y) and np.ptp(y) > 0.3 * image_rgb.shape[0]:
                centre = np.array([x.mean(), y.mean()])
                found.append(Detection(Region(centre, 1.25 * np.ptp(y), 0.0), 0.9))
        return found

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks:
        self.looks += 1
        near = [
            person
            for person in self.people
            if np.hypot(*(region.centre_px - person[:2])) < 0.3 * region.side_px
            and region.side_px >= self.least_region * person[2]
        ]
        ones, world = np.ones(33, np.float32), np.zeros((33, 3), np.float32)
        if not near:
            return Landmarks(np.zeros((35, 2), np.float32), ones, ones, 0.0, world, ones)
        x, y, height = near[0]
        body = np.stack([np.sin(np.arange(33)) / 5, np.linspace(-0.5, 0.5, 33)], axis=1)
        points = np.concatenate([body, [[0, 0], [0, -0.5]]]) * height + (x, y)
        visible = (np.arange(33) < 33 * self.shown).astype(np.float32)
        peaks = self.peak * ones
        return Landmarks(points.astype(np.float32), visible, ones, self.flag, world, peaks)


class Run:
    """A front-end on a world, with its own clock."""

    def __init__(self, max_people: int = 6, every: int = 5, look_share: float = 0.0) -> None:
        """look_share: 0 is offline."""
        self.world = World()
        self.stamp_ns = 0
        self.frontend = KeypointFrontend(
            self.world,
            self.world,
            DetectorConfig(every=every, look_share=look_share),
            TrackerConfig(),
            max_people,
            realtime=look_share > 0.0,
        )

    def __call__(self, *people: tuple[float, float, float], frames: int = 1, late: bool = False):
        self.world.people = list(people)
        for _ in range(frames):
            self.stamp_ns += FRAME_NS
            observed = self.frontend.observe(self.world.image(), self.stamp_ns, late)
        return observed


def test_nobody_in_view_is_an_empty_tuple():
    run = Run()
    assert run(frames=5) == ()
    assert run.world.looks == 0 and run.world.detections > 0
    assert set(run.frontend.timings) == {"detect_s", "landmark_s"}


def test_people_small_and_large_are_found_and_keep_their_ids():
    run = Run()
    observed = run((150, 240, 320), (420, 240, 120), frames=5)
    assert [p.track_id for p in observed] == [1, 2]
    assert all(p.keypoints is not None for p in observed)
    heights = [p.box_xyxy[3] - p.box_xyxy[1] for p in observed]
    np.testing.assert_allclose(heights, [320, 120], rtol=0.01)
    observed = run((150, 240, 320), (420, 240, 120), (560, 240, 150), frames=12)
    assert [p.track_id for p in observed] == [1, 2, 3]
    assert run.frontend.timings["landmark_s"] > 0


def test_a_followed_person_costs_one_look_an_image():
    run = Run(every=300)
    run((200, 240, 300), frames=10)
    run.world.looks = run.world.detections = 0
    run((200, 240, 300), frames=20)
    assert run.world.looks == 20
    assert run.world.detections <= 2


def test_a_body_that_fits_nothing_is_nobody():
    """The landmark network is sure of people in curtains, where its heatmaps show no peaks."""
    run = Run()
    run.world.peak = 0.5
    assert run((200, 240, 300), frames=20) == ()
    run.world.peak = 0.8
    assert len(run((200, 240, 300), frames=20)) == 1
    # Whoever is followed may be blurred for a while; but not fit nothing at all.
    run.world.peak = 0.5
    assert run((200, 240, 300))[0].keypoints is not None
    run.world.peak = 0.3
    assert run((200, 240, 300))[0].keypoints is None


@pytest.mark.parametrize("look_share", [0.0, 1.0], ids=["offline", "live"])
def test_somebody_half_hidden_is_found_and_kept_in_a_wider_region(look_share: float):
    run = Run(look_share=look_share)
    run.world.least_region = 1.4  # the detector's regions have 1.25
    run((200, 240, 300), frames=12)
    run.world.least_region = 0.0
    (person,) = run((200, 240, 300), frames=10)
    assert person.track_id == 1 and person.keypoints is not None
    run.world.least_region = 1.4
    seen = [run((200, 240, 300))[0].keypoints is not None for _ in range(12)]
    assert any(seen), "wider looks find whom the usual ones lost"
    run.world.least_region = 0.0
    assert [p.track_id for p in run((200, 240, 300), frames=5)] == [1]


def test_where_time_is_short_people_are_looked_at_in_turns():
    run = Run(every=300, look_share=1e-9)
    people = [(120, 240, 200), (320, 240, 210), (520, 240, 220)]
    run(*people, frames=10)
    run.world.looks = 0
    for step in range(1, 31):
        moved = [(x + step, y, height) for x, y, height in people]
        observed = run(*moved)
        assert [p.track_id for p in observed] == [1, 2, 3]
        assert all(p.keypoints is not None for p in observed)
        middles = sorted(float(p.box_xyxy[[0, 2]].mean()) for p in observed)
        np.testing.assert_allclose(middles, [x for x, _, _ in moved], atol=12)
    carried = run.frontend.carried_people
    assert run.world.looks == 30 and carried >= 60
    run.frontend.configure(DetectorConfig(every=300), TrackerConfig(), 6, realtime=False)
    for step in range(31, 41):
        run(*[(x + step, y, height) for x, y, height in people])
    assert run.world.looks >= 60 and run.frontend.carried_people == carried


def test_an_image_that_had_to_wait_gets_only_what_cannot_wait():
    """Else it would make the next one wait too, until one is dropped."""
    run = Run(every=1, look_share=1.0)
    people = [(120, 240, 200), (320, 240, 210), (520, 240, 220)]
    run(*people, frames=20)
    searched, looked = [], []
    for _ in range(6):
        run.world.looks = run.world.detections = 0
        assert len(run(*people, late=True)) == 3
        searched.append(run.world.detections > 0)
        looked.append(run.world.looks)
    assert searched == [False, False, True] * 2
    # Everybody had been looked at before, and is again in the third image.
    assert looked[:2] == [0, 0] and looked[2] >= 3 and looked[3:5] == [0, 0]
    # Somebody lost is looked for in every other image.
    assert run(*people[:2])[2].keypoints is None
    searched = []
    for _ in range(4):
        run.world.detections = 0
        assert run(*people[:2], late=True)[2].keypoints is None
        searched.append(run.world.detections > 0)
    assert searched in ([False, True] * 2, [True, False] * 2)
    assert run(*people, frames=3)[2].keypoints is not None


def test_offline_no_image_is_late():
    work = set()
    for late in (False, True):
        run = Run(every=5)
        run((200, 240, 300), frames=20, late=late)
        work.add((run.world.looks, run.world.detections))
    assert len(work) == 1


def test_somebody_lost_is_searched_for_at_once():
    run = Run(every=300)
    run((200, 240, 200), frames=40)
    (held,) = run()
    assert held.keypoints is None
    run.world.flag = 1.0
    # Out of the old region's reach, within that of the tile round it.
    (again,) = run((275, 240, 200))
    assert again.track_id == held.track_id and again.keypoints is not None


def test_what_the_landmark_network_doubts_is_no_newcomer():
    run = Run()
    run.world.flag = 0.7
    assert run((200, 240, 300), frames=10) == ()
    run.world.flag = 1.0
    assert len(run((200, 240, 300), frames=10)) == 1
    run.world.flag = 0.7
    assert run((200, 240, 300))[0].keypoints is not None


def test_too_small_people_are_left_alone():
    run = Run()
    assert run((200, 240, 80), frames=10) == ()


def test_somebody_of_whom_little_shows_is_as_large_as_all_of_them():
    """Of somebody near whom a table hides, 84 px show, which is less than smallest_person."""
    run = Run()
    run.world.shown = 0.4
    (person,) = run((200, 240, 210), frames=10)
    assert person.box_xyxy[3] - person.box_xyxy[1] < 96
    assert run.frontend.notices.counts["small_people"] == 0


def test_time_going_back_starts_anew_without_using_an_id_twice():
    run = Run()
    assert run((200, 240, 300), frames=5)[0].track_id == 1
    run.stamp_ns = 0
    assert run((200, 240, 300)) == ()
    assert run((200, 240, 300), frames=5)[0].track_id == 2


def test_more_people_than_allowed_are_counted():
    run = Run(max_people=1)
    observed = run((150, 240, 320), (420, 240, 150), frames=5)
    assert [round(float(p.box_xyxy[3] - p.box_xyxy[1])) for p in observed] == [320]
    assert run.frontend.ignored_people > 0


def test_options_change_while_people_keep_their_ids():
    run = Run(max_people=2)
    run((150, 240, 320), frames=5)
    run.frontend.configure(DetectorConfig(smallest_person=0.6), TrackerConfig(hold_time_s=0.0), 2)
    assert [p.track_id for p in run((150, 240, 320), (420, 240, 150), frames=20)] == [1]
    assert run() == ()


def test_only_small_people_in_view_are_hinted_at(caplog):
    run = Run(every=1)
    run.frontend.configure(DetectorConfig(every=1, smallest_person=0.6), TrackerConfig(), 6)
    assert run((320, 240, 200), frames=60) == ()
    assert run.frontend.notices.counts["small_people"] > 0
    said = [record.getMessage() for record in caplog.records]
    hints = [text for text in said if "detector.smallest_person" in text]
    assert len(hints) == 1 and "0.42" in hints[0]  # once in ten seconds
    # Somebody who is tall enough is reported: then there is nothing to say.
    run((320, 240, 300), frames=10)
    before = run.frontend.notices.counts["small_people"]
    assert len(run((320, 240, 300), (80, 240, 200), frames=20)) == 1
    assert run.frontend.notices.counts["small_people"] == before


def test_nothing_is_said_of_somebody_small_who_is_found_before_somebody_tall():
    run = Run(every=1)
    run.frontend.configure(DetectorConfig(every=1, smallest_person=0.6), TrackerConfig(), 6)
    assert len(run((80, 240, 160), (320, 240, 420), frames=60)) == 1
    assert run.frontend.notices.counts["small_people"] == 0


def test_who_never_moved_is_named_and_dropped_if_asked(caplog):
    run, picture = Run(every=30), (200, 240, 300)
    tracker = TrackerConfig(picture_s=2.0)
    run.frontend.configure(DetectorConfig(every=30), tracker, 6)
    jitter = np.random.default_rng(1)
    for step in range(100):
        x, y = jitter.normal(0, 0.4, 2)
        sway = 6 * np.sin(step / 10)  # of 300 px: 3 cm
        people = run((200 + x, 240 + y, 300), (450 + sway, 240, 280))
    assert [p.track_id for p in people] == [1, 2]
    assert run.frontend.notices.counts["pictures"] == 1
    named = [r.getMessage() for r in caplog.records if "has not moved" in r.getMessage()]
    (still,) = [p.track_id for p in people if p.box_xyxy[0] < 300]
    assert len(named) == 1 and f"Person {still} " in named[0] and "still reported" in named[0]
    run.frontend.configure(DetectorConfig(every=30), replace(tracker, drop_pictures=True), 6)
    (swaying,) = run(picture, (450, 240, 280))
    assert swaying.box_xyxy[0] > 300
    # A picture that walks was none; its id has ended, so that it gets another.
    for step in range(40):
        people = run((200 + 2 * step, 240, 300), (450, 240, 280))
    assert len(people) == 2 and still not in [p.track_id for p in people]


@pytest.mark.parametrize("published", [{"drop_pictures": False}, {"picture_s": 0.0}])
def test_who_was_dropped_as_a_picture_is_published_under_a_new_id(published):
    """Their id has been reported lost."""
    run, tracker = Run(every=30), TrackerConfig(picture_s=2.0, drop_pictures=True)
    run.frontend.configure(DetectorConfig(every=30), tracker, 6)
    ids = [[p.track_id for p in run((200, 240, 300))] for _ in range(100)]
    assert [1] in ids and ids[-1] == []
    run.frontend.configure(DetectorConfig(every=30), replace(tracker, **published), 6)
    ids = [[p.track_id for p in run((200, 240, 300))] for _ in range(10)]
    assert ids == [[2]] * 10


def test_who_moved_once_may_sit_still_for_ever():
    run = Run(every=30)
    run.frontend.configure(
        DetectorConfig(every=30), TrackerConfig(picture_s=2.0, drop_pictures=True), 6
    )
    for step in range(60):
        run((200 + step, 240, 300))
    assert [p.track_id for p in run((260, 240, 300), frames=150)] == [1]
    assert run.frontend.notices.counts["pictures"] == 0


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (lambda: load_frontend(DetectorConfig(), TrackerConfig(), 1), "pose_detection"),
        (lambda: load_landmarker(DetectorConfig()), "pose_landmark_full"),
        (lambda: load_landmarker(DetectorConfig(landmarks="heavy")), "pose_landmark_heavy"),
        (load_mouth_reader, "face_landmark"),
        (load_hand_reader, "hand_landmark_full"),
    ],
)
def test_loading_a_network_never_downloads_it(monkeypatch, tmp_path, load, name):
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    monkeypatch.setattr(assets, "_download", lambda name: pytest.fail(f"downloads {name}"))
    with pytest.raises(AssetError, match=rf"'moro fetch {name}\.tflite'"):
        load()


def test_offered_boxes_replace_the_search_of_one_image():
    run = Run(every=1)
    person = (300.0, 240.0, 200.0)
    run.frontend.offer(np.array([[280.0, 140.0, 320.0, 340.0]]))
    run(person)
    assert run.world.detections == 0 and run.world.looks > 0
    run.frontend.offer(np.zeros((0, 4)))
    run(person)
    assert run.world.detections == 0
    (observed,) = run(person, frames=3)
    assert run.world.detections > 0
    np.testing.assert_allclose(observed.box_xyxy[3] - observed.box_xyxy[1], 200.0, rtol=0.02)


def test_an_offered_box_without_a_person_is_nobody():
    run = Run(every=1)
    for _ in range(5):
        run.frontend.offer(np.array([[10.0, 10.0, 60.0, 200.0]]))
        assert run() == ()
