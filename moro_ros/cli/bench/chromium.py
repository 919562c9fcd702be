"""Headless Chromium, controlled by its DevTools protocol: a page as a user would see it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moro_ros.errors import InstallationError, MoroError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Software rendering, which works on machines without a GPU or display.
FLAGS = (
    *("--headless=new", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--mute-audio"),
)
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 60.0, 120.0


class PageError(MoroError):
    """The browser did not start, or a request to the page failed."""


def find_chromium() -> str:
    """Return the path of Chromium; raises InstallationError if it is not installed."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    raise InstallationError(
        "Chromium is not installed. Install the package chromium (Debian: apt install chromium)."
    )


class Page:
    """A page in a separate browser; use it in a with block.

    size: width and height [px]. script: JavaScript that runs before the page's own. watch:
    whether to record requests, which takes time. requested: all addresses that the page has
    requested so far, as seen by wait_for() and pause().
    Raises: InstallationError without Chromium, PageError if it does not start.
    """

    def __init__(
        self,
        url: str,
        size: tuple[int, int] = (1280, 800),
        script: str = "",
        watch: bool = True,
    ) -> None:
        from websockets.sync.client import connect  # of the extra `view`

        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.requested: list[str] = []
        self._number = 0
        # Chromium's sandbox does not work for root, the usual user in containers.
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        flags = [*FLAGS, *root, f"--window-size={size[0]},{size[1]}"]
        flags.append(f"--user-data-dir={self._profile.name}")
        self._process = subprocess.Popen(
            [find_chromium(), *flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._socket = connect(self._address(), max_size=None)
            if watch:
                self.call("Network.enable")
            self.call("Page.enable")
            # A page without the focus does not connect again.
            self.call("Emulation.setFocusEmulationEnabled", enabled=True)
            self.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0], height=size[1], deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            if script:
                self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
            self.call("Page.navigate", url=url)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; raises PageError."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(command))
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            message = self._receive(end - time.monotonic())
            if message is None:
                raise PageError(f"The browser does not respond to {method}.")
            if message.get("id") == self._number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; raises PageError."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise PageError(f"{expression}: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 60.0) -> Any:
        """Wait until an expression is true and return its value; raises PageError."""
        end = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise PageError(f"Still not true after {timeout_s:g} s: {expression}")
            self.pause(0.2)
        return value

    def pause(self, seconds: float) -> None:
        """Wait while the page continues."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._receive(left)

    def picture(self) -> np.ndarray:
        """Return a screenshot, (H, W, 3) uint8 RGB."""
        file = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        bgr = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def click(self, x: float, y: float) -> None:
        """Click at a position [px]."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = json.loads(self._socket.recv(max(timeout_s, 0.0)))
        except TimeoutError:
            return None
        if message.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            parameters = message["params"]
            self.requested.append(parameters.get("url") or parameters["request"]["url"])
        return message

    def _address(self) -> str:
        """The address for controlling the page."""
        file = Path(self._profile.name) / "DevToolsActivePort"
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self._process.poll() is None:
            if file.exists() and (lines := file.read_text().split()):
                with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                    pages = [item for item in json.load(answer) if item["type"] == "page"]
                if pages:
                    return str(pages[0]["webSocketDebuggerUrl"])
            time.sleep(0.1)
        raise PageError("Chromium did not start.")
