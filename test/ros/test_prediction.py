"""~/humans_predicted: what arrives, for whom, how often, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanArray, HumanPredictionArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from visualization_msgs.msg import MarkerArray

from moro_ros.recover.prediction import HORIZONS_S
from moro_ros.ros.conversions import stamp_to_ns

pytestmark = pytest.mark.ros

TOPIC, MARKERS = "/moro/humans_predicted", "/moro/markers_predicted"
PERIOD_NS = 33_333_333


def positions(message: HumanPredictionArray, person: int = 0) -> np.ndarray:
    return np.reshape(message.humans[person].positions, (len(HORIZONS_S), 22, 3))


def joints(message: HumanArray, person: int) -> np.ndarray:
    places = [joint.pose.position for joint in message.humans[person].joints]
    return np.array([[p.x, p.y, p.z] for p in places])


def answer_until(bench: Any, condition: Callable[[], Any], what: str, people: int = 2) -> Any:
    """Send images until a condition holds; returns its value."""

    def sent() -> Any:
        bench.answer(bench.image(people))
        return condition()

    return bench.client.wait(sent, what)


def test_predictions_are_made_for_a_subscriber_alone_and_carry_every_field(bench: Any) -> None:
    bench.answer(bench.image(2))
    assert not bench.calls("predict")
    received = bench.listen(HumanPredictionArray, TOPIC)
    message = answer_until(bench, lambda: received, "a prediction")[-1]
    now = bench.client.wait(
        lambda: bench.humans_of(stamp_to_ns(message.header.stamp)), "the same image's humans"
    )
    assert message.header.frame_id == now.header.frame_id
    assert [human.id for human in message.humans] == [human.id for human in now.humans] == [1, 2]
    assert message.ttl == pytest.approx(1.0)
    np.testing.assert_allclose(message.horizons, HORIZONS_S, rtol=1e-6)
    ahead = [stamp_to_ns(s) - stamp_to_ns(message.header.stamp) for s in message.stamps]
    np.testing.assert_allclose(ahead, 1e9 * HORIZONS_S)
    for person, human in enumerate(message.humans):
        steps = positions(message, person) - joints(now, person)
        np.testing.assert_allclose(steps, 0.25 * np.ones((10, 22, 3)) * HORIZONS_S[:, None, None],
                                   atol=1e-5)  # fmt: skip
        covariances = np.reshape(human.covariances, (10, 22, 3, 3))
        first = np.reshape(now.humans[person].joints[0].covariance, (3, 3))
        np.testing.assert_allclose(covariances[4, 0], 1.5 * first, rtol=1e-5)
        assert human.num_samples == 0 and len(human.samples) == 0
    bench.deafen(TOPIC)

    def silent() -> bool:
        before = len(bench.calls("predict"))
        bench.answer(bench.image(2))
        return len(bench.calls("predict")) == before

    bench.client.wait(silent, "predictions to end with their subscriber")
    count = len(bench.calls("predict"))
    for _ in range(5):
        bench.answer(bench.image(2))
        bench.client.spin(0.15)
    assert len(bench.calls("predict")) == count


def test_samples_and_rate_are_parameters(bench: Any) -> None:
    received = bench.listen(HumanPredictionArray, TOPIC)
    client = bench.client.node.create_client(SetParameters, "/moro/set_parameters")
    values = {"samples": 3, "temperature": 0.5, "rate_hz": 4.0}
    request = SetParameters.Request()
    request.parameters = [
        Parameter(f"planners.prediction_{n}", value=v).to_parameter_msg() for n, v in values.items()
    ]
    assert all(result.successful for result in bench.client.call(client, request).results)
    message = answer_until(
        bench, lambda: received and received[-1].humans[0].num_samples and received[-1], "samples"
    )
    samples = np.reshape(message.humans[1].samples, (3, 10, 22, 3))
    away = samples - positions(message, 1)
    np.testing.assert_allclose(away[:, 0, 0, 0], [0.5, 1.0, 1.5], atol=1e-5)
    before, stamp_ns = len(received), time.time_ns()
    for number in range(30):  # one second of a camera
        bench.answer(bench.image(2, bench.header(stamp_ns + number * PERIOD_NS)))
    bench.client.spin(0.3)
    assert 4 <= len(received) - before <= 5
    request.parameters = [Parameter("planners.prediction_samples", value=100).to_parameter_msg()]
    refused = bench.client.call(client, request).results[0]
    assert not refused.successful and "Max: 32" in refused.reason
    bench.deafen(TOPIC)


def test_when_everybody_is_lost_one_empty_array_says_so(bench: Any) -> None:
    received = bench.listen(HumanPredictionArray, TOPIC)
    answer_until(bench, lambda: received and received[-1].humans, "a prediction")
    answer_until(bench, lambda: not received[-1].humans, "an empty array", people=0)
    count = len(received)
    for _ in range(10):
        bench.answer(bench.image(0))
        bench.client.spin(0.1)
    assert len(received) == count
    bench.deafen(TOPIC)


def test_markers_show_every_person_translucently(bench: Any) -> None:
    received = bench.listen(MarkerArray, MARKERS)
    array = answer_until(bench, lambda: received and received[-1], "markers")
    assert [marker.id for marker in array.markers] == [1, 2]
    for marker in array.markers:
        assert len(marker.points) == len(marker.colors) == 5 * 2 * 21
        alphas = [color.a for color in marker.colors]
        assert 0.5 > alphas[0] > alphas[-1] > 0.0
        assert marker.lifetime.sec == 0 and marker.lifetime.nanosec > 0
    bench.deafen(MARKERS)


def test_a_model_that_cannot_predict_has_no_topic_and_says_why(
    client: Any, start_fake_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(0.0, model="unfitted", cameras="left")
    words = "~/humans_predicted is unavailable: unfitted has no prediction.npz."
    client.wait(lambda: words in node.output(), "the reason")
    client.wait(lambda: client.node.count_publishers("/left/moro/humans"), "the other topics")
    assert not client.node.count_publishers("/left/moro/humans_predicted")
