"""QoS that users can change with the standard parameters qos_overrides.TOPIC.ENTITY.POLICY."""

from __future__ import annotations

import copy
import difflib
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from moro_ros.errors import ConfigError
from moro_ros.ros.compat import SubscriptionEventCallbacks

PREFIX = "qos_overrides."
# Marker in the descriptor of an override given at startup; rclpy declares all others.
GIVEN = "given at the start"
# Allowed values of each policy; a number is a minimum, in messages or nanoseconds (0: no limit).
NAMES = {
    "history": ("keep_last", "keep_all"),
    "reliability": ("reliable", "best_effort"),
    "durability": ("volatile", "transient_local"),
}
LEAST = {"depth": 1, "deadline": 0, "lifespan": 0}
POLICIES = {
    "publisher": ("history", "depth", "reliability", "durability", "deadline", "lifespan"),
    "subscription": ("history", "depth", "reliability", "durability", "deadline"),
}
# Settings that a publisher requires, and the reason.
NEEDED = {
    "/tf": ({"reliability": "reliable"}, "TF listeners request it and would receive nothing"),
    "~/mesh_faces": (
        {"reliability": "reliable", "durability": "transient_local"},
        "it is published once, and later subscribers would miss it",
    ),
}


def create_publisher(node: Node, kind: Any, topic: str, qos: QoSProfile | int) -> Publisher:
    """Create a publisher whose QoS can be overridden. The overrides must have been checked."""
    return node.create_publisher(
        kind, topic, profile_of(qos), qos_overriding_options=overridable("publisher")
    )


def create_subscription(
    node: Node,
    kind: Any,
    topic: str,
    callback: Any,
    qos: QoSProfile | int,
    events: SubscriptionEventCallbacks | None = None,
) -> Subscription:
    """Create a subscription whose QoS can be overridden. The overrides must have been checked.

    It can be created again with another profile, which sets the policies not given at the start.
    """
    full = node.resolve_topic_name(topic)
    free = [
        policy
        for policy in POLICIES["subscription"]
        if decided(node, full, policy) or not node.has_parameter(override(full, policy))
    ]
    options = QoSOverridingOptions([QoSPolicyKind[name.upper()] for name in free])
    return node.create_subscription(
        kind, topic, callback, profile_of(qos), event_callbacks=events,
        qos_overriding_options=options,
    )  # fmt: skip


def override(topic: str, policy: str) -> str:
    """The parameter that overrides a policy of the subscription to a topic (full name)."""
    return f"{PREFIX}{topic}.subscription.{policy}"


def decided(node: Node, topic: str, policy: str) -> bool:
    """Whether a policy of the subscription to a topic (full name) was given at the start."""
    name = override(topic, policy)
    if not node.has_parameter(name):
        return False
    return bool(node.describe_parameter(name).additional_constraints == GIVEN)


def profile_of(qos: QoSProfile | int) -> QoSProfile:
    """Return a copy of a profile, because rclpy writes overrides into its argument."""
    return QoSProfile(depth=qos) if isinstance(qos, int) else copy.copy(qos)


def overridable(entity: str) -> QoSOverridingOptions:
    """Return rclpy's options for overrides."""
    return QoSOverridingOptions([QoSPolicyKind[name.upper()] for name in POLICIES[entity]])


def given(node: Node) -> dict[str, Parameter]:
    """Return the overrides of a node by parameter name."""
    found: dict[str, Any] = dict(node.get_parameters_by_prefix("qos_overrides"))
    return {PREFIX + name: parameter for name, parameter in found.items()}


def check(node: Node) -> None:
    """Check the overrides given at startup, before any topic exists, and make them read-only.

    Raises: ConfigError with the parameter, its value and the allowed values.
    """
    needed = {node.resolve_topic_name(topic): what for topic, what in NEEDED.items()}
    for name, parameter in given(node).items():
        topic, entity, policy = split(name)
        value = parameter.value
        check_value(name, policy, value)
        wanted, why = needed.get(topic, ({}, ""))
        if entity == "publisher" and value != wanted.get(policy, value):
            raise ConfigError(f"{name}: got '{value}', expected {wanted[policy]}, since {why}.")
        descriptor = ParameterDescriptor(
            description=f"{policy} for {entity} `{topic}`",
            type=parameter.type_.value,
            read_only=True,
            additional_constraints=GIVEN,
        )
        node.set_descriptor(name, descriptor, parameter.get_parameter_value())


def split(name: str) -> tuple[str, str, str]:
    """Topic, entity and policy of a parameter's name; raises ConfigError for other names."""
    topic, _, rest = name.removeprefix(PREFIX).partition(".")
    entity, _, policy = rest.partition(".")
    if entity not in POLICIES or policy not in POLICIES[entity]:
        possible = "; ".join(f"{key}.({'|'.join(value)})" for key, value in POLICIES.items())
        raise ConfigError(f"{name}: expected {PREFIX}TOPIC. followed by {possible}.")
    return topic, entity, policy


def check_value(name: str, policy: str, value: Any) -> None:
    """Check the value of a policy; raises ConfigError."""
    if policy in NAMES:
        if value not in NAMES[policy]:
            raise ConfigError(f"{name}: got {value!r}, expected {' or '.join(NAMES[policy])}.")
        return
    unit = "messages" if policy == "depth" else "ns (0: no limit)"
    if isinstance(value, bool) or not isinstance(value, int) or value < LEAST[policy]:
        raise ConfigError(
            f"{name}: got {value!r}, expected a whole number from {LEAST[policy]}, {unit}."
        )


def unused(node: Node) -> list[str]:
    """Return a warning for each topic whose overrides had no effect, once all topics exist."""
    policies: dict[tuple[str, str], set[str]] = {}
    for name in given(node):
        topic, entity, policy = split(name)
        policies.setdefault((entity, topic), set()).add(policy)
    # rclpy declares all policies of a topic that can be overridden.
    taken = {key for key, found in policies.items() if found == set(POLICIES[key[0]])}
    warnings = []
    for entity, topic in sorted(policies.keys() - taken):
        near = difflib.get_close_matches(topic, [name for kind, name in taken if kind == entity], 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        warnings.append(f"{PREFIX}{topic}.{entity} has no effect: no {entity} uses it{hint}")
    return warnings
