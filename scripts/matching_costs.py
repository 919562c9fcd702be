"""Print the costs of pairs of tracks that are one person, and of pairs that are not.

    python scripts/matching_costs.py

On the trial "multi" of docs/cameras.md, with recover/fusion/matching.py, without clothes. The cost
of a pair is averaged over the recent images, as the fusion does; the largest of the pairs of one
person and the smallest of the others, from the first image at which they could be joined.
"""

from __future__ import annotations

from itertools import combinations, product

from moro_ros.cli.evaluate_video import remembering_frontend
from moro_ros.config import PipelineConfig
from moro_ros.evaluation.pose2sim import load_trial
from moro_ros.evaluation.several_cameras import taken
from moro_ros.live.load import load_stream
from moro_ros.recover.fusion.estimate import look_of
from moro_ros.recover.fusion.looks import Key, Look
from moro_ros.recover.fusion.matching import LEAST_IMAGES, Cost, mismatch
from moro_ros.recover.fusion.playback import Taken


def looks_in(camera: str, image: Taken) -> dict[Key, Look]:
    """Return the looks at all people in one image."""
    motion_of = {motion.track_id: motion for motion in image.motions}
    return {
        (camera, person.track_id): look_of(person, image.frame, motion_of[person.track_id])
        for person in image.frame.people
        if person.track_id in motion_of
    }


def main() -> None:
    """Print both ranges, and the nearest of the pairs that are not one person."""
    stream = load_stream(PipelineConfig())
    trial = load_trial("multi", remembering_frontend("full")[0])
    reels = [taken(stream, frames) for frames in trial.frames]
    names = [view.name for view in trial.views]
    person_of = {(names[n], i): person.name for person in trial.people for n, i in person.tracks}
    found: dict[tuple[Key, Key], tuple[Cost, list[float]]] = {}
    for images in zip(*reels):
        seen = [looks_in(name, image) for name, image in zip(names, images, strict=True)]
        for first, second in combinations(range(len(seen)), 2):
            for one, two in product(seen[first], seen[second]):
                look = seen[first][one]
                views = trial.views[first], trial.views[second]
                cost = mismatch(views[0], look, views[1], seen[second][two])
                if cost is None:
                    continue
                mean, means = found.setdefault((one, two), (Cost(), []))
                mean.add(cost, look.stamp_ns)
                if mean.images >= LEAST_IMAGES:
                    means.append(mean.mean)
    same = {pair for pair in found if person_of.get(pair[0], 0) == person_of.get(pair[1], 1)}
    of_one = [max(found[pair][1]) for pair in same if found[pair][1]]
    of_two = {pair: min(found[pair][1]) for pair in set(found) - same if found[pair][1]}
    print(f"one person: {len(of_one)} pairs, at most {max(of_one):.2f}")
    print(f"others: {len(of_two)} pairs, at least {min(of_two.values()):.2f}")
    both = [cost for pair, cost in of_two.items() if set(pair) <= set(person_of)]
    print(f"  of the two people: {len(both)} pairs, at least {min(both):.2f}")


if __name__ == "__main__":
    main()
