"""Keep geometry in full precision when the network around it runs in a reduced one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def full_precision(function: F) -> F:
    """Run a function of tensors outside autocast, with 16-bit arguments raised to float32.

    Rotations and depths lose millimetres in bfloat16; float64 arguments stay float64.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_raised, args))
        kwargs = {name: _raised(value) for name, value in kwargs.items()}
        device = next(value.device.type for value in args if isinstance(value, torch.Tensor))
        if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return cast(F, wrapper)


def _raised(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value
