"""The results of our modules for each group of a golden set (golden_set.py)."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from moro_ros.cli.golden import losses as golden_losses
from moro_ros.cli.golden.golden_set import Group, Subject
from moro_ros.cli.golden.tokenizer import (
    NO_TABLES,
    compare_small_tokenizer,
    compare_tokenizer,
    load_tokenizer,
)
from moro_ros.evaluation.metrics import paper_metrics, truth_free_metrics
from moro_ros.geometry.camera import box_condition
from moro_ros.geometry.trajectory import canonical_trajectory, integrate_trajectory
from moro_ros.live.sampling import decode_masked
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.image_encoders import VitImageEncoder
from moro_ros.network.inputs import COLUMNS, crop_square
from moro_ros.network.layers import DSTFormer, DualLayer
from moro_ros.network.moro import FrameFeatures

METRICS = {
    "M_pa_mpjpe": "PA-MPJPE [mm]", "M_mpjpe": "MPJPE [mm]", "M_pve": "PVE [mm]",
    "M_visible_mpjpe": "MPJPE visible [mm]", "M_occluded_mpjpe": "MPJPE occluded [mm]",
    "M_gmpjpe": "GMPJPE [mm]", "M_rte": "RTE [%]", "M_accel": "Accel [m/s2]",
    "M_g_accel": "G-Accel [m/s2]", "M_jitter": "Jitter [10 m/s3]", "M_fs": "Sliding [mm]",
}  # fmt: skip
TRUTH_FREE_METRICS = {
    "FREE_jitter": "Jitter [10 m/s3]", "FREE_skating_ratio": "Skating ratio",
    "FREE_penetration_depth": "Penetration depth [mm]",
    "FREE_penetration_ratio": "Penetration ratio", "FREE_global_accel": "Global accel [m/s2]",
}  # fmt: skip


class Recorder:
    """Records inputs and outputs of some modules while it is open."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Tensor]] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def output(self, name: str, module: nn.Module) -> None:
        """Keep a module's outputs."""
        self._handles.append(module.register_forward_hook(lambda _, __, out: self._keep(name, out)))

    def input(self, name: str, module: nn.Module) -> None:
        """Keep a module's first inputs."""
        self._handles.append(
            module.register_forward_pre_hook(lambda _, inputs: self._keep(name, inputs[0]))
        )

    def close(self) -> dict[str, Tensor]:
        """Stop; return everything kept, calls joined along the first axis."""
        for handle in self._handles:
            handle.remove()
        return {name: torch.cat(parts) for name, parts in self.seen.items()}

    def _keep(self, name: str, value: Tensor) -> None:
        self.seen.setdefault(name, []).append(value.detach())


def compare_crops(subject: Subject, group: Group) -> None:
    """b0: person crops, to the bit, and the box condition."""
    device = torch.device("cpu")
    crops = np.stack(crops_of(group))
    group.compare("crops_uint8", crops)
    center, scale, matrix = (group.tensor(name, device) for name in ("center", "scale", "K"))
    group.compare("bbox", box_condition(center, 200 * scale, matrix)[None])


def crops_of(group: Group) -> list[np.ndarray]:
    """The square crops of a set's images, (256, 256, 3) uint8 each."""
    cpu = torch.device("cpu")
    images, center, scale = (
        group.tensor(name, cpu).numpy() for name in ("images", "center", "scale")
    )
    return [crop_square(*item) for item in zip(images, center, scale, strict=True)]


def compare_motion_encoder(subject: Subject, group: Group) -> None:
    """b: trajectories, the motion encoder and its first layer's parts."""
    model, device = subject.model, subject.device
    ids, rotation = group.tensor("ids", device), group.tensor("rotation", device)
    translation = group.tensor("translation", device).squeeze(2)
    mean, std = group.tensor("Mean", device).flatten(), group.tensor("Std", device).flatten()
    zero, one = torch.zeros_like(mean), torch.ones_like(std)
    group.compare("cano_raw", canonical_trajectory(rotation, translation, zero, one))
    group.compare("cano_norm", canonical_trajectory(rotation, translation, mean, std))
    canonical = group.tensor("cano_norm", device)
    back, track = integrate_trajectory(canonical, mean, std, rotation[:, 0], translation[:, 0])
    group.compare("back_rotation", back)
    group.compare("back_translation", track[:, :, None])
    encoder = model.motion_encoder
    layer = encoder.trunk.layers[0]
    assert isinstance(layer, DualLayer)
    recorder = Recorder()
    recorder.output("attention_s", layer.space_first.space.attention)
    recorder.output("attention_t", layer.space_first.time.attention)
    recorder.output("block_st", layer.space_first)
    recorder.output("block_ts", layer.time_first)
    features = encoder(model.embed(ids), canonical)
    seen = recorder.close()
    batch, frames = ids.shape[:2]
    group.compare("m_attn_s_st_0", seen["attention_s"].unflatten(0, (batch, frames)))
    by_token = seen["attention_t"].unflatten(0, (batch, -1))
    group.compare("m_attn_t_st_0", by_token.transpose(1, 2))
    group.compare("m_block_st_0", seen["block_st"])
    group.compare("m_block_ts_0", seen["block_ts"])
    group.compare("pose_feat", features.pose)
    group.compare("traj_feat", features.trajectory)
    group.compare("cano_traj_pred", features.clean_trajectory)
    logits = encoder.logits(features).permute(0, 3, 1, 2)  # (B, C, F, T)
    for name in group.arrays:
        if name.startswith("pose_logits_first"):
            group.compare(name, logits)
    group.compare("contact_logits", encoder.contact(features))
    _compare_rope(group, encoder.trunk, frames)


def _compare_rope(group: Group, trunk: DSTFormer, frames: int) -> None:
    """The recorded angles against the sines and cosines that our attention turns by."""
    if "rope_encoding" not in group:
        return
    angle = group.tensor("rope_encoding", torch.device("cpu"))[:, ::2]
    time = trunk.time_axis(torch.zeros(1, frames, 1, 1))
    turned = time.rotate(torch.tensor([1.0, 0.0]).repeat(frames, angle.shape[1]))  # (F, width)
    ours = torch.atan2(turned[:, 1::2], turned[:, ::2])
    ours = ours + (2 * torch.pi * ((angle - ours) / (2 * torch.pi)).round())
    group.inputs.discard("rope_encoding")
    group.compare("rope_encoding", ours.repeat_interleave(2, dim=1))


def image_encoder(subject: Subject) -> VitImageEncoder:
    """The image encoder of the network, which in a golden set sees pixels."""
    encoder = subject.model.image_encoder
    assert isinstance(encoder, VitImageEncoder)
    return encoder


def encode_images(subject: Subject) -> tuple[FrameFeatures, dict[str, Tensor]]:
    """Our features of the set's clip, B = 1, and values inside the image encoder."""
    crops = torch.from_numpy(np.stack(crops_of(subject.needed("b0_crop"))))
    observation = crops[:, :, COLUMNS].permute(0, 3, 1, 2)[None].to(subject.device)
    box = subject.needed("b0_crop").tensor("bbox", subject.device)
    encoder = image_encoder(subject)
    recorder = Recorder()
    recorder.output("patch", encoder.vit.patch_embed)
    recorder.output("block0", encoder.vit.blocks[0])
    recorder.output("vit", encoder.vit)
    recorder.output("camera", encoder.transformer.camera_head)
    features = subject.model.encode_frames(observation, box)
    return features, recorder.close()


def compare_video(subject: Subject, group: Group) -> None:
    """c: one pass from images to tokens and trajectory, with intermediate values."""
    model = subject.model
    features, seen = encode_images(subject)
    group.compare("vit_patch", seen["patch"].flatten(2).transpose(1, 2))
    group.compare("vit_block0", seen["block0"])
    by_frame = {"vit_feat": seen["vit"][None], "img_feat": features.image_tokens}
    group.compare("cam_traj_coarse_weak", seen["camera"][None])
    group.compare("coarse_rot", features.rotation)
    group.compare("coarse_trans", features.translation[:, :, None])
    encoder = image_encoder(subject)
    group.compare("img_posenc", encoder.transformer.position.view(1, *encoder.vit.grid, -1))
    canonical = canonical_trajectory(
        features.rotation, features.translation, model.trajectory_mean, model.trajectory_std
    )
    group.compare("cano_noisy", canonical)
    recorder = Recorder()
    decoder = model.decoder
    recorder.output("camera", decoder.camera_embedding)
    recorder.input("pose_out", decoder.logit_head)
    recorder.input("motion_out", decoder.contact_head)
    assert decoder.trajectory_head is not None  # the paper's decoder has one
    recorder.input("camera_out", decoder.trajectory_head)
    ids = group.tensor("ids", subject.device)
    codes = model.embed(ids)
    output = model.decode_window(codes, features, features.rotation, features.translation)
    passed = recorder.close()
    camera = passed["camera"][:, :, None]
    group.compare("cam_traj_feat", camera)
    motion = model.motion_encoder(codes, canonical)
    parts = (motion.pose, features.image_tokens, motion.trajectory, camera)
    by_frame["dec_in"] = torch.cat([part.float() for part in parts], 2)
    for name in group.arrays:
        found = re.fullmatch(r"(vit_feat|img_feat|dec_in)_frame(\d+)", name)
        if found:
            frame = int(found[2])
            group.compare(name, by_frame[found[1]][:, frame : frame + 1])
    _compare_decoder_tokens(group, passed)
    _compare_output(group, output)


def _compare_decoder_tokens(group: Group, passed: dict[str, Tensor]) -> None:
    """The decoder's tokens that heads read; those of the image are never computed in full."""
    for name in list(group.arrays):
        found = re.fullmatch(r"dec_out_frame(\d+)", name)
        if found:
            frame, tokens = int(found[1]), passed["pose_out"].shape[2]
            heads = [passed["pose_out"], *(passed[k].view(*passed[k].shape[:2], 1, -1)
                                           for k in ("motion_out", "camera_out"))]  # fmt: skip
            read = torch.cat([head.float() for head in heads], 2)[:, frame : frame + 1]
            golden = group.arrays[name]
            group.arrays[name] = np.concatenate([golden[:, :, :tokens], golden[:, :, -2:]], 2)
            group.compare(name, read)


def _compare_output(group: Group, output: DecoderOutput) -> None:
    group.compare("cano_pred", output.clean_trajectory)
    group.compare("logits", output.logits.permute(0, 3, 1, 2))
    group.compare("contact", output.contact)
    group.compare("cam_rot", output.rotation)
    group.compare("cam_trans", output.translation[:, :, None])


def compare_inference(subject: Subject, group: Group) -> None:
    """d: masked decoding, each recorded pass by itself and the whole from the images."""
    model, device = subject.model, subject.device
    features, _ = encode_images(subject)
    rotation, translation = features.rotation, features.translation
    steps = int(group.tensor("n_steps", torch.device("cpu")))
    output = None
    for step in range(steps):
        ids = group.tensor(f"in_ids_{step}", device)
        canonical = canonical_trajectory(
            rotation, translation, model.trajectory_mean, model.trajectory_std
        )
        group.compare(f"cano_noisy_{step}", canonical)
        output = model.decode_window(model.embed(ids), features, rotation, translation)
        probability = output.logits.float().softmax(-1)
        group.compare(f"argmax_{step}", probability.argmax(-1))
        group.compare(f"maxprob_{step}", probability.amax(-1))
        group.compare(f"n_masked_{step}", (ids == model.mask_id).sum())
        group.compare(f"cam_rot_{step}", output.rotation)
        group.compare(f"cam_trans_{step}", output.translation[:, :, None])
        rotation = group.tensor(f"cam_rot_{step}", device)
        translation = group.tensor(f"cam_trans_{step}", device).squeeze(2)
    if output is not None:
        group.compare("logits_last", output.logits.permute(0, 3, 1, 2))
        group.compare("contact", output.contact)
    _compare_whole_decoding(subject, group, features, steps)


def _compare_whole_decoding(
    subject: Subject, group: Group, features: FrameFeatures, steps: int
) -> None:
    """Our own loop, from fully masked: in float32 it takes the recorded path token by token."""
    model = subject.model
    fed: list[Tensor] = []
    hook = model.motion_encoder.register_forward_pre_hook(lambda _, args: fed.append(args[0]))
    decoding = decode_masked(model, features, steps)
    hook.remove()
    group.compare("pred_ids", decoding.ids)
    if not subject.exact:
        return
    for step, codes in enumerate(fed):
        recorded = model.embed(group.tensor(f"in_ids_{step}", subject.device))
        group.report.ids_differ[f"in_ids_{step}"] = int((codes != recorded).any(-1).sum())
    smoothed = model.smoother(decoding.codes)
    for name in group.arrays:
        found = re.fullmatch(r"(local|camera)_mesh_frames((?:_\d+)+)", name)
        if not found:
            continue
        if subject.tables is None:
            group.skip(NO_TABLES, name)
            continue
        frames = [int(number) for number in found[2][1:].split("_")]
        tokenizer = load_tokenizer(subject, subject.golden.weights)
        mesh = tokenizer.decode_codes(smoothed[0, frames])
        if found[1] == "camera":
            output = decoding.output
            mesh = mesh @ output.rotation[0, frames].mT + output.translation[0, frames, None]
        group.compare(name, mesh[None])


def compare_smoother(subject: Subject, group: Group) -> None:
    """e: the smoother on clips of several lengths."""
    codes = group.tensor("tokens_in", subject.device)
    for name in group.arrays:
        found = re.fullmatch(r"smoothed(?:_first(\d+)only)?", name)
        if found:
            group.compare(name, subject.model.smoother(codes[:, : int(found[1] or codes.shape[1])]))


def compare_losses(subject: Subject, group: Group) -> None:
    """f: the losses of the last stage, of one pass over the set's clip."""
    model = subject.model
    features, _ = encode_images(subject)
    codes = model.embed(subject.needed("c_video_forward").tensor("ids", subject.device))
    output = model.decode_window(codes, features, features.rotation, features.translation)
    golden_losses.compare_losses(subject, group, features, output)


def compare_metrics(subject: Subject, group: Group) -> None:
    """g: the metrics of the paper's tables."""
    cpu = torch.device("cpu")
    predicted, target = (group.tensor(f"{who}_joints", cpu)[0].numpy() for who in ("pred", "gt"))
    feet = group.tensor("foot_idx", cpu).numpy()
    meshes = []
    for who in ("pred", "gt"):
        mesh = np.zeros((len(predicted), 6890, 3), np.float32)
        first = group.tensor(f"{who}_verts_first200", cpu)[0].numpy()
        mesh[:, : first.shape[1]] = first
        mesh[:, feet] = group.tensor(f"{who}_foot", cpu)[0].numpy()
        meshes.append(mesh)
    found = paper_metrics(
        predicted,
        target,
        visible=group.tensor("visible", cpu)[0].numpy(),
        predicted_vertices=meshes[0],
        target_vertices=meshes[1],
        foot_vertices=tuple(int(vertex) for vertex in feet),
    )
    free = truth_free_metrics(predicted, predicted[..., 1], fps=30.0)
    for values, names in ((found, METRICS), (free, TRUTH_FREE_METRICS)):
        for recorded, name in names.items():
            if recorded in group:
                golden = group.arrays[recorded]
                group.compare(recorded, values[name].reshape(golden.shape).astype(golden.dtype))


GROUPS: dict[str, Callable[[Subject, Group], None]] = {
    "b0_crop": compare_crops,
    "a_tokenizer": compare_tokenizer,
    "b_motion_encoder": compare_motion_encoder,
    "c_video_forward": compare_video,
    "d_inference": compare_inference,
    "e_smoother": compare_smoother,
    "f_losses": compare_losses,
    "g_metrics": compare_metrics,
    "h_tokenizer_small": compare_small_tokenizer,
}
