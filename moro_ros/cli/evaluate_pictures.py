"""Pictures of the real-video benchmark: the recovered bodies over what the first camera sees."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from moro_ros.cli.results import make_folder
from moro_ros.draw.overlay import write_overlay
from moro_ros.evaluation.pose2sim import CONDITIONS, Trial, hide, video_of
from moro_ros.io.recording import MotionRecording, row_of
from moro_ros.io.video import open_video
from moro_ros.live.motion_stream import MoRoStream

# What can be seen in a picture.
DRAWN = ("plain", "legs hidden")


def draw_trial(trial: Trial, stream: MoRoStream, folder: Path) -> None:
    """Write folder/<trial>_<condition>/overlay.mp4 and sheet.png.

    Raises: DataError if the folder cannot be made; VideoError if something cannot be written.
    """
    video, frames = video_of(trial.name, trial.views[0].name), trial.frames[0]
    with closing(open_video(video)) as reader:
        numbers = [round(frame.stamp_ns * reader.rate_hz / 1e9) for frame in frames]
    stamps_ns = np.full(numbers[-1] + 1, -1, np.int64)
    stamps_ns[numbers] = [frame.stamp_ns for frame in frames]
    for name in DRAWN:
        recording = MotionRecording(frames[0].camera)
        stream.reset()
        for number, frame in enumerate(frames):
            recording.stamps_ns.append(frame.stamp_ns)
            for motion in stream.push(hide(frame, number, CONDITIONS[name])):
                recording.add(motion.track_id, row_of(motion))
        out = folder / f"{trial.name}_{name.replace(' ', '_')}"
        make_folder(out, "--pictures")
        write_overlay(video, stamps_ns, recording, stream.body, out)
