"""Matches people between cameras by place, size, pose and clothes, averaged over a while.

Rays of different people can meet too, for two cameras at the same height: one of them would be a
giant and the other a dwarf, or both would be turned away. So the keypoints must meet in space,
where both cameras see a body of the same size, which is that of a person, and both networks must
estimate the same pose. Clothes decide where this is not clear. A network may expect the person much
farther away: it takes a child for an adult.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.geometry.views import View, intersect, projected
from moro_ros.recover.children import SMALLEST
from moro_ros.recover.fusion.clothes import difference
from moro_ros.recover.fusion.looks import Key, Look

# Typical differences between two looks at one person: keypoints from the other's rays, in person
# boxes; size of the body, logarithm; pose, root mean square over the joints, m; direction of the
# pelvis, rad.
MISS, SIZE, POSE_M, FACING = 0.04, 0.25, 0.25, 0.6
# How much larger a person may be than the network expects, logarithm; smaller: SMALLEST.
LARGER = 0.3
# Minimum and maximum cost of clothes. Cameras differ in white balance and exposure, so place and
# pose can outweigh them.
SAME_CLOTHES, OTHER_CLOTHES = -0.5, 1.5
# Minimum number of keypoints seen by both cameras.
LEAST_COMMON = 5
# The mean cost below which two looks are at one person; each term adds one if it is as large as
# above. The cost of one image is at most OUTLIER. For people who were already joined, the cost is
# multiplied by this share.
JOIN, OUTLIER, LOYALTY = 3.0, 40.0, 0.5
# Averaging time of costs, s, and minimum number of images before people are joined.
MEMORY_S, LEAST_IMAGES = 0.5, 3
# Maximum time for which a person seen by one camera is compared before they are a new person, s.
PATIENCE_S = 0.5


@dataclass(slots=True)
class Cost:
    """The mean cost of joining two looks to one person, over the recent images."""

    mean: float = 0.0
    images: int = 0
    stamp_ns: int = 0

    def add(self, cost: float, stamp_ns: int) -> None:
        """Add the cost of one image."""
        self.images += 1
        elapsed_s = (stamp_ns - self.stamp_ns) * 1e-9
        gain = max(1.0 / self.images, -np.expm1(-max(elapsed_s, 0.0) / MEMORY_S))
        self.mean += gain * (min(cost, OUTLIER) - self.mean)
        self.stamp_ns = stamp_ns


class Matcher:
    """Joins tracks of different cameras to people and gives them ids.

    members: person's id -> their tracks, at most one per camera.
    """

    def __init__(self) -> None:
        self.members: dict[int, set[Key]] = {}
        self._costs: dict[frozenset[Key], Cost] = {}
        self._person_of: dict[Key, int] = {}
        self._since_ns: dict[Key, int] = {}
        self._last_id = 0

    def update(
        self, views: Mapping[str, View], looks: Mapping[Key, Look], known: Iterable[Key]
    ) -> None:
        """Advance to an image time.

        looks: at that time; known: all current tracks, seen at this time or not.
        """
        for (first, one), (second, two) in combinations(sorted(looks.items()), 2):
            if first[0] == second[0]:
                continue
            cost = mismatch(views[first[0]], one, views[second[0]], two)
            if cost is not None:
                self._costs.setdefault(frozenset((first, second)), Cost()).add(cost, one.stamp_ns)
        self._person_of = {t: person for person, tracks in self.members.items() for t in tracks}
        self.members = self._name(self._group(set(known)))

    def settled(self, person: int, others: Iterable[Key], stamp_ns: int) -> bool:
        """Whether a person of one camera was compared with all tracks that other cameras have.

        A person who cannot be compared is a new person after PATIENCE_S.
        """
        (own, *rest) = self.members[person]
        if rest:
            return True
        if stamp_ns - self._since_ns.setdefault(own, stamp_ns) > PATIENCE_S * 1e9:
            return True
        pairs = [frozenset((own, other)) for other in others if other[0] != own[0]]
        return all(pair in self._costs and self._images(pair) >= LEAST_IMAGES for pair in pairs)

    @property
    def matched(self) -> bool:
        """Whether any person is seen by more than one camera."""
        return any(len(tracks) > 1 for tracks in self.members.values())

    def _images(self, pair: frozenset[Key]) -> int:
        return self._costs[pair].images

    def _group(self, known: set[Key]) -> list[set[Key]]:
        """Join tracks to people from scratch, the best pair first."""
        self._since_ns = {key: since for key, since in self._since_ns.items() if key in known}
        self._costs = {pair: cost for pair, cost in self._costs.items() if pair <= known}
        groups = [{track} for track in sorted(known)]
        while True:
            best, pair = JOIN, None
            for one, two in combinations(groups, 2):
                if {camera for camera, _ in one}.isdisjoint(camera for camera, _ in two):
                    cost = self._mean(one, two)
                    if cost < best:
                        best, pair = cost, (one, two)
            if pair is None:
                return groups
            groups = [group for group in groups if group not in pair] + [pair[0] | pair[1]]

    def _name(self, groups: list[set[Key]]) -> dict[int, set[Key]]:
        """Give each group the id that most of its tracks had; on a tie, the older one."""
        shared = sorted(
            (-len(group & tracks), person, number)
            for number, group in enumerate(groups)
            for person, tracks in self.members.items()
            if group & tracks
        )
        names: dict[int, int] = {}
        for _, person, number in shared:
            if number not in names and person not in names.values():
                names[number] = person
        for number in range(len(groups)):
            if number not in names:
                self._last_id += 1
                names[number] = self._last_id
        return {person: groups[number] for number, person in sorted(names.items())}

    def _mean(self, one: set[Key], two: set[Key]) -> float:
        """Return the mean cost between tracks; infinite without enough images of any."""
        means = []
        for a, b in product(one, two):
            cost = self._costs.get(frozenset((a, b)))
            if cost is not None and cost.images >= LEAST_IMAGES:
                person = self._person_of.get(a)
                known = person is not None and person == self._person_of.get(b)
                means.append(cost.mean * (LOYALTY if known else 1.0))
        return float(np.mean(means)) if means else float("inf")


def mismatch(first: View, one: Look, second: View, two: Look) -> float | None:
    """Return the cost of two cameras' looks as one person; None if too little is seen by both."""
    common = (one.weight > 0) & (two.weight > 0)
    if common.sum() < LEAST_COMMON:
        return None
    points = np.stack([one.points[common], two.points[common]])[:, None]
    world = intersect((first, second), points, np.ones(points.shape[:3]))[0]
    miss, ratio, size, looks_of = [], [], [], ((first, one), (second, two))
    for view, look in looks_of:
        planar, depth = projected(view, world)
        off = np.linalg.norm(planar - look.points[common], axis=-1) / look.box_size
        miss.append(np.where(depth > 0, off, np.inf))
        expected = max(float(look.motion.joints[-1, 0, 2]), 0.1)
        ratio.append(float(np.log(max(float(np.median(depth)), 0.1) / expected)))
        size.append(ratio[-1] + np.log(bone_length(look.motion.joints[-1])))
    poses = [
        view.rotation.T @ (look.motion.joints[-1, :NUM_JOINTS] - look.motion.joints[-1, :1]).T
        for view, look in looks_of
    ]
    pose = float(np.sqrt(np.square(poses[0] - poses[1]).sum(0).mean()))
    place = float(np.median(np.max(miss, 0))) / MISS
    sizes = abs(size[0] - size[1]) / SIZE
    unusual = max(max(ratio) / LARGER, -min(ratio) / SMALLEST)
    turns = [v.rotation.T @ look.motion.joint_rotations[-1, 0] for v, look in looks_of]
    facing = np.arccos(np.clip((np.trace(turns[0].T @ turns[1]) - 1) / 2, -1, 1)) / FACING
    worn = difference(one.clothes, two.clothes)
    clothes = 0.0 if worn is None else min(SAME_CLOTHES + worn, OTHER_CLOTHES)
    person = sizes**2 + unusual**2 + (pose / POSE_M) ** 2 + facing**2
    return float(min(place**2 + person + clothes, OUTLIER))


def bone_length(joints: np.ndarray) -> float:
    """Return the length of all bones of a body, m; joints: (22, 3) m."""
    bones = joints[1:NUM_JOINTS] - joints[list(PARENTS[1:])]
    return float(np.linalg.norm(bones, axis=-1).sum())
