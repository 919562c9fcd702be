"""Peak memory of a computation that is not carried out: tensors without contents are counted."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are still alive, and their peak.

    Meant for fake or meta tensors. What a kernel needs for itself while it runs is not seen, nor
    what a memory manager loses between blocks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes_now = 0
        self.bytes_peak = 0
        self._known: set[int] = set()

    def hold(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count tensors that were made before."""
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count the new tensors it returns."""
        result = function(*args, **(kwargs or {}))
        self.hold(leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.bytes_now += size
        self.bytes_peak = max(self.bytes_peak, self.bytes_now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes_now -= size
