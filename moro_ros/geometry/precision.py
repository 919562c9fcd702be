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
        first = next(value for value in args if isinstance(value, torch.Tensor))
        with torch.autocast(first.device.type, enabled=False):
            return function(*map(_raised, args), **{k: _raised(v) for k, v in kwargs.items()})

    return cast(F, wrapper)


def _raised(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value
