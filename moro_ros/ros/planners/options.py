"""The options of the outputs for planners."""

from __future__ import annotations

from dataclasses import dataclass

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.config import fixed, option
from moro_ros.errors import ConfigError

# Least number of updates within planners.ttl_s: one may be late or skipped.
UPDATES = 2.0


@dataclass(frozen=True, slots=True)
class PlannersConfig:
    """Options of the outputs for planners.

    Raises: ConfigError if the name of a body part or frame is invalid, or if people would be
    removed from the planning scene between two updates.
    """

    frame: str = fixed(
        "", "TF frame of the outputs for planners. Empty for the camera frame, which is also used "
        "while TF does not connect the two",
    )  # fmt: skip
    ttl_s: float = option(
        1.0, "Time after which a planner must not use a person or a transform that was not updated",
        unit="s", low=0.1, high=60.0,
    )  # fmt: skip
    margin_m: float = option(
        0.03, "Margin around the capsules of a body, for clothes, hair and the difference between "
        "capsules and body",
        unit="m", low=0.0, high=1.0,
    )  # fmt: skip
    sigmas: float = option(
        2.0, "Standard deviations of the position by which capsules are larger than the body",
        low=0.0, high=10.0,
    )  # fmt: skip
    latency_s: float = option(
        0.1, "Time between the publication of a capsule and its use. Capsules grow by the distance "
        "that the body part moves within this time and within the age of the image",
        unit="s", low=0.0, high=2.0,
    )  # fmt: skip
    rate_hz: float = option(
        15.0, "Maximum rate of ~/planning_scene, ~/obstacles and ~/obstacles_clear. At least "
        "2 / planners.ttl_s", unit="Hz", low=0.1, high=240.0,
    )  # fmt: skip
    spacing_m: float = option(
        0.04, "Distance between the points of ~/obstacles, and between the ends of the rays of "
        "~/obstacles_clear. Must be smaller than a cell of the costmap",
        unit="m", low=0.01, high=1.0,
    )  # fmt: skip
    ground_height_m: float = option(
        0.05, "Points up to this height above the ground are left out of ~/obstacles, if the "
        "ground is known",
        unit="m", low=0.0, high=1.0,
    )  # fmt: skip
    clear_range_m: float = option(
        10.0, "Range around the camera in which ~/obstacles_clear clears the costmap", unit="m",
        low=0.5, high=50.0,
    )  # fmt: skip
    robot_frame: str = fixed(
        "", "TF frame of the robot, to which ~/intents refers. Empty for the camera frame"
    )
    reach_frame: str = fixed(
        "", "TF frame of the object that hands reach for in ~/intents, such as a gripper or a cup. "
        "Empty for planners.robot_frame",
    )  # fmt: skip
    touch_links: str = option(
        "", "Links of the robot that may touch people, separated by commas: collisions of these "
        "links with touch_parts are allowed in the planning scene. Empty disables it"
    )  # fmt: skip
    touch_parts: str = option(
        "", "Body parts that may be touched, as names of joints separated by commas: left_wrist is "
        "the left hand, left_elbow the forearm. Empty disables it"
    )  # fmt: skip
    touch_id: int = option(
        0, "Id of the person who may be touched. 0 for everybody", low=0, high=2**31 - 1
    )

    target_frames: bool = option(
        False, "Publish the targets of ~/targets as TF frames as well, unless they are stale"
    )
    mouth_opening: bool = fixed(
        False, "Measure how far mouths are open, for ~/targets, with an additional network: about "
        "2 ms per person and image. 'moro fetch face_landmark.tflite' downloads its file",
    )  # fmt: skip
    hand_landmarks: bool = fixed(
        False, "Locate the fingers of hands, for ~/targets and the hand poses of ~/humans, with an "
        "additional network: about 7 ms per hand and image. "
        "'moro fetch hand_landmark_full.tflite' downloads its file",
    )  # fmt: skip
    prediction_rate_hz: float = option(
        10.0, "Maximum rate of ~/humans_predicted and ~/markers_predicted",
        unit="Hz", low=0.1, high=60.0,
    )  # fmt: skip
    prediction_samples: int = option(
        0, "Alternative predictions per person in ~/humans_predicted", low=0, high=32
    )
    prediction_temperature: float = option(
        1.0, "Spread of these alternatives, relative to the standard deviation of the prediction",
        low=0.0, high=10.0,
    )  # fmt: skip

    @property
    def frames(self) -> tuple[str, ...]:
        """The TF frames to look up."""
        return self.frame, self.robot_frame, self.reach_frame

    def __post_init__(self) -> None:
        check_frame("planners.frame", self.frame)
        check_frame("planners.robot_frame", self.robot_frame)
        check_frame("planners.reach_frame", self.reach_frame)
        joints_of("planners.touch_parts", self.touch_parts)
        # Rounded, so that the values in the message are accepted.
        if round(self.rate_hz * self.ttl_s, 3) < UPDATES:
            raise ConfigError(
                f"planners.rate_hz: got {self.rate_hz:g} Hz with planners.ttl_s {self.ttl_s:g} s: "
                "people in view would be removed from the planning scene between two updates. Set "
                f"planners.rate_hz to {UPDATES / self.ttl_s:g} Hz or more, or planners.ttl_s to "
                f"{UPDATES / self.rate_hz:g} s or more."
            )


def check_frame(name: str, frame: str) -> None:
    """Check the TF frame of a parameter; raises ConfigError."""
    if frame.startswith("/"):
        raise ConfigError(
            f"{name}: got '{frame}', but names of TF frames do not begin with a slash. "
            f"Set {frame.lstrip('/') or 'a name'!r}."
        )


def names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def joints_of(name: str, text: str) -> tuple[int, ...]:
    """The body joints named in a parameter; raises ConfigError for an unknown joint."""
    for part in names(text):
        if part not in JOINT_NAMES:
            raise ConfigError(
                f"{name}: got '{part}', expected names of body joints such as left_wrist, "
                f"separated by commas. The joints are {', '.join(JOINT_NAMES)}."
            )
    return tuple(JOINT_NAMES.index(part) for part in names(text))
