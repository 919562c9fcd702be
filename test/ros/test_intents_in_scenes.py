"""~/intents of the scripted scenes through the whole network: which signs come, and how often.

`pytest -s` prints the table of docs/planners.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanIntent
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.config import PipelineConfig
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.live.pipeline import load_pipeline
from moro_ros.live.synthetic_scenes import SCENES
from moro_ros.ros import parameters
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.outputs.tf import transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.intents import IntentsOutput
from moro_ros.ros.planners.shapes import Shaper
from moro_ros.ros.planners.targets import TargetFinder
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.transforms import Placement

pytestmark = [pytest.mark.ros, pytest.mark.weights, pytest.mark.slow]
CAMERA = camera_from_focal(600.0, 640, 480, "lens")
IMAGE = np.zeros((480, 640, 3), np.uint8)
RATE_HZ, CYCLES = 30, 2
# Where the cup of the scene reach stands, before the camera.
CUP = (0.0, -0.1, 1.95), (0.0, 0.0, 0.0, 1.0)
OPTIONS = parameters.updated(NodeConfig(), {"planners.reach_frame": "cup"})
# Seconds of a scene until it begins anew.
LENGTH_S = {"fall": 11.3, "handover": 7.0, "reach": 8.5, "walk_by": 5.78}
SIGNS: dict[str, Callable[[HumanIntent], Any]] = {
    "approaching": lambda m: m.approaching,
    "left hand reaching": lambda m: m.reaching & HumanIntent.HAND_LEFT,
    "right hand reaching": lambda m: m.reaching & HumanIntent.HAND_RIGHT,
    "attention": lambda m: m.attention,
    "left hand handover": lambda m: m.handover & HumanIntent.HAND_LEFT,
    "right hand handover": lambda m: m.handover & HumanIntent.HAND_RIGHT,
    "sitting down": lambda m: m.transition == HumanIntent.TRANSITION_SITTING_DOWN,
    "standing up": lambda m: m.transition == HumanIntent.TRANSITION_STANDING_UP,
    "falling": lambda m: m.transition == HumanIntent.TRANSITION_FALLING,
}


@pytest.fixture
def signs_of(client: Any) -> Callable[[str], dict[str, list[bool]]]:
    """signs_of(scene): whether each sign is reported, image by image."""
    placement = Placement(client.node, "", "", None, ("cup",))
    cup = transform_message(Header(frame_id="lens"), "cup", *CUP)
    placement.tree.take_static(TFMessage(transforms=[cup]))
    shaper = Shaper(placement, client.node.get_clock())

    def play(name: str) -> dict[str, list[bool]]:
        output = IntentsOutput(client.node, shaper, placement, TargetFinder(Describer()))
        pipeline = load_pipeline(PipelineConfig(people="synthetic", synthetic_scene=name))
        found: dict[str, list[bool]] = {sign: [] for sign in SIGNS}
        for number in range(round(CYCLES * LENGTH_S[name] * RATE_HZ)):
            stamp_ns = 10**9 + round(number * 1e9 / RATE_HZ)
            result = pipeline.recover(pipeline.observe(IMAGE, stamp_ns, CAMERA))
            header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="lens")
            (message,) = output.messages(Scene(result, header, IMAGE, pipeline), OPTIONS)
            for intent in message.intents:
                for sign, holds in SIGNS.items():
                    found[sign].append(bool(holds(intent)))
        output.destroy(client.node)
        shaper.keep(())
        return found

    yield play
    placement.destroy(client.node)


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("fall", ("falling", "standing up")),
        ("handover", ("right hand handover", "attention")),
        ("reach", ("right hand reaching", "attention")),
        ("walk_by", ()),
    ],
)
def test_what_is_played_is_reported_in_each_cycle(
    signs_of: Callable[[str], dict[str, list[bool]]], scene: str, expected: tuple[str, ...]
) -> None:
    assert scene in SCENES
    signs = signs_of(scene)
    times: Counter[str] = Counter()
    for sign, row in signs.items():
        begins = np.flatnonzero(np.diff([False, *row]))[::2]
        times[sign] += len(begins)
        length = round(LENGTH_S[scene] * RATE_HZ)
        if sign in expected:
            assert all(any(row[c * length : (c + 1) * length]) for c in range(CYCLES)), sign
    counts = ", ".join(f"{sign} {number}" for sign, number in times.items() if number)
    print(f"\n| `{scene}` | {CYCLES} x {LENGTH_S[scene]:g} s | {counts or 'nothing'} |")
    if scene == "walk_by":
        assert not times.total(), "somebody who walks by intends nothing"
    # Nobody holds anything out, reaches, approaches or falls but where it is played.
    others = {"approaching", "falling", *(s for s in SIGNS if "hand" in s)} - set(expected)
    assert not [sign for sign in others if times[sign]]
