"""Files: paths of those installed with the package (models, launch, config), and the sha256."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from moro_ros.errors import AssetError

PACKAGE = "moro_ros"


def share_path(*parts: str) -> Path:
    """Return the path of a file or folder that is installed with the package.

    parts: its path relative to share/moro_ros, which is laid out like the checkout, such as
        ("models", "moro_open"). It is not checked whether it exists.
        Raises: AssetError if this installation has no share/moro_ros.
    """
    return share_folder().joinpath(*parts)


@cache
def share_folder() -> Path:
    """Find share/moro_ros of this installation: the checkout's root, or an install prefix's."""
    looked = list(dict.fromkeys(candidates(Path(__file__).parent)))
    for folder in looked:
        if (folder / "package.xml").is_file() and (folder / "models").is_dir():
            return folder
    raise AssetError(
        f"The files of {PACKAGE} (models, config) were not found; looked in "
        f"{', '.join(map(str, looked))}. Install the package again: pip install . or colcon build."
    )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def candidates(package: Path) -> Iterator[Path]:
    """List the possible places of share/moro_ros for a package imported from a folder, best first.

    package: the imported folder moro_ros/. Its symbolic links are not resolved: colcon's
    --symlink-install links file by file, and only the unresolved path contains the prefix.
    """
    yield package.parent  # a checkout, also through an editable install
    for prefix in package.parents:  # PREFIX/lib/python3.X/site-packages and Debian's variants
        yield prefix / "share" / PACKAGE
    for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry) / "share" / PACKAGE
    yield Path(sys.prefix) / "share" / PACKAGE
