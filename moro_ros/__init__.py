"""Human motion recovery under occlusion for ROS 2 (MoRo, arXiv 2601.16079)."""

from pkgutil import extend_path

# The generated messages (moro_ros.msg) are installed beside the built package; when this
# folder is used straight from a checkout, they are found in the installed one.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
