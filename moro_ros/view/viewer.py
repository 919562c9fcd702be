"""Viewer: a page in the browser that shows one or two results, recorded or live."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rich
import viser

from moro_ros.body.body_model import BodyModel
from moro_ros.view.address import HOST, PORT, check_address, url_of
from moro_ros.view.panel import Panel
from moro_ros.view.result import SOURCES, Moment, Result
from moro_ros.view.stage import Stage
from moro_ros.view.timeline import Timeline
from moro_ros.view.views import FOV, VIEWS, view

# Update rate of the scene [Hz]; controls and charts are updated less often.
SCENE_HZ, PANEL_HZ, CHARTS_HZ = 60.0, 10.0, 4.0
# Distance of two results side by side, in addition to the width of the motion [m].
APART_M = 1.5
# Initial view of the page.
FIRST_VIEW = "overview"
# Strength of the ambient light, and of that from a position to the right of the camera [m].
AMBIENT, SUN, SUN_M = 1.5, 1.8, (3.0, -4.0, 4.0)
# The depth of the camera's pyramid, relative to the distance of the people.
FRUSTUM_SHARE = 0.12


class Viewer:
    """Serves the page until it is closed; all browsers show the same moment.

    results: one, or two to compare. live: they grow, and the newest moment is shown.
    port_option, host_option: how the user chooses the address.
    Raises: ConfigError if the address cannot be used.
    """

    def __init__(
        self,
        results: list[Result],
        body: BodyModel,
        host: str = HOST,
        port: int = PORT,
        live: bool = False,
        port_option: str = "--port",
        host_option: str = "--host",
    ) -> None:
        check_address(host, port, port_option, host_option)
        self.results, self._live = results, live
        start_ns, end_ns = span(results)
        self.timeline = Timeline(start_ns, end_ns, follow=live)
        # The caller prints messages.
        rich.reconfigure(quiet=True)
        logging.getLogger("websockets").setLevel(logging.WARNING)
        self._server = viser.ViserServer(host, port, label="moro_ros", verbose=False)
        self.port = self._server.get_port()
        self.url = url_of(host, self.port)
        self._server.scene.set_up_direction("+z")
        light(self._server.scene)
        paths = ("/first", "/second")
        self._stages = [
            Stage(self._server.scene, path, result, body, len(results) > 1, path == paths[0])
            for path, result in zip(paths[: len(results)], results, strict=True)
        ]
        self._panel = Panel(self._server, self.timeline, results, live)
        self._panel.add_views(tuple(VIEWS), self._look)
        self._aimed = False
        # By page: its last view, for which shape, and from where.
        self._looks: dict[int, tuple[str, float, np.ndarray]] = {}
        self._box: tuple[np.ndarray, np.ndarray] | None = None
        self._drawn: object = None
        self._moments: list[Moment | None] = []
        self.frames_drawn = 0
        self._due = {"panel": 0.0, "charts": 0.0}
        self._charted: object = None

    def run(self, go_on: Callable[[], bool]) -> None:
        """Play and draw until a stop is requested."""
        loop = self._server.get_event_loop()

        async def drawn() -> None:
            self.draw()

        before = time.monotonic()
        while go_on():
            now = time.monotonic()
            self.timeline.advance(now - before)
            before = now
            # viser wakes its loop without a lock, so a change from another thread can fail.
            asyncio.run_coroutine_threadsafe(drawn(), loop).result()
            time.sleep(max(0.0, now + 1.0 / SCENE_HZ - time.monotonic()))

    def draw(self) -> None:
        """Update the page."""
        if self._live:
            self.timeline.extend(*span(self.results))
        self._fit()
        now, shown = time.monotonic(), self._panel.shown
        places = [self.timeline.position_ns - result.shift_ns for result in self.results]
        seen = [stage.seen(place) for stage, place in zip(self._stages, places, strict=True)]
        if (shown, seen) != self._drawn:
            self._drawn = (shown, seen)
            self._place(shown.apart)
            with self._server.atomic():
                self._moments = [
                    stage.show(place, shown)
                    for stage, place in zip(self._stages, places, strict=True)
                ]
            self.frames_drawn += 1
        if now >= self._due["panel"]:
            self._due["panel"] = now + 1.0 / PANEL_HZ
            self._panel.refresh(self._moments)
            self._turn_pages()
        charted = (self.timeline.position_ns, shown.person, self.timeline.end_ns)
        if now >= self._due["charts"] and charted != self._charted:
            self._due["charts"], self._charted = now + 1.0 / CHARTS_HZ, charted
            self._panel.refresh_charts()

    def close(self) -> None:
        """End the page."""
        self._server.stop()

    def _place(self, apart: bool) -> None:
        """Place the second result next to the first or in its place; the ground is below both."""
        if self._box is None:
            return
        low, high = self._box
        shift_m = (float(high[0] - low[0]) + APART_M) * (len(self._stages) > 1 and apart)
        for number, stage in enumerate(self._stages):
            stage.place(number * shift_m)
            stage.fit_ground(low, high, shift_m)

    def _fit(self) -> None:
        """Update the bounds of the people, and aim at them when there are some."""
        if self._aimed and not self._live:
            return
        box = space(self.results, self._box)
        if box is None:
            return
        self._box = box
        if not self._aimed:
            self._aimed = True
            self._aim(*box)

    def _aim(self, low: np.ndarray, high: np.ndarray) -> None:
        """Set the size of the cameras' pyramids, and the initial view of the page."""
        way = float(np.linalg.norm((low + high) / 2 - self.results[0].axes().translation))
        for stage in self._stages:
            stage.frustum_m = FRUSTUM_SHARE * way
        initial = self._server.initial_camera
        eye, target = self._view(FIRST_VIEW, 1.0)
        initial.position, initial.look_at, initial.fov = tuple(eye), tuple(target), FOV

    def _turn_pages(self) -> None:
        """Set new pages to the initial view; also pages that change shape before they are moved."""
        for number, client in self._server.get_clients().items():
            name, aspect, eye = self._looks.get(number, (FIRST_VIEW, 0.0, None))
            camera = client.camera
            still = eye is None or np.allclose(camera.position, eye, atol=1e-3)
            if still and camera.aspect != aspect:
                self._look(client, name)

    def _look(self, client: viser.ClientHandle, name: str) -> None:
        """Set one page to one of VIEWS."""
        if self._box is None:
            return
        aspect = client.camera.aspect
        eye, target = self._view(name, aspect)
        self._looks[client.client_id] = name, aspect, eye
        with client.atomic():
            client.camera.position, client.camera.look_at = tuple(eye), tuple(target)

    def _view(self, name: str, aspect: float) -> tuple[np.ndarray, np.ndarray]:
        """The position and the target of one of VIEWS, (3,) m; aspect: of the picture."""
        assert self._box is not None
        low, high = self._box
        if len(self._stages) > 1 and self._panel.shown.apart:
            high = high + np.array([high[0] - low[0] + APART_M, 0.0, 0.0])
        return view(name, low, high, self.results[0].axes().translation, aspect)


def light(scene: Any) -> None:
    """Light a scene of viser with ambient and side light, without shadows and reflections.

    Without a GPU, shadows and reflections take longer than all the rest.
    """
    scene.configure_environment_map(hdri=None)
    scene.configure_default_lights(enabled=False)
    scene.add_light_hemisphere("/sky", intensity=AMBIENT)
    scene.add_light_directional("/sun", intensity=SUN, position=SUN_M)


def span(results: list[Result]) -> tuple[int, int]:
    """Return the first and the last stamp of some results on the timeline of the first [ns]."""
    shown = [(result.moments, result.shift_ns) for result in results if result.moments]
    if not shown:
        return 0, 0
    first_ns = min(moments[0].stamp_ns + shift_ns for moments, shift_ns in shown)
    return first_ns, max(moments[-1].stamp_ns + shift_ns for moments, shift_ns in shown)


def align(results: list[Result]) -> None:
    """Align results that are shown together.

    If their stamps do not overlap, they start together. Results of one video share one ground.
    """
    if len(results) < 2 or not all(result.moments for result in results):
        return
    first, second = ((r.moments[0].stamp_ns, r.moments[-1].stamp_ns) for r in results)
    if second[0] > first[1] or first[0] > second[1]:
        results[1].shift_ns = first[0] - second[0]
    videos = [getattr(result.pictures, "video", None) for result in results]
    if videos[0] is not None and videos[0] == videos[1]:
        best = min(results, key=lambda result: SOURCES.index(result.ground_from))
        for result in results:
            result.ground, result.ground_from = best.ground, best.ground_from


def space(
    results: list[Result], known: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the corners (3,) m of the box around all people; known: the box so far.

    For live results, only the newest moment is used.
    """
    points = [] if known is None else [np.stack(known)]
    for result in results:
        moments = result.moments[-1:] if known is not None else result.moments[:]
        rows = [pose.row["joints"] for m in moments for pose in m.people.values()]
        if rows:
            places = result.axes().points(np.concatenate(rows).astype(np.float64))
            # A single outlier does not move the view.
            points.append(np.percentile(places, [1, 99], axis=0) if known is None else places)
    if not points:
        return None
    every = np.concatenate(points)
    return every.min(0), every.max(0)
