"""Exported files appear together when all of them are complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moro_ros.errors import ConfigError


@contextmanager
def placed_in(folder: Path, force: bool) -> Iterator[Path]:
    """Yield an empty folder whose files are moved to `folder` if the block ends without an error.

    force: replace files that exist. Raises: ConfigError if a file exists, or if the folder cannot
    be written or becomes full.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
        yield temporary
        names = sorted(path.name for path in temporary.iterdir())
        # A broken link also counts as an existing file.
        taken = [name for name in names if os.path.lexists(folder / name)]
        if taken and not force:
            raise ConfigError(
                f"{folder} already contains {', '.join(taken)}. Use --force to replace, or choose "
                "another --out FOLDER."
            )
        for name in names:
            (temporary / name).replace(folder / name)
        made = []
    except OSError as error:
        raise ConfigError(
            f"Cannot write to the folder {folder} ({error}). Choose another --out FOLDER."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
