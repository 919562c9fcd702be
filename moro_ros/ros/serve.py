"""Runs callbacks of nodes until SIGINT or SIGTERM, or in a thread until it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from moro_ros.errors import MoroError
from moro_ros.ros.transport import init_ros

# Maximum wait for a message, after which signals are checked, s.
WAIT_S = 0.2


@contextmanager
def executor_of(node: Node) -> Iterator[SingleThreadedExecutor]:
    """Yield an executor for a node's callbacks, which is shut down at the end.

    rclpy reports an error for executors that outlive their context.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield executor
    finally:
        executor.shutdown()


def serve(make_node: Callable[[], Node], name: str, args: list[str] | None = None) -> None:
    """Spin a node until a signal arrives; name: for the log. Exits with 1 after a MoroError.

    args: the command line; None for sys.argv.
    """
    # Python installs no SIGINT handler in a process that a shell script started in the background.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node = None
    try:
        init_ros(args)
        node = make_node()
        with executor_of(node) as executor:
            while not stop.is_set():
                executor.spin_once(timeout_sec=WAIT_S)
    except MoroError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        sys.exit(1)
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


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
