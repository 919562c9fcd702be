"""The run-time configuration: the only place that defines its defaults, units and ranges.

Every field of PipelineConfig becomes a ROS parameter of the same dotted name
(ros/parameters.py); network architectures are described in model_config.py.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from moro_ros.errors import ConfigError

T = TypeVar("T")
# Values of motion.mode.
MODES = ("window", "incremental")
_KINDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text"
}  # fmt: skip


def option(
    default: Any,
    description: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
    resets: bool = False,
) -> Any:
    """Declare a field with its default, meaning, unit, closed range and whether it can change.

    resets: a change at run time restarts tracking.
    """
    metadata = {
        "description": description,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "read_only": read_only,
        "resets": resets,
    }
    return field(default=default, metadata=metadata)


# Declares an option that cannot change while a node runs.
fixed = partial(option, read_only=True)


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """The BlazePose front-end."""

    every: int = option(
        30, "Frames at 30 Hz over which one search of the image for new people is spread",
        unit="frames", low=1, high=300,
    )  # fmt: skip
    smallest_person: float = option(
        0.2, "Height of the smallest person to search for, relative to the shorter image side; "
        "smaller values take more time",
        low=0.05, high=1.0,
    )  # fmt: skip
    min_score: float = option(0.5, "Minimum detector score of a new person", low=0.0, high=1.0)
    min_flag: float = option(
        0.5, "Minimum landmark score for a person to stay tracked", low=0.0, high=1.0
    )
    landmarks: str = fixed(
        "full", "BlazePose landmark network: full, or heavy, which is more accurate where people "
        "occlude each other, takes 3.5 times as long and must be downloaded with "
        "'moro fetch pose_landmark_heavy.tflite'",
        choices=("full", "heavy"),
    )  # fmt: skip
    threads: int = fixed(2, "CPU threads of the detector", low=1, high=64)
    look_share: float = option(
        0.2, "Share of the detector threads' time between two images that may be spent on locating "
        "keypoints of tracked people. If this is not enough, people take turns; each is located "
        "in at least every third image",
        low=0.01, high=1.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Identity over time."""

    hold_time_s: float = option(
        2.0, "How long an unseen person stays tracked, with an inferred pose", unit="s",
        low=0.0, high=10.0,
    )  # fmt: skip
    min_hits: int = option(
        3, "Frames in which a new person must be seen before they are published", unit="frames",
        low=1, high=100,
    )  # fmt: skip
    picture_s: float = option(
        5.0, "A person who has not moved at all for this long since they were first seen is "
        "counted and logged as a picture or clothes. 0 disables the check",
        unit="s", low=0.0, high=600.0,
    )  # fmt: skip
    drop_pictures: bool = option(
        False, "Do not publish people found by tracker.picture_s until they move. Sleeping people "
        "may be affected",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """The temporal window and the masked decoding."""

    mode: str = option(
        "incremental", "What is recomputed for each image: the whole window (window) or the "
        "newest frames only (incremental)",
        choices=MODES, resets=True,
    )  # fmt: skip
    window: int = option(
        48, "Length of the temporal window", unit="frames", low=2, high=500, resets=True
    )
    passes: int = option(1, "Passes of the masked decoding", low=1, high=20)
    look_ahead: int = option(
        0, "Output delay; less than motion.window in mode window. 0 publishes the pose of the "
        "newest image",
        unit="frames", low=0, high=60, resets=True,
    )  # fmt: skip
    refined_lag: int = option(
        0, "Delay of a second output that is refined with later frames; at least "
        "motion.look_ahead, and less than motion.window in mode window. 0 disables it",
        unit="frames", low=0, high=60, resets=True,
    )  # fmt: skip
    fps: float = option(
        30.0, "Frame rate of the motion model", unit="Hz", low=1.0, high=240.0, resets=True
    )
    max_gap_s: float = option(
        1.0, "A longer gap between images restarts tracking. If no image arrives for longer than "
        "this, everybody is reported lost",
        unit="s", low=0.05, high=60.0,
    )  # fmt: skip
    gain: float = option(
        0.4, "Weight of each new estimate in the smoothed pose. Smaller is smoother; 1 disables "
        "smoothing",
        low=0.01, high=1.0,
    )  # fmt: skip
    visibility: float = option(
        0.5, "Minimum visibility of a keypoint that counts as observed", low=0.0, high=1.0
    )
    refine_steps: int = option(
        1, "Gauss-Newton steps that fit each new pose to the visible keypoints. 0 disables the fit",
        low=0, high=50,
    )  # fmt: skip
    max_speed_mps: float = option(
        8.0, "Maximum speed of the pelvis. A pose that implies a higher speed is held back for up "
        "to 2 images. 0 disables the check",
        unit="m/s", low=0.0, high=100.0,
    )  # fmt: skip
    shape_lock_s: float = option(
        0.0, "Lock a person's shape once the mean of each shape coefficient has changed by less "
        "than 0.2 over this time in view; ~/lock_shape releases it. 0 disables the lock",
        unit="s", low=0.0, high=600.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        validate(self, "motion.")
        if 0 < self.refined_lag < self.look_ahead:
            raise ConfigError(
                f"motion.refined_lag: got {self.refined_lag}, expected 0, or at least "
                f"motion.look_ahead, which is {self.look_ahead} frames: the distance of a person "
                "in an image is known once the first output has described it."
            )
        name = max("look_ahead", "refined_lag", key=lambda delay: getattr(self, delay))
        delay = getattr(self, name)
        if self.mode == "window" and delay >= self.window:
            raise ConfigError(
                f"motion.{name}: got {delay}, expected less than motion.window, which is "
                f"{self.window} frames: in mode window, older frames are not decoded. Use a longer "
                "window or mode incremental."
            )


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """The pipeline from an image to the recovered motion of the people in it."""

    model: str = fixed("moro_open", "Name of a model under models/, or path of a model folder")
    device: str = fixed("cpu", "Torch device: cpu, cuda or cuda:N")
    threads: int = fixed(1, "CPU threads of the network", low=1, high=64)
    backend: str = fixed(
        "auto", "Inference backend: torch or onnx (onnxruntime). auto selects onnx on a CPU if "
        "onnxruntime and the model's ONNX files are available, else torch",
        choices=("auto", "torch", "onnx"),
    )  # fmt: skip
    precision: str = fixed(
        "auto", "Floating-point type of the network. auto selects bfloat16 on a GPU and float32 on "
        "a CPU",
        choices=("auto", "float32", "bfloat16"),
    )  # fmt: skip
    cuda_graphs: bool = fixed(
        True, "On a GPU, record each decoding step as a CUDA graph and replay it"
    )
    people: str = fixed(
        "camera", "Source of people: the camera images, or simulated people (synthetic) for "
        "testing planners without anybody in view",
        choices=("camera", "synthetic"),
    )  # fmt: skip
    synthetic_scene: str = fixed(
        "room", "What simulated people do: in room one person walks behind a table and another "
        "sits; in the others one person walks by, reaches for a cup, eats at a table, hands "
        "something over, holds out their arms for dressing, or falls",
        choices=("room", "walk_by", "reach", "eat", "handover", "dressing", "fall"),
    )  # fmt: skip
    realtime: bool = option(
        True, "Keep up with a live camera: the search is spread over images, and tracked people "
        "take turns if time is short. false searches and locates everybody in every image, "
        "regardless of the time needed"
    )  # fmt: skip
    max_people: int = option(6, "Maximum number of tracked people, nearest first", low=1, high=32)
    mesh: bool = option(True, "Compute the mesh if a topic with meshes has a subscriber")
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)

    def __post_init__(self) -> None:
        validate(self)
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"device: got '{self.device}', expected cpu, cuda or cuda:N.")


def resets(before: Any, after: Any) -> bool:
    """Whether a change from one config to another of its class restarts tracking (option)."""
    return any(
        getattr(before, item.name) != getattr(after, item.name)
        for item in dataclasses.fields(before)
        if item.metadata["resets"]
    )


def validate(config: Any, prefix: str = "") -> None:
    """Check every field of a config dataclass against its declared type, range and choices.

    Raises: ConfigError naming the field, the value got and the values allowed.
    """
    for item in dataclasses.fields(config):
        value, name = getattr(config, item.name), prefix + item.name
        if dataclasses.is_dataclass(value):
            validate(value, name + ".")
            continue
        check_value(name, value, item)


def check_value(name: str, value: Any, item: dataclasses.Field[Any]) -> None:
    """Check one value against the declaration of its field; raises ConfigError."""
    expected = type(item.default)
    number = expected in (int, float)
    # A float may be given as an integer, but not vice versa: 2.0 is not an int.
    allowed = {float: (int, float), tuple: (list, tuple)}.get(expected, expected)
    examples = list(item.default) if isinstance(item.default, tuple) else []
    texts = any(isinstance(example, str) for example in examples)
    wrong = not isinstance(value, allowed) or (number and isinstance(value, bool))
    if wrong or (texts and not (value and all(isinstance(part, str) for part in value))):
        kind = _KINDS.get(expected, expected.__name__)
        kind = f"a list of texts such as {examples}" if texts else kind
        if expected is int and isinstance(value, float):
            kind += " without a decimal point"
            kind += f": {value:.0f}" if value.is_integer() else ""
        got = "an empty list" if value in ([], ()) else repr(value)
        raise ConfigError(f"{name}: got {got}, expected {kind}.")
    meta = item.metadata
    low, high = meta.get("low"), meta.get("high")
    least: Any = -sys.float_info.max if low is None else low
    most: Any = sys.float_info.max if high is None else high
    # Compared, because math.isfinite does not accept an int of 400 digits.
    if number and not least <= value <= most:
        unit = f" {meta['unit']}" if meta.get("unit") else ""
        limits = "a finite number" if low is None and high is None else f"{low} to {high}"
        raise ConfigError(f"{name}: got {value}, expected {limits}{unit}.")
    if meta.get("choices") and value not in meta["choices"]:
        raise ConfigError(f"{name}: got {value!r}, expected one of {', '.join(meta['choices'])}.")


def from_dict(cls: type[T], values: dict[str, Any], prefix: str = "") -> T:
    """Build a config dataclass from nested dicts; the error for an unknown key names the nearest.

    Raises: ConfigError.
    """
    if not isinstance(values, dict):
        name = prefix.rstrip(".") or cls.__name__
        raise ConfigError(f"{name}: got {values!r}, expected a mapping.")
    fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    kwargs: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(fields)}."
            raise ConfigError(f"Unknown option '{prefix}{key}'.{hint}")
        factory = fields[key].default_factory
        if isinstance(factory, type) and dataclasses.is_dataclass(factory):
            value = from_dict(factory, value, f"{prefix}{key}.")
        elif isinstance(value, list):
            value = tuple(value)
        kwargs[key] = value
    return cls(**kwargs)


def read_yaml(cls: type[T], path: str | Path, what: str) -> T:
    """Read a config dataclass from YAML; omitted keys keep their defaults.

    what: description of the file for the error message.
    Raises: ConfigError if the file is missing, is not YAML or contains an unknown or bad value.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the {what} {path}: {error}") from error
    return from_dict(cls, values or {})


def load_config(path: str | Path) -> PipelineConfig:
    """Read a PipelineConfig from YAML; raises ConfigError (see read_yaml)."""
    return read_yaml(PipelineConfig, path, "configuration")
