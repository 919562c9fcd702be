"""Human motion recovery under occlusion for ROS 2 (MoRo, arXiv 2601.16079)."""

import os
from pkgutil import extend_path

# Set before onnxruntime is imported, which would otherwise write a device id and a database for
# telemetry to the user's cache. It cannot be prevented after the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The generated messages (moro_ros.msg) are installed next to the built package. If this folder
# is used directly from a checkout, they are found in the installed one.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
