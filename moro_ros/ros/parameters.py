"""ROS parameters from configuration dataclasses: declared, read and validated by their fields."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.node import Node
from rclpy.parameter import Parameter

from moro_ros.config import check_value, fixed, from_dict, option
from moro_ros.errors import ConfigError
from moro_ros.ros.planners.options import PlannersConfig, check_frame
from moro_ros.ros.rep155.options import HumansConfig

T = TypeVar("T")

# Parameters that rclpy declares.
STANDARD = ("use_sim_time", "start_type_description_service")
STANDARD_PREFIXES = ("qos_overrides.",)


@dataclass(frozen=True, slots=True)
class ProcessBagConfig:
    """Options of the action ~/process_bag."""

    root: str = fixed(
        "", "Folder below which the action ~/process_bag may write. Empty disables the action"
    )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Options of moro_node that only concern ROS."""

    autostart: bool = fixed(
        True, "Configure and activate the node at startup. false waits for lifecycle transitions"
    )
    cameras: str = fixed(
        "",
        "Names of several cameras, separated by commas. Each gets a node in the namespace of that "
        "name; all nodes share one network. Empty for a single camera",
    )
    fusion_frame: str = fixed(
        "",
        "With cameras: TF frame of fused/humans, which combines the people of all cameras of this "
        "process. Empty disables it",
    )
    camera_guard: bool = option(
        True, "Detect that the camera, which must be static, was moved, and restart tracking"
    )
    camera_guard_shift: float = option(
        0.01, "Shift of the background, relative to the image width, that counts as camera motion",
        low=0.002, high=0.5,
    )  # fmt: skip
    camera_info_focal_change: float = option(
        0.01, "Relative change of the focal length in camera_info that restarts tracking. Smaller "
        "changes, such as those of autofocus, are applied without a restart",
        low=0.0, high=1.0,
    )  # fmt: skip
    camera_info_center_change: float = option(
        0.01, "Change of the principal point in camera_info, relative to the image size, that "
        "restarts tracking. Also the largest displacement of a pixel by a change of distortion",
        low=0.0, high=1.0,
    )  # fmt: skip
    image_reliability: str = fixed(
        "auto",
        "Reliability of the image subscription. best_effort matches every publisher. reliable "
        "matches reliable publishers only, and lost data is sent again. auto starts with "
        "best_effort and changes to reliable if images are lost and every publisher is reliable",
        choices=("auto", "best_effort", "reliable"),
    )
    rectified: bool = option(False, "The images are rectified: use P of camera_info instead of K")
    image_timeout_s: float = option(
        2.0, "Time without images after which a warning is issued", unit="s", low=0.1, high=600.0
    )
    log_period_s: float = option(
        5.0, "Period of the statistics in the log", unit="s", low=1.0, high=3600.0
    )
    image_transport: str = fixed(
        "raw",
        "Transport of the image subscription: raw, or compressed (JPEG, PNG) on image/compressed",
        choices=("raw", "compressed"),
    )
    boxes_topic: str = fixed(
        "",
        "Topic of vision_msgs/Detection2DArray with bounding boxes of people, which replace the "
        "node's own person detector. Empty disables it",
    )
    boxes_class: str = fixed(
        "person", "Class id of the detections on boxes_topic that are people. Empty accepts all"
    )
    depth_topic: str = fixed(
        "",
        "Topic of depth images (sensor_msgs/Image, 16UC1 in mm or 32FC1 in m) that measure the "
        "distance of people. Empty disables it",
    )
    depth_info_topic: str = fixed(
        "",
        "Topic of the camera_info of depth_topic. Empty for camera_info in the namespace of "
        "depth_topic",
    )
    tf_level: str = option(
        "smplx22",
        "TF frames of a person: none, body_<id> only, the links of REP-155, or the 22 or 55 "
        "joints of SMPL-X",
        choices=("none", "body", "rep155", "smplx22", "smplx55"),
    )
    tf_rate_hz: float = option(
        0.0, "Maximum rate of the frames of tf_level. 0 publishes them for every image",
        unit="Hz", low=0.0, high=240.0,
    )  # fmt: skip
    world_frame: str = fixed("", "TF frame of ~/humans_world. Empty disables that topic")
    ground_frame: str = fixed(
        "",
        "TF frame whose plane z = 0 is the ground. If empty, the ground is estimated from foot "
        "contacts",
    )
    marker_rate_hz: float = option(
        10.0, "Maximum rate of ~/markers and ~/cloud, and of the meshes computed for them",
        unit="Hz", low=0.1, high=240.0,
    )  # fmt: skip
    publish_images: bool = option(
        True, "Allow topics with images of people: ~/annotated and the cropped images of bodies"
    )
    annotated_rate_hz: float = option(
        10.0, "Maximum rate of ~/annotated", unit="Hz", low=0.1, high=240.0
    )
    process_bag: ProcessBagConfig = field(default_factory=ProcessBagConfig)
    humans: HumansConfig = field(default_factory=HumansConfig)
    planners: PlannersConfig = field(default_factory=PlannersConfig)

    def __post_init__(self) -> None:
        for name, frame in (
            ("world_frame", self.world_frame),
            ("ground_frame", self.ground_frame),
            ("fusion_frame", self.fusion_frame),
            ("humans.reference_frame", self.humans.reference_frame),
        ):
            check_frame(name, frame)


class StartValues:
    """A base class, before Node, that lets `declare` report an empty list given at the start.

    For rclpy it is a value of unknown type, for which Node raises ValueError.
    """

    def declare_parameters(
        self, namespace: str, parameters: list[Any], *args: Any, **kwargs: Any
    ) -> list[Parameter]:
        """Declare parameters; see Node.declare_parameters."""
        untyped = ParameterDescriptor(dynamic_typing=True)
        given = [
            (item[0], None, untyped) if len(item) > 1 and item[1] is None else item
            for item in parameters
        ]
        return super().declare_parameters(namespace, given, *args, **kwargs)  # type: ignore[misc]


def options(config_class: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every option of a configuration class as (dotted name, field)."""
    for item in dataclasses.fields(config_class):
        factory = item.default_factory
        if isinstance(factory, type) and dataclasses.is_dataclass(factory):
            yield from options(factory, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item


def descriptor(item: dataclasses.Field[Any]) -> ParameterDescriptor:
    """The parameter descriptor of an option: description with unit, range, read-only flag."""
    meta = item.metadata
    unit = f" [{meta['unit']}]" if meta["unit"] else ""
    result = ParameterDescriptor(
        type=Parameter.Type.from_parameter_value(item.default).value,
        description=meta["description"] + unit,
        read_only=meta["read_only"],
        additional_constraints=f"one of: {', '.join(meta['choices'])}" if meta["choices"] else "",
    )
    low, high = meta["low"], meta["high"]
    if low is None and high is None:
        return result
    if isinstance(item.default, int):
        lowest = -sys.maxsize if low is None else int(low)
        highest = sys.maxsize if high is None else int(high)
        result.integer_range = [IntegerRange(from_value=lowest, to_value=highest, step=1)]
    else:
        least = -sys.float_info.max if low is None else float(low)
        most = sys.float_info.max if high is None else float(high)
        result.floating_point_range = [FloatingPointRange(from_value=least, to_value=most)]
    return result


def declare(node: Node, config_class: type[T]) -> T:
    """Declare one parameter per option of a configuration class and build it from their values.

    An option of type float accepts an integer; one of type int does not accept 2.0. A tuple holds
    strings and is not empty, because ROS has no type for an empty list.
    Raises: ConfigError if a value given at the start has the wrong type or is out of range.
    """
    values: dict[str, Any] = {}
    for name, item in options(config_class):
        # Declared without limits first, because rclpy's own errors give neither unit nor choices.
        if not node.has_parameter(name):
            default = list(item.default) if isinstance(item.default, tuple) else item.default
            node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True))
        value: Any = node.get_parameter(name).value
        if value is None:
            value = []  # an empty list has no type
        check_value(name, value, item)
        values[name] = float(value) if isinstance(item.default, float) else value
        exact = Parameter(name, value=values[name]).get_parameter_value()
        node.set_descriptor(name, descriptor(item), exact)
    return build(config_class, values)


def full_topic(node: Node, parameter: str, name: str) -> str:
    """The full name of the topic in a parameter; raises ConfigError if it is not a valid name."""
    try:
        return node.resolve_topic_name(name)
    except RCLError as error:
        # rcl appends the location in its source code.
        why = str(error).split(", at /")[0].removeprefix("failed to resolve name: ")
        raise ConfigError(f"{parameter}: got '{name}', expected a topic: {why}.") from error


def unknown(node: Node, *config_classes: type) -> list[str]:
    """A warning for each parameter given at the start that no option has.

    node: created with automatically_declare_parameters_from_overrides; all classes are declared.
    """
    known = [name for config_class in config_classes for name, _ in options(config_class)]
    warnings = []
    for name in node.get_parameters_by_prefix(""):
        if name in known or name in STANDARD or name.startswith(STANDARD_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        warnings.append(f"Parameter '{name}' is not known and has no effect{hint}")
    return warnings


def warn_of_unknown(node: Node, *config_classes: type) -> None:
    """Log the warnings of `unknown`."""
    for warning in unknown(node, *config_classes):
        node.get_logger().warning(warning)


def build(config_class: type[T], values: dict[str, Any]) -> T:
    """Build a configuration from values by dotted name; raises ConfigError naming a bad one."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *path, leaf = name.split(".")
        table = nested
        for part in path:
            table = table.setdefault(part, {})
        table[leaf] = value
    for name, item in options(config_class):
        if name in values:
            check_value(name, values[name], item)
    return from_dict(config_class, nested)


def current(config: Any) -> dict[str, Any]:
    """The values of a configuration by dotted name."""
    values = {}
    for name, _ in options(type(config)):
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        values[name] = value
    return values


def updated(config: T, changes: dict[str, Any]) -> T:
    """A configuration with some options changed; names that it does not have are ignored.

    Raises: ConfigError naming the option, the value got and the values allowed.
    """
    known = current(config)
    changes = {name: value for name, value in changes.items() if name in known}
    return build(type(config), known | changes) if changes else config
