"""What the controls say beside the scene."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("viser", reason="viser is not installed")

from moro_ros.view import panel
from moro_ros.view.loading import open_results
from moro_ros.view.result import Result
from moro_ros.view.viewer import PANEL_HZ, Viewer


@pytest.fixture
def live(open_body: Any) -> Iterator[Viewer]:
    viewer = Viewer([Result("live")], open_body, port=0, live=True)
    yield viewer
    viewer.close()


def status(viewer: Viewer) -> str:
    """What the line below the timeline says."""
    time.sleep(1.0 / PANEL_HZ)
    viewer.draw()
    return viewer._panel._status.content


def test_a_live_page_says_when_nothing_new_comes(
    live: Viewer, npz: Any, open_body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "STALE_S", 0.01)
    assert "waiting for motion<" in status(live)
    monkeypatch.undo()
    (recorded,) = open_results(npz, None, open_body)
    live.results[0].add(recorded.moments[0])
    assert "2 people; ground: assumed to be level" in status(live)
    monkeypatch.setattr(panel, "STALE_S", 0.01)
    assert "nothing new for " in status(live)
    live.results[0].add(recorded.moments[1])
    assert "nothing new" not in status(live)
    # Who looks back does not wait for anything.
    live.timeline.pause()
    assert "nothing new" not in status(live)


def test_charts_stay_with_the_last_person_where_nobody_is(
    live: Viewer, npz: Any, open_body: Any
) -> None:
    (recorded,) = open_results(npz, None, open_body)
    moments = recorded.moments
    for moment in (moments[0], moments[1]._replace(people={})):
        live.results[0].add(moment)
        live.draw()
        live._panel.refresh_charts()
    assert "Person 1, " in live._panel._charts.content
