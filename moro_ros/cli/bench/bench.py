"""`moro bench`: cost of network, live engine and messages; this module: the network."""

from __future__ import annotations

import argparse
import copy
import json
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moro_ros.cli.bench import distance as bench_distance
from moro_ros.cli.bench import live as bench_live
from moro_ros.cli.bench import messages as bench_messages
from moro_ros.cli.bench import people as bench_people
from moro_ros.cli.bench import prediction as bench_prediction
from moro_ros.cli.bench import train as bench_train
from moro_ros.cli.bench import view as bench_view
from moro_ros.cli.bench.network import (
    Measured,
    Network,
    count_memory,
    count_work,
    make_inputs,
    make_network,
    make_tokenizer,
    measure_time,
)
from moro_ros.cli.paths import user_path
from moro_ros.cli.results import check_least
from moro_ros.errors import ConfigError
from moro_ros.model_config import load_model_config
from moro_ros.network.build import DESCRIPTION

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the command."""

    config: str
    frames: int
    timed_frames: int
    passes: int
    dtype: str
    device: str
    threads: int
    measured: Measured


def register(subparsers: Subparsers) -> None:
    """Add the command to the `moro` parser."""
    parser = subparsers.add_parser(
        "bench",
        help="measure time and memory of the network, live processing, messages and training",
    )
    subjects = parser.add_subparsers(dest="subject", required=True)
    bench_live.register(subjects)
    bench_messages.register(subjects)
    bench_distance.register(subjects)
    bench_people.register(subjects)
    bench_prediction.register(subjects)
    bench_train.register(subjects)
    bench_view.register(subjects)
    network = subjects.add_parser(
        "network",
        help="operations, time and memory of one window",
        description="Uses random weights with a fixed seed. Operations and memory are counted "
        "on meta tensors, so models of any size can be used; times are measured.",
    )
    add = network.add_argument
    add("--config", type=user_path, required=True, help="model.yaml, or a model folder")
    add("--frames", type=int, default=60, help="frames of the window")
    add("--iterations", type=int, default=5, help="passes of the masked decoding")
    add("--timed-frames", type=int, help="frames of the timed window; 0: count only")
    add("--repeat", type=int, default=3, help="runs of each part; the fastest is reported")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="float32",
        help="data type; bfloat16 uses autocast",
    )
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", action="store_true", help="print a JSON object instead of tables")
    network.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Count, measure and print."""
    check_least(arguments, 1, "frames", "iterations", "repeat", "threads")
    if arguments.timed_frames is None:
        arguments.timed_frames = arguments.frames
    check_least(arguments, 0, "timed_frames")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no GPU. Use --device cpu.")
    torch.set_num_threads(arguments.threads)
    report = bench(
        arguments.config,
        frames=arguments.frames,
        timed_frames=arguments.timed_frames,
        passes=arguments.iterations,
        repeat=arguments.repeat,
        dtype=arguments.dtype,
        device=arguments.device,
    )
    print(json.dumps(as_json(report), indent=1) if arguments.json else as_text(report))


def bench(
    path: Path,
    *,
    frames: int,
    timed_frames: int,
    passes: int,
    repeat: int = 3,
    dtype: str = "float32",
    device: str = "cpu",
) -> Report:
    """Count the work and the memory of a window of `frames`, time one of `timed_frames`.

    path: model.yaml or a model folder. Raises: ConfigError; CheckpointError.
    """
    folder = path if path.is_dir() else None
    config = load_model_config(path / DESCRIPTION if folder else path)
    half = dtype == "bfloat16"
    tokenizer = make_tokenizer(config, folder)

    def on_meta(half: bool) -> Network:
        return make_network(config.moro, copy.deepcopy(tokenizer).to("meta"), "meta", half)

    measured, shapes = Measured(), make_inputs(config.moro, frames, "meta")
    count_work(on_meta(False), shapes, passes, measured)
    measured.memory_bytes = count_memory(on_meta(half), shapes, passes, half)
    if timed_frames:
        network = make_network(config.moro, tokenizer.to(device), device, half)
        inputs = make_inputs(config.moro, timed_frames, device)
        measure_time(network, inputs, passes, repeat, half, measured)
    return Report(
        config=str(path),
        frames=frames,
        timed_frames=timed_frames,
        passes=passes,
        dtype=dtype,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        measured=measured,
    )


def as_json(report: Report) -> dict[str, object]:
    """The report as plain values, with the process's largest memory."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**asdict(report), "resident_bytes": resident}


def as_text(report: Report) -> str:
    """The report as Markdown tables."""
    head = [
        f"{report.config}: window of {report.frames} frames, {report.passes} passes, "
        f"{report.dtype}, random weights",
        "",
        f"GFLOP of {report.frames} frames, all calls of a part (2 per multiply-add)",
        *table(report.measured, "gflop", "{:.1f}"),
        "",
        memory_line(report),
    ]
    if not report.timed_frames:
        return "\n".join(head)
    where = f"{report.device}, {report.threads} thread(s)" if report.device == "cpu" else (
        report.device
    )  # fmt: skip
    lines = [
        *head,
        "",
        f"Seconds of {report.timed_frames} frames, all calls of a part, measured on {where}",
        *table(report.measured, "seconds", "{:.3f}", whole="window_seconds"),
    ]
    if report.device == "cpu":
        lines += ["", "Processor time [s] of the same, without the time of other programs"]
        lines += table(report.measured, "cpu_seconds", "{:.3f}", whole="window_cpu_seconds")
    return "\n".join(lines)


def table(found: Measured, what: str, number: str, whole: str | None = None) -> list[str]:
    """One quantity of all parts and their sum.

    whole: the attribute with the same quantity for the whole window.
    """
    values = getattr(found, what)
    rows = [(name, str(found.calls[name]), value) for name, value in values.items()]
    rows.append(("sum", "", sum(values.values())))
    if whole:
        rows.append(("whole window in one run", "", getattr(found, whole)))
    lines = [f"| {name} | {calls} | {number.format(value)} |" for name, calls, value in rows]
    return [f"| part | calls | {what} |", "|---|---|---|", *lines]


def memory_line(report: Report) -> str:
    """Peak memory, counted and, on a GPU, measured."""
    found = report.measured
    assert found.memory_bytes is not None
    text = f"memory: {found.memory_bytes / 2**30:.2f} GiB counted at {report.frames} frames"
    if found.cuda_bytes is not None:
        text += f", {found.cuda_bytes / 2**30:.2f} GiB measured at {report.timed_frames}"
    return text
