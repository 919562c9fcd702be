"""The tracker keeps ids through everything that the landmark network does to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.config import TrackerConfig
from moro_ros.perception.blazepose import Region
from moro_ros.perception.sighting import MIRRORED, Sighting, pose_distance
from moro_ros.perception.tracker import (
    LEVELS,
    PersonTracker,
    likeness,
    merge_duplicates,
    torso_colours,
)
from moro_ros.types import KEYPOINTS, Keypoints, PersonObservation

NAMES = list(KEYPOINTS)


def standing(x: float, y: float, height: float) -> Keypoints:
    points = np.full((len(NAMES), 2), (x, y), np.float32)
    for name, place in {
        "left_shoulder": (0.1, -0.3), "right_shoulder": (-0.1, -0.3),
        "left_hip": (0.07, 0.0), "right_hip": (-0.07, 0.0),
    }.items():  # fmt: skip
        points[NAMES.index(name)] += np.array(place) * height
    ones = np.ones(len(NAMES), np.float32)
    return Keypoints(points, ones, ones)


def image_of(*people: tuple[float, float, float, tuple[int, int, int]]) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 8, (480, 640, 3))
    image = np.full((480, 640, 3), 120.0)
    for x, y, height, colour in people:
        rows = slice(int(y - 0.35 * height), int(y + 0.05 * height))
        image[rows, int(x - 0.12 * height) : int(x + 0.12 * height)] = colour
    return np.clip(image + noise, 0, 255).astype(np.uint8)


RED, BLUE = (200, 40, 30), (30, 40, 160)


def test_the_same_clothes_look_alike_and_others_do_not():
    first = image_of((150, 240, 300, RED), (450, 240, 200, BLUE))
    later = image_of((470, 220, 180, RED), (120, 260, 320, BLUE))
    red = torso_colours(first, standing(150, 240, 300))
    blue = torso_colours(first, standing(450, 240, 200))
    red_later = torso_colours(later, standing(470, 220, 180))
    blue_later = torso_colours(later, standing(120, 260, 320))
    assert red is not None and red.shape == (LEVELS**3,)
    assert red.sum() == pytest.approx(1.0, abs=1e-5)
    assert min(likeness(red, red_later), likeness(blue, blue_later)) > 0.9
    assert max(likeness(red, blue_later), likeness(blue, red_later)) < 0.5


def test_a_little_more_light_changes_little():
    image = image_of((150, 240, 300, RED))
    brighter = np.clip(image * 1.15, 0, 255).astype(np.uint8)
    person = standing(150, 240, 300)
    assert likeness(torso_colours(image, person), torso_colours(brighter, person)) > 0.8


def test_a_torso_outside_the_image_says_nothing():
    image = image_of()
    assert torso_colours(image, standing(-300, 240, 300)) is None
    assert likeness(None, torso_colours(image, standing(150, 240, 300))) == 0.5


IMAGE = (1280, 720)
FRAME_NS = 33_333_333
# A standing person of height 1 seen from the front: x, y of each keypoint from mid-hip.
STANDING = np.array(
    [
        (0, -0.45), (0.05, -0.45), (-0.05, -0.45), (0.1, -0.3), (-0.1, -0.3), (0.14, -0.14),
        (-0.14, -0.14), (0.16, 0), (-0.16, 0), (0.07, 0), (-0.07, 0), (0.07, 0.24), (-0.07, 0.24),
        (0.07, 0.46), (-0.07, 0.46), (0.07, 0.5), (-0.07, 0.5), (0.1, 0.5), (-0.1, 0.5),
    ]
)  # fmt: skip


def person(x: float, y: float = 360.0, height: float = 300.0, score: float = 1.0) -> Sighting:
    """Somebody standing with mid-hip at (x, y), found by the search."""
    ones = np.ones(len(KEYPOINTS), np.float32)
    points = (STANDING * height + (x, y)).astype(np.float32)
    region = Region(np.array([x, y]), 1.25 * height, 0.0)
    return Sighting(points, ones, ones, region, score, searched=True)


class Scene:
    """Feeds a tracker with what is seen image by image."""

    def __init__(self, max_people: int = 6, **options: float) -> None:
        self.tracker = PersonTracker(TrackerConfig(**options), max_people)
        self.stamp = 1_000_000_000

    def __call__(self, *seen: Sighting, frames: int = 1, gap_ns: int = FRAME_NS):
        people: tuple[PersonObservation, ...] = ()
        for _ in range(frames):
            self.stamp += gap_ns
            self.regions = self.tracker.predict(self.stamp)
            self.ignored = self.tracker.update(list(seen), IMAGE)
            people = self.tracker.observations()
        return {p.track_id: p for p in people}


def middle(p: PersonObservation) -> float:
    return float(p.box_xyxy[0] + p.box_xyxy[2]) / 2


def test_a_person_is_published_after_min_hits_in_a_row():
    scene = Scene(min_hits=3)
    assert not scene(person(400), frames=2)
    assert not scene()
    assert not scene(person(400), frames=2)
    assert list(scene(person(400))) == [1]


def test_published_keypoints_and_box_are_those_seen():
    seen = person(400)
    published = Scene()(seen, frames=3)[1]
    assert published.keypoints is not None
    np.testing.assert_array_equal(published.keypoints.points_px, seen.points_px)
    low, high = seen.points_px.min(axis=0), seen.points_px.max(axis=0)
    np.testing.assert_allclose(published.box_xyxy, [*low, *high])
    hidden = seen.visibility.copy()
    hidden[-6:] = 0.1
    legless = Scene()(replace(seen, visibility=hidden), frames=3)[1]
    assert legless.box_xyxy[3] < high[1] - 20


@pytest.mark.parametrize("speed", [4.0, 12.0])
def test_two_people_who_cross_keep_their_ids_while_one_hides_the_other(speed):
    scene = Scene()
    near = far = None
    for frame in range(90):
        x_near, x_far = 640 + speed * (frame - 45), 640 - speed * (frame - 45)
        front, rear = person(x_near, height=330), person(x_far, y=340, height=260)
        # Overlapping, both regions end on the person in front, or nearly.
        hidden = abs(x_near - x_far) < 90
        both = [person(x_near + 3, height=325), front] if hidden else [rear, front]
        people = scene(*both[:: 1 if frame % 2 else -1])
        if frame == 10:
            near, far = (
                min(people, key=lambda k: abs(middle(people[k]) - x)) for x in (x_near, x_far)
            )
    assert sorted(people) == sorted([near, far]) == [1, 2]
    assert abs(middle(people[near]) - x_near) < 15
    assert abs(middle(people[far]) - x_far) < 15


def test_an_unseen_person_is_held_where_he_was_going_and_recognised():
    scene = Scene(hold_time_s=1.0)
    for frame in range(40):
        scene(person(300 + 5 * frame))
    held = scene(frames=10)[1]
    assert held.keypoints is None
    assert 300 + 5 * 39 + 20 < middle(held) < 300 + 5 * 50 + 5
    assert list(scene(person(560))) == [1]


def test_hold_time_ends_and_ids_are_never_used_twice():
    scene = Scene(hold_time_s=0.5)
    scene(person(400), frames=40)
    assert list(scene(frames=14)) == [1]
    assert not scene(frames=2)
    assert list(scene(person(400), frames=5)) == [2]
    scene.tracker.reset()
    assert list(scene(person(400), frames=5)) == [3]


def test_people_reported_lost_are_followed_on_under_new_ids():
    scene = Scene()
    scene(person(400), person(800), frames=5)
    scene(person(400), person(800), person(1100))  # not confirmed yet: has no id
    scene.tracker.renumber()
    # At once, without being confirmed again, also after a second.
    assert list(scene(person(400), person(800), person(1100), gap_ns=10**9)) == [3, 4]
    assert list(scene(person(400), person(800), person(1100))) == [3, 4, 5]


def test_no_hold_time_publishes_nobody_unseen():
    scene = Scene(hold_time_s=0.0)
    assert list(scene(person(400), frames=10)) == [1]
    assert not scene()


def test_flickering_false_people_do_not_last():
    scene = Scene(hold_time_s=1.0)
    scene(person(400, score=0.75), frames=8)
    lived = 0
    while scene.tracker.observations() and lived < 100:
        lived += 3
        scene(person(400, score=0.75), frames=1)
        scene(frames=2)
    assert lived < 15


def test_two_sightings_of_one_person_are_one_and_the_older_keeps_his_id():
    scene = Scene()
    scene(person(400), frames=10)
    scene(person(400), person(800), frames=30)
    # The region of person 2 jumps onto person 1.
    people = scene(person(412), person(400), frames=10)
    assert people[1].keypoints is not None and people[2].keypoints is None
    assert abs(middle(people[2]) - 800) < 20
    people = scene(person(400), person(790))
    assert abs(middle(people[2]) - 790) < 1


def test_merging_keeps_the_first_and_remembers_that_it_was_found():
    followed = replace(person(400), searched=False)
    merged = merge_duplicates([followed, person(405), person(700)])
    assert [s.region.centre_px[0] for s in merged] == [400, 700]
    assert merged[0].searched


def test_limbs_are_no_newcomers():
    scene = Scene()
    small = person(400, y=420, height=130)
    assert list(scene(person(400), small, frames=10)) == [1]
    assert len(scene(person(400), person(600, height=130), frames=10)) == 2


def test_more_people_than_allowed_are_counted_and_the_nearest_win():
    scene = Scene(max_people=2)
    crowd = [person(200, height=200), person(500, height=300), person(800, height=350)]
    people = scene(*crowd, frames=3)
    assert scene.ignored == 1
    assert sorted(round(middle(p)) for p in people.values()) == [500, 800]
    newcomer = person(1100, height=400)
    people = scene(crowd[1], crowd[2], newcomer, frames=5)
    assert sorted(round(middle(p)) for p in people.values()) == [800, 1100]
    # One as large as the others does not push anybody out.
    scene(crowd[2], newcomer, person(300, height=360), frames=3)
    assert scene.ignored == 1


def limbs(s: Sighting) -> np.ndarray:
    """What a motion model tells of somebody: shoulders to ankles, nothing of head and feet."""
    points = s.points_px.copy()
    points[[0, 1, 2, 15, 16, 17, 18]] = np.nan
    return points


def test_the_motion_model_can_put_an_unseen_person_right():
    scene, there = Scene(), person(750, y=350, height=330)
    scene(person(400), frames=30)
    scene()
    scene.tracker.correct(1, limbs(there), scene.stamp)
    np.testing.assert_allclose(scene()[1].box_xyxy, there.box_xyxy, atol=40)
    assert np.hypot(*(scene.regions[0].centre_px - (750, 350))) < 40
    assert scene.regions[0].side_px == pytest.approx(1.25 * 330, rel=0.02)
    assert list(scene(there)) == [1]


def test_who_is_seen_knows_better_than_the_motion_model():
    scene = Scene()
    before = scene(person(400), frames=5)[1].box_xyxy
    scene.tracker.correct(1, limbs(person(800)), scene.stamp)
    scene.tracker.correct(1, np.full((len(STANDING), 2), np.nan), scene.stamp + 1)
    np.testing.assert_array_equal(scene.tracker.observations()[0].box_xyxy, before)


def test_a_hidden_walker_is_followed_by_his_recovered_body():
    """Hidden for a second he walks on, faster than he was seen to; corrections come late."""
    scene, x = Scene(hold_time_s=2.0), 200.0
    for _ in range(60):
        x += 2.0
        scene(person(x))
    late: list[tuple[float, int]] = []
    for _ in range(30):
        x += 8.0
        people = scene()
        assert list(people) == [1] and people[1].keypoints is None
        late.append((x, scene.stamp))
        if len(late) > 1:  # of the image before, as where two threads share the work
            scene.tracker.correct(1, limbs(person(late[-2][0])), late[-2][1])
    assert abs(middle(scene()[1]) - x) < 25
    assert list(scene(person(x + 16))) == [1]


def mirrored(s: Sighting) -> Sighting:
    return replace(s, points_px=s.points_px[MIRRORED])


def test_short_exchanges_of_left_and_right_are_undone_and_lasting_ones_believed():
    scene = Scene()
    true = person(400)
    assert pose_distance(true, mirrored(true)) == pytest.approx(0, abs=1e-6)
    scene(true, frames=20)
    for _ in range(3):
        flicker = scene(mirrored(true), frames=4)[1]
        np.testing.assert_allclose(flicker.keypoints.points_px, true.points_px)
        scene(true, frames=2)
    lasting = scene(mirrored(true), frames=25)[1]
    np.testing.assert_allclose(lasting.keypoints.points_px, mirrored(true).points_px)


def test_a_half_exchanged_image_does_not_open_the_door_to_a_whole_exchange():
    scene = Scene()
    true = person(400)
    half = replace(true, points_px=0.35 * true.points_px + 0.65 * mirrored(true).points_px)
    scene(true, frames=20)
    scene(half)
    undone = scene(mirrored(true), frames=8)[1]
    np.testing.assert_allclose(undone.keypoints.points_px, true.points_px)


def test_a_person_who_turns_round_is_believed_at_once():
    scene = Scene()
    scene(person(400), frames=20)
    middle_x = person(400).region.centre_px[0]
    for angle in np.linspace(0, np.pi, 16):  # half a turn in half a second
        turned = person(400)
        points = turned.points_px.copy()
        points[:, 0] = middle_x + np.cos(angle) * (points[:, 0] - middle_x)
        seen = scene(replace(turned, points_px=points))[1]
        np.testing.assert_allclose(seen.keypoints.points_px, points)


def test_somebody_who_left_the_image_is_not_held():
    scene = Scene(hold_time_s=5.0)
    for frame in range(60):
        scene(person(1000 + 6 * frame))
    assert not scene(frames=15)


def test_one_late_image_loses_nobody_but_a_pause_does():
    scene = Scene(hold_time_s=0.2)
    scene(person(400), frames=5)
    assert list(scene(person(400), gap_ns=800_000_000)) == [1]
    assert not scene(person(400), gap_ns=3_000_000_000)


def test_somebody_elsewhere_or_of_another_size_is_somebody_else():
    scene = Scene(min_hits=1)
    scene(person(300), frames=5)
    assert sorted(scene(person(900))) == [1, 2]
    scene = Scene(min_hits=1)
    scene(person(300, height=150), frames=5)
    assert sorted(scene(person(330, height=400))) == [1, 2]


@pytest.mark.parametrize(("clothes", "same"), [((1.0, 0.0), True), ((0.0, 1.0), False)])
def test_who_turns_up_elsewhere_as_somebody_is_lost_is_known_by_his_clothes(clothes, same):
    """The last look led astray: the person is not where he was expected, but beside it."""
    worn, seen = np.array([1.0, 0.0], np.float32), np.array(clothes, np.float32)
    scene = Scene(min_hits=3, hold_time_s=2.0)
    (known,) = scene(replace(person(300), colours=worn), frames=40)
    scene(frames=3)
    people = scene(replace(person(800), colours=seen), frames=4)
    shown = [i for i, p in people.items() if p.keypoints is not None]
    assert shown == [known] if same else shown == [known + 1] and known in people


def test_a_body_fitted_to_somebody_s_arm_is_nobody():
    """Of such a body only what lies on the arm is seen; the legs are guessed beyond it."""
    man, scene = person(600), Scene()
    scene(man, frames=5)
    names = list(KEYPOINTS)
    legs = np.array([name.endswith(("knee", "ankle", "heel", "foot_index")) for name in names])
    ghost = person(760, height=260.0)
    points = np.where(legs[:, None], ghost.points_px, man.points_px.mean(axis=0) + 4.0)
    seen = np.where(legs, 0.1, 1.0).astype(np.float32)
    ghost = replace(ghost, points_px=points.astype(np.float32), visibility=seen)
    assert list(scene(man, ghost, frames=8)) == [1]
    # Somebody whose legs are seen there stands beside him.
    real = replace(ghost, visibility=np.ones(len(names), np.float32), points_px=ghost.points_px)
    beside = np.where(legs[:, None], real.points_px, person(760, height=260.0).points_px)
    assert len(scene(man, replace(real, points_px=beside), frames=8)) == 2


def test_a_point_that_is_somebody_else_s_is_published_as_unseen():
    scene, wrist = Scene(), NAMES.index("left_wrist")
    front, covered = person(400), person(600)
    covered.points_px[wrist] = front.points_px[wrist]
    covered = replace(covered, peaks=np.full(len(NAMES), 0.7, np.float32))
    people = scene(front, covered, frames=10).values()
    unseen = [list(np.flatnonzero(p.keypoints.visibility < 0.5)) for p in people]
    assert sorted(unseen) == [[], [wrist]]
    assert middle(next(p for p, u in zip(people, unseen, strict=True) if u)) > 550
