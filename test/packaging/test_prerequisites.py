"""A missing prerequisite ends the set-up in one line that names the Debian package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_prerequisites.sh"
TOOLS = ("sh", "uname", "basename", "g++", "git", "make", "bash")

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")


def check(folder: Path, python: str, path: Path | None = None) -> tuple[int, str]:
    """Exit status and words of the check with nothing but a folder on the PATH."""
    result = subprocess.run(
        ["/bin/sh", SCRIPT, python],
        env={"PATH": str(path or folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.fixture
def folder(tmp_path):
    """A PATH with all tools and a Python that has everything."""
    for tool in TOOLS:
        found = shutil.which(tool)
        if not found:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / tool).symlink_to(found)
    fake_python(tmp_path, header=True)
    return tmp_path


def fake_python(
    folder: Path, version: str = "3.11", venv: bool = True, header: bool = True
) -> None:
    """Put a python3 there that answers the questions of the check as told."""
    (folder / "Python.h").unlink(missing_ok=True)
    if header:
        (folder / "Python.h").touch()
    major, minor = version.split(".")
    (folder / "python3").write_text(
        f"""#!/bin/sh
case "$2" in
  *ensurepip*) exit {0 if venv else 1} ;;
  *Python.h*) echo {folder}/Python.h ;;
  *sys.exit*) [ {minor} -ge 10 ] ;;
  *version_info*) echo {major}.{minor} ;;
esac
"""
    )
    (folder / "python3").chmod(0o755)


def test_nothing_missing(folder):
    assert check(folder, "python3") == (0, "")


@pytest.mark.parametrize(("tool", "package"), [("g++", "g++"), ("git", "git")])
def test_missing_tool(folder, tool, package):
    (folder / tool).unlink()
    assert_one_line(check(folder, "python3"), f"apt install {package}")


def test_missing_python(folder):
    (folder / "python3").unlink()
    assert_one_line(check(folder, "python3"), "apt install python3")


def test_missing_venv(folder):
    fake_python(folder, venv=False)
    assert_one_line(check(folder, "python3"), "apt install python3-venv")


def test_missing_headers(folder):
    fake_python(folder, header=False)
    assert_one_line(check(folder, "python3"), "apt install python3-dev")


def test_packages_of_a_python_asked_for_by_version(folder):
    fake_python(folder, header=False)
    (folder / "python3").rename(folder / "python3.12")
    assert_one_line(check(folder, "python3.12"), "apt install python3.12-dev")


def test_old_python(folder):
    fake_python(folder, version="3.9")
    assert_one_line(check(folder, "python3"), "'python3' is 3.9")


def test_the_python_of_these_tests_passes(folder):
    """The questions that the fakes answer are put to a real interpreter, too."""
    status, words = check(folder, sys.executable)
    assert status == 0 or "apt install" in words


def test_make_ends_with_that_line(folder, tmp_path_factory):
    fake_python(folder, header=False)
    work = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "scripts"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, work / name)
    for tool in ("find", "mkdir", "touch"):
        (folder / tool).symlink_to(shutil.which(tool))
    result = subprocess.run(
        [folder / "make", "setup"],
        env={"PATH": str(folder)},
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "apt install python3-dev" in result.stderr
    assert not (work / ".venv").exists()


def assert_one_line(result: tuple[int, str], expected: str) -> None:
    status, words = result
    assert status == 1
    assert expected in words
    assert words.count("\n") == 1
