"""Data of all people that a live stream keeps on the device: frame features, keys and values.

All arrays are allocated for a number of people and have a ring of frames for each. The people in
view have the first rows, so a step works on slices and does not copy unchanged data.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from moro_ros.live.row_decoding import EMPTY
from moro_ros.network.moro import FrameFeatures
from moro_ros.network.rows import Past

FIRST_ROWS = 2  # initial number of people of the arrays; it is doubled when necessary


class FeatureCache:
    """Rings of frames for people by track id.

    frames: length of the ring of features; reach: of that of keys and values, 0 for none.
    Each ring has one more slot at its end for the provisional frame and for unused values.
    """

    def __init__(self, frames: int, reach: int) -> None:
        self.frames = frames
        self.reach = reach
        self.ids: list[int] = []
        self.times = np.full((FIRST_ROWS, reach), EMPTY)
        self._features: list[Tensor] = []
        self._keys: list[Tensor] = []
        self._form = Past()

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, track_id: int) -> int:
        """The row of a person."""
        return self.ids.index(track_id)

    def admit(self, track_id: int) -> None:
        """Assign a row to a new person."""
        row = len(self.ids)
        self.ids.append(track_id)
        if row == len(self.times):
            self.times = np.concatenate([self.times, np.full_like(self.times, EMPTY)])
            self._features = [torch.cat((part, torch.zeros_like(part))) for part in self._features]
            self._keys = [torch.cat((part, torch.zeros_like(part))) for part in self._keys]
        self.times[row] = EMPTY

    @torch.inference_mode()
    def forget(self, track_id: int) -> None:
        """Free the row of a person, if any; the last row moves there."""
        if track_id not in self.ids:
            return
        row, last = self.row(track_id), len(self.ids) - 1
        self.ids[row] = self.ids[last]
        self.ids.pop()
        if row != last:
            self.times[row] = self.times[last]
            for part in (*self._features, *self._keys):
                part[row].copy_(part[last])

    def put_features(self, rows: np.ndarray, places: np.ndarray, features: FrameFeatures) -> None:
        """Store the features (1, M, ...) of M frames at slots (M,) of the people at rows (M,)."""
        parts = [getattr(features, item.name)[0] for item in fields(FrameFeatures)]
        if not self._features:
            shape = len(self.times), self.frames + 1
            self._features = [part.new_zeros(*shape, *part.shape[1:]) for part in parts]
        where = torch.from_numpy(rows), torch.from_numpy(places)
        for kept, part in zip(self._features, parts):
            kept.index_put_(where, part)

    def features(self, places: np.ndarray) -> FrameFeatures:
        """Return the features at slots (B, K) of the first B people, (B, K, ...)."""
        rows = torch.arange(len(places))[:, None]
        where = torch.from_numpy(places)
        return FrameFeatures(*(kept[rows, where] for kept in self._features))

    def past(self) -> Past:
        """Return keys and values of people in view, views of (B, N, heads, reach + 1, width)."""
        return self._form.like([part[: len(self.ids)] for part in self._keys])

    def put_past(self, made: Past, times: np.ndarray, kept: np.ndarray) -> None:
        """Store the keys and values that a step computed for K rows of all people.

        times: (B, K) frames; kept: (B, K) bool, False for padding and for the provisional row.
        """
        if not self.reach:
            return
        new = made.flat()
        if not self._keys:
            self._form = made
            shapes = [(len(self.times), *p.shape[1:3], self.reach + 1, p.shape[4]) for p in new]
            self._keys = [part.new_zeros(shape) for part, shape in zip(new, shapes)]
        places = np.where(kept, times, 0.0).astype(np.int64) % self.reach
        for row, (person, use) in enumerate(zip(places, kept)):
            self.times[row, person[use]] = times[row, use]
        places = np.where(kept, places, self.reach)
        index = torch.from_numpy(places).to(new[0].device)[:, None, None, :, None]
        for ring, part in zip(self._keys, new):
            ring[: len(self.ids)].scatter_(3, index.expand_as(part), part)

    def kept_times(self, row: int) -> np.ndarray:
        """Return the frames of one person whose keys and values are kept, (reach + 1,) float64.

        EMPTY for unused slots; an empty array before the first step.
        """
        if not self._keys:
            return np.zeros(0)
        return np.append(self.times[row], EMPTY)
