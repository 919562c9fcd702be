"""The numbers of a stage in the configuration of `moro train` (docs/training.md)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from moro_ros.config import check_value, option, validate
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.errors import ConfigError
from moro_ros.training.masking import NoiseSchedule
from moro_ros.training.weights import TermWeights

SCHEMES = ("random", "joint", "frame", "full", "guided")


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of a stage: its share of the run, clips per pass and frames per clip."""

    share: float
    clips: int
    frames: int


@dataclass(frozen=True, slots=True)
class LoopNumbers:
    """Length and optimisation of a stage; shared by all stages.

    The learning rate rises over the share `warm_up` of the run from `first` to 1 times its peak and
    falls along a cosine to `last`.
    """

    steps: int = option(60_000, "Optimiser steps; ignored if minutes is set", low=1)
    minutes: float = option(
        0.0, "Length of the run by wall time, instead of steps; not reproducible bit by bit",
        unit="min", low=0.0,
    )  # fmt: skip
    parts: int = option(
        0, "Passes per step over all processes, with averaged gradients. 0: one per process", low=0
    )
    optimizer: str = option(
        "adamw", "Optimiser: AdamW (paper), or Muon for hidden matrices with AdamW for the rest",
        choices=("adamw", "muon"),
    )  # fmt: skip
    learning_rate: float = option(1e-4, "Peak learning rate", low=0.0)
    weight_decay: float = option(1e-4, "Weight decay", low=0.0)
    beta2: float = option(0.999, "Decay rate of AdamW's second moments", low=0.0, high=1.0)
    clip: float = option(1.0, "Maximum norm of the gradient", low=0.0)
    warm_up: float = option(
        0.05, "Share of the run in which the learning rate rises", low=0.0, high=1.0
    )
    first: float = option(0.01, "Initial learning rate relative to its peak", low=0.0, high=1.0)
    last: float = option(0.1, "Final learning rate relative to its peak", low=0.0, high=1.0)
    precision: str = option(
        "auto", "float32, bfloat16 (autocast), or auto, which depends on the hardware",
        choices=("auto", "float32", "bfloat16"),
    )  # fmt: skip
    report_every: int = option(50, "Steps between two lines of the log", low=1)
    save_every: int = option(1000, "Steps between two checkpoints", low=1)
    workers: int = option(2, "Worker processes that read images", low=0)
    seed: int = option(0, "Random seed", low=0)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of MoRo (arXiv 2601.16079, cross-modality training).

    task: "motion" sees motion alone, "image" images alone, "estimate" single frames through the
    image encoder alone, "video" images and motion. data: names of the data
    sets, drawn equally often; "open" is open motion, filmed by random cameras where the task needs
    images. phases: see Phase, as lists. start: part of the network -> the stage (or file) whose
    weights it starts from. frozen: parts that are not trained. masks: how often each of SCHEMES is
    drawn, in any unit, one for a whole pass; guided: the tokens of which a first pass is least
    sure. noise: of the true trajectory, by progress, as lists (from, m, deg). temperature: of the
    Gumbel-softmax at the start and end of the run; empty for probability-weighted codes.
    true_translation: compare joints at the true place, for sets without a camera. live: share of
    passes in which frames see little of the future, as at the live edge: none in `causal` of them,
    else 1 to 10 frames. near_codes: how far the token loss spreads over neighbouring codes, in mean
    distances of a code to its nearest. mesh_share: share of the frames whose mesh is decoded.
    windows: size of the pool of open motion. extreme_crops, jitter: of the crops of published
    sets.
    """

    task: str = option(
        "video", "Input of the network", choices=("motion", "image", "estimate", "video")
    )
    data: tuple[str, ...] = ("open",)
    phases: tuple[tuple[float, int, int], ...] = ((1.0, 2, 60),)
    loop: LoopNumbers = field(default_factory=LoopNumbers)
    start: dict[str, str] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    masks: dict[str, float] = field(default_factory=lambda: {"full": 1.0})
    noise: NoiseSchedule = ()
    smooth: bool = True
    temperature: tuple[float, ...] = (1.0, 0.01)
    true_translation: bool = False
    live: float = option(
        0.0, "Share of passes with little look-ahead, as in live use", low=0.0, high=1.0
    )
    causal: float = option(0.6, "Share of these passes without any look-ahead", low=0.0, high=1.0)
    near_codes: float = option(
        0.0, "Spread of the token loss over neighbouring codes. 0: only the true code", low=0.0
    )
    mesh_share: float = option(1.0, "Share of frames whose mesh is decoded", low=0.0, high=1.0)
    token_share: float = option(
        1.0, "Share of passes that train tokens and mesh; the others get no tokens as input",
        low=0.0, high=1.0,
    )  # fmt: skip
    drop_path: float = option(0.0, "Maximum drop path rate of the ViT", low=0.0, high=0.99)
    extreme_crops: float = option(
        0.0, "Share of clips whose crop shows only a part of the body", low=0.0, high=1.0
    )
    jitter: bool = option(False, "Shift crops by up to a tenth of their side")
    windows: int = option(4000, "Number of windows in the pool of open motion", low=1)
    varied: float = option(
        0.0,
        "Share of these windows with widened postures, beyond the recorded ones",
        low=0.0,
        high=1.0,
    )
    seated: float = option(
        0.0, "Share of these windows in which people sit or lie", low=0.0, high=1.0
    )
    sized: float = option(
        0.0, "Share of people with another size than the body model's, mostly children",
        low=0.0, high=1.0,
    )  # fmt: skip
    sized_without_floor: float = option(
        0.0, "The same in clips without a given floor, which do not show the size",
        low=0.0, high=1.0,
    )  # fmt: skip
    observation: ObservationNoise = field(default_factory=ObservationNoise)
    weights: TermWeights = field(default_factory=TermWeights)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if item.default is not dataclasses.MISSING:
                check_value(item.name, getattr(self, item.name), item)
        for part in ("loop", "observation", "weights"):
            validate(getattr(self, part), f"{part}.")
        if not self.phases or any(
            not isinstance(phase, list | tuple) or len(phase) != 3 for phase in self.phases
        ):
            raise ConfigError(
                f"phases: got {self.phases!r}, expected lists [share, clips, frames] like "
                "[[1.0, 2, 60]]."
            )
        if unknown := set(self.masks) - set(SCHEMES):
            raise ConfigError(
                f"masks: got {', '.join(sorted(unknown))}; known are {', '.join(SCHEMES)}."
            )
        if not sum(self.masks.values()) > 0 or min(self.masks.values()) < 0:
            raise ConfigError(
                f"masks: got {self.masks}, expected shares of which none is negative and one is "
                "positive."
            )

    def check(self, name: str) -> None:
        """Check for contradicting numbers; name: of the stage.

        Raises: ConfigError.
        """
        used = self.weights.used()
        if not used:
            raise ConfigError(
                f"{name}.weights: no loss term has a weight, so there is nothing to train. "
                f"Describe the stage '{name}' as in config/paper_training.yaml."
            )
        if self.task == "motion" and self.masks.get("guided"):
            raise ConfigError(
                f"{name}.masks.guided: a stage that sees only motion has no image for a guided "
                "pass; expected 0. Use random, joint, frame or full."
            )
        along_time = sorted(name for name in used if name.startswith("mesh_"))
        if self.mesh_share < 1 and along_time:
            raise ConfigError(
                f"{name}.mesh_share: got {self.mesh_share}, but {', '.join(along_time)} need the "
                "mesh of every frame; expected 1, or weights 0."
            )

    def mask_probabilities(self) -> list[float]:
        """Return the probabilities of SCHEMES."""
        values = [float(self.masks.get(scheme, 0.0)) for scheme in SCHEMES]
        return [value / sum(values) for value in values]

    def phase(self, progress: float) -> Phase:
        """Return the phase at a progress in [0, 1]."""
        done = 0.0
        for phase in self.phases:
            done += phase[0]
            if progress < done:
                return Phase(*phase)
        return Phase(*self.phases[-1])

    @property
    def longest(self) -> int:
        """Frames of the longest clips."""
        return max(int(phase[2]) for phase in self.phases)
