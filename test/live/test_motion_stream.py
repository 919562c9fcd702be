"""The motion stream: live equals offline, people do not disturb one another, windows restart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.errors import CheckpointError, ImageError
from moro_ros.live.load import load_stream
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.row_decoding import decoded_tensors
from moro_ros.live.sampling import decode_masked
from moro_ros.model_config import (
    KeypointsConfig,
    VitConfig,
)
from moro_ros.network.moro import FrameFeatures
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import Camera, Frame, Keypoints, PersonObservation

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 950.0, 350], [0, 0, 1]]), 1280, 720)
STEP_NS = 33_333_333


@pytest.fixture(scope="module")
def model(make_model):
    return make_model()


def person(track_id, frame, shift=0.0, visible=1.0):
    generator = np.random.default_rng(track_id)
    middle = np.array([600 + 3 * frame + shift, 300])
    points = generator.normal(middle, 60, (19, 2))
    visibility = np.full(19, visible, np.float32)
    keypoints = Keypoints(points.astype(np.float32), visibility, np.ones(19, np.float32))
    return PersonObservation(track_id, np.array([0, 0, 1, 1], np.float32), 1.0, keypoints)


def frames(count, *people):
    for i in range(count):
        seen = tuple(person(track_id, i, shift) for track_id, shift in people)
        yield Frame((i + 1) * STEP_NS, CAMERA, seen)


def same(first, second):
    np.testing.assert_allclose(first.joints, second.joints, atol=1e-4)
    np.testing.assert_allclose(first.smplx.body_pose, second.smplx.body_pose, atol=1e-4)
    np.testing.assert_allclose(first.confidence, second.confidence, atol=1e-4)


def kept(stream, track_id):
    """The features and the decoded arrays of a person's window."""
    track = stream.tracks[track_id]
    places = track.places(track.frames(0.0))
    row = stream.decoder.cache.row(track_id)
    every = np.tile(places, (len(stream.decoder.cache), 1))
    features = stream.decoder.cache.features(every)
    features = FrameFeatures(
        *(getattr(features, name)[row : row + 1] for name in FrameFeatures.__dataclass_fields__)
    )
    return features, {name: values[places] for name, values in track.decoded.items()}


@pytest.mark.parametrize("passes", [1, 3])
def test_window_mode_is_the_offline_decoding_of_the_window(model, passes):
    stream = MoRoStream(model, MotionConfig(mode="window", window=8, passes=passes, gain=1.0))
    for frame in frames(12, (1, 0.0), (2, 200.0)):
        motions = stream.push(frame)
    assert len(stream.tracks[1]) == 8
    for track_id in (1, 2):
        features, live = kept(stream, track_id)
        with torch.no_grad():
            offline = decode_masked(model.moro, features, passes=passes, soft=False)
        for name, values in decoded_tensors(offline).items():
            np.testing.assert_allclose(live[name], values[0].numpy(), atol=1e-5, err_msg=name)
    assert [motion.stamps_ns.tolist() for motion in motions] == [[12 * STEP_NS]] * 2


def test_a_person_s_motion_does_not_depend_on_the_company(model):
    alone = MoRoStream(model, MotionConfig(window=6))
    together = MoRoStream(model, MotionConfig(window=6))
    for one, two in zip(frames(7, (1, 0.0)), frames(7, (1, 0.0), (2, 200.0)), strict=True):
        first = alone.push(one, mesh=True)
        second = together.push(two, mesh=True)
    mine = next(motion for motion in second if motion.track_id == 1)
    same(first[0], mine)
    np.testing.assert_allclose(first[0].vertices, mine.vertices, atol=1e-4)


def test_windows_of_different_length_are_decoded_side_by_side(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    for frame in frames(4, (1, 0.0)):
        stream.push(frame)
    late = Frame(5 * STEP_NS, CAMERA, (person(1, 4), person(2, 4, 200.0)))
    assert {motion.track_id for motion in stream.push(late)} == {1, 2}


def test_motion_is_complete_and_finite(model, open_body):
    stream = MoRoStream(model, MotionConfig(window=6))
    for frame in frames(3, (1, 0.0)):
        (motion,) = stream.push(frame, mesh=True)
    assert motion.joints.shape == (1, 22, 3)
    assert motion.vertices.shape == (1, open_body.num_vertices, 3)
    assert motion.smplx.body_pose.shape == (1, 63) and motion.smplx.betas.shape == (10,)
    for value in (motion.joints, motion.vertices, motion.confidence, motion.contact):
        assert np.isfinite(value).all()
    determinant = np.linalg.det(motion.joint_rotations)
    np.testing.assert_allclose(determinant, 1.0, atol=1e-4)
    assert motion.observed.all() and (motion.confidence <= 1).all()
    faces = stream.faces
    assert faces.dtype == np.int32 and faces.max() < motion.vertices.shape[1]


def check_parameters(motion, open_body):
    """The SMPL-X parameters pose the body where the joints are."""
    smplx = motion.smplx
    posed = open_body(
        torch.from_numpy(smplx.betas)[None],
        torch.from_numpy(smplx.global_orient),
        torch.from_numpy(smplx.body_pose),
        torch.from_numpy(smplx.transl),
    )
    np.testing.assert_allclose(posed.joints[0, :22].numpy(), motion.joints[0], atol=1e-4)


def test_smplx_parameters_give_the_joints_back(model, open_body):
    stream = MoRoStream(model, MotionConfig(window=6))
    for frame in frames(3, (1, 0.0)):
        (motion,) = stream.push(frame)
    check_parameters(motion, open_body)


def test_an_unseen_person_is_inferred(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    for frame in frames(3, (1, 0.0)):
        stream.push(frame)
    blind = replace(person(1, 3), keypoints=None)
    (motion,) = stream.push(Frame(4 * STEP_NS, CAMERA, (blind,)))
    assert not motion.observed.any() and not motion.keypoints_seen.any()
    assert (motion.confidence <= 0.5).all() and np.isfinite(motion.joints).all()


def test_nobody_is_published_before_a_box_is_known_and_after_leaving(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    hidden = Frame(STEP_NS, CAMERA, (person(1, 0, visible=0.1),))
    assert stream.push(hidden) == ()
    assert stream.push(Frame(2 * STEP_NS, CAMERA, (person(1, 1),)))
    assert stream.push(Frame(3 * STEP_NS, CAMERA, ())) == ()
    assert not stream.tracks


def shown(stream, track_id):
    """Whether anything was seen in each frame of the window."""
    features, _ = kept(stream, track_id)
    blind = stream.model.moro.encode_frames(
        torch.zeros(1, len(features.rotation[0]), 19, 4), features.box_condition
    )
    return [not torch.allclose(a, b) for a, b in zip(blind.rotation[0], features.rotation[0])]


def test_dropped_images_leave_blind_frames_so_that_time_runs_evenly(model):
    stream = MoRoStream(model, MotionConfig(window=12))
    for i, frame in enumerate(frames(12, (1, 0.0))):
        if i not in range(4, 9):
            stream.push(frame)
    assert shown(stream, 1) == [True] * 4 + [False] * 5 + [True] * 3
    late = Frame(13 * STEP_NS, CAMERA, (person(1, 12), person(2, 12, 200.0)))
    stream.push(late)
    assert len(stream.tracks[2]) == 1  # a newcomer has no past


def test_a_gap_or_a_step_back_restarts_the_window(model):
    stream = MoRoStream(model, MotionConfig(window=6, max_gap_s=0.5))
    for frame in frames(4, (1, 0.0)):
        stream.push(frame)
    stream.push(Frame(4 * STEP_NS + 600_000_000, CAMERA, (person(1, 4),)))
    assert len(stream.tracks[1]) == 1
    stream.push(Frame(STEP_NS, CAMERA, (person(1, 5),)))
    assert len(stream.tracks[1]) == 1


def test_the_nearest_person_comes_first(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    far = person(2, 0, 200.0)
    small = Keypoints(
        (far.keypoints.points_px - 800) * 0.3 + 800,
        far.keypoints.visibility,
        far.keypoints.presence,
    )
    frame = Frame(STEP_NS, CAMERA, (replace(far, keypoints=small), person(1, 0)))
    depths = [motion.joints[-1, 0, 2] for motion in stream.push(frame)]
    assert len(depths) == 2 and depths == sorted(depths)


def test_an_unknown_model_is_named():
    with pytest.raises(CheckpointError, match="No model 'absent'"):
        load_stream(PipelineConfig(model="absent"))


PIXELS = {
    "layout": "mesh_tokens",
    "image": "vit",
    "trajectory": "absolute",
    "rotation_head": False,
    "vit": VitConfig(embed_dim=16, depth=1, heads=2, encoder_depth=1),
}


@pytest.fixture(scope="module")
def pixel_model(make_model):
    model = make_model(**PIXELS)
    for part in (model.moro.image_encoder, model.moro.decoder):  # so that the image matters
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.moro.decoder.trajectory_head.bias.data = torch.tensor(
        [1.0, 0, 0, 0, -1.0, 0, 0.2, 0.1, 4.0]
    )
    return model


def pictures(count, distortion=()):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    camera = replace(CAMERA, distortion=distortion)
    for frame in frames(count, (1, 0.0)):
        yield replace(frame, image=image, camera=camera)


@pytest.mark.slow
def test_the_paper_s_network_runs_in_the_same_stream(pixel_model, open_body):
    stream = MoRoStream(pixel_model, MotionConfig(window=4, passes=2))
    for frame in pictures(5):
        (motion,) = stream.push(frame, mesh=True)
    assert motion.vertices.shape == (1, open_body.num_vertices, 3)
    assert np.isfinite(motion.joints).all() and motion.smplx.body_pose.shape == (1, 63)
    # No rotation head: the parameters are fitted to the mesh and pose the body where it lies.
    assert np.linalg.norm(motion.joints[0, 0] - motion.vertices[0].mean(0)) < 1.0
    check_parameters(motion, open_body)


@pytest.mark.slow
def test_what_the_image_shows_matters(pixel_model):
    def last(images):
        stream = MoRoStream(pixel_model, MotionConfig(window=4))
        for frame in images:
            (motion,) = stream.push(frame)
        return motion.joints

    noise = last(pictures(3))
    black = last(replace(f, image=np.zeros_like(f.image)) for f in pictures(3))
    bent = last(pictures(3, distortion=(-0.3, 0.1, 0.0, 0.0)))
    assert np.abs(noise - black).max() > 1e-4
    assert np.abs(noise - bent).max() > 1e-4


def test_a_model_that_sees_pixels_needs_them(pixel_model):
    stream = MoRoStream(pixel_model, MotionConfig(window=4))
    with pytest.raises(ImageError, match="the frame has no image"):
        stream.push(next(frames(1, (1, 0.0))))


def test_a_lost_person_is_named_once(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    first, second = frames(2, (1, 0.0), (2, 200.0))
    stream.push(first)
    assert stream.lost == ()
    alone = replace(second, people=second.people[:1])
    stream.push(alone)
    assert stream.lost == (2,)
    stream.push(replace(alone, stamp_ns=3 * STEP_NS))
    assert stream.lost == ()
    stream.reset()
    stream.push(Frame(4 * STEP_NS, CAMERA, (person(3, 4),)))
    assert stream.lost == (1,)


def test_somebody_who_was_never_placed_is_not_lost(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    stream.push(Frame(STEP_NS, CAMERA, (person(1, 0, visible=0.1),)))
    stream.push(Frame(2 * STEP_NS, CAMERA, ()))
    assert stream.lost == ()


def test_velocity_is_the_joints_way_over_the_stamps(model):
    stream = MoRoStream(model, MotionConfig(window=6))
    (first,), (second,) = [stream.push(frame) for frame in frames(2, (1, 0.0))]
    assert not first.velocity.any()
    way = (second.joints - first.joints) / (STEP_NS * 1e-9)
    np.testing.assert_allclose(second.velocity, way, atol=1e-3)
    assert second.velocity.any()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"mode": "window"}])
def test_a_leap_to_the_side_is_held_and_what_follows_it_is_told_unharmed(model, options):
    def told(leap_at, **more):
        motion = MotionConfig(window=6, gain=1.0, refine_steps=0, **options, **more)
        stream = MoRoStream(model, motion)
        seen = [(person(1, i, 600.0 * (i == leap_at)),) for i in range(9)]
        return [
            stream.push(Frame((i + 1) * STEP_NS, CAMERA, people))[0]
            for i, people in enumerate(seen)
        ]

    found, free, calm = told(5), told(5, max_speed_mps=0.0), told(None)
    assert [bool(motion.held[0]) for motion in found] == [i == 5 for i in range(9)]
    assert not any(motion.held[0] for motion in free + calm)
    leap = np.linalg.norm(free[5].joints[0, 0] - calm[5].joints[0, 0])
    kept = np.linalg.norm(found[5].joints[0, 0] - calm[5].joints[0, 0])
    assert leap > 0.5 and kept < 0.1 * leap
    assert not found[5].observed.any() and found[5].keypoints_seen.all()
    # The step back from where the outlier led is not taken for the person's.
    speeds = [np.linalg.norm(motion.velocity[0, 0]) for motion in found]
    assert max(speeds) < MotionConfig().max_speed_mps


def test_a_network_that_reads_the_floor_is_told_it_live(make_model):
    keypoints = KeypointsConfig(
        hidden=32, blocks=1, floor=True, estimate=True, detector_points=True
    )
    stream = MoRoStream(make_model(dim=160, keypoints=keypoints), MotionConfig())

    def last(floor):
        stream.reset()
        stream.set_floor(floor)
        return [stream.push(frame) for frame in frames(6, (1, 0.0))][-1][0]

    unknown, again = last(None), last(None)
    told = last(GroundPlane(np.array([0.0, -1.0, 0.0]), 1.4))
    assert np.isfinite(unknown.joints).all() and np.isfinite(told.joints).all()
    same(unknown, again)
    assert np.abs(told.joints - unknown.joints).max() > 1e-3
    same(unknown, last(GroundPlane(np.array([0.0, -1.0, 0.0]), 0.0)))  # the camera lies on it


def test_the_mesh_is_the_body_of_the_published_joints(model, open_body):
    stream = MoRoStream(model, MotionConfig(refine_steps=1))
    for frame in frames(4, (1, 0.0)):
        motion = stream.push(frame, mesh=True)[0]
    body = motion.smplx
    turns, betas = (torch.from_numpy(a).float() for a in (body.global_orient, body.betas))
    pose, place = (torch.from_numpy(a).float() for a in (body.body_pose, body.transl))
    expected = open_body(betas[None], turns, pose, place).vertices[:, : motion.vertices.shape[1]]
    np.testing.assert_allclose(motion.vertices, expected.numpy(), atol=1e-3)
