"""Files that travel with the package are found in every kind of installation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moro_ros import resources
from moro_ros.errors import AssetError

ROOT = Path(__file__).resolve().parents[1]


def test_checkout_or_installation_holds_the_declared_folders():
    for name in ("models", "msg", "config", "launch", "rviz"):
        assert resources.share_path(name).is_dir()
    assert resources.share_path("config", "moro.yaml").is_file()


@pytest.mark.parametrize(
    "site", ["lib/python3.12/site-packages", "local/lib/python3.10/dist-packages"]
)
@pytest.mark.parametrize("link", [False, True])
def test_installed_prefix_is_found(tmp_path, site, link):
    """A copied or file-by-file linked install answers with its own share folder."""
    package, share = tmp_path / "prefix" / site / "moro_ros", tmp_path / "prefix/share/moro_ros"
    package.mkdir(parents=True)
    (share / "models").mkdir(parents=True)
    (share / "package.xml").touch()
    for name in ("__init__.py", "resources.py", "errors.py"):
        source = ROOT / "moro_ros" / name
        if link:
            (package / name).symlink_to(source)
        else:
            shutil.copy(source, package / name)
    code = "from moro_ros.resources import share_folder; print(share_folder())"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert out.stdout.strip() == str(share)


def test_missing_share_folder_names_where_it_looked(tmp_path, monkeypatch):
    package = tmp_path / "moro_ros"
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    monkeypatch.setattr(resources.sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ament"))
    with pytest.raises(AssetError, match=r"ament/share/moro_ros.*pip install"):
        resources.share_folder.__wrapped__()
