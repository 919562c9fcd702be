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
    Form,
    Measured,
    State,
    count_memory,
    count_work,
    disagreement,
    make_forms,
    make_inputs,
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

OURS, PLAIN = 0, 1
# Largest difference between the two forms, relative to the largest value of each array. float32:
# the order of additions; bfloat16: eight bits through the whole depth.
LIMITS = {"float32": 1e-4, "bfloat16": 0.2}


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the command; plain and worst are None if only our form was measured.

    differences: see bench_network.disagreement, empty if nothing ran.
    """

    config: str
    frames: int
    timed_frames: int
    passes: int
    dtype: str
    device: str
    threads: int
    ours: Measured
    plain: Measured | None
    differences: dict[str, float]

    @property
    def worst(self) -> float | None:
        """The largest difference of any array."""
        return max(self.differences.values()) if self.differences else None


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
    add(
        "--baseline-form",
        action="store_true",
        help="also run the plain implementation with the same weights",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add(
        "--dtype",
        choices=sorted(LIMITS),
        default="float32",
        help="data type; bfloat16 uses autocast",
    )
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", action="store_true", help="print a JSON object instead of tables")
    network.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Count and measure; returns 1 if the two forms disagree."""
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
        baseline=arguments.baseline_form,
    )
    print(json.dumps(as_json(report), indent=1) if arguments.json else as_text(report))
    limit = LIMITS[arguments.dtype]
    return 0 if all(value <= limit for value in report.differences.values()) else 1


def bench(
    path: Path,
    *,
    frames: int,
    timed_frames: int,
    passes: int,
    repeat: int = 3,
    dtype: str = "float32",
    device: str = "cpu",
    baseline: bool = True,
) -> Report:
    """Count the work and the memory of a window of `frames`, time one of `timed_frames`.

    path: model.yaml or a model folder. Raises: ConfigError; CheckpointError.
    """
    folder = path if path.is_dir() else None
    config = load_model_config(path / DESCRIPTION if folder else path)
    half = dtype == "bfloat16"
    tokenizer = make_tokenizer(config, folder)

    def on_meta(which: int, half: bool) -> tuple[Form, State]:
        forms = make_forms(config.moro, copy.deepcopy(tokenizer).to("meta"), "meta", half)
        return forms[which], make_inputs(config.moro, frames, "meta")

    found = [Measured() for _ in ((OURS, PLAIN) if baseline else (OURS,))]
    for which, measured in enumerate(found):
        count_work(*on_meta(which, False), passes, measured)
        measured.memory_bytes = count_memory(*on_meta(which, half), passes, half)
    differences: dict[str, float] = {}
    if timed_frames:
        forms = make_forms(config.moro, tokenizer.to(device), device, half)
        inputs = make_inputs(config.moro, timed_frames, device)
        states = [
            measure_time(form, inputs, passes, repeat, half, measured)
            for form, measured in zip(forms[: len(found)], found, strict=True)
        ]
        differences = disagreement(*states) if baseline else {}
    return Report(
        config=str(path),
        frames=frames,
        timed_frames=timed_frames,
        passes=passes,
        dtype=dtype,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        ours=found[OURS],
        plain=found[PLAIN] if baseline else None,
        differences=differences,
    )


def as_json(report: Report) -> dict[str, object]:
    """The report as plain values, with the process's largest memory."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**asdict(report), "worst": report.worst, "resident_bytes": resident}


def as_text(report: Report) -> str:
    """The report as Markdown tables."""
    head = [
        f"{report.config}: window of {report.frames} frames, {report.passes} passes, "
        f"{report.dtype}, random weights",
        "",
        f"GFLOP of {report.frames} frames, all calls of a part (2 per multiply-add)",
        *table(report, "gflop", "{:.1f}"),
        "",
        *memory_lines(report),
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
        *table(report, "seconds", "{:.3f}", whole="window_seconds"),
    ]
    if report.device == "cpu":
        lines += ["", "Processor time [s] of the same, without the time of other programs"]
        lines += table(report, "cpu_seconds", "{:.3f}", whole="window_cpu_seconds")
    if report.worst is not None:
        name = max(report.differences, key=lambda key: report.differences[key])
        lines += ["", f"both implementations agree to {report.worst:.1e} (worst: {name})"]
    return "\n".join(lines)


def table(report: Report, what: str, number: str, whole: str | None = None) -> list[str]:
    """One quantity of all parts and their sum, of our and the plain form.

    whole: the attribute with the same quantity for the whole window.
    """
    ours, plain = report.ours, report.plain
    rows = [(part, ours.calls[part], value) for part, value in getattr(ours, what).items()]
    head = "| part | calls | ours |" + (" plain calls | plain | plain / ours |" if plain else "")
    lines = [head, "|---" * (head.count("|") - 1) + "|"]

    def line(name: str, calls: object, value: float, other_calls: object, other: float) -> str:
        text = f"| {name} | {calls} | {number.format(value)} |"
        if plain is not None:
            ratio = f"{other / value:.2f}" if value else "-"
            text += f" {other_calls} | {number.format(other)} | {ratio} |"
        return text

    for name, calls, value in rows:
        other = getattr(plain, what)[name] if plain else 0.0
        lines.append(line(name, calls, value, plain.calls[name] if plain else 0, other))
    other = sum(getattr(plain, what).values()) if plain else 0.0
    lines.append(line("sum", "", sum(value for *_, value in rows), "", other))
    if whole:
        other = getattr(plain, whole) if plain else 0.0
        lines.append(line("whole window in one run", "", getattr(ours, whole), "", other))
    return lines


def memory_lines(report: Report) -> list[str]:
    """Peak memory, counted and, on a GPU, measured."""
    forms = {"ours": report.ours, "plain": report.plain}
    lines = []
    for name, found in forms.items():
        if found is None or found.memory_bytes is None:
            continue
        text = (
            f"memory {name}: {found.memory_bytes / 2**30:.2f} GiB counted at {report.frames} frames"
        )
        if found.cuda_bytes is not None:
            text += f", {found.cuda_bytes / 2**30:.2f} GiB measured at {report.timed_frames}"
        lines.append(text)
    return lines
