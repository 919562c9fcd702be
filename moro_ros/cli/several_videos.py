"""A folder of synchronised, calibrated videos, each processed by its own pipeline."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.paths import user_path
from moro_ros.cli.world_floor import floor_of_view
from moro_ros.config import PipelineConfig, load_config
from moro_ros.errors import CalibrationError, ConfigError
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.video_set import (
    find_calibration,
    find_videos,
    lost_frames,
    read_times,
)
from moro_ros.geometry.views import View, check_views
from moro_ros.io.frames import LONGEST_S
from moro_ros.io.video import open_video
from moro_ros.live.pipeline import HumanMotionPipeline
from moro_ros.live.pipeline_pool import PipelinePool
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.playback import Taken
from moro_ros.recover.ground import GIVEN_SIGMA, GroundPlane
from moro_ros.types import Frame

# Block size of video encoders in pixels, which Qualisys counts as a part of the image.
PADDING = 16
# A video that ends earlier than the longest by this much is reported, s.
SHORTER_S = 0.5


@dataclass(slots=True)
class Filmed:
    """One camera of a folder and its video.

    times: [ns] of its frames if a table has them; delay_ns: of the video's start; ended_ns: time
    of the last image that was read; missing: text of lost parts of the video; ignored_floor: number
    of images in which the floor was ignored for a person, and the last reason, by the camera's ids.
    """

    view: View
    path: Path
    times: Sequence[int] | None = None
    delay_ns: int = 0
    ended_ns: int = 0
    missing: str = ""
    ignored_floor: dict[int, tuple[int, str]] = field(default_factory=dict)

    def images(self, pipeline: HumanMotionPipeline) -> Iterator[Taken]:
        """Yield the pipeline's result of each image. Raises: VideoError."""
        with open_video(self.path) as reader:
            for number, frame in enumerate(reader):
                if self.times is not None and number >= len(self.times):
                    break
                stamp_ns = frame.stamp_ns if self.times is None else self.times[number]
                self.ended_ns = stamp_ns + self.delay_ns
                result = pipeline.push(frame.rgb, self.ended_ns, self.view.camera)
                for track_id, reason in pipeline.ignored_floor().items():
                    count, _ = self.ignored_floor.get(track_id, (0, ""))
                    self.ignored_floor[track_id] = count + 1, reason
                taken = Frame(self.ended_ns, self.view.camera, result.people, frame.rgb)
                yield Taken(taken, result.motions)
            self.missing = lost_frames(reader, self.times is not None)

    def check(self) -> None:
        """Use the video's size, which may lack up to 15 padded pixels of the calibrated one.

        Raises: CalibrationError if the calibration is for another size; VideoError.
        """
        camera = self.view.camera
        with open_video(self.path) as reader:
            padded = camera.width - reader.width, camera.height - reader.height
            if not all(0 <= pixels < PADDING for pixels in padded):
                raise CalibrationError(
                    f"{self.path} has {reader.width}x{reader.height} pixels, but camera "
                    f"{self.view.name} was calibrated at {camera.width}x{camera.height}; expected "
                    "the same size. Are two cameras exchanged?"
                )
            fitting = replace(camera, width=reader.width, height=reader.height)
        self.view = replace(self.view, camera=fitting)


def add_calibrated_folder(parser: argparse.ArgumentParser) -> None:
    """DIR, --calibration and --unit-m."""
    parser.add_argument(
        "folder", type=user_path, metavar="DIR",
        help="folder with videos named after their cameras, and the calibration: "
             "camera_array.toml of caliscope, Calib*.toml of Pose2Sim or Anipose, or *.qca.txt of "
             "Qualisys",
    )  # fmt: skip
    parser.add_argument(
        "--calibration",
        type=user_path,
        metavar="FILE",
        help="calibration file, instead of the one in DIR",
    )
    parser.add_argument(
        "--unit-m", type=float, default=1.0, metavar="M",
        help="unit of a TOML calibration in metres; 0.001 for millimetres",
    )  # fmt: skip


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """DIR, --calibration, --unit-m, --cameras, --delay and --config."""
    add_calibrated_folder(parser)
    parser.add_argument(
        "--cameras", default="", metavar="NAMES", help="only these cameras, comma-separated"
    )
    parser.add_argument(
        "--delay", action="append", default=[], metavar="NAME=S",
        help="the video of camera NAME started S seconds later than the others; may be repeated",
    )  # fmt: skip
    parser.add_argument("--config", type=user_path, help="YAML file with options of the pipeline")


def open_folder(arguments: argparse.Namespace) -> list[Filmed]:
    """Return the cameras of a folder with their videos, checked.

    Raises: DataError, CalibrationError, ConfigError or VideoError with file and camera.
    """
    folder: Path = arguments.folder
    calibration = arguments.calibration or find_calibration(folder)
    views = chosen_views(load_calibration(calibration, arguments.unit_m), arguments.cameras)
    check_views(views, str(calibration))
    times = read_times(folder)
    paths = find_videos(folder, views)
    filmed = [
        Filmed(view, path, times.get(view.name)) for view, path in zip(views, paths, strict=True)
    ]
    first = min((one.times[0] for one in filmed if one.times), default=0)
    delays = read_delays(arguments.delay, [view.name for view in views])
    for one in filmed:
        one.delay_ns = delays.get(one.view.name, 0) - (first if one.times else 0)
        one.check()
    return filmed


def chosen_views(views: Sequence[View], names: str) -> tuple[View, ...]:
    """Return the views of comma-separated names; none: all. Raises: ConfigError."""
    if not names:
        return tuple(views)
    wanted, known = names.split(","), [view.name for view in views]
    unknown = [name for name in wanted if name not in known]
    if unknown or len(set(wanted)) < 2:
        raise ConfigError(f"--cameras: got '{names}', expected at least two of {', '.join(known)}.")
    return tuple(view for view in views if view.name in wanted)


def read_delays(options: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return --delay in ns by camera. Raises: ConfigError."""
    delays = {}
    for option in options:
        name, _, text = option.partition("=")
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if name not in names or not abs(seconds) <= LONGEST_S:
            raise ConfigError(
                f"--delay: got '{option}', expected NAME=SECONDS with a name of {', '.join(names)}."
            )
        delays[name] = round(seconds * 1e9)
    return delays


def incomplete_ones(filmed: Sequence[Filmed]) -> list[str]:
    """Return a sentence for each video that is damaged or ended before the longest."""
    last = max(one.ended_ns for one in filmed)
    return [one.missing for one in filmed if one.missing] + [
        f"The video of camera {one.view.name} ends at {one.ended_ns * 1e-9:.1f} s, the longest at "
        f"{last * 1e-9:.1f} s: after that only the other cameras are used."
        for one in filmed
        if (last - one.ended_ns) * 1e-9 > SHORTER_S
    ]


def pipeline_config(config: PipelineConfig) -> PipelineConfig:
    """Return the options of recorded video for fusion.

    There is time for all people in every image, and each image needs the motion of its own time.
    """
    motion = replace(config.motion, look_ahead=0, refined_lag=0)
    return replace(config, realtime=False, motion=motion)


def fused(
    arguments: argparse.Namespace, filmed: Sequence[Filmed], floor: GroundPlane | None = None
) -> tuple[Fusion, dict[str, Iterator[Taken]]]:
    """Return the fusion of a folder's cameras, and each camera's results by its name.

    floor: on which the cameras place people, world frame.
    Raises: MoroError for a problem with --config or the model.
    """
    config = load_config(arguments.config) if arguments.config else PipelineConfig()
    fetch_models(config)
    pool = PipelinePool()
    pipelines = [pool.pipeline(pipeline_config(config)) for _ in filmed]
    if floor is not None:
        for one, pipeline in zip(filmed, pipelines, strict=True):
            pipeline.set_floor(floor_of_view(floor, one.view), GIVEN_SIGMA)
    reels = {
        one.view.name: one.images(pipeline) for one, pipeline in zip(filmed, pipelines, strict=True)
    }
    return Fusion(pipelines[0].stream.body, [one.view for one in filmed]), reels
