"""Fusion: the place that no camera knows alone, who is who; cameras late or lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.evaluation.several_cameras import CHI2
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.looks import FusedPerson
from moro_ros.recover.fusion.playback import Taken, play
from moro_ros.types import STATURE, TRIANGULATED, Place

RATE_HZ = 30.0


def push(fusion: Fusion, stage, seconds: float, names=None, ids=None) -> tuple[FusedPerson, ...]:
    """Give every camera's image of one time; ids: of the two people by camera."""
    for view in stage.views:
        if names is None or view.name in names:
            frame, motions = stage.look(view, seconds, (ids or {}).get(view.name, (1, 2)))
            fusion.add(view.name, frame, motions)
    return fusion.at(round(seconds * 1e9))


def run(fusion: Fusion, stage, images: int, first: int = 0, **options) -> list:
    return [push(fusion, stage, n / RATE_HZ, **options) for n in range(first, first + images)]


def of(people, stage, seconds: float, number: int) -> FusedPerson:
    """The fused person nearest to one of the stage."""
    true = stage.person(number, seconds).joints[0, 0]
    return min(people, key=lambda one: np.linalg.norm(one.motion.joints[0, 0] - true))


def joint_error(people, stage, seconds: float, number: int) -> float:
    found = of(people, stage, seconds, number).motion.joints[0]
    return float(np.linalg.norm(found - stage.person(number, seconds).joints[0], axis=-1).max())


@pytest.mark.parametrize("count", [2, 3])
def test_cameras_together_know_the_place_that_each_has_wrong(stage, count) -> None:
    views = stage.views[:count]
    fusion = Fusion(stage.body, views)
    few = replace(stage, views=views)
    people = run(fusion, few, 12)[-1]
    alone = stage.look(views[0], 11 / RATE_HZ)[1][0].joints[0, 0]
    true = views[0].inside(stage.person(0, 11 / RATE_HZ).joints[0, 0])
    assert np.linalg.norm(alone - true) > 0.4
    assert len(people) == 2
    for number in (0, 1):
        assert joint_error(people, few, 11 / RATE_HZ, number) < 0.03
        one = of(people, few, 11 / RATE_HZ, number)
        assert len(one.tracks) == count
        assert one.motion.place is not None and one.motion.place.source == TRIANGULATED
        assert 0 < one.motion.place.sigma < 0.05


def test_a_child_is_small_and_not_far_away(stage) -> None:
    """Every network takes the child for an adult farther away; two rays know better."""
    child = (-4.0, *(0.0,) * 9)
    small = replace(stage, betas=(child, (0.0,) * 10), network=1.25)
    people = run(Fusion(stage.body, stage.views), small, 20)[-1]
    assert joint_error(people, small, 19 / RATE_HZ, 0) < 0.04
    betas = of(people, small, 19 / RATE_HZ, 0).motion.smplx.betas
    assert betas[0] == pytest.approx(-4.0, abs=1.0)


def test_ids_stay_when_a_camera_loses_and_finds_people(stage) -> None:
    fusion = Fusion(stage.body, stage.views)
    first = {of(run(fusion, stage, 8)[-1], stage, 7 / RATE_HZ, n).motion.track_id for n in (0, 1)}
    later = run(fusion, stage, 10, 8, ids={"left": (7, 0), "right": (9, 4)})[-1]
    assert {one.motion.track_id for one in later} == first
    assert of(later, stage, 17 / RATE_HZ, 0).tracks == (("left", 7), ("middle", 1), ("right", 9))
    assert of(later, stage, 17 / RATE_HZ, 1).tracks == (("middle", 2), ("right", 4))


def test_a_camera_that_exchanges_two_people_is_corrected(stage) -> None:
    fusion = Fusion(stage.body, stage.views)
    run(fusion, stage, 10)
    people = run(fusion, stage, 40, 10, ids={"left": (2, 1)})[-1]
    assert of(people, stage, 49 / RATE_HZ, 0).tracks == (("left", 2), ("middle", 1), ("right", 1))
    assert joint_error(people, stage, 49 / RATE_HZ, 0) < 0.03


def test_a_new_track_is_nobody_new_while_the_other_cameras_are_between_images(stage) -> None:
    """The left camera starts new tracks at times at which the others have nothing to compare."""
    fusion, two = Fusion(stage.body, stage.views[:2]), replace(stage, views=stage.views[:2])
    ids = {one.motion.track_id for one in run(fusion, two, 10)[-1]}
    for number in range(16, 24):  # more than keypoints of `middle` are carried on
        people = push(fusion, two, number / RATE_HZ, names=("left",), ids={"left": (7, 8)})
        assert {one.motion.track_id for one in people} <= ids
    later = run(fusion, two, 6, 24, ids={"left": (7, 8)})[-1]
    assert {one.motion.track_id for one in later} == ids


def test_without_other_cameras_one_camera_s_word_stands(stage) -> None:
    fusion = Fusion(stage.body, stage.views[:1])
    (person, _) = push(fusion, replace(stage, views=stage.views[:1]), 0.0)
    view = stage.views[0]
    estimate = stage.look(view, 0.0)[1][person.motion.track_id - 1]
    assert np.allclose(person.motion.joints[0], view.world(estimate.joints[0]), atol=1e-5)
    assert person.residual == {}


def test_a_lost_camera_leaves_the_others_to_go_on(stage) -> None:
    fusion = Fusion(stage.body, stage.views)
    ids = {one.motion.track_id for one in run(fusion, stage, 10)[-1]}
    two = run(fusion, stage, 10, 10, names=("left", "middle"))[-1]
    assert joint_error(two, stage, 19 / RATE_HZ, 0) < 0.04
    fusion.drop("middle")
    one = run(fusion, stage, 10, 20, names=("left",))[-1]
    # The size of the people is known by now, so that one camera keeps their place.
    assert joint_error(one, stage, 29 / RATE_HZ, 0) < 0.15
    assert {person.motion.track_id for person in one} == ids


def test_the_last_camera_can_be_told_the_stature(stage) -> None:
    fusion, two = Fusion(stage.body, stage.views[:2]), replace(stage, views=stage.views[:2])
    size = fusion.solver.size
    tall = size.with_stature(torch.zeros(10), 1.95).numpy()
    run(fusion, two, 6)
    fusion.drop("middle")
    statures = []
    for told in (False, True):
        for number in range(6, 10):
            seconds = (number + 4 * told) / RATE_HZ
            frame, motions = stage.look(stage.views[0], seconds)
            if told:
                motions = tuple(
                    replace(m, smplx=replace(m.smplx, betas=tall), place=Place(STATURE, 0.01))
                    for m in motions
                )
            fusion.add("left", frame, motions)
            one = fusion.at(frame.stamp_ns)[0].motion
        statures.append(size.stature(torch.from_numpy(one.smplx.betas)))
    assert statures[0] + 0.02 < statures[1] < 1.97


def test_cameras_of_other_times_and_rates_are_brought_to_one(stage) -> None:
    """The first camera at 30 Hz, the second 11 ms later, the third at 12.5 Hz."""
    clocks = {"left": (0.0, 30.0), "middle": (0.011, 30.0), "right": (0.003, 12.5)}

    def reel(view):
        start, rate = clocks[view.name]
        for number in range(round(1.5 * rate)):
            yield Taken(*stage.look(view, start + number / rate))

    fusion = Fusion(stage.body, stage.views)
    answers = list(play(fusion, {view.name: reel(view) for view in stage.views}))
    assert [stamp for stamp, _ in answers] == [round(n / 30 * 1e9) for n in range(45)]
    for stamp_ns, people in answers[10:40]:
        assert len(of(people, stage, stamp_ns * 1e-9, 0).tracks) == 3
        assert joint_error(people, stage, stamp_ns * 1e-9, 0) < 0.03


def test_a_shorter_video_ends_and_the_others_go_on(stage) -> None:
    def reel(view, images):
        return (Taken(*stage.look(view, n / RATE_HZ)) for n in range(images))

    images = {"left": 15, "middle": 30, "right": 30}
    fusion = Fusion(stage.body, stage.views)
    answers = list(play(fusion, {v.name: reel(v, images[v.name]) for v in stage.views}))
    assert len(answers) == 30
    assert {camera for camera, _ in answers[-1][1][0].tracks} == {"middle", "right"}


def test_the_covariance_says_that_two_cameras_know_more_than_one(stage) -> None:
    fusion = Fusion(stage.body, stage.views[:2])
    two = replace(stage, views=stage.views[:2])
    together = of(run(fusion, two, 10)[-1], two, 9 / RATE_HZ, 0).motion.covariance[0, 0]
    fusion.drop("middle")
    alone = of(run(fusion, two, 8, 10, names=("left",))[-1], two, 17 / RATE_HZ, 0)
    assert np.linalg.eigvalsh(together).min() > 0
    assert alone.motion.place is not None and alone.motion.place.source == STATURE
    assert np.trace(alone.motion.covariance[0, 0]) > 1.5 * np.trace(together)


def test_the_covariance_allows_for_cameras_that_disagree(stage) -> None:
    two = replace(stage, views=stage.views[:2], noise_px=2.0)
    off = Rotation.from_euler("x", 1.5, degrees=True).as_matrix()
    wrong = replace(two.views[0], rotation=off @ two.views[0].rotation)
    wrong = replace(wrong, translation=off @ two.views[0].translation)
    last = 19 / RATE_HZ
    traces, shares = [], []
    for views in (two.views, (wrong, two.views[1])):
        motion = of(run(Fusion(stage.body, views), two, 20)[-1], two, last, 0).motion
        covariance = motion.covariance[0].astype(np.float64)
        error = (motion.joints - two.person(0, last).joints)[0].astype(np.float64)
        solved = np.linalg.solve(covariance, error[..., None])[..., 0]
        shares.append(float(((error * solved).sum(-1) < CHI2).mean()))
        traces.append(float(np.trace(covariance[0])))
    assert traces[1] > 3.0 * traces[0]
    assert min(shares) > 0.9


def test_the_last_camera_is_not_more_certain_than_those_that_disagreed(stage) -> None:
    two = replace(stage, views=stage.views[:2])
    off = Rotation.from_euler("x", 1.5, degrees=True).as_matrix()
    wrong = replace(two.views[0], rotation=off @ two.views[0].rotation)
    wrong = replace(wrong, translation=off @ two.views[0].translation)
    fusion = Fusion(stage.body, (wrong, two.views[1]))
    together = of(run(fusion, two, 20)[-1], two, 19 / RATE_HZ, 0).motion
    fusion.drop("middle")
    for people in run(fusion, two, 20, 20, names=("left",)):
        alone = next(o for o in people if o.motion.track_id == together.track_id).motion
        assert alone.place is not None and alone.place.source == STATURE
        assert np.trace(alone.covariance[0, 0]) > np.trace(together.covariance[0, 0])


def test_blind_images_do_not_break_anything(stage) -> None:
    fusion = Fusion(stage.body, stage.views)
    run(fusion, stage, 6)
    for view in stage.views:
        frame, motions = stage.look(view, 0.2)
        blind = tuple(replace(person, keypoints=None) for person in frame.people)
        fusion.add(view.name, replace(frame, people=blind), motions)
    people = fusion.at(round(0.2e9))
    assert len(people) == 2 and all(one.motion.finite for one in people)
    assert not any(one.motion.keypoints_seen[0] for one in people)
