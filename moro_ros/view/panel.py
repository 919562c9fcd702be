"""Panel: the controls next to the scene: timeline, person, charts, switches."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

import viser

from moro_ros.view.charts import CURVE_COLORS, Course, chart, course, strip
from moro_ros.view.people import Shown
from moro_ros.view.result import Moment, Result
from moro_ros.view.timeline import SPEEDS, Timeline

EVERYBODY = "everybody"
WIDTH_PX = 400
# Age after which the newest live moment is reported as old [s].
STALE_S = 2.0
SWITCHES = {
    "mesh": "mesh",
    "skeleton": "skeleton",
    "covariance": "covariance",
    "contacts": "contacts",
    "trails": "trails",
    "ids": "ids",
    "camera": "camera",
    "grid": "grid",
}
CURVES = {"speed": "Speed of the pelvis [m/s]", "height": "Height of the pelvis [m]"}


class Panel:
    """The controls of a viewer; what the user does changes the timeline and `shown`.

    results: one or two.
    """

    def __init__(
        self, server: viser.ViserServer, timeline: Timeline, results: list[Result], live: bool
    ) -> None:
        self._timeline, self._results, self._live = timeline, results, live
        self._gui = gui = server.gui
        self._courses: dict[int, tuple[object, Course | None]] = {}
        self._newest = -1, 0.0
        self._last: dict[int, int] = {}
        self._counted: list[int] = []
        gui.configure_theme(
            control_width="large", show_logo=False, show_share_button=False, dark_mode=False
        )
        gui.main_panel.dock_right()
        gui.main_panel.set_width(WIDTH_PX)
        self._add_timeline(gui)
        self._add_person(gui)
        self._add_switches(gui)

    @property
    def shown(self) -> Shown:
        """The parts of the scene that the user selected."""
        switches = {name: box.value for name, box in self._switches.items()}
        apart = self._compare is None or self._compare.value == "side by side"
        return Shown(**switches, apart=apart, person=self.person, only=self._only.value)

    @property
    def person(self) -> int:
        """The selected id; 0: all people."""
        return 0 if self._person.value == EVERYBODY else int(self._person.value)

    def add_views(self, names: tuple[str, ...], look: Callable[[Any, str], None]) -> None:
        """Add buttons for the view of the browser that clicks one: look(client, name)."""
        with self._folder:
            views = self._gui.add_button_group("look from", names)

        @views.on_click
        def _(event: Any) -> None:
            if event.client is not None:
                look(event.client, event.target.value)

    def _show_ids(self) -> None:
        """List all people for selection."""
        counts = [len(result.moments) for result in self._results]
        if counts == self._counted and not self._live:
            return
        self._counted = counts
        ids = set().union(*(result.ids() for result in self._results))
        options = (EVERYBODY, *map(str, sorted(ids)))
        if options == tuple(self._person.options):
            return
        chosen = self._person.value
        self._person.options = options
        self._person.value = chosen if chosen in options else EVERYBODY

    def refresh(self, moments: list[Moment | None]) -> None:
        """Show the timeline's position, and the state of each result at that moment."""
        timeline = self._timeline
        if self._slider.max != max(timeline.length_s, 1e-3):
            self._slider.max = max(timeline.length_s, 1e-3)
        self._slider.value = round(min(timeline.time_s, self._slider.max), 3)
        self._button.label = "Pause" if timeline.playing else "Play"
        if self._follow is not None:
            self._follow.value = timeline.follow
        self._status.content = "".join(
            self._line(result, moment)
            for result, moment in zip(self._results, moments, strict=True)
        )

    def refresh_charts(self) -> None:
        """Draw speed, height and joint states of the selected person, or of the first one."""
        timeline = self._timeline
        self._show_ids()
        courses = [self._course(result) for result in self._results]
        end_s, now_s = timeline.length_s, timeline.time_s
        whose = self.person or self._first(self._results[0])
        parts = [f"<div style='{TEXT}'>Person {whose or '-'}, {self._legend()}</div>"]
        parts += [chart(title, courses, field, end_s, now_s) for field, title in CURVES.items()]
        self._charts.content = "".join([*parts, strip(courses[0], end_s, now_s)])

    def _legend(self) -> str:
        """The legend of the results, and the time axis."""
        axis = f"0 to {self._timeline.length_s:.1f} s"
        if len(self._results) < 2:
            return axis
        names = (
            f"<span style='color:{color}'>{escape(result.name)}</span>"
            for result, color in zip(self._results, CURVE_COLORS[: len(self._results)], strict=True)
        )
        return f"{axis}: {', '.join(names)}"

    def _course(self, result: Result) -> Course | None:
        """The course of the charts' person in a result."""
        chosen = self.person or self._first(result)
        if not chosen:
            return None
        moments, start_ns = result.moments, self._timeline.start_ns - result.shift_ns
        key = (chosen, start_ns, moments[-1].stamp_ns, id(result.ground))
        kept = self._courses.get(id(result))
        if kept is None or kept[0] != key:
            kept = key, course(moments, chosen, start_ns, result.axes())
            self._courses[id(result)] = kept
        return kept[1]

    def _first(self, result: Result) -> int:
        """The person of the charts without a selection: in view now, or the last one; 0: none."""
        moments, index = result.near(self._timeline.position_ns - result.shift_ns)
        people = {} if index is None else moments[index].people
        self._last[id(result)] = min(people, default=self._last.get(id(result), 0))
        return self._last[id(result)]

    def _age_s(self) -> float:
        """Time without a newer moment while the newest one is shown [s]."""
        end_ns, now_s = self._timeline.end_ns, time.monotonic()
        if end_ns != self._newest[0]:
            self._newest = end_ns, now_s
        return now_s - self._newest[1] if self._timeline.follow else 0.0

    def _line(self, result: Result, moment: Moment | None) -> str:
        name = f"<b>{escape(result.name)}</b>: " if len(self._results) > 1 else ""
        if moment is None:
            words = "waiting for motion" if self._live and not result.moments else "no image here"
        else:
            count = len(moment.people)
            words = f"{count} {'person' if count == 1 else 'people'}; ground: {result.ground_from}"
            if not any(pose.covariance is not None for pose in moment.people.values()) and count:
                words += "; covariance unknown"
        if (age_s := self._age_s()) > STALE_S and result.moments:
            words += f"; <b>nothing new for {age_s:.0f} s</b>"
        return f"<div style='{TEXT}'>{name}{self._timeline.time_s:.2f} s, {words}</div>"

    def _add_timeline(self, gui: Any) -> None:
        timeline = self._timeline
        self._folder = gui.add_folder("Timeline")
        with self._folder:
            self._slider = gui.add_slider("time [s]", 0.0, max(timeline.length_s, 1e-3), 1e-3, 0.0)
            self._button = gui.add_button("Pause")
            steps = gui.add_button_group("frame", ("previous", "next"))
            speed = gui.add_button_group("speed", tuple(SPEEDS))
            self._follow = gui.add_checkbox("follow live", True) if self._live else None
            self._status = gui.add_html("")

        # Without a client, refresh() changed the value.
        @self._slider.on_update
        def _(event: Any) -> None:
            if event.client is not None:
                timeline.seek(event.target.value)

        @self._button.on_click
        def _(_: Any) -> None:
            (timeline.pause if timeline.playing else timeline.play)()

        @steps.on_click
        def _(event: Any) -> None:
            shift_ns = self._results[0].shift_ns
            stamps_ns = [moment.stamp_ns + shift_ns for moment in self._results[0].moments]
            timeline.step(stamps_ns, 1 if event.target.value == "next" else -1)

        @speed.on_click
        def _(event: Any) -> None:
            timeline.speed = SPEEDS[event.target.value]

        speed.value = "1x"
        if self._follow is not None:

            @self._follow.on_update
            def _(event: Any) -> None:
                if event.client is not None:
                    (timeline.follow_end if event.target.value else timeline.pause)()

    def _add_person(self, gui: Any) -> None:
        with gui.add_folder("Person"):
            self._person = gui.add_dropdown("selected", (EVERYBODY,))
            self._only = gui.add_checkbox("hide the others", False)
            self._charts = gui.add_html("")

    def _add_switches(self, gui: Any) -> None:
        with gui.add_folder("Show"):
            self._switches = {name: gui.add_checkbox(text, True) for name, text in SWITCHES.items()}
            self._compare = None
            if len(self._results) > 1:
                self._compare = gui.add_dropdown("compare", ("side by side", "in one place"))


TEXT = "padding:0 0.8em 0.3em;font-size:12px"
