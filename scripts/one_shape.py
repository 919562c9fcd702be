#!/usr/bin/env python3
"""one_shape.py FROM TO: copies motion.npz with the mean shape of each person for all images.

Exports with one body per person then have exactly its joints (scripts/read_exports.py).
"""

import sys
from pathlib import Path

import numpy as np
import torch

from moro_ros.body.body_model import load_body_model
from moro_ros.io.recording import MotionRecording, load_recording
from moro_ros.resources import share_path

body = load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))
recorded = load_recording(Path(sys.argv[1]))
changed = MotionRecording(recorded.camera)
changed.stamps_ns = recorded.stamps_ns
for track_id, rows in recorded.people().items():
    rows["betas"] = rows["betas"].mean(0)
    names = ("betas", "global_orient", "body_pose", "transl")
    parameters = [torch.from_numpy(np.ascontiguousarray(rows[name])) for name in names]
    with torch.inference_mode():
        rows["joints"] = body(*parameters).joints[:, :22].numpy()
    for row in rows:
        changed.add(track_id, row)
changed.save(Path(sys.argv[2]))
