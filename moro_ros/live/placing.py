"""Placing: the distance of each person, from the network and other sources.

The sources are optional; without any, nothing is changed.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.size import BodySize
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.live.depth_memory import DepthMemory, DepthTrack
from moro_ros.network.inputs import floor_row
from moro_ros.recover.depth_pose import DepthMeter
from moro_ros.recover.floor import Feet, FloorJudge
from moro_ros.recover.followed_step import UNKNOWNS, FollowedStep
from moro_ros.recover.ground import LEAST_HEIGHT_M, MOST_HEIGHT_M, SHOES_M, GroundPlane
from moro_ros.recover.place import Clue, PersonPlace, Placed, Unplaced
from moro_ros.recover.seat import Seat
from moro_ros.recover.standing import FOLLOWING_S, Standing
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import DEPTH, FLOOR

# A floor whose height differs by more, relative, is another one.
OTHER_HEIGHT = 0.05


@dataclass(slots=True)
class Described:
    """What the sources tell about one description of a person's poses."""

    place: PersonPlace = field(default_factory=PersonPlace)
    feet: Feet = field(default_factory=Feet)
    seat: Seat = field(default_factory=Seat)
    depth: DepthTrack = field(default_factory=DepthTrack)
    standing: FollowedStep = field(default_factory=lambda: FollowedStep(FOLLOWING_S))


@dataclass(slots=True)
class Person(Described):
    """The placing state of one person.

    again: of images described a second time (refined output). Their poses are others, so each
    source tells another distance and posture of them. Stature and judge are the first's.
    """

    judge: FloorJudge = field(default_factory=FloorJudge)
    again: Described = field(default_factory=Described)


class Placing:
    """Keeps the sources of one camera and the places of the people in its view.

    reads_floor: whether the network has an input for the floor.
    """

    def __init__(self, body: BodyModel, reads_floor: bool) -> None:
        self._size = BodySize(body)
        self._standing = Standing(body)
        self._reads_floor = reads_floor
        self._people: dict[int, Person] = {}
        self._row = torch.zeros(4)
        self.floor: GroundPlane | None = None
        self._last_height_m: float | None = None  # the camera's, above the last known floor
        self._floor_sigma = 0.0
        self._floor_input = self._given = False
        self._body = body
        self.depth: DepthMemory | None = None
        self._lags_s: tuple[float, float | None] = (0.0, None)
        self._ready: tuple[int, list[DepthImage]] = (-1, [])

    def use_depth(self) -> DepthMemory:
        """Return the input for depth images; from now on they place people."""
        if self.depth is None:
            self.depth = DepthMemory(DepthMeter(self._body))
            self.set_lag(*self._lags_s)
        return self.depth

    def ignore_depth(self) -> None:
        """End the use of depth images, and forget those that wait and what they measured."""
        self.depth, self._ready = None, (-1, [])
        for person in self._people.values():
            person.depth, person.again.depth = DepthTrack(), DepthTrack()

    def set_lag(self, lag_s: float, again_s: float | None = None) -> None:
        """Set the age of the images whose people are placed (motion.look_ahead) [s].

        again_s: age of those described a second time (motion.refined_lag) [s], None: none are.
        """
        self._lags_s = lag_s, again_s
        if self.depth is not None:
            self.depth.lag_s, self.depth.again_s = lag_s, again_s

    def set_floor(
        self, plane: GroundPlane | None, sigma: float = 0.0, to_network: bool = True
    ) -> None:
        """Place people on a floor, camera optical frame; None: it is unknown.

        sigma: of the camera's height above it, relative; to_network: also give it to the network,
        and put feet that stand on it; not for one that was learned from these feet. A
        floor less than LEAST_HEIGHT_M or more than MOST_HEIGHT_M below the camera is ignored for
        all people; one that is not finite is unknown. Statures learned on another floor are
        forgotten, also if it was unknown in between, unless depth measured the person.
        """
        if plane is not None and not finite(plane):
            plane = None
        if not same_floor(plane, self.floor):
            for person in self._people.values():
                person.judge = FloorJudge()
                for one in (person, person.again):
                    one.place.running[FLOOR].forget()
        if plane is not None:
            if self._is_other(plane.offset):
                for person in self._people.values():
                    if not person.place.stature.given and person.depth.found is None:
                        person.place.stature = PersonPlace().stature
            self._last_height_m = plane.offset
        self.floor, self._floor_sigma = plane, sigma
        self._floor_input, self._row = False, torch.zeros(4)
        self._given = to_network
        if to_network and plane is not None and LEAST_HEIGHT_M <= plane.offset <= MOST_HEIGHT_M:
            self._floor_input = self._reads_floor
            # The network was trained on barefoot people.
            height = torch.tensor(plane.offset - SHOES_M).float()
            self._row = floor_row(torch.from_numpy(plane.normal).float(), height)

    def _is_other(self, height_m: float) -> bool:
        last_m = self._last_height_m
        return last_m is not None and abs(height_m - last_m) > OTHER_HEIGHT * abs(last_m)

    def row(self, track_id: int) -> Tensor:
        """Return the network's floor input for one person, (4,); zeros: unknown."""
        person = self._people.get(track_id)
        ignored = person is not None and bool(person.judge.reason)
        return torch.zeros(4) if ignored else self._row

    def ignored_floor(self) -> dict[int, str]:
        """Return the people for whom the floor is ignored, with the reason, by track id."""
        return {i: p.judge.reason for i, p in self._people.items() if p.judge.reason}

    def wrong_statures(self) -> dict[int, tuple[float, float]]:
        """Return the people whose set stature contradicts depth: given and measured [m]."""
        known = {i: p.place.stature for i, p in self._people.items()}
        return {
            i: (math.exp(stature.log_m), stature.measured_m)
            for i, stature in known.items()
            if stature.log_m is not None and stature.measured_m is not None
        }

    def set_stature(self, track_id: int, stature_m: float) -> None:
        """Set a person's stature as given by a user; 0 forgets it and the learned one."""
        person = self._people.setdefault(track_id, Person())
        if stature_m > 0.0:
            person.place.stature.give(stature_m)
        else:
            person.place.stature = PersonPlace().stature

    def stature(self, track_id: int) -> float | None:
        """Return the known stature [m] of a person; None if it is unknown."""
        person = self._people.get(track_id)
        log_m = None if person is None else person.place.stature.log_m
        return None if log_m is None else math.exp(log_m)

    def restart(self, track_id: int) -> None:
        """Forget one person except for a stature given by a user."""
        before = self._people.pop(track_id, None)
        if before is not None and before.place.stature.given:
            self._people[track_id] = Person()
            self._people[track_id].place.stature = before.place.stature

    def forget(self, track_id: int) -> None:
        """Forget one person."""
        self._people.pop(track_id, None)

    def shape(self, track_id: int, betas: Tensor) -> Tensor:
        """Return betas (10,) scaled to the known size of a person."""
        person = self._people.get(track_id)
        body_m = None if person is None else person.place.stature.body_m
        return betas if body_m is None else self._size.with_stature(betas, body_m)

    def place(self, track_id: int, seen: Unplaced, learn: bool) -> Placed | None:
        """Return a person's pose (F = 1) at the distance given by the sources, with its Place.

        learn: learn the stature and judge the floor by it; not for images described a second time,
        which the sources place by themselves. Returns None without sources.
        """
        if self.floor is None and self.depth is None and track_id not in self._people:
            return None
        person = self._people.setdefault(track_id, Person())
        one: Described = person
        if not learn:
            one = person.again
            one.place.stature = copy(person.place.stature)
        stature_m = self._size.stature(seen.pose.betas)
        size = stature_m / self._size.stature(torch.zeros_like(seen.pose.betas))
        seen = replace(seen, stature_m=stature_m, size=size)
        pose = self._look_at_depth(one, seen, learn)
        if pose is not seen.pose:
            seen = replace(seen, pose=pose, joints=self._joints(pose))
        one.seat.look(seen)
        one.place.legs_hidden = one.seat.legs_hidden
        self._look_at_floor(person, one, seen)
        # The size of a locked shape changes until the stature is known.
        free = learn and not (seen.locked and person.place.stature.settled)
        found = one.place.at(seen.stamp_ns) or one.place.update(
            seen.stamp_ns,
            math.log(stature_m),
            self._floor_input and not person.judge.reason and not one.seat.legs_hidden,
            free and not person.judge.suspicious,
        )
        if found is None:
            return None
        log_scale, place, jumped = found
        factor = math.exp(log_scale)
        if factor != 1.0:
            body_m = person.place.stature.body_m or stature_m * factor
            betas = self._size.with_stature(pose.betas, body_m)
            pose = replace(pose, translation=pose.translation * factor, betas=betas)
        size = seen.size * self._size.stature(pose.betas) / stature_m
        one.standing.target = torch.zeros(1, UNKNOWNS)
        # A learned floor is learned from these feet, so they are not moved onto it.
        if self.floor is not None and self._given and not person.judge.reason:
            sigma = self._floor_sigma
            one.standing.target = self._standing.step(pose, seen, size, self.floor, sigma)
        return Placed(one.standing.corrected(pose, seen.stamp_ns), place, jumped)

    def _joints(self, pose: BodyPose) -> np.ndarray:
        rest = self._body.skeleton(pose.betas[None]).joints[:, :NUM_JOINTS]
        joints = self._body.forward_kinematics(pose.rotations, rest)[1]
        return (joints[0] + pose.translation[0]).numpy()

    def _look_at_depth(self, one: Described, seen: Unplaced, first: bool) -> BodyPose:
        """Take the clues of depth; returns the pose with the posture that depth measured."""
        if self.depth is None:
            return seen.pose
        one.depth.add(seen)
        if first and self._ready[0] != seen.stamp_ns:
            self._ready = seen.stamp_ns, self.depth.image_came(seen.stamp_ns)
        ready = self._ready[1] if first else self.depth.kept(seen.stamp_ns)
        for clue, stamp_ns in self.depth.clues(one.depth, ready, again=not first):
            one.place.running[DEPTH].add(clue, stamp_ns)
        return one.depth.corrected(seen)

    def _look_at_floor(self, person: Person, one: Described, seen: Unplaced) -> None:
        """Take the clues of the floor; one: the person, or their second description."""
        if self.floor is None:
            return
        height_m = self.floor.offset
        if not LEAST_HEIGHT_M <= height_m <= MOST_HEIGHT_M:
            side = "above" if height_m >= 0.0 else "below"
            person.judge.refuse(f"the camera would be {abs(height_m):.2f} m {side} it")
            return
        one.place.floor_sigma = self._floor_sigma
        clue = one.feet.clue(seen, self.floor, self._floor_sigma)
        seat = one.seat.clue(seen, self.floor, self._floor_sigma)
        if one is person:
            self._judge_floor(person, clue, seen)
        running, stature = one.place.running[FLOOR], one.place.stature
        if person.judge.reason:
            running.forget()
        elif clue is not None:
            running.add(clue, seen.stamp_ns)
        elif stature.log_m is not None:
            if not running.teaches:
                running.forget()  # the stature is surer than a seat
        elif seat is not None:
            running.add(seat, seen.stamp_ns, teaches=False)

    def _judge_floor(self, person: Person, clue: Clue | None, seen: Unplaced) -> None:
        assert self.floor is not None
        judge, before, stature = person.judge, person.judge.reason, person.place.stature
        judge.judge(seen, clue, self.floor, stature, self._floor_input and not before)
        from_it = not before and judge.implies(stature)
        if judge.reason and (judge.outlasted or from_it) and not stature.given:
            person.place.stature = PersonPlace().stature


def finite(plane: GroundPlane) -> bool:
    """Return whether all numbers of a plane are finite."""
    return math.isfinite(plane.offset) and bool(np.isfinite(plane.normal).all())


def same_floor(first: GroundPlane | None, second: GroundPlane | None) -> bool:
    """Return whether two floors are the same, to 1 % of the height and half a degree."""
    if first is None or second is None:
        return first is second
    near = abs(first.offset - second.offset) < 0.01 * abs(second.offset)
    return near and float(first.normal @ second.normal) > math.cos(math.radians(0.5))
