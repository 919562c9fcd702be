"""Humble's rclpy suffices: the names that the sources import, and what it calls otherwise."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from moro_ros.ros import compat

ROOT = Path(__file__).resolve().parents[2]
NEW = "rclpy.event_handler"
# What rclpy 3.3 has of what the sources import: read in its source text, extend it likewise.
HUMBLE = {
    "rclpy._rclpy_pybind11": {"RCLError", "UnknownROSArgsError"},
    "rclpy.action": {"ActionServer", "CancelResponse"},
    "rclpy.action.server": {"ServerGoalHandle"},
    "rclpy.clock": {"Clock", "ClockType", "ROSClock"},
    "rclpy.duration": {"Duration"},
    "rclpy.exceptions": {"InvalidTopicNameException"},
    "rclpy.executors": {"ExternalShutdownException", "SingleThreadedExecutor"},
    "rclpy.impl.rcutils_logger": {"RcutilsLogger"},
    "rclpy.lifecycle": {"LifecycleNode", "LifecycleState", "TransitionCallbackReturn"},
    "rclpy.node": {"Node", "NodeNameNonExistentError"},
    "rclpy.parameter": {"Parameter"},
    "rclpy.publisher": {"Publisher"},
    "rclpy.qos": {
        *("DurabilityPolicy", "HistoryPolicy", "QoSPolicyKind", "QoSProfile", "ReliabilityPolicy"),
        *("qos_policy_name_from_kind", "qos_profile_sensor_data"),
    },
    "rclpy.qos_event": {"PublisherEventCallbacks", "SubscriptionEventCallbacks"},
    "rclpy.qos_overriding_options": {"QoSOverridingOptions"},
    "rclpy.serialization": {"deserialize_message", "serialize_message"},
    "rclpy.signals": {"SignalHandlerOptions"},
    "rclpy.subscription": {"Subscription"},
    "rclpy.time": {"Time"},
    "rclpy.timer": {"Timer"},
    "rclpy.type_support": {"check_for_type_support"},
    "rclpy.utilities": {"get_rmw_implementation_identifier", "remove_ros_args"},
}


class PublisherEventCallbacks:
    """Takes what Humble's does."""

    def __init__(
        self, *, deadline=None, liveliness=None, incompatible_qos=None, use_default_callbacks=True
    ):
        self.incompatible_qos = incompatible_qos


class SubscriptionEventCallbacks:
    """Takes what Humble's does."""

    def __init__(
        self,
        *,
        deadline=None,
        incompatible_qos=None,
        liveliness=None,
        message_lost=None,
        use_default_callbacks=True,
    ):
        self.message_lost = message_lost


def trees():
    for path in (ROOT / "moro_ros").rglob("*.py"):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture
def on_humble(monkeypatch):
    """moro_ros.ros.compat as it is where rclpy has qos_event and no event_handler."""
    old = ModuleType("rclpy.qos_event")
    old.PublisherEventCallbacks = PublisherEventCallbacks
    old.SubscriptionEventCallbacks = SubscriptionEventCallbacks
    monkeypatch.setitem(sys.modules, NEW, None)
    monkeypatch.setitem(sys.modules, "rclpy.qos_event", old)
    spec = importlib.util.spec_from_file_location("compat_on_humble", compat.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_names_of_this_release():
    events = pytest.importorskip(NEW, reason="this is Humble")
    assert compat.PublisherEventCallbacks is events.PublisherEventCallbacks
    assert compat.SubscriptionEventCallbacks is events.SubscriptionEventCallbacks


def test_the_names_of_humble(on_humble):
    assert on_humble.PublisherEventCallbacks is PublisherEventCallbacks
    assert on_humble.SubscriptionEventCallbacks is SubscriptionEventCallbacks


def test_humble_takes_the_events_that_the_sources_ask_for(on_humble):
    calls = 0
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in compat.__all__:
                make = getattr(on_humble, ast.unparse(node.func))
                make(**{word.arg: None for word in node.keywords})
                calls += 1
    assert calls >= 2


def test_the_sources_import_what_humble_has():
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rclpy"):
                if node.module == NEW:
                    assert path == Path(compat.__file__).resolve(), f"{path}: import it from compat"
                    continue
                names = {alias.name for alias in node.names}
                assert names <= HUMBLE.get(node.module, set()), f"{path}: look {node.module} up"


def test_newer_rclpy_has_what_is_listed():
    """A name that is listed by mistake would let a wrong import pass."""
    for module, names in HUMBLE.items():
        if module != "rclpy.qos_event":
            found = importlib.import_module(module)
            assert all(hasattr(found, name) for name in names), module
