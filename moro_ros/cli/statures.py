"""Statures given on the command line: `--stature METRES` and `--stature ID=METRES`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from moro_ros.body.topology import LEAST_STATURE_M, MOST_STATURE_M
from moro_ros.errors import ConfigError

CM_PER_M = 100.0


@dataclass(frozen=True, slots=True)
class Statures:
    """Known statures [m] by id; everybody: of those who have none of their own, None if unknown."""

    everybody: float | None = None
    by_id: Mapping[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.everybody is not None or bool(self.by_id)

    def of(self, track_id: int) -> float | None:
        """Return the stature of a person [m], None if it is unknown."""
        return self.by_id.get(track_id, self.everybody)

    def words(self) -> str:
        """Return a text for the report."""
        found = [f"{stature_m:.2f} m (person {i})" for i, stature_m in sorted(self.by_id.items())]
        if self.everybody is not None:
            found.append(f"{self.everybody:.2f} m ({'others' if self.by_id else 'everybody'})")
        return ", ".join(found)

    def notes(self, ids: Sequence[int], together: Collection[int]) -> list[str]:
        """Return sentences about statures that were probably given by mistake.

        ids: of all people; together: of those who are in one image with others.
        """
        notes = [
            f"--stature {i}={stature_m:g} was not used: got id {i}, expected an id of a person in "
            f"the input ({', '.join(map(str, ids)) or 'there are none'})."
            for i, stature_m in sorted(self.by_id.items())
            if i not in ids
        ]
        same = sorted(i for i in together if i not in self.by_id)
        if self.everybody is not None and len(same) > 1:
            notes.append(
                f"--stature {self.everybody:g} was used for several people who are in one image: "
                f"ids {', '.join(map(str, same))}. If they are not equally tall, give each with "
                "--stature ID=METRES."
            )
        return notes


def read_statures(options: Sequence[str], several: bool) -> Statures:
    """Return the values of --stature; several: whether there are several inputs.

    Raises: ConfigError.
    """
    everybody: list[float] = []
    by_id: dict[int, float] = {}
    for option in options:
        name, equals, text = option.rpartition("=")
        stature_m = read_metres(option, text)
        if not equals:
            everybody.append(stature_m)
            continue
        if not name.isdecimal() or int(name) < 1:
            raise ConfigError(
                f"--stature: got '{option}', expected METRES or ID=METRES with the id of a person, "
                "which is a number from 1."
            )
        if several:
            raise ConfigError(
                f"--stature: got '{option}' for several inputs, each of which counts ids from 1. "
                "Process one input at a time, or give METRES without an id."
            )
        if int(name) in by_id:
            raise ConfigError(f"--stature: got id {int(name)} twice, expected each id once.")
        by_id[int(name)] = stature_m
    if len(everybody) > 1:
        raise ConfigError(
            f"--stature: got {' and '.join(f'{value:g}' for value in everybody)} without an id, "
            "expected one value for everybody; give ID=METRES for each person."
        )
    return Statures(everybody[0] if everybody else None, by_id)


def read_metres(option: str, text: str) -> float:
    """Return a stature; raises ConfigError."""
    try:
        stature_m = float(text)
    except ValueError:
        stature_m = math.nan
    if LEAST_STATURE_M <= stature_m <= MOST_STATURE_M:
        return stature_m
    hint = ""
    if LEAST_STATURE_M <= stature_m / CM_PER_M <= MOST_STATURE_M:
        hint = f" For {stature_m:g} centimetres, give {stature_m / CM_PER_M:g}."
    raise ConfigError(
        f"--stature: got '{option}', expected a stature from {LEAST_STATURE_M:g} to "
        f"{MOST_STATURE_M:g} metres, such as 1.72 or, for the person with id 2, 2=1.72.{hint}"
    )
