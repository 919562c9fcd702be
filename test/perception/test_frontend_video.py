"""The front-end with the real networks on real videos: who is who."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from moro_ros.assets import fetch
from moro_ros.config import DetectorConfig, TrackerConfig
from moro_ros.errors import AssetError
from moro_ros.perception.frontend import load_frontend

FRAME_NS = 33_333_333


@pytest.mark.slow
@pytest.mark.parametrize("look_share", [0.0, 0.001], ids=["all", "in turns"])
def test_the_two_people_of_the_demo_keep_one_id_each(look_share: float):
    """One turns, crouches, jumps off a wall, lands and runs; one walks past below him."""
    try:
        video = fetch("sports2d_demo.mp4")
        detector = DetectorConfig(look_share=look_share)
        frontend = load_frontend(detector, TrackerConfig(), 6, realtime=look_share > 0.0)
    except AssetError as error:
        pytest.skip(f"demo video or BlazePose not to be had: {error}")
    capture = cv2.VideoCapture(str(video))
    seen: dict[int, dict[int, np.ndarray]] = {}
    published: dict[int, list[int]] = {}
    frame = 0
    while True:
        ok, image_bgr = capture.read()
        if not ok:
            break
        image_rgb = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
        for one in frontend.observe(image_rgb, 1 + frame * FRAME_NS):
            published.setdefault(one.track_id, []).append(frame)
            if one.keypoints is not None:
                seen.setdefault(one.track_id, {})[frame] = one.keypoints.points_px
        frame += 1
    assert frame == 230
    assert bool(frontend.carried_people) == bool(look_share)
    assert sorted(published) == [1, 2]
    # The man is there from the first image; the woman comes from behind a tree at about image 42.
    for person, (first_by, last_from) in {1: (5, 222), 2: (60, 195)}.items():
        frames = published[person]
        assert frames[0] <= first_by and frames[-1] >= last_from
        assert frames == list(range(frames[0], frames[-1] + 1))
        assert len(seen[person]) > 0.9 * len(frames)
    # Who is who: he stands on the wall, she walks on the ground from right to left.
    assert np.all(seen[1][100][:, 1] < 480) and 550 < seen[1][100][0, 0] < 750
    assert np.all(seen[2][100][:, 1] > 480) and 900 < seen[2][100][0, 0] < 1100
    assert np.all(seen[2][180][:, 0] < 400)
    assert seen[1][205][0, 0] > 1000 and seen[1][205][0, 1] > 600


@pytest.mark.slow
def test_people_of_the_multi_person_trial_keep_their_ids_behind_one_another():
    """Seen at 30 Hz by the camera before which one of them is hidden for a while."""
    try:
        video = fetch("pose2sim_multi_cam03.mp4")
        alone = DetectorConfig(threads=1)
        frontend = load_frontend(alone, TrackerConfig(), 6, realtime=False)
    except AssetError as error:
        pytest.skip(f"multi-person trial or BlazePose not to be had: {error}")
    capture = cv2.VideoCapture(str(video))
    published: dict[int, list[int]] = {}
    seen: dict[int, list[tuple[int, np.ndarray]]] = {}
    frame = -1
    while capture.grab():
        frame += 1
        if frame % 2:
            continue
        image_rgb = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
        for one in frontend.observe(image_rgb, 1 + frame * FRAME_NS // 2):
            published.setdefault(one.track_id, []).append(frame)
            if one.keypoints is not None:
                seen.setdefault(one.track_id, []).append((frame, one.keypoints.points_px))
    assert sorted(published) == [1, 2]
    for person, frames in published.items():
        assert frames[0] <= 8 and frames == list(range(frames[0], frame, 2))
        for (a, before), (b, after) in pairwise(seen[person]):
            # A body cannot jump: half its height in a 30th of a second would be somebody else.
            step = np.linalg.norm(np.median(after - before, axis=0))
            assert step < 0.25 * np.ptp(before[:, 1]) * (b - a) / 2
    assert len(seen[1]) < len(published[1])  # somebody was hidden, else this tests little
