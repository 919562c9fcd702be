"""`moro demo`: a real video through the real ROS 2 nodes, recorded, drawn and summed up."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.paths import user_path
from moro_ros.cli.processes import (
    Child,
    Children,
    ProcessError,
    clean_environment,
    private_domain,
    ros_arguments,
)
from moro_ros.cli.results import check_not_replaced
from moro_ros.cli.video_options import VideoInput, add_camera_options, video_input
from moro_ros.cli.view import VIEW_MODULE, check_view, show
from moro_ros.config import PipelineConfig
from moro_ros.draw.overlay import OVERLAY, SHEET, write_overlay
from moro_ros.errors import ConfigError
from moro_ros.io.recording import load_recording
from moro_ros.io.video import open_video
from moro_ros.live.load import body_model_file, model_folder
from moro_ros.model_config import load_model_config
from moro_ros.view.address import HOST, PORT, url_of

CAMERA_TOPICS = {"image": "/camera/image_raw", "camera_info": "/camera/camera_info"}
NODE_MODULE = "moro_ros.ros.node"
HUMANS_TOPIC, MARKERS_TOPIC = "/moro/humans", "/moro/markers"
VIEW_TOPICS = CAMERA_TOPICS | {"humans": HUMANS_TOPIC}
# Twelve seconds of 720p at 30 Hz.
AHEAD_MB = 1000
DIAGNOSTICS_NAME = ": human motion"
STAGE_KEY = re.compile(r"stages_s\..*\.p50")
READY_TIMEOUT_S = 120.0
# After the last image: its decoding, and the node's diagnostics, which come once a second.
SETTLE_S = 2.5


@dataclass(frozen=True, slots=True)
class Session:
    """Where a run of the demo puts its files."""

    out: Path

    @property
    def logs(self) -> Path:
        """Folder of the processes' logs and reports."""
        return self.out / "logs"

    @property
    def video_report(self) -> Path:
        """Statistics of the video node."""
        return self.logs / "video.json"

    @property
    def recorder_report(self) -> Path:
        """Statistics of the recorder."""
        return self.logs / "recorder.json"


@dataclass(frozen=True, slots=True)
class Extras:
    """What is recorded on request: images as they are, and markers with compressed images."""

    images: bool
    markers: bool


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "demo",
        help="play a video through the ROS nodes, record and draw the motion",
        description="Starts moro_video, moro_node and moro_recorder in their own DDS domain "
        "and writes motion.mcap, motion.npz, joints.csv, overlay.mp4 and sheet.png.",
    )
    parser.add_argument(
        "--video", type=user_path, help="video file (default: a sample, which is downloaded)"
    )
    add_camera_options(parser)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="rate at which to play the video, in frames per second",
    )
    parser.add_argument(
        "--height",
        type=int,
        default=720,
        metavar="PX",
        help="scale larger images down to this height (0: never; default: %(default)s)",
    )
    parser.add_argument("--loop", action="store_true", help="repeat the video until Ctrl-C")
    parser.add_argument(
        "--out", type=user_path, default=Path("out/demo"), help="folder for the results"
    )
    parser.add_argument(
        "--keep-images", action="store_true", help="also record the images in motion.mcap"
    )
    parser.add_argument(
        "--markers",
        action="store_true",
        help="also record markers and compressed images: Foxglove and RViz then show motion.mcap "
        "without the messages of this package",
    )
    parser.add_argument(
        "--view",
        action="store_true",
        help="show the people in the browser, first live, then recorded, until Ctrl-C",
    )
    parser.add_argument(
        "--view-port", type=int, default=PORT, help="port of that page (default: %(default)s)"
    )
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID to use (default: a random one)")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Play, perceive, record, draw, sum up.

    Raises: MoroError with one message if video or camera are wrong or a process dies.
    """
    check_options(arguments)
    env = clean_environment(os.environ) | private_domain()
    if arguments.view:
        check_view(HOST, arguments.view_port, "--view-port")
    source = video_input(arguments.video, arguments.focal, arguments.camera)
    if source.note:
        print(source.note)
    session = Session(arguments.out)
    check_not_replaced([source.path], [session.out / name for name in (OVERLAY, SHEET)])
    fetch_models()
    try:
        session.logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot write to {session.out} ({error}); choose another --out."
        ) from error
    if arguments.domain is not None:
        env["ROS_DOMAIN_ID"] = str(arguments.domain)
    print(f"Starting the nodes on ROS_DOMAIN_ID={env['ROS_DOMAIN_ID']}; logs in {session.logs}")
    play = {"loop": arguments.loop, "rate": arguments.rate, "height": arguments.height}
    extras = Extras(arguments.keep_images, arguments.markers)
    body = body_of(PipelineConfig().model)
    # The live page stays until what follows is there to be shown.
    with Children(env, session.logs) as page:
        if arguments.view:
            words = ros_arguments({"port": arguments.view_port, "browser": True}, VIEW_TOPICS)
            page.start("view", VIEW_MODULE, words)
            print(f"The people are shown at {url_of(HOST, arguments.view_port)}", flush=True)
        run_nodes(source, play, session, env, extras)
        page.check()
        print(results(source, session, body))
    if arguments.view:
        said = "The page now shows the recorded motion:"
        show([session.out], body, source.path, HOST, arguments.view_port, browser=False, said=said)


def results(source: VideoInput, session: Session, body: BodyModel) -> str:
    """Draw what was recorded, and return the table at the end."""
    played, recorded = read_json(session.video_report), read_json(session.recorder_report)
    recording = load_recording(session.out / "motion.npz")
    # Of a looped video this is the first round; 0: the container did not tell its length.
    stamps_ns = np.array(played["stamps_ns"][: source.frame_count or None], dtype=np.int64)
    with open_video(source.path) as reader:
        write_overlay(reader, stamps_ns, recording, body, session.out)
    names = sorted(path.name for path in session.out.iterdir() if path.is_file())
    return f"{summary(played, recorded)}\nResults in {session.out}: {', '.join(names)}"


def check_options(arguments: argparse.Namespace) -> None:
    """Check the numbers before anything starts; raises ConfigError."""
    for name, most, unit in (
        ("rate", 1000, "Hz, 0 for the times of the video"),
        ("height", 16384, "px, 0 for no limit"),
        ("domain", 232, "as DDS has them"),
    ):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= most:
            raise ConfigError(f"--{name}: got {value:g}, expected 0 to {most} ({unit}).")


def run_nodes(
    source: VideoInput,
    play: dict[str, Any],
    session: Session,
    env: dict[str, str],
    extras: Extras,
) -> None:
    """Start recorder, node and video, wait for the video's end, stop them in reverse order.

    play: the parameters loop, rate and height of moro_video.
    Raises: ProcessError if a process dies or never gets ready.
    """
    recording, playing = node_parameters(source, session, extras)
    for report in (session.recorder_report, session.video_report):
        report.unlink(missing_ok=True)
    with Children(env, session.logs) as children:
        recorder = children.start("recorder", "moro_ros.ros.recorder", ros_arguments(recording))
        children.start("node", NODE_MODULE, ros_arguments({}, CAMERA_TOPICS))
        _wait_until_connected(children, session.recorder_report)
        video = children.start(
            "video", "moro_ros.ros.video_source", ros_arguments(playing | play, CAMERA_TOPICS)
        )
        frames = 0 if play["loop"] else source.frame_count
        _follow(children, video, session.recorder_report, frames, endless=play["loop"])
        children.wait(SETTLE_S)
    if recorder.status != 0:
        raise recorder.failure()


def node_parameters(
    source: VideoInput, session: Session, extras: Extras
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of the recorder and of the video node."""
    recording: dict[str, Any] = {
        "output": str(session.out.resolve()),
        "overwrite": True,
        "report": str(session.recorder_report.resolve()),
        "humans_topic": HUMANS_TOPIC,
        "camera_info_topic": CAMERA_TOPICS["camera_info"],
    }
    playing: dict[str, Any] = {
        "video": str(source.path.resolve()),
        "report": str(session.video_report.resolve()),
        # The node, and the recorder, without which nothing could be drawn.
        "wait_for_info_subscribers": 2,
        "ahead_mb": AHEAD_MB,
    }
    if source.camera_file is not None:
        playing["camera"] = str(source.camera_file.resolve())
    else:
        playing["focal"] = source.focal_px
    if extras.markers:
        recording |= {"markers_topic": MARKERS_TOPIC, "compress_images": not extras.images}
    if extras.images or extras.markers:
        recording["image_topics"] = [CAMERA_TOPICS["image"]]
        playing["wait_for_subscribers"] = 2
    return recording, playing


def body_of(model: str) -> BodyModel:
    """The body model that a model was trained with."""
    folder = model_folder(model)
    name = load_model_config(folder / "model.yaml").body_model
    return load_body_model(body_model_file(folder, name))


def _wait_until_connected(children: Children, report: Path) -> None:
    """Wait until the recorder receives from the node, which then has loaded its models."""
    waited = 0.0
    while not read_json(report).get("connected"):
        children.wait(0.2)
        waited += 0.2
        if waited > READY_TIMEOUT_S:
            raise ProcessError(
                f"The node was not ready within {READY_TIMEOUT_S:.0f} s. See the logs in "
                f"{report.parent}."
            )


def _follow(children: Children, video: Child, report: Path, frames: int, endless: bool) -> None:
    """Show the video's progress until it ends; Ctrl-C ends an endless one.

    frames: how many there are, 0 if that is not known.
    """
    with (
        tqdm(total=frames or None, desc="Playing", unit="frame", disable=None) as bar,
        _ended_by_hand(allowed=endless),
    ):
        while video.status is None:
            children.wait(0.2)
            seen = read_json(report)
            bar.set_postfix(
                processed=seen["frames_received"], people=len(seen["people"]), refresh=False
            )
            played = seen["camera_infos_received"]
            bar.update((min(played, frames) if frames else played) - bar.n)
        children.check()
    video.stop()


@contextmanager
def _ended_by_hand(allowed: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if not allowed:
            raise


def read_json(path: Path) -> dict[str, Any]:
    """A report, which its writer replaces in one step; empty before the first."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return values


def summary(played: dict[str, Any], recorded: dict[str, Any]) -> str:
    """The table at the end, from the reports of the video node and of the recorder."""
    node: dict[str, Any] = {}
    for name, values in recorded["diagnostics"].items():
        if name.endswith(DIAGNOSTICS_NAME):
            node = values
    bad = sum(int(value) for key, value in node.items() if key.startswith("bad."))
    people = ", ".join(
        f"id {i} in {n} frame{('' if n == 1 else 's')}" for i, n in recorded["people"].items()
    )
    held_up_s = played["held_up_s"]
    late = f" (delayed by {held_up_s:.1f} s: the machine is too slow)" if held_up_s else ""
    rows = [
        ("frames published", f"{played['frames_published']} at {played['rate_hz']:g} Hz{late}"),
        ("frames received", node.get("received", "?")),
        ("frames processed", node.get("processed", "?")),
        ("frames dropped", node.get("dropped", "?") + (f" ({bad} unusable)" if bad else "")),
        ("people", f"{len(recorded['people'])}" + (f": {people}" if people else "")),
        (
            "latency, stamp to publication",
            _times(recorded["latency_p50_s"], recorded["latency_p95_s"]),
        ),
    ]
    stages = [key[len("stages_s.") : -len(".p50")] for key in node if STAGE_KEY.fullmatch(key)]
    for name in stages:
        low, high = (json.loads(node[f"stages_s.{name}.{p}"]) for p in ("p50", "p95"))
        rows.append((f"  stage {name.removesuffix('_s')}", _times(low, high)))
    width = max(len(name) for name, _ in rows)
    lines = [played["missing"]] if played["missing"] else []
    lines += [f"{name:<{width}}  {value}" for name, value in rows]
    kept_up_hz = int(node.get("processed", 0)) / max(played["duration_s"], 1e-3)
    if kept_up_hz < 0.7 * played["rate_hz"]:
        lines.append(
            f"This machine processed {kept_up_hz:.1f} of {played['rate_hz']:g} images per "
            "second. To process every frame, lower --rate, or use moro predict."
        )
    return "\n".join(lines)


def _times(p50_s: float | None, p95_s: float | None) -> str:
    if p50_s is None or p95_s is None:
        return "-"
    return f"p50 {p50_s * 1e3:5.0f} ms   p95 {p95_s * 1e3:5.0f} ms"
