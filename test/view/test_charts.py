"""Curves and strips: speed and height of a known motion, gaps, states, the cursor."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from moro_ros.view.charts import COLORS, MOST_COLUMNS, chart, course, path, strip
from moro_ros.view.loading import open_results


@pytest.fixture
def result(npz, open_body):
    return open_results(npz, None, open_body)[0]


@pytest.fixture
def walk(result):
    return course(result.moments, 1, 0, result.axes())


def test_speed_and_height_are_those_of_the_motion(walk, made):
    # 2 m in made.frames - 1 steps of a 30th of a second.
    assert walk.speed == pytest.approx(2.0 / ((made.frames - 1) / 30), rel=0.01)
    assert walk.height == pytest.approx(made.pelvis_height_m, abs=0.1)


def test_speed_is_known_at_low_rates_but_not_across_a_hole(result, made):
    slow = result.moments[::5]
    walk = course([*slow[:5], *slow[9:]], 1, 0, result.axes())
    assert walk.speed == pytest.approx(2.0 / ((made.frames - 1) / 30), rel=0.01)
    lonely = course([slow[0], slow[9]], 1, 0, result.axes())
    assert np.isnan(lonely.speed).all()


def test_nobody_of_that_id_has_no_course(result):
    assert course(result.moments, 7, 0, result.axes()) is None


def test_a_curve_has_a_gap_where_the_person_is_missing(result):
    moments = [m for m in result.moments if not 0.5 < m.stamp_ns * 1e-9 < 1.2]
    walk = course(moments, 1, 0, result.axes())
    drawn = path(walk, "height", 2.0, 0.0, 2.0)
    assert drawn.count("M") == 2
    xs = [float(x) for x in re.findall(r"[ML](\S+)", drawn)]
    assert max(np.diff(xs)) == pytest.approx(1000 * 0.7 / 2.0, rel=0.1)


def test_the_height_of_a_curve_follows_the_values(walk):
    ys = [float(y) for y in re.findall(r"[ML]\S+ (\S+)", path(walk, "height", 2.0, 0.0, 2.0))]
    assert ys == pytest.approx(100 * (2.0 - walk.height) / 2.0, abs=0.1)


def test_a_chart_shows_every_result_and_the_cursor(walk):
    html = chart("Speed", [walk, walk], "speed", 2.0, 0.5)
    assert html.count("<path") == 2 and "left:25.00%" in html
    assert chart("Speed", [None], "speed", 0.0, 0.0).count("<path") == 0


def test_a_wild_value_does_not_flatten_the_rest(walk):
    wild = walk._replace(speed=np.where(np.arange(len(walk.speed)) == 20, 34.0, walk.speed))
    assert ">4.5<" in chart("Speed", [wild], "speed", 2.0, 0.5)
    assert ">1.5<" in chart("Speed", [walk], "speed", 2.0, 0.5)


def test_the_strip_shows_the_state_of_each_joint_at_each_time(walk):
    html = strip(walk, 2.0, 1.0)
    file = base64.b64decode(re.search(r"base64,([^']+)'", html)[1])
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert image.shape == (22, MOST_COLUMNS, 3)
    # The left wrist is inferred in the first half of the time.
    assert image[20, MOST_COLUMNS // 4].tolist() == COLORS[1].tolist()
    assert image[20, 3 * MOST_COLUMNS // 4].tolist() == COLORS[0].tolist()
    assert image[19, MOST_COLUMNS // 4].tolist() == COLORS[0].tolist()
    assert "left wrist" in html and "left:50.00%" in html


def test_the_strip_is_grey_where_the_person_is_missing(walk):
    html = strip(walk, 4.0, 0.0)
    file = base64.b64decode(re.search(r"base64,([^']+)'", html)[1])
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert len(set(image[0, 3 * MOST_COLUMNS // 4].tolist())) == 1
