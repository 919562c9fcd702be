"""Runs the process of a node until SIGINT or SIGTERM, and callbacks, here or in a thread."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from moro_ros.errors import MoroError
from moro_ros.ros.transport import init_ros

# Maximum wait for a message, after which signals are checked, s.
WAIT_S = 0.2


def run_process(name: str, args: list[str] | None, work: Callable[[threading.Event], int]) -> int:
    """Initialise rclpy and return the exit status of `work`, or 1 after a MoroError or OSError.

    name: for the log; args: the command line, None for sys.argv. work is given an event that
    SIGINT and SIGTERM set; the context is still valid then.
    """
    # Handlers that only set a flag: an exception in the middle of a write would leave a broken
    # file. Python installs none for SIGINT in a process that a shell started in the background.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        init_ros(args)
        return work(stop)
    except (MoroError, OSError) as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


def spin(node: Node, stop: threading.Event) -> None:
    """Run a node's callbacks until a stop is requested."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=WAIT_S)
    finally:
        executor.shutdown()  # rclpy reports an error for executors that outlive their context


def serve(make_node: Callable[[], Node], name: str, args: list[str] | None = None) -> None:
    """Spin a node until a signal arrives; see run_process. Exits with 1 after an error."""

    def work(stop: threading.Event) -> int:
        node = make_node()
        try:
            spin(node, stop)
        finally:
            node.destroy_node()
        return 0

    if status := run_process(name, args, work):
        sys.exit(status)


def print_measured(bench: Callable[..., Sequence[object]]) -> None:
    """Call a benchmark with the arguments in sys.argv, JSON, and print its results as JSON."""
    rclpy.init()
    try:
        found = bench(**json.loads(sys.argv[1]))
    finally:
        rclpy.try_shutdown()
    json.dump(found, sys.stdout, indent=1, default=asdict)
    sys.stdout.write("\n")


class SpinThread:
    """Runs an executor's callbacks in a thread, from start() until end().

    shutdown() during an Executor.spin() of another thread destroys objects that are still in use.
    """

    def __init__(self, executor: SingleThreadedExecutor, on_error: Callable[[], None]) -> None:
        """on_error: called in the thread after a callback has raised, which ends the thread."""
        self._executor = executor
        self._on_error = on_error
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="moro_executor", daemon=True)

    def _spin(self) -> None:
        try:
            while not self._ended.is_set():
                self._executor.spin_once()
        except Exception:
            words = traceback.format_exc()
            rclpy.logging.get_logger("moro").fatal(f"Unexpected error, stopping:\n{words}")
            self._on_error()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and return when no callback runs and the executor is shut down."""
        self._ended.set()
        self._executor.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
