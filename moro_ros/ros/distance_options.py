"""The parameters of moro_distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moro_ros.config import fixed
from moro_ros.errors import ConfigError

# HumanDistance.topic is a byte.
MOST_TOPICS = 255


@dataclass(frozen=True, slots=True)
class DistanceConfig:
    """Options of moro_distance.

    Raises: ConfigError unless there are topics of people, each once.
    """

    people_topics: tuple[str, ...] = fixed(
        ("moro/capsules",),
        "Topics of people, moro_ros/HumanCapsules, one per camera. All of them must be current",
    )
    rate_hz: float = fixed(100.0, "Rate of the measurements", unit="Hz", low=1.0, high=1000.0)
    ttl_s: float = fixed(
        0.1, "Time after its arrival for which a message may be used; each message states it",
        unit="s", low=0.01, high=10.0,
    )  # fmt: skip
    tf_timeout_s: float = fixed(
        0.5, "Time after which a transform of /tf that was not updated is no longer used",
        unit="s", low=0.01, high=60.0,
    )  # fmt: skip
    near_m: float = fixed(
        0.5, "Distance below which ~/markers are red", unit="m", low=0.0, high=100.0
    )

    def __post_init__(self) -> None:
        check_topics(self.people_topics)


def check_topics(topics: Sequence[str]) -> None:
    """Check the names of the topics of people; raises ConfigError."""
    if not 1 <= len(topics) <= MOST_TOPICS or len(set(topics)) < len(topics) or "" in topics:
        raise ConfigError(
            f"people_topics: got {list(topics)}, expected 1 to {MOST_TOPICS} topics, each once, "
            "such as [left/moro/capsules, right/moro/capsules]."
        )
