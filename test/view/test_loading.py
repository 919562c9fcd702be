"""What the viewer opens: every kind of recording, with its pictures, ground and covariances."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moro_ros.errors import ConfigError, DataError, VideoError
from moro_ros.io.recording import MotionRecording
from moro_ros.view.loading import open_results
from moro_ros.view.result import ASSUMED, ESTIMATED, RECORDED, Result, ground_of

# How bright the 40th frame is, in a video somewhat darker; frames differ by 4.
BRIGHT = pytest.approx(160, abs=10)


@pytest.fixture
def picture_at(made) -> Callable[..., float | None]:
    def brightness(result, index: int) -> float | None:
        found = result.pictures.at(result.moments[index].stamp_ns)
        return None if found is None else made.brightness(found[1])

    return brightness


def test_motion_npz(made, npz, open_body):
    (result,) = open_results(npz, None, open_body)
    assert len(result.moments) == made.frames and result.ids() == [1, 2]
    assert result.camera.width == 640 and result.pictures is None
    assert result.moments[0].people[1].covariance is None


def test_while_it_grows_the_ground_is_below_the_lowest_feet_until_it_is_known(made, npz, open_body):
    (whole,) = open_results(npz, None, open_body)
    growing = Result("live")
    for moment in whole.moments[:3]:
        growing.add(moment)
    assert growing.ground_from == ASSUMED
    assert growing.ground.offset == pytest.approx(made.camera_height_m, abs=0.1)
    ground = growing.ground
    growing.add(whole.moments[3])
    assert growing.ground is ground, "it twitches"


def test_people_in_the_frame_of_the_world_stand_on_its_ground(made, npz, open_body):
    """fused/humans has z up and no ground; a level camera's y would lay everybody down."""
    (whole,) = open_results(npz, None, open_body)
    in_world = Result("live")
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    for moment in whole.moments[:3]:
        people = {}
        for track_id, pose in moment.people.items():
            row = pose.row.copy()
            row["joints"] = row["joints"] @ turn.T
            people[track_id] = pose._replace(row=row)
        in_world.add(moment._replace(people=people))
    assert in_world.ground.normal == pytest.approx([0.0, 0.0, 1.0])
    assert in_world.ground.offset == pytest.approx(made.camera_height_m, abs=0.1)
    heights = in_world.axes().points(row["joints"])[:, 2]
    assert -0.1 < heights.min() < 0.1 and heights.max() > 1.0


def test_motion_mcap_has_covariance_ground_camera_and_pictures(made, mcap, open_body, picture_at):
    (result,) = open_results(mcap, None, open_body)
    assert len(result.moments) == made.frames and result.ids() == [1, 2]
    covariance = result.moments[3].people[2].covariance
    assert np.diag(covariance[0]) == pytest.approx([1e-4, 4e-4, 9e-4], rel=1e-5)
    assert result.ground_from == RECORDED
    assert result.ground.offset == pytest.approx(made.camera_height_m)
    assert picture_at(result, 40) == BRIGHT


def test_the_folder_of_a_bag_without_its_own_name(made, motion, tmp_path, open_body):
    path = made.bag(tmp_path / "walk", motion)
    (result,) = open_results(path.parent, None, open_body)
    assert result.ids() == [1, 2]


def test_refined_motion_is_shown_beside_the_other(made, motion, tmp_path, open_body):
    path = made.bag(tmp_path / "both", motion, ("/moro/humans", "/moro/humans_refined"))
    first, second = open_results(path, None, open_body)
    assert first.name == "both.mcap" and second.name == "/moro/humans_refined"


def test_the_folder_of_moro_predict_names_its_video(npz, video, open_body, picture_at):
    summary = {"kind": "video", "settings": {"input": [str(video), 1, 2]}}
    (npz.parent / "summary.json").write_text(json.dumps(summary))
    (result,) = open_results(npz.parent, None, open_body)
    result.pictures.wait()
    assert picture_at(result, 40) == BRIGHT


def test_the_folder_of_moro_demo_names_its_video_and_the_stamps(
    made, camera, video, tmp_path, open_body, picture_at
):
    start_ns = 1_700_000_000 * 10**9
    made.recorded(camera, start_ns).save(tmp_path / "motion.npz")
    (tmp_path / "logs").mkdir()
    # Published ten frames before the recorder was there.
    stamps = [start_ns + (k - 10) * made.rate_ns for k in range(made.frames)]
    report = {"video": str(video), "stamps_ns": stamps}
    (tmp_path / "logs" / "video.json").write_text(json.dumps(report))
    (result,) = open_results(tmp_path, None, open_body)
    result.pictures.wait()
    assert picture_at(result, 30) == BRIGHT


def test_a_video_that_is_gone_is_not_missed(npz, open_body):
    summary = {"kind": "video", "settings": {"input": ["/gone.mp4", 1, 2]}}
    (npz.parent / "summary.json").write_text(json.dumps(summary))
    (result,) = open_results(npz.parent, None, open_body)
    assert result.pictures is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "video", "settings": 3}'])
def test_a_damaged_report_is_ignored(npz, text, open_body):
    (npz.parent / "summary.json").write_text(text)
    (npz.parent / "logs").mkdir()
    (npz.parent / "logs" / "video.json").write_text(text)
    (result,) = open_results(npz.parent, None, open_body)
    assert result.pictures is None


def test_the_named_video_begins_with_the_motion(
    made, camera, video, tmp_path, open_body, picture_at
):
    path = tmp_path / "motion.npz"
    made.recorded(camera, 1_700_000_000 * 10**9).save(path)
    (result,) = open_results(path, video, open_body)
    result.pictures.wait()
    assert picture_at(result, 40) == BRIGHT
    with pytest.raises(VideoError, match="No video at"):
        open_results(path, tmp_path / "none.mp4", open_body)


def test_without_standing_feet_the_camera_is_taken_for_level(npz, open_body):
    (result,) = open_results(npz, None, open_body)
    assert result.ground_from == ASSUMED
    joints = result.axes().points(result.moments[0].people[1].row["joints"])
    # Upright, the feet just above the ground, 4 m away from the camera.
    assert joints[15, 2] > 1.4 and -0.05 < joints[[10, 11], 2].min() < 0.1
    assert joints[0, 1] == pytest.approx(4.0, abs=0.05)


def test_standing_feet_tell_the_ground(motion, tmp_path, open_body):
    people = motion.people()
    standing = MotionRecording(motion.camera)
    standing.stamps_ns = motion.stamps_ns
    for row in people[2]:
        row["contacts"] = 1.0
        standing.add(2, row)
    standing.save(tmp_path / "motion.npz")
    (result,) = open_results(tmp_path, None, open_body)
    assert result.ground_from == ESTIMATED
    joints = result.axes().points(result.moments[0].people[2].row["joints"])
    assert joints[[10, 11], 2] == pytest.approx(0.03, abs=0.03)


def test_feet_at_two_heights_do_not_tilt_the_ground(motion, tmp_path, open_body):
    """As of somebody who stands on a wall above somebody who walks by."""
    standing = MotionRecording(motion.camera)
    standing.stamps_ns = motion.stamps_ns
    for track_id, rows in motion.people().items():
        for row in rows:
            row["contacts"] = 1.0
            if track_id == 2:
                row["joints"][:, 1] -= 1.8
                row["transl"][1] -= 1.8
            else:
                row["joints"][:, 0] += -1.0 - row["joints"][0, 0]
            standing.add(track_id, row)
    plane, known_from = ground_of(standing.people())
    assert known_from == ESTIMATED
    assert plane.normal == pytest.approx([0.0, -1.0, 0.0], abs=0.05)
    below = standing.people()[1]["joints"][:, [10, 11]]
    assert plane.heights(below).min() == pytest.approx(0.0, abs=0.06), "the lower one"


def test_results_of_one_video_stand_on_one_ground(made, camera, video, tmp_path, open_body):
    pytest.importorskip("viser", reason="viser is not installed")
    from moro_ros.view.viewer import align

    results = []
    for number in (1, 2):
        path = tmp_path / f"{number}.npz"
        made.recorded(camera, people=number).save(path)
        results += open_results(path, video, open_body)
    results[1].ground_from = ESTIMATED
    align(results)
    assert results[0].ground is results[1].ground
    assert results[0].ground_from == ESTIMATED
    other = open_results(path, None, open_body)
    align([results[0], *other])
    assert other[0].ground is not results[0].ground and other[0].ground_from == ASSUMED


def refused(kind: type[Exception], path: Path, body, *parts: str) -> None:
    with pytest.raises(kind) as caught:
        open_results(path, None, body)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert str(path) in message and "\n" not in message


def test_what_cannot_be_shown_is_named(npz, motion, camera, tmp_path, open_body):
    refused(ConfigError, tmp_path / "none", open_body, "There is no", "expected motion.npz")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(ConfigError, empty, open_body, "contains no motion")
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    refused(ConfigError, other, open_body, "is none of motion.npz")
    nobody = tmp_path / "nobody.npz"
    MotionRecording(camera).save(nobody)
    refused(DataError, nobody, open_body, "contains no people")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(npz.read_bytes()[:-2000])
    refused(DataError, cut, open_body, "is not a motion.npz")
    damaged = tmp_path / "cut.mcap"
    damaged.write_bytes(b"\x89MCAP0\r\n" + bytes(100))
    refused(DataError, damaged, open_body, "cannot be read as a recording")


@pytest.mark.parametrize("beside", ["markers", "earlier", "recorded"])
def test_of_a_folder_the_recording_is_shown_that_has_its_motion(
    made, npz, motion, tmp_path, open_body, beside
):
    """Exports of earlier versions were called motion.mcap."""
    bag = made.bag(tmp_path / "bag", motion, () if beside == "markers" else ("/moro/humans",))
    bag.rename(npz.with_suffix(".mcap"))
    if beside == "earlier":
        os.utime(npz.with_suffix(".mcap"), (1e9, 1e9))
    (result,) = open_results(npz.parent, None, open_body)
    expected = "motion.mcap" if beside == "recorded" else "motion.npz"
    assert result.name == f"result/{expected}"


def test_motion_in_the_frame_of_no_camera_is_refused(made, motion, tmp_path, open_body):
    said = ("is in the frame 'map'", "moro fuse with --frame CAMERA")
    bag = made.bag(tmp_path / "fused", motion, ("/fused/humans",), "map")
    refused(DataError, bag, open_body, *said)
    motion.camera, motion.frame_id = None, "map"
    motion.save(tmp_path / "motion.npz")
    refused(DataError, tmp_path / "motion.npz", open_body, *said)


def test_of_a_bag_with_fused_people_those_of_the_camera_are_shown(
    made, motion, tmp_path, open_body
):
    path = made.bag(tmp_path / "bag", motion, ("/fused/humans", "/moro/humans"), "map")
    (result,) = open_results(path, None, open_body)
    assert result.camera is not None and len(result.moments) == made.frames


def test_values_that_are_not_finite_are_refused(motion, tmp_path, open_body):
    broken = MotionRecording(motion.camera)
    broken.stamps_ns = motion.stamps_ns
    for row in motion.people()[1]:
        row["joints"][3] = np.nan
        broken.add(1, row)
    path = tmp_path / "motion.npz"
    broken.save(path)
    refused(DataError, path, open_body, "person 1 has values that are not finite")


def test_a_bag_without_people_or_without_humans_is_refused(
    made, motion, camera, tmp_path, open_body
):
    alone = MotionRecording(camera)
    alone.stamps_ns = motion.stamps_ns
    path = made.bag(tmp_path / "alone", alone)
    refused(DataError, path, open_body, "contains no people")
    path = made.bag(tmp_path / "images", motion, ())
    refused(DataError, path, open_body, "no topic of moro_ros/msg/HumanArray", "/camera/image_raw")


def test_motion_of_another_body_is_refused(motion, tmp_path, open_body):
    other = MotionRecording(motion.camera)
    other.stamps_ns = motion.stamps_ns
    for row in motion.people()[1]:
        row["joints"] *= 1.1
        other.add(1, row)
    other.save(tmp_path / "motion.npz")
    with pytest.raises(DataError, match="recorded with another body"):
        open_results(tmp_path, None, open_body)
