"""Markers: colours tell the state, what vanishes is deleted, and the wire carries the mesh."""

from __future__ import annotations

import dataclasses
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point
from moro_ros.msg import HumanJoint
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.body.topology import PARENTS
from moro_ros.io.marker_style import STATE_COLORS, TRAIL
from moro_ros.ros.outputs.markers import (
    ELLIPSOIDS,
    MarkerBuilder,
    MarkersOutput,
    ellipsoid_markers,
    serialize_markers,
)
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.options import PlannersConfig
from moro_ros.ros.planners.prediction import PredictionOutput


def test_bones_and_joints_are_coloured_by_state(fake_node: ModuleType) -> None:
    motion = fake_node.body_motion(3, 0)
    bones, joints, label = MarkerBuilder().build((motion,), Header(frame_id="lens"))[:3]
    inferred = STATE_COLORS[HumanJoint.STATE_INFERRED]
    hidden = [(c.r, c.g, c.b, c.a) == pytest.approx(inferred) for c in joints.colors]
    assert hidden == [not seen for seen in motion.observed[-1]]
    assert len(bones.points) == 2 * sum(parent >= 0 for parent in PARENTS)
    ends = [[p.x, p.y, p.z] for p in bones.points[1::2]]
    children = [i for i, parent in enumerate(PARENTS) if parent >= 0]
    np.testing.assert_allclose(ends, motion.joints[-1, children])
    assert (label.text, label.id) == ("3", 3)
    assert label.pose.position.y < motion.joints[-1, 15, 1], "the label is not above the head"
    assert {m.lifetime.sec for m in (bones, joints, label)} == {1}


def test_who_leaves_is_deleted_once(fake_node: ModuleType) -> None:
    builder, header = MarkerBuilder(), Header()
    people = tuple(fake_node.body_motion(i, 0, mesh=True) for i in (1, 2))
    shown = builder.build(people, header)
    left = builder.build(people[:1], header)
    gone = {(m.ns, m.id) for m in left if m.action == Marker.DELETE}
    assert gone == {(m.ns, m.id) for m in shown if str(m.id).startswith("2")}
    # The mesh alone goes where it is no longer recovered.
    without = builder.build((fake_node.body_motion(1, 0),), header)
    assert [(m.ns, m.id) for m in without if m.action == Marker.DELETE] == [("mesh", 1)]
    last = builder.build((), header)
    assert {m.action for m in last} == {Marker.DELETE}
    assert {(m.ns, m.id) for m in last} == {(m.ns, m.id) for m in without if m.action == Marker.ADD}
    assert builder.build((), header) == []


def test_ellipsoids_are_one_standard_deviation_wide(fake_node: ModuleType) -> None:
    motion = fake_node.body_motion(2, 0)
    turn = Rotation.from_euler("xyz", [0.3, -0.8, 1.1]).as_matrix()
    covariance = np.zeros_like(motion.covariance)
    covariance[-1, 20] = turn @ np.diag([1e-4, 9e-4, 4e-2]) @ turn.T
    motion = dataclasses.replace(motion, covariance=covariance)
    # Of the others nothing is known.
    (marker,) = ellipsoid_markers(motion, Header())
    assert (marker.ns, marker.id) == (ELLIPSOIDS, 220)
    q, scale = marker.pose.orientation, marker.scale
    axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    half = np.diag([scale.x, scale.y, scale.z]) / 2
    np.testing.assert_allclose(axes @ half**2 @ axes.T, covariance[-1, 20], atol=1e-6)


def test_a_trail_follows_for_three_seconds_and_forgets_a_jump_back(fake_node: ModuleType) -> None:
    builder = MarkerBuilder()

    def trail_at(second: float) -> list[Marker]:
        motion = fake_node.body_motion(1, round(second * 1e9))
        return [m for m in builder.build((motion,), Header()) if m.ns == TRAIL and not m.action]

    assert trail_at(10.0) == []
    lengths = [len(trail_at(10.0 + k / 2)[0].points) for k in range(1, 10)]
    assert lengths == [2, 3, 4, 5, 6, 7, 7, 7, 7]
    assert trail_at(1.0) == []
    assert len(trail_at(1.5)[0].points) == 2


@pytest.mark.ros
@pytest.mark.parametrize(("rate_hz", "expected_s"), [(10.0, (1.0, 0.5)), (0.5, (4.0, 4.0))])
def test_markers_last_until_the_next_ones(
    client: Any,
    fake_node: ModuleType,
    make_scene: Any,
    rate_hz: float,
    expected_s: tuple[float, float],
) -> None:
    options = NodeConfig(
        marker_rate_hz=rate_hz, planners=PlannersConfig(prediction_rate_hz=rate_hz)
    )
    scene = make_scene((fake_node.body_motion(1, 0, mesh=True),))
    bodies, predictions = MarkersOutput(client.node), PredictionOutput(client.node)
    published: list[MarkerArray] = []
    own = predictions._markers
    predictions._markers = SimpleNamespace(
        get_subscription_count=lambda: 1, publish=published.append
    )
    (wire,) = bodies.messages(scene, options)
    predictions.messages(scene, options)
    predictions._markers = own
    found = [
        {marker.lifetime.sec + 1e-9 * marker.lifetime.nanosec for marker in message.markers}
        for message in (deserialize_message(wire, MarkerArray), *published)
    ]
    assert found == [{seconds} for seconds in expected_s]
    for output in (bodies, predictions):
        output.destroy(client.node)


@pytest.mark.parametrize("length", range(9))
def test_wire_equals_rclpy_s_message_at_every_alignment(length: int) -> None:
    rng = np.random.default_rng(length)
    markers, plain, triangles = [], [], {}
    for index in range(4):
        values = {"ns": "n" * (length + 3 * index), "id": index, "text": "t" * index}
        corners = rng.normal(size=(6 * index + 3, 3))
        markers.append(Marker(**values))
        points = []
        if index == 1:
            markers[-1].points = [Point(x=1.0)] * 2
            points = markers[-1].points
        else:
            triangles[index] = corners
            points = [Point(x=x, y=y, z=z) for x, y, z in corners.tolist()]
        plain.append(Marker(**values, points=points))
    wire = serialize_markers(markers, triangles)
    expected = MarkerArray(markers=plain)
    assert deserialize_message(wire, MarkerArray) == expected
    assert len(wire) == len(serialize_message(expected))
