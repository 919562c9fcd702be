"""The Fast DDS profile for images: a shared memory segment that a whole image fits into."""

from __future__ import annotations

import os

from moro_ros.resources import share_path

# Jazzy's Fast DDS reads the first name, newer ones the second.
_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def use_image_profile() -> None:
    """Make this process send large messages through shared memory; call it before rclpy.init.

    The publisher's segment decides: with the default one a full image goes in UDP fragments, of
    which a best-effort subscriber loses 90 %. A profile that the user has set is left alone.
    """
    if not any(os.environ.get(name) for name in _VARIABLES):
        path = str(share_path("config", "fastdds_images.xml"))
        os.environ.update(dict.fromkeys(_VARIABLES, path))
