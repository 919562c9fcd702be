"""The type of all options and arguments that are paths."""

from __future__ import annotations

import argparse
from pathlib import Path


def user_path(text: str) -> Path:
    """Return a path with ~ replaced, which shells do not do in --option=~/file.

    Raises: ArgumentTypeError for the home of an unknown user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(
            f"got '{text}', but there is no such home directory; for a file whose name begins "
            f"with ~ give './{text}'"
        ) from error
