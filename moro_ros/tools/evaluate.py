"""`moro evaluate`: measure a model on motion with ground truth; a table, or JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.evaluation.open_benchmark import (
    STANDARD_SUBJECTS,
    OpenProtocol,
    run_open_benchmark,
)
from moro_ros.inference.stream import load_stream
from moro_ros.tools import evaluate_video
from moro_ros.tools.tables import print_table, rounded


def open_command(args: argparse.Namespace) -> int:
    """Held-out open motion through synthetic cameras, without and with occlusion."""
    config = PipelineConfig(model=args.model, motion=MotionConfig(passes=args.passes))
    stream = load_stream(config)
    protocol = OpenProtocol(windows=args.windows, seed=args.seed, passes=args.passes)
    subjects = tuple(args.subjects.split(",")) if args.subjects else ()
    result = run_open_benchmark(
        stream.model.moro, stream.model.body_model_path, args.motion, protocol, subjects
    )
    noise = {name: rounded(value) for name, value in result["noise"].items()}
    occluded = {name: rounded(value) for name, value in result["occluded"].items()}
    if args.json:
        print(json.dumps({**noise, "occluded": occluded, "windows": args.windows}))
    else:
        print_table([{"condition": "noise", **noise}, {"condition": "occluded", **occluded}])
    return 0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the `moro` parser."""
    parser = subparsers.add_parser("evaluate", help="measure a model on motion with ground truth")
    sets = parser.add_subparsers(dest="benchmark", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", default="moro_open", help="model name or folder")
    shared.add_argument("--passes", type=int, default=1, help="passes of the masked decoding")
    shared.add_argument("--threads", type=int, default=2, help="CPU threads")
    shared.add_argument("--json", action="store_true", help="print one JSON object")
    motion = sets.add_parser("open", parents=[shared], help="held-out open motion")
    motion.add_argument("--motion", type=Path, required=True, help="motion npz, such as test.npz")
    motion.add_argument(
        "--subjects", default=",".join(STANDARD_SUBJECTS), help="subjects, by comma; empty: all"
    )
    motion.add_argument("--windows", type=int, default=256, help="windows of 48 frames")
    motion.add_argument("--seed", type=int, default=5, help="seed of cameras and noise")
    motion.set_defaults(evaluate=open_command)
    evaluate_video.register(sets, shared)
    parser.set_defaults(handler=command)


def command(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    torch.set_num_threads(args.threads)
    code: int = args.evaluate(args)
    return code
