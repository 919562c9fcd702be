"""Hand-over: the named parts' weights arrive, nothing else does, and what does not fit is told."""

import dataclasses

import pytest
import torch

from moro_ros.errors import CheckpointError, ConfigError
from moro_ros.model_config import KeypointsConfig, MoroConfig, VitConfig
from moro_ros.network.build import build_moro, save_weights
from moro_ros.network.official_names import moro_names
from moro_ros.training.handover import WEIGHTS, freeze, start_weights

TINY = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", dim=32, heads=4, mlp_ratio=2,
    encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip
PIXELS = MoroConfig(
    dim=32, heads=4, mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6,
    vit=VitConfig(embed_dim=32, depth=2, heads=2, mlp_ratio=2, encoder_depth=1),
)  # fmt: skip


def network(config: MoroConfig = TINY, seed: int = 0):
    torch.manual_seed(seed)
    moro = build_moro(config)
    moro.set_trajectory_statistics(torch.full((9,), float(seed)), torch.full((9,), 1.0 + seed))
    return moro


@pytest.fixture()
def runs(tmp_path):
    (tmp_path / "motion").mkdir()
    save_weights(network(seed=1), tmp_path / "motion" / WEIGHTS)
    return tmp_path


def test_only_the_named_part_is_taken_and_its_statistics(runs):
    moro, donor, fresh = network(), network(seed=1), network()
    (file,) = start_weights(moro, {"motion_encoder": "motion"}, runs, "video", TINY)
    assert file == runs / "motion" / "weights.safetensors"
    for name, value in moro.state_dict().items():
        taken = name.startswith(("motion_encoder.", "trajectory_"))
        assert torch.equal(value, (donor if taken else fresh).state_dict()[name]), name
    whole = network()
    start_weights(whole, {"": str(file)}, runs, "video", TINY)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, donor.state_dict()[name]), name


def test_the_published_backbone_is_read_by_its_own_names(tmp_path):
    donor, moro = network(PIXELS, 1), network(PIXELS)
    prefix = "backbone.model."
    state = {
        "backbone." + theirs.removeprefix(prefix): donor.state_dict()[ours]
        for theirs, ours in moro_names(PIXELS).items()
        if theirs.startswith(prefix)
    }
    path = tmp_path / "vit_pose_hmr2.pth"
    torch.save({"state_dict": {**state, "keypoint_head.weight": torch.zeros(1)}}, path)
    start_weights(moro, {"image_encoder.vit": str(path)}, tmp_path, "image", PIXELS)
    names = [name for name in moro.state_dict() if name.startswith("image_encoder.vit.")]
    assert len(names) == len(state)
    assert all(torch.equal(moro.state_dict()[n], donor.state_dict()[n]) for n in names)
    state.popitem()
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="is missing"):
        start_weights(moro, {"image_encoder.vit": str(path)}, tmp_path, "image", PIXELS)


def test_what_does_not_fit_is_told(runs):
    moro = network()
    with pytest.raises(CheckpointError, match="moro train frames"):
        start_weights(moro, {"decoder": "frames"}, runs, "video", TINY)
    with pytest.raises(ConfigError, match=r"no part 'encoder'.*motion_encoder"):
        start_weights(moro, {"encoder": "motion"}, runs, "video", TINY)
    wider = network(dataclasses.replace(TINY, dim=64))
    with pytest.raises(CheckpointError, match="has shape"):
        start_weights(wider, {"decoder": "motion"}, runs, "video", TINY)
    file = runs / "motion" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a complete weights file"):
        start_weights(moro, {"decoder": "motion"}, runs, "video", TINY)


def test_frozen_parts_do_not_train():
    moro = network()
    freeze(moro, ("image_encoder", "decoder.trunk"))
    for name, parameter in moro.named_parameters():
        assert parameter.requires_grad != name.startswith(("image_encoder.", "decoder.trunk."))
    with pytest.raises(ConfigError, match="no part 'vit'"):
        freeze(moro, ("vit",))
