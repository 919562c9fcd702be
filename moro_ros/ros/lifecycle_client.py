"""moro_lifecycle: state and transitions of a managed node, without ros2cli.

moro_lifecycle /moro               prints the state
moro_lifecycle /moro activate      requests a transition: configure, activate, deactivate, cleanup,
                                   shutdown
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from moro_ros.errors import ConfigError

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
# Shutting down is another transition in each state.
SHUTDOWN = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
FIND_TIMEOUT_S = 15.0
# Includes loading the model and warming it up, which takes long on a busy or slow machine.
ANSWER_TIMEOUT_S = 300.0
# A request for the state is repeated if its response was lost; a transition never is.
REPEAT_S = 3.0


class LifecycleClient:
    """Client of one managed node; name: its full name.

    A node can receive a request before it has discovered the reader of the response, which is then
    lost (ros2/ros2#1253). Readers are announced in the order of their creation, so a node that
    responded to `_get`, created last, knows `_change` too. The state is therefore requested, if
    necessary repeatedly, before any transition.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._change = node.create_client(ChangeState, f"{name}/change_state")
        self._get = node.create_client(GetState, f"{name}/get_state")

    def close(self) -> None:
        """End the executor, which must not outlive its context."""
        self._executor.shutdown()

    def state(self) -> State:
        """The node's state; raises ConfigError if it does not respond."""
        return self._call(self._get, GetState.Request(), REPEAT_S).current_state

    def change(self, transition: str) -> bool:
        """Request a transition and wait for it; returns whether it succeeded.

        Raises: ConfigError if there is no such transition or the node does not respond.
        """
        known = [*TRANSITIONS, "shutdown"]
        if transition not in known:
            raise ConfigError(f"No transition '{transition}'; expected {', '.join(known)}.")
        state = self.state()
        if transition in TRANSITIONS:
            number = TRANSITIONS[transition]
        elif state.id in SHUTDOWN:
            number = SHUTDOWN[state.id]
        else:
            raise ConfigError(f"{self._name} is {state.label}: it cannot be shut down.")
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self._call(self._change, request).success)

    def _call(self, service: Any, request: Any, repeat_s: float = ANSWER_TIMEOUT_S) -> Any:
        if not service.wait_for_service(FIND_TIMEOUT_S):
            raise ConfigError(
                f"No managed node {self._name} was found. Nodes here: {', '.join(self._names())}."
            )
        answers = []
        end_s = time.monotonic() + ANSWER_TIMEOUT_S
        while (now_s := time.monotonic()) < end_s:
            answers.append(service.call_async(request))
            while time.monotonic() < min(end_s, now_s + repeat_s):
                self._executor.spin_once(timeout_sec=0.1)
                if done := [answer for answer in answers if answer.done()]:
                    return done[0].result()
        raise ConfigError(f"{self._name} did not respond for {ANSWER_TIMEOUT_S:.0f} s.")

    def _names(self) -> list[str]:
        pairs = self._node.get_node_names_and_namespaces()
        others = {f"{space.rstrip('/')}/{name}" for name, space in pairs} - {
            self._node.get_fully_qualified_name()
        }
        return sorted(others) or ["none"]


def run(words: list[str]) -> int:
    """Run a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="moro_lifecycle", description="State and transitions of a managed node."
    )
    parser.add_argument("node", help="full name, such as /moro")
    parser.add_argument("transition", nargs="?", help=", ".join([*TRANSITIONS, "shutdown"]))
    arguments = parser.parse_args(words)
    rclpy.init()
    log = rclpy.logging.get_logger("moro_lifecycle")
    client = None
    try:
        client = LifecycleClient(rclpy.create_node("moro_lifecycle"), arguments.node)
        done = arguments.transition is None or client.change(arguments.transition)
        sys.stdout.write(f"{client.state().label}\n")
        if not done:
            log.error(f"{arguments.transition} failed; see the log of {arguments.node}.")
        return int(not done)
    except ConfigError as error:
        log.fatal(str(error))
        return 1
    finally:
        if client is not None:
            client.close()
        rclpy.try_shutdown()


def main() -> None:
    """Entry point of moro_lifecycle."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
