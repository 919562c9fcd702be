"""PipelinePool: the pipelines of several cameras around one loaded network, ready to run."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import weakref

import numpy as np
import torch

from moro_ros.config import PipelineConfig
from moro_ros.live.load import load_stream, rehearse
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.pipeline import HumanMotionPipeline, make_frontend
from moro_ros.perception.frontend import KeypointFrontend

# Size of the black image for the warm-up of a front-end, pixels.
WARM_WIDTH, WARM_HEIGHT = 640, 480


class PipelinePool:
    """Creates pipelines; those with equal read-only options share the network, all share the ids.

    The network exists as long as one of its pipelines. Each pipeline may be used in its own thread:
    they take turns with the network.
    """

    def __init__(self) -> None:
        self._streams: dict[object, weakref.WeakSet[MoRoStream]] = {}
        self._ids = itertools.count(1)
        self._turn = threading.Lock()

    def pipeline(self, config: PipelineConfig) -> HumanMotionPipeline:
        """Return a pipeline that has run once; loads the model if necessary.

        Raises: see load_stream and make_frontend.
        """
        if config.device == "cpu":
            torch.set_num_threads(config.threads)
        key = tuple(
            getattr(config, item.name)
            for item in dataclasses.fields(config)
            if item.metadata.get("read_only")
        )
        streams = self._streams.setdefault(key, weakref.WeakSet())
        known = next(iter(streams), None)
        stream = load_stream(config) if known is None else known.sibling(config.motion)
        streams.add(stream)
        frontend = make_frontend(config, stream)
        frontend.number_from(self._ids)
        pipeline = HumanMotionPipeline(config, frontend, stream)
        pipeline.turn = self._turn
        with self._turn:
            warm_up(pipeline)
        return pipeline


def warm_up(pipeline: HumanMotionPipeline) -> None:
    """Run everything once on synthetic input, so that the first image is not slow.

    There are no people afterwards.
    """
    if isinstance(pipeline.frontend, KeypointFrontend):
        black = np.zeros((WARM_HEIGHT, WARM_WIDTH, 3), np.uint8)
        pipeline.frontend.observe(black, 1)
        # The detector found nobody. Each thread's landmark network runs once, in the image after
        # the one in which it is offered.
        for number in range(pipeline.config.detector.threads + 1):
            pipeline.frontend.offer(np.array([[0.0, 0.0, WARM_WIDTH, WARM_HEIGHT]]))
            pipeline.frontend.observe(black, 2 + number)
        pipeline.frontend.reset()
    rehearse(pipeline.stream)
