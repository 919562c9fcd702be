"""`moro bench view`: frames per second that the viewer sends and a browser shows."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.cli.bench.chromium import Page, find_chromium
from moro_ros.cli.results import check_positive, print_table
from moro_ros.cli.view import check_view
from moro_ros.errors import InstallationError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.io.recording import ROW
from moro_ros.resources import share_path
from moro_ros.view.address import HOST

if TYPE_CHECKING:
    from moro_ros.view.result import Result

LENGTH_S = 4.0
# Warm-up of the browser before the measurement [s].
WARM_S = 10.0
# Minimum size of a message with a mesh [bytes].
MESH_BYTES = 100_000
# Counts the frames with a new mesh on the screen.
COUNT = """
window.moroFrames = 0; window.moroRefreshes = 0; let fresh = false;
const send = WebGL2RenderingContext.prototype.bufferSubData;
WebGL2RenderingContext.prototype.bufferSubData = function(target, offset, data, ...more) {
  fresh = fresh || (data && data.byteLength > 100000);
  return send.call(this, target, offset, data, ...more);
};
(function next() {
  window.moroRefreshes += 1; window.moroFrames += fresh; fresh = false;
  requestAnimationFrame(next);
})();
"""


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "view",
        help="frames per second of the viewer in the browser",
        description="Plays simulated people in the viewer and counts the updates of the scene: "
        "those that it sends over localhost, those received by a client that does not draw, and, "
        "if Chromium is installed, those that it shows, with its refresh rate.",
    )
    add = parser.add_argument
    add("--people", type=int, default=2, help="number of people (default: %(default)s)")
    add("--rate", type=float, default=30.0, help="images per second (default: %(default)s)")
    add("--seconds", type=float, default=10.0, help="time to measure (default: %(default)s)")
    add("--json", action="store_true", help="print a JSON object instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print. Raises: ConfigError for a number out of range."""
    check_positive(arguments, "people", "rate", "seconds")
    check_view(HOST, 0)
    from moro_ros.view.viewer import Viewer

    torch.set_num_threads(1)
    body = load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))
    result = simulated(body, arguments.people, arguments.rate)
    measured: list[dict[str, object]] = []
    for name, receive in (("client", receive_only), ("Chromium", in_chromium)):
        if receive is in_chromium:
            try:
                find_chromium()
            except InstallationError:
                continue
        viewer = Viewer([result], body, port=0)
        going = [True]
        player = threading.Thread(target=viewer.run, args=(partial(any, going),))
        player.start()
        try:
            measured.append({"receiver": name} | receive(viewer, arguments.seconds))
        finally:
            going.clear()
            player.join()
            viewer.close()
    if arguments.json:
        print(json.dumps(measured, indent=1))
    else:
        print_table(measured)


def simulated(body: BodyModel, people: int, rate_hz: float) -> Result:
    """People side by side, 4 m from the camera, who swing their limbs."""
    from moro_ros.recover.ground import GroundPlane
    from moro_ros.view.result import Moment, Pose, Result

    result = Result("simulated")
    result.ground = GroundPlane.below_camera(1.5, 0.0)
    dice = np.random.default_rng(0)
    swing = dice.normal(0.0, 0.3, (people, 22, 3))
    swing[:, 0] = 0.0
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, :22]
    for index in range(round(LENGTH_S * rate_hz)):
        stamp_ns = round(index / rate_hz * 1e9)
        pose = swing * np.sin(2 * np.pi * index / rate_hz / LENGTH_S * 3)
        pose[:, 0, 0] = np.pi
        turns = rotvec_to_matrix(torch.from_numpy(pose).float())
        joints = body.forward_kinematics(turns, rest)[1].numpy()
        poses = {}
        for number in range(people):
            row = np.zeros((), ROW)
            pelvis = np.array([number - (people - 1) / 2, 0.55, 4.0])
            row["stamps_ns"] = stamp_ns
            row["global_orient"], row["body_pose"] = pose[number, 0], pose[number, 1:].ravel()
            row["joints"] = joints[number] + pelvis
            row["transl"] = pelvis - rest[0, 0].numpy()
            covariance = np.tile(np.eye(3, dtype=np.float32) * 4e-4, (22, 1, 1))
            poses[number + 1] = Pose(row, covariance)
        result.add(Moment(stamp_ns, poses))
    return result


def receive_only(viewer: Any, seconds: float) -> dict[str, object]:
    """Measurement of a client that receives but does not draw."""
    import viser
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    protocol = Subprotocol(f"viser-v{viser.__version__}")
    counts = [0, 0]
    with connect(f"ws://{HOST}:{viewer.port}", subprotocols=[protocol], max_size=None) as socket:

        def receive(until: float, counted: list[int]) -> None:
            while (left := until - time.monotonic()) > 0:
                try:
                    size = len(socket.recv(left))
                except TimeoutError:
                    return
                counted[0] += size > MESH_BYTES
                counted[1] += size

        receive(time.monotonic() + 2.0, [0, 0])
        return measure(viewer, seconds, lambda until: receive(until, counts), counts)


def in_chromium(viewer: Any, seconds: float) -> dict[str, object]:
    """Measurement of a page."""
    with Page(viewer.url, script=COUNT, watch=False) as page:
        page.wait_for("document.querySelector('canvas') !== null", 120.0)
        page.wait_for("window.moroFrames > 0", 120.0)
        page.pause(WARM_S)
        before = page.evaluate("[moroFrames, moroRefreshes]")

        def wait(until: float) -> None:
            page.pause(until - time.monotonic())

        counts = [0, 0]
        values = measure(viewer, seconds, wait, counts)
        after = page.evaluate("[moroFrames, moroRefreshes]")
        renderer = page.evaluate(
            "(() => { const gl = document.createElement('canvas').getContext('webgl2'); const info "
            "= gl.getExtension('WEBGL_debug_renderer_info'); return info ? "
            "gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : ''; })()"
        )
    values["received/s"], values["MB/s"] = None, None
    values["shown/s"] = rate(after[0] - before[0], seconds)
    values["refreshes/s"] = rate(after[1] - before[1], seconds)
    return values | {"renderer": renderer}


def measure(
    viewer: Any, seconds: float, wait: Callable[[float], None], counts: list[int]
) -> dict[str, object]:
    """Return rates over some time; counts: frames and bytes that wait(until) receives."""
    drawn, used = viewer.frames_drawn, time.process_time()
    wait(time.monotonic() + seconds)
    used = time.process_time() - used
    return {
        "updates/s": rate(viewer.frames_drawn - drawn, seconds),
        "received/s": rate(counts[0], seconds),
        "MB/s": rate(counts[1] / 1e6, seconds),
        "CPU of the viewer [%]": round(100 * used / seconds),
        "shown/s": None,
        "refreshes/s": None,
        "renderer": None,
    }


def rate(count: float, seconds: float) -> float:
    """Return a rate per second, for printing."""
    return round(count / seconds, 1)
