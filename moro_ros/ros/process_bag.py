"""The action ~/process_bag: processes a recording in parallel with the live images."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle

from moro_ros.action import ProcessBag
from moro_ros.errors import ConfigError, MoroError
from moro_ros.io.bag_depth import BagDepth, DepthUse
from moro_ros.io.bag_reader import AnyReader, open_bag
from moro_ros.io.bag_topics import IMAGE, INFO
from moro_ros.io.motion_files import MotionFiles
from moro_ros.ros.bag_images import BagImages
from moro_ros.ros.bag_motion import BagMotion
from moro_ros.ros.base_node import BaseNode
from moro_ros.ros.depth_input import depth_topics
from moro_ros.ros.logs import speaking_as

FEEDBACK_PERIOD_S = 0.2


class ThreadedActionServer(ActionServer):
    """An action server that works in a separate thread, without blocking the node's executor.

    execute_callback runs in the executor's thread and only ends a goal, with the result of `work`.
    """

    def __init__(self, *args: Any, work: Callable[[ServerGoalHandle], Any], **kwargs: Any) -> None:
        self._work = work
        super().__init__(*args, **kwargs)

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """Called by rclpy after a goal was accepted."""
        end = execute_callback or self._execute_callback

        def work() -> None:
            result = self._work(goal_handle)
            # An executor that is shut down runs no tasks, so the result cannot be sent.
            with contextlib.suppress(AttributeError):
                super(ThreadedActionServer, self).notify_execute(
                    goal_handle, lambda handle: end(handle, result)
                )

        threading.Thread(target=work, name="moro_process_bag", daemon=True).start()


class BagAction:
    """The server of ~/process_bag; one recording at a time.

    An impossible goal is accepted and aborted with the reason, because a rejection has no text.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._busy = threading.Lock()
        self._stopped = threading.Event()
        self._server = ThreadedActionServer(
            node,
            ProcessBag,
            "~/process_bag",
            settle,
            work=self._work,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def stop(self) -> None:
        """Stop the current work, if any, and wait for its end."""
        self._stopped.set()
        with self._busy:
            self._stopped.clear()

    def _work(self, handle: ServerGoalHandle) -> ProcessBag.Result:
        if not self._busy.acquire(blocking=False):
            return ProcessBag.Result(
                message="Another recording is being processed: wait for it or cancel it."
            )
        logger = self._node.get_logger()
        try:
            with speaking_as(logger):
                result = self._process(handle)
        except (MoroError, OSError) as error:
            result = ProcessBag.Result(message=str(error))
        except Exception:
            logger.error(f"Unexpected error in process_bag:\n{traceback.format_exc()}")
            result = ProcessBag.Result(message="Unexpected error; see the node's log.")
        finally:
            self._busy.release()
        logger.info(f"process_bag, {handle.request.bag}: {result.message}")
        return result

    def _process(self, handle: ServerGoalHandle) -> ProcessBag.Result:
        """Process a goal; raises MoroError or OSError if that is not possible."""
        goal, node = handle.request, self._node
        if node.pipeline is None:
            raise ConfigError(f"The node is {node.state}: configure it first.")
        output = output_folder(node.options.process_bag.root, goal.output)
        with contextlib.ExitStack() as opened:
            reader = opened.enter_context(contextlib.closing(open_bag(goal.bag)))
            depth, lack, topics = None, "", ("", "")
            if node.options.depth_topic:
                topics = depth_topics(node, node.options.depth_topic, node.options.depth_info_topic)
                lack = missing_depth(reader, *topics)
            images = BagImages(
                reader,
                goal.image_topic,
                goal.camera_info_topic,
                goal.start_s,
                goal.end_s,
                topics[0],
            )
            if topics[0] and not lack:
                depth = opened.enter_context(BagDepth(goal.bag, *topics))
            # There is time to detect all people in every image.
            pipeline = node.make_pipeline(replace(node.config, realtime=False))
            files = MotionFiles(output, goal.overwrite)
            try:
                use = None if depth is None else DepthUse(depth, pipeline.use_depth(), "")
                motion = BagMotion(pipeline, files, node.options, use)
                tell = Progress(handle, motion, images.total)
                complete = motion.run(
                    images, lambda share: tell(share) and not self._stopped.is_set()
                )
                written = files.finish() if complete else []
            finally:
                files.discard()
        return result_of(motion, written, lack)


def missing_depth(reader: AnyReader, topic: str, info_topic: str) -> str:
    """A text of which topic for depth a recording lacks; empty if it has both."""
    recorded = {(item.topic, item.msgtype) for item in reader.connections}
    wanted = {"depth_topic": (topic, IMAGE), "depth_info_topic": (info_topic, INFO)}
    for parameter, (name, kind) in wanted.items():
        if (name, kind) not in recorded:
            names = sorted(other for other, of in recorded if of == kind)
            return (
                f"Depth was not used: the recording does not have {name}. Set {parameter} to one "
                f"of its topics of {kind}: {', '.join(names) or 'there are none'}."
            )
    return ""


def output_folder(root: str, output: str) -> Path:
    """The folder for the results of a goal, without links: `output`, which is below `root`.

    Anyone who can reach the node can send a goal, so the operator defines where it may write.
    Raises: ConfigError if there is no root, or if the folder is not below it.
    """
    if not root:
        raise ConfigError(
            "process_bag.root is empty, so the action is disabled. Start the node with the folder "
            "below which results may be written, such as process_bag.root:=/var/lib/moro."
        )
    if not output:
        raise ConfigError("output: got nothing, expected a folder for the results.")
    base = Path(root).expanduser().resolve()
    try:
        folder = (base / output).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a path too long
        raise ConfigError(f"output: got '{output}', which is not a folder: {error}") from error
    if not folder.is_relative_to(base):
        raise ConfigError(
            f"output: got '{output}', which leads to {folder}; expected a folder below "
            f"process_bag.root, {base}."
        )
    return folder


class Progress:
    """Publishes feedback periodically; called after each image, it returns whether to continue."""

    def __init__(self, handle: ServerGoalHandle, motion: BagMotion, total: int) -> None:
        self._handle, self._motion, self._total = handle, motion, total
        self._told_s = -FEEDBACK_PERIOD_S

    def __call__(self, fraction: float) -> bool:
        """Publish the progress; fraction: of the recording's time."""
        now_s = time.monotonic()
        if now_s - self._told_s >= FEEDBACK_PERIOD_S:
            self._told_s = now_s
            done = self._motion.tally.frames + self._motion.tally.skipped
            feedback = ProcessBag.Feedback(
                frames_done=done, frames_total=max(done, self._total), fraction=fraction
            )
            self._handle.publish_feedback(feedback)
        return not self._handle.is_cancel_requested


def result_of(motion: BagMotion, written: list[Path], lack: str) -> ProcessBag.Result:
    """The result of a processed goal; if nothing was written, it was stopped.

    lack: a text of why depth was not used, empty if it was or is not wanted.
    """
    tally = motion.tally
    result = ProcessBag.Result(
        success=bool(written),
        frames=tally.frames,
        skipped=tally.skipped,
        people=sorted(tally.people),
        files=[str(path) for path in written],
    )
    done = f"{tally.frames} images described, {len(tally.people)} people"
    if motion.depth is not None:
        done += f"; {motion.depth.used}"
        lack = motion.depth.unused
    if tally.skipped:
        done += f"; {tally.skipped} skipped, most recently: {tally.last_fault}"
    done = f"{done}. {lack}".removesuffix(" ")
    result.message = done if written else f"Stopped without writing files: {done}"
    return result


def settle(handle: ServerGoalHandle, result: ProcessBag.Result) -> ProcessBag.Result:
    """End a goal in the state of its result."""
    if result.success:
        handle.succeed()
    elif handle.is_cancel_requested:
        handle.canceled()
    else:
        handle.abort()
    return result
