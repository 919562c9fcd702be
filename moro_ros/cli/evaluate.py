"""`moro evaluate`: measure a model on motion with ground truth; a table, or JSON."""

from __future__ import annotations

import argparse

import torch

from moro_ros.cli import (
    evaluate_focal,
    evaluate_live,
    evaluate_multiview,
    evaluate_open,
    evaluate_place,
    evaluate_posture,
    evaluate_prediction,
    evaluate_results,
    evaluate_video,
)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the `moro` parser."""
    parser = subparsers.add_parser("evaluate", help="measure the accuracy of a model")
    sets = parser.add_subparsers(dest="benchmark", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", default="moro_open", help="model name or folder")
    shared.add_argument("--passes", type=int, default=1, help="passes of the masked decoding")
    shared.add_argument("--threads", type=evaluate_open.at_least_one, default=2, help="CPU threads")
    shared.add_argument("--json", action="store_true", help="print a JSON object")
    evaluate_open.register(sets, shared)
    evaluate_prediction.register(sets, shared)
    evaluate_live.register(sets, shared)
    evaluate_video.register(sets, shared)
    evaluate_place.register(sets, shared)
    evaluate_posture.register(sets, shared)
    evaluate_focal.register(sets, shared)
    evaluate_multiview.register(sets, shared)
    evaluate_results.register(sets, shared)
    parser.set_defaults(handler=command)


def command(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    torch.set_num_threads(args.threads)
    code: int = args.evaluate(args)
    return code
