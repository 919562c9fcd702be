"""`moro view`: recorded or live motion in the browser."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moro_ros.body.body_model import load_body_model
from moro_ros.cli.paths import user_path
from moro_ros.cli.processes import Children, Interruption, clean_environment, ros_arguments
from moro_ros.errors import ConfigError, missing_module
from moro_ros.resources import share_path
from moro_ros.view.address import HOST, PORT, check_address, open_browser

VIEW_MODULE = "moro_ros.ros.view_node"


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "view",
        help="show recorded or live motion in the browser",
        description="Shows the bodies in 3D, with a timeline, charts and the state of each joint. "
        "Runs until Ctrl-C.",
    )
    add = parser.add_argument
    add(
        "paths",
        type=user_path,
        nargs="*",
        metavar="PATH",
        help="motion.npz, motion.mcap, a rosbag2 folder, or the folder of moro demo or moro "
        "predict; a second PATH is shown next to the first",
    )
    add("--live", action="store_true", help="show the output of a running node")
    add(
        "--topic",
        default="/moro/humans",
        help="with --live: topic of moro_ros/msg/HumanArray (default: %(default)s)",
    )
    add(
        "--image",
        default="/camera/image_raw",
        metavar="TOPIC",
        help="with --live: topic of the images; TOPIC/compressed for JPEG (default: %(default)s)",
    )
    add(
        "--camera-info",
        default="/camera/camera_info",
        metavar="TOPIC",
        help="with --live: topic of the camera's calibration (default: %(default)s)",
    )
    add(
        "--refined",
        action="store_true",
        help="with --live: show TOPIC_refined next to TOPIC; the node needs motion.refined_lag",
    )
    add(
        "--video",
        type=user_path,
        metavar="FILE",
        help="video that the motion was recovered from, to be shown in the camera. Not needed for "
        "a folder of moro demo",
    )
    add(
        "--body",
        type=user_path,
        metavar="FILE",
        help="body model that the motion was recorded with (default: the open body)",
    )
    add(
        "--host",
        default=HOST,
        help="address to listen on (default: %(default)s, this machine only; 0.0.0.0: all)",
    )
    add("--port", type=int, default=PORT, help="port to listen on (default: %(default)s)")
    add("--no-browser", action="store_true", help="do not open the browser")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the page until Ctrl-C; returns the exit status.

    Raises: MoroError for a problem with the paths, the video or the address.
    """
    paths: list[Path] = arguments.paths
    if arguments.live and paths:
        raise ConfigError("--live shows the topics of a running node: give either PATH or --live.")
    if not arguments.live and not 1 <= len(paths) <= 2:
        raise ConfigError(f"PATH: got {len(paths)}, expected one or two, or --live.")
    check_view(arguments.host, arguments.port)
    if arguments.live:
        return run_live(arguments)
    body = load_body_model(arguments.body or share_path("models", "open_body", "OPEN_NEUTRAL.npz"))
    return show(
        paths, body, arguments.video, arguments.host, arguments.port, not arguments.no_browser
    )


def check_view(host: str, port: int, option: str = "--port") -> None:
    """Check that a page can be shown; option: the option for the port.

    Raises: InstallationError without viser, ConfigError if the address cannot be used.
    """
    if find_spec("viser") is None:
        raise missing_module(ModuleNotFoundError("no viser", name="viser"))
    check_address(host, port, option)


def show(
    paths: list[Path],
    body: Any,
    video: Path | None = None,
    host: str = HOST,
    port: int = PORT,
    browser: bool = True,
    said: str = "Open this address in a browser:",
) -> int:
    """Show recorded motion until Ctrl-C; returns the exit status.

    body: BodyModel that it was recorded with. browser: whether to open the page in the browser.
    said: text printed before the address unless the browser was opened.
    Raises: MoroError for a problem with the paths, the video or the address.
    """
    from moro_ros.view.loading import open_results
    from moro_ros.view.viewer import Viewer, align

    results = [result for path in paths for result in open_results(path, video, body)][:2]
    align(results)
    with Interruption() as interruption:
        viewer = Viewer(results, body, host, port)
        opened = browser and open_browser(viewer.url)
        print(
            f"{'The browser shows' if opened else said} {viewer.url}; Ctrl-C stops it.", flush=True
        )
        viewer.run(lambda: not interruption.number)
        viewer.close()
    return 0


def run_live(arguments: argparse.Namespace) -> int:
    """Show the topics of a node, in the ROS domain of this shell, until Ctrl-C."""
    parameters: dict[str, Any] = {
        "host": arguments.host,
        "port": arguments.port,
        "browser": not arguments.no_browser,
        "refined": arguments.refined,
    }
    if arguments.body:
        parameters["body"] = str(arguments.body.expanduser().resolve())
    topics = {
        "humans": arguments.topic,
        "image": arguments.image,
        "camera_info": arguments.camera_info,
    }
    with Children(clean_environment(os.environ), logs=None) as children:
        viewer = children.start("moro_view", VIEW_MODULE, ros_arguments(parameters, topics))
        try:
            while viewer.status is None:
                children.wait(0.5)
        except KeyboardInterrupt:
            return 0
    return 0
