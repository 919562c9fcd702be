"""The page in a real browser: Chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("viser", reason="viser is not installed")

from moro_ros.cli.bench.chromium import Page, find_chromium
from moro_ros.errors import InstallationError
from moro_ros.view.loading import open_results
from moro_ros.view.viewer import Viewer

try:
    find_chromium()
except InstallationError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = pytest.mark.slow
# Software rendering takes its time; the smaller, the less.
SIZE, PANEL_PX = (760, 480), 400
PATIENCE_S = 120.0
# Pixels of a person, at least.
FEW = 150
NO_NOTICE = "<style>[class*=Notification]{display:none}</style>"
# JavaScript: the input with a label, and the list of people.
LABELLED = (
    "text => { const label = [...document.querySelectorAll('label')]"
    ".find(l => l.innerText === text); return document.getElementById(label.htmlFor); }"
)
SELECT = "document.querySelector('input[value=everybody]').click()"


class Shown:
    """A viewer and the page that shows it."""

    def __init__(self, viewer: Viewer, page: Page) -> None:
        self.viewer, self.page = viewer, page

    def scene(self) -> np.ndarray:
        """What is seen of the scene, (H, W, 3) int16 RGB."""
        return self.page.picture()[:, : SIZE[0] - PANEL_PX].astype(np.int16)

    def settled(self, wanted: Callable[[np.ndarray], bool]) -> np.ndarray:
        """The scene once it looks as wanted."""
        end = time.monotonic() + PATIENCE_S
        while not wanted(picture := self.scene()):
            assert time.monotonic() < end, "the scene never looked as expected"
            self.page.pause(0.3)
        return picture


@pytest.fixture(scope="module")
def shown(
    made: SimpleNamespace, open_body: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    """Two people, in the beginning, paused."""
    path = tmp_path_factory.mktemp("page") / "motion.npz"
    # Without a camera, whose pyramid has colours, too.
    made.recorded(None).save(path)
    viewer = Viewer(open_results(path, None, open_body), open_body, port=0)
    viewer.timeline.pause()
    stop = threading.Event()
    thread = threading.Thread(target=viewer.run, args=(lambda: not stop.is_set(),))
    thread.start()
    try:
        with Page(viewer.url, SIZE) as page:
            page.wait_for("document.querySelector('canvas') !== null", PATIENCE_S)
            # It says that there is no GPU, in colours.
            page.evaluate(f"document.head.insertAdjacentHTML('beforeend', '{NO_NOTICE}')")
            yield Shown(viewer, page)
    finally:
        stop.set()
        thread.join()
        viewer.close()


def person(number: int, picture: np.ndarray) -> np.ndarray:
    """The columns of the pixels in the colour of person 1, blue, or 2, yellow."""
    red, blue = picture[..., 0], picture[..., 2]
    return np.nonzero(blue - red > 30 if number == 1 else red - blue > 30)[1]


def both(picture: np.ndarray) -> bool:
    return all(len(person(number, picture)) > FEW for number in (1, 2))


def test_both_people_are_seen(shown: Shown) -> None:
    """The canvas is not empty, and person 1 stands to the left of person 2."""
    picture = shown.settled(both)
    assert np.median(person(1, picture)) < np.median(person(2, picture)) - 20


def test_the_charts_and_the_strip_are_there(shown: Shown) -> None:
    page = shown.page
    page.wait_for("document.querySelectorAll('svg path[vector-effect]').length == 2", PATIENCE_S)
    assert page.evaluate("document.querySelector('img[alt=\"joint states\"]').width") > 100
    text = page.evaluate("document.body.innerText")
    for words in ("Speed of the pelvis", "left wrist", "inferred", "2 people"):
        assert words in text


def test_scrubbing_moves_the_body(shown: Shown) -> None:
    """A click on the end of the slider takes person 1 to the right, and person 2 nowhere."""
    before = shown.settled(both)
    place = shown.page.evaluate(
        "(() => { const box = document.querySelector('[class*=Slider-track]')"
        ".getBoundingClientRect(); return [box.right - 2, (box.top + box.bottom) / 2]; })()"
    )
    shown.page.click(*place)
    shown.page.wait_for("!document.body.innerText.includes('0.00 s,')", PATIENCE_S)
    assert shown.viewer.timeline.time_s > 1.5

    def moved(number: int, picture: np.ndarray) -> float:
        return float(np.median(person(number, picture)) - np.median(person(number, before)))

    after = shown.settled(lambda picture: both(picture) and moved(1, picture) > 20)
    assert abs(moved(2, after)) < 10


def test_a_selected_person_can_be_shown_alone(shown: Shown) -> None:
    shown.settled(both)
    shown.page.evaluate(SELECT)
    shown.page.wait_for("document.querySelector('[role=option]') !== null")
    shown.page.evaluate(
        "[...document.querySelectorAll('[role=option]')].find(o => o.innerText === '2').click()"
    )
    shown.page.evaluate(f"({LABELLED})('hide the others').click()")
    picture = shown.settled(lambda image: len(person(1, image)) < FEW / 5)
    assert len(person(2, picture)) > FEW
    shown.page.evaluate(f"({LABELLED})('hide the others').click()")
    shown.settled(lambda image: len(person(1, image)) > FEW / 5)


def test_nothing_is_fetched_from_outside(shown: Shown) -> None:
    shown.page.pause(1.0)
    asked = {url.split(",")[0][:60] for url in shown.page.requested}
    outside = [url for url in asked if not url.startswith(("data:", "blob:", "chrome"))]
    own = (f"{shown.viewer.url}/", f"ws{shown.viewer.url.removeprefix('http')}")
    assert outside and all(url.startswith(own) for url in outside), outside
