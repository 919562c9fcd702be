"""Human motion recovery under occlusion for ROS 2 (MoRo, arXiv 2601.16079)."""

import os
from pkgutil import extend_path

# Before anything imports onnxruntime, which otherwise leaves the id of the device and a database
# in the user's cache, for telemetry; once it is imported nothing prevents that any more.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The generated messages (moro_ros.msg) are installed beside the built package; when this
# folder is used straight from a checkout, they are found in the installed one.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
