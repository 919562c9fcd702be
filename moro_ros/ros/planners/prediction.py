"""Predicted people: ~/humans_predicted, and ~/markers_predicted for RViz."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from rclpy.node import Node
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.body.topology import PARENTS
from moro_ros.io.marker_style import BONE_WIDTH_M, PERSON_COLORS
from moro_ros.msg import HumanPrediction, HumanPredictionArray
from moro_ros.recover.prediction import HORIZONS_S, MotionPrediction
from moro_ros.ros.conversions import ns_to_stamp, stamp_to_ns
from moro_ros.ros.outputs.base import DEPTH, Scene, TopicOutput
from moro_ros.ros.outputs.markers import lifetime
from moro_ros.ros.outputs.mesh import flat
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_publisher

# The markers show every second horizon, with decreasing opacity.
SHOWN, OPACITY = slice(1, None, 2), 0.5
# Minimum lifetime after which RViz removes the skeletons of a lost person [s].
LIFETIME_S = 0.5
_BONES = np.array([(parent, child) for child, parent in enumerate(PARENTS) if parent >= 0])


def prediction_array(
    predictions: tuple[MotionPrediction, ...], header: Header, ttl_s: float
) -> HumanPredictionArray:
    """The message of predicted people; header: stamp of the newest image, and camera frame."""
    message = HumanPredictionArray(header=header, ttl=ttl_s)
    message.horizons = flat(HORIZONS_S, "f")
    now_ns = stamp_to_ns(header.stamp)
    message.stamps = [ns_to_stamp(now_ns + round(1e9 * seconds)) for seconds in HORIZONS_S.tolist()]
    message.humans = [
        HumanPrediction(
            id=prediction.track_id,
            positions=flat(prediction.joints, "f"),
            covariances=flat(prediction.covariance, "f"),
            num_samples=len(prediction.samples),
            samples=flat(prediction.samples, "f"),
        )
        for prediction in predictions
    ]
    return message


def prediction_markers(
    predictions: tuple[MotionPrediction, ...], header: Header, rate_hz: float
) -> MarkerArray:
    """Translucent skeletons at some horizons, one marker per person; rate_hz: of the messages."""
    markers = []
    for prediction in predictions:
        marker = Marker(
            header=header, ns="prediction", id=prediction.track_id, type=Marker.LINE_LIST,
            lifetime=lifetime(rate_hz, LIFETIME_S),
        )  # fmt: skip
        marker.pose.orientation.w = 1.0
        marker.scale.x = BONE_WIDTH_M / 2
        red, green, blue = PERSON_COLORS[prediction.track_id % len(PERSON_COLORS)]
        for seconds, joints in zip(HORIZONS_S[SHOWN], prediction.joints[SHOWN], strict=True):
            alpha = OPACITY * (1.1 - float(seconds))
            ends = joints[_BONES.ravel()].astype(float).tolist()
            marker.points += [Point(x=x, y=y, z=z) for x, y, z in ends]
            marker.colors += [ColorRGBA(r=red, g=green, b=blue, a=alpha)] * len(ends)
        markers.append(marker)
    return MarkerArray(markers=markers)


class PredictionOutput(TopicOutput):
    """Both topics, at most at prediction_rate_hz; the prediction is computed once for both."""

    def __init__(self, node: Node) -> None:
        super().__init__(
            node,
            HumanPredictionArray,
            "~/humans_predicted",
            rate_hz=lambda o: o.planners.prediction_rate_hz,
        )
        self._markers = create_publisher(node, MarkerArray, "~/markers_predicted", DEPTH)
        self._empty = True  # the last message was empty, or there was none yet

    def watched(self, options: NodeConfig) -> bool:
        """Whether either topic has a subscriber."""
        return super().watched(options) or self._markers.get_subscription_count() > 0

    def messages(self, scene: Scene, options: NodeConfig) -> list[Any]:
        """One message; none if there are no people and the last one was empty."""
        planners = options.planners
        predictions: tuple[MotionPrediction, ...] = ()
        if scene.result.motions:
            predictions = scene.body.predict(
                scene.result, planners.prediction_samples, planners.prediction_temperature
            )
        if self._markers.get_subscription_count():
            rate_hz = planners.prediction_rate_hz
            self._markers.publish(prediction_markers(predictions, scene.header, rate_hz))
        before, self._empty = self._empty, not predictions
        if before and self._empty:
            return []
        return [prediction_array(predictions, scene.header, scene.ttl_s(options))]

    def destroy(self, node: Node) -> None:
        """Destroy both publishers."""
        super().destroy(node)
        node.destroy_publisher(self._markers)
