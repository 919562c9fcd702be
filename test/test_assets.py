"""The asset cache, tried with the real pip on small wheels made here; no network."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from moro_ros import assets
from moro_ros.assets import Asset, NpmPackage, Wheel
from moro_ros.errors import AssetError

CONTENT = b"weights" * 1000
WHEEL = Wheel("moro-sample", "1.2", 1, "manylinux_2_28_x86_64")
ASSET = Asset(WHEEL, "moro_sample/a.bin", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "CC0")


def write_wheel(folder: Path, content: bytes) -> None:
    """A wheel for another Python and maybe another machine than this one's."""
    path = folder / "moro_sample-1.2-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("moro_sample/a.bin", content)
        info = "moro_sample-1.2.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: moro-sample\nVersion: 1.2\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that pip takes for its only package index, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "MORO_CACHE": str(tmp_path / "cache"),
        "MORO_OFFLINE": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(assets, "ASSETS", {"a.bin": ASSET})
    return folder


def test_the_table_is_complete():
    for name, asset in assets.ASSETS.items():
        assert len(asset.sha256) == 64 and int(asset.sha256, 16) > 0, name
        assert asset.size > 0 and asset.licence and asset.member and Path(name).name == name
    assert len({asset.member for asset in assets.ASSETS.values()}) == len(assets.ASSETS)


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MORO_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert assets.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("MORO_CACHE")
    assert assets.cache_dir() == tmp_path / "xdg" / "moro_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert assets.cache_dir() == tmp_path / ".cache" / "moro_ros"


def test_fetches_once_and_repairs_a_damaged_copy(index, caplog):
    write_wheel(index, CONTENT)
    path = assets.fetch("a.bin")
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "a.bin"]
    path.write_bytes(CONTENT[:-1] + b"!")
    assert assets.fetch("a.bin").read_bytes() == CONTENT
    assert caplog.text.count("damaged") == 1
    (index / "moro_sample-1.2-cp311-cp311-manylinux_2_28_x86_64.whl").unlink()
    assert assets.fetch("a.bin") == path


def test_a_wheel_with_other_content_is_refused(index):
    write_wheel(index, CONTENT + b"tampered")
    with pytest.raises(AssetError, match="sha256"):
        assets.fetch("a.bin")
    assert not assets.cached_path("a.bin").exists()


def test_a_wheel_without_the_file_is_refused(index):
    write_wheel(index, CONTENT)
    moved = Asset(WHEEL, "elsewhere/a.bin", ASSET.sha256, ASSET.size, "CC0")
    assets.ASSETS["a.bin"] = moved
    with pytest.raises(AssetError, match="cannot be read"):
        assets.fetch("a.bin")


def test_no_network_tells_how_to_do_it_by_hand_and_that_works(index, tmp_path):
    with pytest.raises(AssetError) as caught:
        assets.fetch("a.bin")
    message = str(caught.value)
    path = assets.cached_path("a.bin")
    assert "moro-sample==1.2" in message and str(path) in message and ASSET.member in message
    path.write_bytes(CONTENT)
    assert assets.fetch("a.bin") == path


def test_offline_forbids_downloads_but_not_the_cache(index, monkeypatch):
    write_wheel(index, CONTENT)
    monkeypatch.setenv("MORO_OFFLINE", "1")
    with pytest.raises(AssetError, match="MORO_OFFLINE"):
        assets.fetch("a.bin")
    monkeypatch.setenv("MORO_OFFLINE", "0")
    assets.fetch("a.bin")
    monkeypatch.setenv("MORO_OFFLINE", "1")
    assert assets.fetch("a.bin").is_file()


@pytest.fixture
def npm(index, tmp_path, monkeypatch) -> Path:
    """A registry that npm is played on: `npm pack` copies what lies in this folder."""
    package = NpmPackage("@moro/sample", "1.2", 1)
    asset = Asset(package, "package/a.bin", ASSET.sha256, ASSET.size, "CC0")
    monkeypatch.setattr(assets, "ASSETS", {"a.bin": asset})
    registry, tools = tmp_path / "registry", tmp_path / "tools"
    registry.mkdir()
    tools.mkdir()
    script = tools / "npm"
    # npm pack --silent NAME --pack-destination FOLDER
    script.write_text(
        "#!/bin/sh\n"
        '[ "$1 $2 $3 $4" = "pack --silent @moro/sample@1.2 --pack-destination" ] || exit 2\n'
        f'cp {registry}/*.tgz "$5" 2>/dev/null || {{ echo "npm error code E404" >&2; exit 1; }}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return registry


def write_npm_package(folder: Path, content: bytes) -> None:
    with tarfile.open(folder / "moro-sample-1.2.tgz", "w:gz") as package:
        member = tarfile.TarInfo("package/a.bin")
        member.size = len(content)
        package.addfile(member, io.BytesIO(content))


def test_an_npm_package_is_fetched_and_checked(npm):
    write_npm_package(npm, CONTENT)
    path = assets.fetch("a.bin")
    assert path.read_bytes() == CONTENT and path.parent.name == "moro-sample-1.2"
    path.unlink()
    write_npm_package(npm, CONTENT + b"tampered")
    with pytest.raises(AssetError, match="sha256"):
        assets.fetch("a.bin")
    assert not path.exists()


def test_what_npm_cannot_do_is_told_with_the_way_by_hand(npm, monkeypatch, tmp_path):
    with pytest.raises(AssetError, match=r"npm failed: npm error code E404.*'npm pack"):
        assets.fetch("a.bin")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match=r"npm is not installed.*'npm pack.*package/a\.bin"):
        assets.fetch("a.bin")


def test_at_run_time_the_file_must_be_there(npm):
    write_npm_package(npm, CONTENT)
    with pytest.raises(AssetError, match=r"'moro fetch a\.bin'"):
        assets.fetch("a.bin", download=False)
    assert not assets.cached_path("a.bin").exists()
    assert assets.fetch("a.bin") == assets.fetch("a.bin", download=False)


def test_at_run_time_a_damaged_file_is_said_once_with_the_command(npm, caplog):
    write_npm_package(npm, CONTENT)
    assets.fetch("a.bin").write_bytes(b"cut")
    with pytest.raises(AssetError, match=r"is damaged .*'moro fetch a\.bin'") as caught:
        assets.fetch("a.bin", download=False)
    assert "missing" not in str(caught.value) and "damaged" not in caplog.text


def test_an_unknown_name_lists_the_known(index):
    with pytest.raises(AssetError, match=r"a\.bin"):
        assets.fetch("b.bin")


def test_a_cache_that_cannot_be_written_is_named(index, monkeypatch, tmp_path):
    write_wheel(index, CONTENT)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MORO_CACHE", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="cannot be written"):
        assets.fetch("a.bin")


def test_processes_that_start_at_once_download_once(index, tmp_path):
    write_wheel(index, CONTENT)
    script = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from moro_ros import assets\n"
        "from moro_ros.assets import Asset, Wheel\n"
        f"assets.ASSETS = {{'a.bin': {ASSET!r}}}\n"
        "print(assets.fetch('a.bin'))\n"
    )
    root = str(Path(assets.__file__).parents[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    results = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], results
    assert len({out for out, _ in results}) == 1
    assert sum("Downloading" in err for _, err in results) == 1
