"""Cut a full golden set down to what this folder keeps: python trim.py FULL_SET OUT_FOLDER.

Values are not recomputed: whole arrays are dropped, others cut to their leading part, which
moro_ros/cli/golden/golden_set.py compares with the leading part of ours, and pixels outside
the person's crop, which nothing reads, are made black so that the file gets smaller.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from moro_ros.network.inputs import window

# Group -> arrays that are dropped, or None for a group copied as it is.
DROPPED: dict[str, set[str] | None] = {
    "b0_crop": set(),
    "b_motion_encoder": set(),
    "c_video_forward": {"dec_in_frame3"},
    "d_inference": {"logits_last", "local_mesh_frames_0_5_11", "camera_mesh_frames_0_5_11"},
    "e_smoother": None,
    "g_metrics": None,
    "h_tokenizer_small": set(),
}
# The losses' group is kept where no mesh is needed, and all losses, whose sum is compared.
LOSS_ARRAYS = {"gt_rotation", "gt_translation", "labels", "pred_ids", "cano_rel_rotation",
               "cano_rel_translation", "contact_label", "acc", "M_contact_acc"}  # fmt: skip
# Array -> its leading part, by axis.
CUT: dict[str, tuple[slice, ...]] = {
    "crops_uint8": np.s_[:2],
    "m_attn_s_st_0": np.s_[:, :2],
    "m_attn_t_st_0": np.s_[:, :12, :16],
    "m_block_st_0": np.s_[:, :2],
    "m_block_ts_0": np.s_[:, :2],
    "pose_feat": np.s_[:1],
    "pose_logits_first2": np.s_[:1, :, :1],
    "logits": np.s_[:, :, :2],
    **{f"layer{layer:02d}_out": np.s_[:1] for layer in range(14)},
}


def blacken(arrays: dict[str, np.ndarray]) -> None:
    """Make the pixels of the images outside the crop windows black, in place."""
    boxes = zip(arrays["images"], arrays["center"], arrays["scale"], strict=True)
    for image, center, scale in boxes:
        (left, top), (right, bottom) = window(center, scale)
        unread = np.ones(image.shape[:2], bool)
        unread[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
        image[unread] = 0


def main(full: Path, out: Path) -> None:
    """Write the trimmed set; out may exist."""
    shutil.copy(full / "config.json", out / "config.json")
    weights = load_file(full / "state_dict_fp16.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("vqvae.")}
    save_file(kept, out / "state_dict_fp16.safetensors")
    for group in [*DROPPED, "f_losses"]:
        with np.load(full / f"{group}.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        dropped = DROPPED.get(group) or (
            {name for name in arrays if name not in LOSS_ARRAYS and not name.startswith("L_")}
            if group == "f_losses"
            else set()
        )
        trimmed = {
            name: array[CUT[name]] if name in CUT else array
            for name, array in arrays.items()
            if name not in dropped
        }
        if group == "b0_crop":
            blacken(trimmed)
        np.savez_compressed(out / f"{group}.npz", **trimmed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
