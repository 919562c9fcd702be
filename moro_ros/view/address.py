"""The address of the page, and the browser of this machine."""

from __future__ import annotations

import errno
import os
import socket
import webbrowser

from moro_ros.errors import ConfigError

HOST, PORT = "127.0.0.1", 8080
# Graphical sessions set one of these; otherwise webbrowser may start a program in the terminal.
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
# They stand for all addresses of this machine.
ANY = ("", "0.0.0.0", "::")


def url_of(host: str, port: int) -> str:
    """Return the URL of the page on this machine."""
    return f"http://{HOST if host in ANY else host}:{port}"


def open_browser(url: str) -> bool:
    """Open an address in the browser of a graphical session; returns whether there is one."""
    return any(os.environ.get(name) for name in DISPLAYS) and webbrowser.open(url)


def check_address(
    host: str, port: int, port_option: str = "--port", host_option: str = "--host"
) -> None:
    """Check that a port (0: any free one) is available; raises ConfigError.

    port_option, host_option: how the user chooses them.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"{port_option}: got {port}, expected 0 (any free one) to 65535.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        said = f"Cannot listen on {host} port {port} ({error.strerror or error})."
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"{said} {host_option}: got '{host}', expected an address of this machine, such as "
                f"{HOST}."
            ) from error
        raise ConfigError(
            f"{said} Choose another port with {port_option}, or stop the program that uses it."
        ) from error
