"""Fusion: combines the observations of several cameras into one motion per person, world frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.estimate import (
    extrinsics_covariance,
    fused_motion,
    in_world,
    look_of,
    network_body,
    stepped,
    view_terms,
)
from moro_ros.recover.fusion.judge import Judge
from moro_ros.recover.fusion.looks import FusedPerson, Key, Look, Looks
from moro_ros.recover.fusion.matching import Matcher
from moro_ros.recover.fusion.solver import KEYPOINT_SHARE, Shape, Solver
from moro_ros.recover.refinement import PlacedBody
from moro_ros.recover.steady_pose import JointVelocity
from moro_ros.types import STATURE, TRIANGULATED, BodyMotion, Frame, Place

# A person who was not seen for this long is restarted, s.
FORGOTTEN_S = 0.5
FRAME_S = 1.0 / 30.0
LEAST_FRAMES = 0.1
LEAST_DISTANCE_M = 0.1
# A detector's errors are correlated between images and views, which the normal equations ignore:
# errors are this many times larger, measured on the trials of docs/cameras.md.
UNDERSTATED = 2.5


@dataclass(slots=True)
class _Person:
    """The state of a person between two times.

    extrinsics: (3, 3) m^2, covariance of their place by errors of the extrinsics, from the last
    time when the cameras could be compared.
    """

    shape: Shape
    body: PlacedBody
    stamp_ns: int
    networks: dict[Key, PlacedBody]
    velocity: JointVelocity
    extrinsics: np.ndarray


class Fusion:
    """Keeps the recent past of each camera and computes one motion per person.

    views: by name; a view may be replaced at any time. judge: of the agreement of the cameras.
    unusable_poses: number of poses that were not finite; they are not returned, and the person is
    restarted.
    """

    def __init__(self, body: BodyModel, views: Sequence[View]) -> None:
        self.views = {view.name: view for view in views}
        self.body = body
        self.matcher = Matcher()
        self.solver = Solver(body)
        self.judge = Judge()
        self.unusable_poses = 0
        self._looks: dict[Key, Looks] = {}
        self._people: dict[int, _Person] = {}

    def add(self, camera: str, frame: Frame, motions: Sequence[BodyMotion]) -> None:
        """Add the result of one camera's pipeline for one image.

        frame: with the people in it; motions: of them, in the camera's frame. Without an image in
        the frame, clothes are not compared.
        """
        people = frame.people
        motion_of = {motion.track_id: motion for motion in motions}
        present = {(camera, person.track_id) for person in people}
        self._forget({key for key in self._looks if key[0] == camera} - present)
        for person in people:
            if person.track_id in motion_of:
                look = look_of(person, frame, motion_of[person.track_id])
                self._looks.setdefault((camera, person.track_id), Looks()).add(look)

    def end(self, camera: str) -> None:
        """Forget the people of a camera that has no more images."""
        self._forget({key for key in self._looks if key[0] == camera})

    def drop(self, camera: str) -> None:
        """Forget a camera: its people, and how well it agreed with the others."""
        self.end(camera)
        self.judge.forget(camera)

    def _forget(self, keys: set[Key]) -> None:
        for key in keys:
            del self._looks[key]

    def at(self, stamp_ns: int) -> tuple[FusedPerson, ...]:
        """Return all people at a time, those seen by most cameras first. Times must increase.

        Keypoints of cameras without an image at that time are interpolated or extrapolated. People
        of a camera that contradicts the others (Judge.apart) are left out while others match.
        """
        found = {key: looks.at(stamp_ns) for key, looks in self._looks.items()}
        looks = {key: look for key, look in found.items() if look is not None}
        self.matcher.update(self.views, looks, self._looks)
        fused = []
        for person, tracks in self.matcher.members.items():
            shown = {key: looks[key] for key in sorted(tracks) if key in looks}
            if shown and self.matcher.settled(person, self._looks, stamp_ns):
                one = self._fuse_finite(person, shown, stamp_ns)
                fused += [one] if one is not None else []
        self.judge.look(self.views, fused)
        if self.matcher.matched:
            fused = [one for one in fused if not self._left_out(one)]
        members = self.matcher.members
        self._people = {person: kept for person, kept in self._people.items() if person in members}
        return tuple(sorted(fused, key=lambda one: (-len(one.tracks), one.motion.track_id)))

    def _left_out(self, one: FusedPerson) -> bool:
        """Whether a person is left out; if they are published later, they get a new id."""
        tracks = self.matcher.members[one.motion.track_id]
        wrong = {camera for camera, _ in tracks} <= self.judge.apart
        if wrong:
            del self.matcher.members[one.motion.track_id]
        return wrong

    def _fuse_finite(
        self, person: int, looks: dict[Key, Look], stamp_ns: int
    ) -> FusedPerson | None:
        """Return one person; if the result is not finite, forget them and return None."""
        try:
            one = self._fuse(person, looks, stamp_ns)
            if one.motion.finite:
                return one
        except (np.linalg.LinAlgError, torch.linalg.LinAlgError):
            pass
        self.unusable_poses += 1
        self._people.pop(person, None)
        return None

    def _fuse(self, person: int, looks: dict[Key, Look], stamp_ns: int) -> FusedPerson:
        kept = self._people.get(person)
        views = [self.views[camera] for camera, _ in looks]
        if len(looks) == 1 and kept is None:
            # No other camera has seen this person: the one camera's estimate is used.
            ((key, look),) = looks.items()
            return FusedPerson(in_world(views[0], look, person), {key[0]: look}, (key,), {})
        shown = list(looks.values())
        networks = {
            key: network_body(view, look) for view, (key, look) in zip(views, looks.items())
        }
        # A camera that is off does not count if two others see the person.
        off = self.judge.off if len(looks) > 2 else None
        used = [camera != off for camera, _ in looks]
        terms = view_terms(views, shown, list(networks.values()), self.solver.size, used)
        elapsed_s = 0.0 if kept is None else (stamp_ns - kept.stamp_ns) * 1e-9
        recent = kept is not None and elapsed_s < FORGOTTEN_S
        expected = None
        if kept and recent:
            frames = max(elapsed_s / FRAME_S, LEAST_FRAMES)
            counted = {key: body for key, body in networks.items() if key[0] != off}
            expected = stepped(kept.body, kept.networks, counted, frames)
        solution = self.solver.solve(terms, kept.shape if kept else None, expected)
        shape = solution.shape
        if kept and len(looks) == 1:
            # One camera does not determine the size, unless it was told.
            told = terms.stature[1] > 0.0
            shape = Shape(shape.betas, kept.shape.precision) if told else kept.shape
        velocity = kept.velocity if kept and recent else JointVelocity()
        chain, local, _ = self.solver.posed(solution.body, shape.betas)
        joints = (local + solution.body.translation[0]).numpy()
        rest = self.body.skeleton(shape.betas[None]).joints[0, 0]
        residual = {}
        if len(looks) > 1:
            for (key, look), away in zip(looks.items(), solution.residual.numpy(), strict=True):
                if (known := away[look.weight > 0]).size:
                    residual[key[0]] = KEYPOINT_SHARE * float(np.median(known))
        extrinsics = kept.extrinsics if kept and recent else np.zeros((3, 3), np.float32)
        seeing = list(compress(views, used))
        if any(view.name in residual for view in seeing):
            boxes = [look.box_size for look in compress(shown, used)]
            extrinsics = extrinsics_covariance(
                np.array([joints[0] - view.centre for view in seeing]),
                np.array([residual.get(v.name, np.nan) * b for v, b in zip(seeing, boxes)]),
            ).astype(np.float32)
        self._people[person] = _Person(
            shape, solution.body, stamp_ns, networks, velocity, extrinsics
        )
        covariance = UNDERSTATED**2 * solution.covariance.numpy() + extrinsics
        motion = replace(
            fused_motion(
                person, list(compress(shown, used)), solution.body, chain, joints, shape.betas, rest
            ),
            velocity=velocity.update(joints, stamp_ns)[None].astype(np.float32),
            covariance=covariance[None],
            place=place_of(seeing, joints[0], covariance[0]),
        )
        by_camera = {camera: look for (camera, _), look in looks.items()}
        return FusedPerson(motion, by_camera, tuple(looks), residual)


def place_of(views: Sequence[View], pelvis: np.ndarray, covariance: np.ndarray) -> Place:
    """Return the sources of the place of a pelvis (3,) m; covariance: (3, 3) m^2, world frame.

    With one camera left it is the size of the person, which is known from the others.
    """
    sigma_m = float(np.sqrt(np.linalg.eigvalsh(covariance.astype(np.float64))[-1]))
    distance_m = min(float(np.linalg.norm(view.centre - pelvis)) for view in views)
    source = TRIANGULATED if len(views) > 1 else STATURE
    return Place(source, sigma_m / max(distance_m, LEAST_DISTANCE_M))
