"""Worlds of the open benchmark: each shows what its row says, and the truth stays the truth."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import PipelineConfig
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.errors import DataError
from moro_ros.evaluation import open_worlds
from moro_ros.evaluation.open_benchmark import OpenProtocol, evaluate_windows
from moro_ros.evaluation.open_decoding import Decoding, OpenModel
from moro_ros.evaluation.open_worlds import WORLDS, evaluate_worlds, seated, world_windows
from moro_ros.live.load import load_stream
from moro_ros.types import KEYPOINTS

SMALL = OpenProtocol(windows=24, frames=12, batch=12)
NAMES = list(KEYPOINTS)
LEGS = [i for i, name in enumerate(NAMES) if name.endswith(("knee", "ankle", "heel", "index"))]
HIPS = [NAMES.index(f"{side}_hip") for side in ("left", "right")]


def shown(walking, open_body, name: str) -> list[ObservedMotion]:
    return list(world_windows(walking, open_body, WORLDS[name], SMALL))


@pytest.mark.slow
def test_the_same_windows_on_every_run(walking, open_body) -> None:
    for name in WORLDS:
        first, again = (shown(walking, open_body, name) for _ in range(2))
        assert [len(batch.joints) for batch in first] == [12, 12]
        for one, other in zip(first, again, strict=True):
            assert torch.equal(one.observation, other.observation), name
            assert torch.equal(one.joints, other.joints), name


def test_clean_keypoints_are_the_true_ones(walking, open_body) -> None:
    for batch in shown(walking, open_body, "clean"):
        half = batch.boxes.size[..., None, None] / 2
        points = batch.observation[..., :2] * half + batch.boxes.center[..., None, :]
        true = batch.keypoints[..., :2] / batch.keypoints[..., 2:]
        assert (points - true)[batch.seen].abs().max() < 1e-4


def test_cameras_under_the_ceiling_look_down_steeply(walking, open_body) -> None:
    for batch in shown(walking, open_body, "under the ceiling"):
        assert (batch.truth.height > 2.3).all()
        steep = torch.rad2deg(torch.asin(batch.truth.up[:, 2].neg().clamp(-1, 1)))
        assert steep.min() > 20 and steep.max() > 60


@pytest.mark.parametrize(
    ("name", "limits"),
    [("upper body, 0.5 to 1.5 m", (0.3, 2.0)), ("seated at a table", (0.4, 3.0))],
)
def test_near_people_show_no_legs_and_hips_are_guesses(walking, open_body, name, limits) -> None:
    for batch in shown(walking, open_body, name):
        assert not batch.seen[..., LEGS].any()
        assert batch.seen[..., HIPS].all()
        assert (batch.observation[..., HIPS, 2] >= 0.5).all()
        distance = batch.truth.translation.norm(dim=-1)
        assert limits[0] < distance.min() and distance.max() < limits[1]
        half = batch.boxes.size[..., None, None] / 2
        points = batch.observation[..., :2] * half + batch.boxes.center[..., None, :]
        off = (points - batch.keypoints[..., :2] / batch.keypoints[..., 2:])[..., HIPS, :]
        assert off.norm(dim=-1).mean() > 0.03 * batch.boxes.size.mean()


def test_who_sits_has_level_thighs_and_the_feet_on_the_floor(walking, open_body) -> None:
    rng = np.random.default_rng(0)
    windows = seated(walking.draw(16, 12, rng, warp=False), open_body, rng)
    assert open_worlds.sits(windows, open_body).all()
    assert not open_worlds.sits(walking.draw(16, 12, rng, warp=False), open_body).any()
    height = windows.translation[..., 2]
    assert height.min() > 0.3 and height.max() < 0.75
    place = windows.translation[..., :2]
    assert (place - place[:, :1]).abs().max() < 1e-6


def raised(walking: MotionSet, heights_m: tuple[float, float]) -> MotionSet:
    """The two clips of `walking`, each by a height above the floor."""
    up = np.repeat(heights_m, walking.lengths)[:, None] * np.array([0.0, 0.0, 1.0])
    return replace(walking, translation=walking.translation + up.astype(np.float32))


def lowest_m(batch: ObservedMotion) -> torch.Tensor:
    """Median height of each person's lowest joint above the floor, (B,) m."""
    heights = (batch.joints * batch.truth.up[:, None, None]).sum(-1)
    return (heights + batch.truth.height[:, None, None]).amin(-1).median(1).values


def test_people_on_objects_are_left_out_where_the_floor_is_given(walking, open_body) -> None:
    world = WORLDS["clean"]
    mixed = raised(walking, (0.0, 0.2))
    everybody = list(world_windows(mixed, open_body, world, SMALL))
    assert lowest_m(everybody[0]).max() > 0.2, "on an object without the choice"
    chosen = list(world_windows(mixed, open_body, world, SMALL, on_floor=True))
    assert [len(batch.joints) for batch in chosen] == [12, 12]
    assert all(lowest_m(batch).max() < 0.1 for batch in chosen)
    with pytest.raises(DataError, match=r"--motion: .* 0 show a person on the floor"):
        next(world_windows(raised(walking, (0.2, 0.2)), open_body, world, SMALL, on_floor=True))


def test_windows_are_the_same_if_everybody_is_on_the_floor(walking, open_body) -> None:
    free = world_windows(walking, open_body, WORLDS["clean"], SMALL)
    chosen = world_windows(walking, open_body, WORLDS["clean"], SMALL, on_floor=True)
    for one, other in zip(free, chosen, strict=True):
        assert torch.equal(one.observation, other.observation)


def test_who_jumps_or_lies_is_on_the_floor_and_who_stands_on_a_step_is_not(open_body) -> None:
    place = torch.zeros(4, 10, 3)
    place[..., 2] = torch.tensor([0.95, 0.95, 0.12, 1.1])[:, None]
    place[1, 4:7, 2] = 1.5  # jumps
    turns = torch.zeros(4, 10, 22, 3)
    turns[:, :, 0] = torch.tensor([np.pi / 2, 0.0, 0.0])  # y up onto z up
    turns[2, :, 0] = 0.0  # on the back
    found = open_worlds.are_on_floor(MotionWindows(turns, place), open_body)
    assert found.tolist() == [True, True, True, False]


def test_children_look_like_adults_and_are_smaller(walking, open_body) -> None:
    def thigh(batch: ObservedMotion) -> torch.Tensor:
        hip, knee = (batch.joints[:, :, JOINT_NAMES.index(f"left_{p}")] for p in ("hip", "knee"))
        return (hip - knee).norm(dim=-1).mean(1)

    alike = replace(WORLDS["children"], size=(1.0, 1.0))
    adults = list(world_windows(walking, open_body, alike, SMALL))
    for child, adult in zip(shown(walking, open_body, "children"), adults, strict=True):
        size = thigh(child) / thigh(adult)
        assert size.min() >= 0.55 and size.max() <= 0.85
        assert torch.equal(child.observation[0], adult.observation[0])
        pelvis = child.joints[:, :, 0]
        torch.testing.assert_close(pelvis, child.truth.translation)


@pytest.mark.slow
def test_every_world_is_measured(walking) -> None:
    model = OpenModel.of(load_stream(PipelineConfig()).model)
    protocol = OpenProtocol(windows=2, frames=12, batch=2)
    found = dict(evaluate_worlds(model, walking, protocol, Decoding()))
    assert set(found) == {*WORLDS, *(f"{name}, floor given" for name in WORLDS)}
    assert all(np.isfinite(metrics["mpjpe_mm"]) for metrics in found.values())
    assert found["seated at a table"]["hidden_share"] > 0.3 > found["clean"]["hidden_share"]
    windows = list(world_windows(walking, model.body, WORLDS["clean"], protocol))
    again = evaluate_windows(model, windows, protocol)
    assert again["mpjpe_mm"] == found["clean"]["mpjpe_mm"]


def test_a_network_that_reads_the_floor_is_measured_with_it_too() -> None:
    def ways(**keypoints: bool) -> dict[str, Decoding]:
        moro = SimpleNamespace(keypoints=SimpleNamespace(**keypoints))
        config = SimpleNamespace(moro=moro)
        model: Any = SimpleNamespace(loaded=SimpleNamespace(config=config))
        return open_worlds.floor_ways(model, Decoding(passes=2))

    assert ways(floor=False) == {"": Decoding(passes=2)}
    assert ways(floor=True) == {
        "": Decoding(passes=2),
        ", floor given": Decoding(passes=2, floor=True),
    }


@pytest.mark.slow
def test_recorded_sitting_is_chosen_from_a_file(walking, open_body) -> None:
    rng = np.random.default_rng(0)
    windows = seated(walking.draw(1, 90, rng, warp=False), open_body, rng)
    sitting = MotionSet(
        np.concatenate([walking.rotations[:90], windows.rotations[0].numpy()]),
        np.concatenate([walking.translation[:90], windows.translation[0].numpy()]),
        np.array([0, 90]),
        np.array([90, 90]),
        np.array(["02", "13"]),
        np.array(["walk_run", "daily_reach_sit"]),
        np.array(["walk", "sit"]),
        30.0,
    )
    prepare = open_worlds.sitting_windows(sitting)
    chosen = prepare(walking.draw(6, 12, rng, warp=False), open_body, rng)
    assert len(chosen.translation) == 6 and open_worlds.sits(chosen, open_body).all()
    with pytest.raises(DataError, match="sitting person, expected 6"):
        open_worlds.sitting_windows(walking)(walking.draw(6, 12, rng, warp=False), open_body, rng)
