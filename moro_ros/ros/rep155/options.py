"""The options of the REP-155 topics."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moro_ros.config import fixed
from moro_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HumansConfig:
    """Options of the REP-155 topics and their names.

    Raises: ConfigError if the namespace or the prefix cannot be part of a topic name.
    """

    enable: bool = fixed(
        True, "Publish the REP-155 topics. They are computed only if they have a subscriber"
    )
    namespace: str = fixed(
        "/humans", "Namespace of the REP-155 topics. Use one per camera; libhri finds /humans only"
    )
    id_prefix: str = fixed(
        "b", "Prefix of body ids, followed by the track id. Use one per camera, so that the names "
        "of TF frames differ",
    )  # fmt: skip
    persons: bool = fixed(
        True, "Publish an anonymous person for each body. Disable it if a person manager such as "
        "hri_person_manager is running",
    )  # fmt: skip
    reference_frame: str = fixed("", "Parent TF frame of person_<id>. Empty for the camera frame")
    person_memory_s: float = fixed(
        5.0, "Time in which the location confidence of an unseen person falls from 1 to 0; then "
        "the person is removed",
        unit="s", low=0.1, high=3600.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(/[A-Za-z]\w*)+", self.namespace):
            raise ConfigError(
                f"humans.namespace: got '{self.namespace}', expected an absolute name such as "
                "/humans or /left/humans."
            )
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,15}", self.id_prefix):
            raise ConfigError(
                f"humans.id_prefix: got '{self.id_prefix}', expected up to 16 letters, digits and "
                "underscores that begin with a letter."
            )


def body_id(track_id: int, prefix: str = "b") -> str:
    """Id of a track's body: short, begins with a letter, valid only while the track lives."""
    return f"{prefix}{track_id}"


def person_id(track_id: int, prefix: str = "b") -> str:
    """Id of the anonymous person of a track's body."""
    return f"anonymous_{body_id(track_id, prefix)}"
