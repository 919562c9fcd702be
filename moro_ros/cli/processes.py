"""Signals and child processes of the commands: environment, logs, stopping, failures."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from moro_ros.errors import MoroError, missing_module
from moro_ros.resources import PACKAGE


class Interruption:
    """In a with block the first signal is only recorded; the next one raises KeyboardInterrupt.

    patience: number of signals that are only recorded. number: the last signal, 0: none so far.
    Use it in the main thread, which signal handlers require.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, patience: int = 1) -> None:
        self.number = 0
        self._patience = patience
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """The exit status for the signal in a shell; 0: there was none."""
        return 128 + self.number if self.number else 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self._patience -= 1
        if self._patience < 0:
            raise KeyboardInterrupt


STOP_TIMEOUT_S = 20.0
_TAIL_LINES = 8
_BOOTSTRAP_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
_SEARCH_PATHS = ("LD_LIBRARY_PATH", "PYTHONPATH", "PATH", "CMAKE_PREFIX_PATH")


class ProcessError(MoroError):
    """A child process died or failed."""


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a ROS process of this Python installation.

    With a sourced ROS 2, or a sourced workspace that this package was built in, it is passed on
    unchanged. If rclpy is from Python wheels, all variables of another ROS are removed, and those
    of the wheels' bootstrapper, which sets the library path again in each child: with two copies
    of a message package on one library path, either may be loaded.

    Raises: InstallationError if this is the library without ROS 2.
    """
    for name in ("rclpy", f"{PACKAGE}.msg"):
        if importlib.util.find_spec(name) is None:
            raise missing_module(ModuleNotFoundError(f"no {name}", name=name))
    clean = dict(environment)
    if importlib.util.find_spec("ros_wheels_bootstrapper") is None:
        return clean
    foreign = [Path(p) for p in clean.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    if any(Path(__file__).is_relative_to(prefix) for prefix in foreign):
        return clean
    for name in ("AMENT_PREFIX_PATH", _BOOTSTRAP_GUARD):
        clean.pop(name, None)

    def belongs_to_ros(entry: str) -> bool:
        path = Path(entry)
        wheel_libraries = path.name.startswith("ros_") and path.suffix == ".libs"
        return wheel_libraries or any(path.is_relative_to(prefix) for prefix in foreign)

    for name in _SEARCH_PATHS:
        if name in clean:
            entries = [e for e in clean[name].split(os.pathsep) if e and not belongs_to_ros(e)]
            clean[name] = os.pathsep.join(entries)
    return clean


def private_domain() -> dict[str, str]:
    """Variables that limit a DDS session to this machine and, most likely, to itself.

    Domain ids up to 101 use ports below Linux's ephemeral range.
    """
    domain = str(random.SystemRandom().randint(20, 101))
    return {"ROS_DOMAIN_ID": domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def ros_arguments(
    parameters: Mapping[str, object], remappings: Mapping[str, str] | None = None
) -> list[str]:
    """Command-line words that set a node's parameters and rename its topics."""
    words = ["--ros-args"]
    for source, target in (remappings or {}).items():
        words += ["-r", f"{source}:={target}"]
    for name, value in parameters.items():
        # The values are read as YAML, which includes JSON, so every path is quoted.
        words += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False, default=str)}"]
    return words


class Child:
    """One running child process whose output goes to a log file, or to ours for log None."""

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], log: Path | None
    ) -> None:
        self.name = name
        self.log = log
        # A separate session: only this process receives Ctrl-C, and it stops the children in order.
        if log is None:
            self.process = subprocess.Popen(command, env=env, start_new_session=True)
            return
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def status(self) -> int | None:
        """Exit status, None while running."""
        return self.process.poll()

    def stop(self) -> None:
        """Terminate the process and wait; kill it if it does not end.

        SIGINT would raise KeyboardInterrupt in a Python that still imports its handlers.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue

    def failure(self) -> ProcessError:
        """The error for an unexpected end."""
        message = f"{self.name} ended with status {self.status}."
        if self.log is None:
            return ProcessError(message)
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
        return ProcessError(f"{message} Its last output ({self.log}):\n{tail}")


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


class Children:
    """Starts children and stops them, the first started last, when the with block ends."""

    def __init__(self, env: dict[str, str], logs: Path | None) -> None:
        self._env = env
        self._logs = logs
        self._running: list[Child] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Children:
        # SIGTERM or a closed terminal must not leave children behind either.
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave children behind.
        self._handlers[signal.SIGINT] = signal.getsignal(signal.SIGINT)
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        try:
            for child in reversed(self._running):
                child.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def start(self, name: str, module: str, arguments: list[str]) -> Child:
        """Start `python -m module arguments`, logging to <logs>/<name>.log."""
        return self._start(name, [sys.executable, "-m", module, *arguments])

    def start_program(self, name: str, arguments: list[str]) -> Child:
        """Start a program that is on the search path; raises ProcessError if it is not."""
        if shutil.which(name, path=self._env.get("PATH")) is None:
            raise ProcessError(f"{name} is not installed, or not in PATH.")
        return self._start(name, [name, *arguments])

    def _start(self, name: str, command: list[str]) -> Child:
        log = None if self._logs is None else self._logs / f"{name}.log"
        child = Child(name, command, self._env, log)
        self._running.append(child)
        return child

    def check(self) -> None:
        """Raise ProcessError if a child has ended with a status other than 0."""
        for child in self._running:
            if child.status:
                raise child.failure()

    def wait(self, seconds: float) -> None:
        """Sleep while watching the children; raises ProcessError if one dies."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(0.1, left))
        self.check()
