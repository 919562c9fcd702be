"""The motion in one input of `moro predict`, image by image."""

from __future__ import annotations

from moro_ros.cli.processes import Interruption
from moro_ros.cli.progress import Progress
from moro_ros.cli.statures import Statures
from moro_ros.io.bag_depth import DepthUse, with_next
from moro_ros.io.bag_frames import RecordedFrame
from moro_ros.io.frames import Part
from moro_ros.io.motion_files import MotionFiles
from moro_ros.io.recording import row_of
from moro_ros.live.pipeline import HumanMotionPipeline
from moro_ros.live.two_sided import TwoSided
from moro_ros.types import Camera


def recover(
    part: Part,
    origin_ns: int,
    camera: Camera,
    pipeline: HumanMotionPipeline,
    files: MotionFiles,
    interruption: Interruption,
    refined: bool,
    statures: Statures,
    progress: Progress,
    ignored: dict[int, tuple[int, str]],
    depth: DepthUse | None,
) -> None:
    """Add the motion of all people in every frame to some files.

    origin_ns: stamp of time 0. refined: two-sided, for which the pipeline is configured. ignored:
    receives for each person the number of frames in which the floor was ignored, and the last
    reason. depth: the depth images, which measure people in each image, as live; refined poses are
    measured once more, in the same depth images. Raises: OSError if the files cannot be written
    any further.
    """
    described = TwoSided(pipeline.stream)
    told: set[int] = set()
    for frame, following in with_next(progress.over(part)):
        if interruption.number:
            break
        stamp_ns = origin_ns + frame.stamp_ns
        observed = pipeline.observe(frame.rgb, stamp_ns, camera)
        motions = described.before(observed.frame) if refined else []
        for track_id in {person.track_id for person in observed.frame.people} - told:
            told.add(track_id)
            if (stature_m := statures.of(track_id)) is not None:
                pipeline.expect_stature(track_id, stature_m)
        if depth is not None:
            next_ns = None if following is None else origin_ns + following.stamp_ns
            recorded_ns = frame.recorded_ns if isinstance(frame, RecordedFrame) else 0
            depth.before(stamp_ns, recorded_ns, next_ns)
        result = pipeline.recover(observed)
        if depth is not None:
            depth.after()
        for track_id, reason in pipeline.ignored_floor().items():
            ignored[track_id] = ignored.get(track_id, (0, ""))[0] + 1, reason
        files.add_image(stamp_ns)
        for motion in [*motions, *(described.after() if refined else result.motions)]:
            files.add(motion.track_id, row_of(motion))
    for motion in described.before(None) if refined else []:
        files.add(motion.track_id, row_of(motion))
