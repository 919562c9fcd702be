"""`moro export`: recorded motion in the files of other programs, a model as ONNX files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from moro_ros.cli import export_motion
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import make_folder
from moro_ros.live.backends.onnx_export import PARTS, export_onnx
from moro_ros.live.load import model_folder
from moro_ros.network.build import load_model

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the command to the `moro` parser."""
    parser = subparsers.add_parser("export", help="export recorded motion, or a model")
    forms = parser.add_subparsers(dest="form", required=True, metavar="FORMAT")
    export_motion.register(forms)
    onnx = forms.add_parser(
        "onnx",
        help="export the live network and the mesh decoder as ONNX files",
        description="Writes encoder.onnx, window.onnx, incremental.onnx, tokenizer.onnx and "
        "onnx.json; moro_ros/live/backends/onnx_export.py describes their inputs and outputs.",
    )
    add = onnx.add_argument
    add(
        "--model",
        default="moro_open",
        help="name of a model under models/, or path of a model folder",
    )
    add("--out", type=user_path, required=True, help="folder to write to")
    add("--part", choices=PARTS, action="append", help="write only this file; may be repeated")
    add(
        "--graph-only",
        action="store_true",
        help="omit the weights. backend: onnx then reads them from the model, if the files are "
        "in its folder onnx/",
    )
    onnx.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files. Raises: MoroError for a problem with the model or the folder."""
    make_folder(arguments.out, "--out")
    model = load_model(model_folder(arguments.model))
    parts = tuple(arguments.part or ())
    for path in export_onnx(model, arguments.out, parts, weights=not arguments.graph_only):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0
