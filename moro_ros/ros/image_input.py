"""The subscriptions to image and camera_info, and the thread that processes the newest image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
)
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from moro_ros.errors import MoroError
from moro_ros.live.threads import NewestSlot
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.compat import SubscriptionEventCallbacks
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.logs import speaking_as
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_subscription, decided
from moro_ros.ros.statistics import NodeStatistics
from moro_ros.ros.transport import Transport, remedy

# Of a subscription that matches every publisher, but misses what was published before.
ANY = DurabilityPolicy.VOLATILE, ReliabilityPolicy.BEST_EFFORT


def info_policies(offered: QoSProfile) -> tuple[DurabilityPolicy, ReliabilityPolicy]:
    """Durability and reliability of the subscription for a publisher of camera_info.

    A latched message is sent only once, and to later subscribers only if they request it.
    """
    if offered.durability != DurabilityPolicy.TRANSIENT_LOCAL:
        return ANY
    reliable = offered.reliability == ReliabilityPolicy.RELIABLE
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return DurabilityPolicy.TRANSIENT_LOCAL, policy


class ImageInput:
    """Subscribes to image (or image/compressed) and camera_info with the QoS of their publishers.

    camera_info is received from volatile and from transient-local publishers. With
    image_reliability auto the image subscription is best effort until images are lost that a
    reliable publisher would resend. Call `tend` once a second.

    on_image, on_camera_info: called in the executor's thread; on_lost: called with the number of
    images that the middleware lost. topic: full name of the image topic.
    """

    def __init__(
        self,
        node: Node,
        options: NodeConfig,
        on_image: Callable[[AnyImage], None],
        on_camera_info: Callable[[CameraInfo], None],
        on_lost: Callable[[int], None],
    ) -> None:
        self._node = node
        self._on_image, self._on_camera_info, self._on_lost = on_image, on_camera_info, on_lost
        self._compressed = options.image_transport == "compressed"
        # The topic of image_transport: remapping image also remaps its compressed topic.
        self.topic = node.resolve_topic_name("image") + ("/compressed" if self._compressed else "")
        self.info_topic = node.resolve_topic_name("camera_info")
        self._auto = options.image_reliability == "auto" and not decided(
            node, self.topic, "reliability"
        )
        self._mismatches: dict[str, str] = {}
        self._received = False
        self._transport = Transport()
        self._reliable = options.image_reliability == "reliable"
        self._images = self._subscribe_images()
        self._infos = {ANY: self._subscribe_infos(*ANY)}
        self._follow_infos()

    def tend(self) -> None:
        """Adapt the subscriptions to the publishers found since the last call.

        For the executor's thread.
        """
        self._follow_infos()
        if self._auto:
            self._follow_images()
        self._transport.next_period()

    def _subscribe_images(self) -> Subscription:
        policy = ReliabilityPolicy.RELIABLE if self._reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=qos_profile_sensor_data.depth, reliability=policy)
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._note_incompatible, message_lost=self._note_lost
        )
        kind = CompressedImage if self._compressed else Image
        return create_subscription(self._node, kind, self.topic, self._take_image, qos, events)

    def _subscribe_infos(
        self, durability: DurabilityPolicy, reliability: ReliabilityPolicy
    ) -> Subscription:
        latched = durability == DurabilityPolicy.TRANSIENT_LOCAL
        depth = 1 if latched else qos_profile_sensor_data.depth
        qos = QoSProfile(depth=depth, durability=durability, reliability=reliability)
        # One subscription per QoS; each may be incompatible with the others' publishers.
        quiet = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
        take = self._on_camera_info
        return create_subscription(self._node, CameraInfo, "camera_info", take, qos, quiet)

    def _follow_infos(self) -> None:
        """Subscribe with each published QoS, because a latched message is sent only once.

        A transient-local subscription alone would miss volatile publishers. Two subscriptions at
        all times would each report the other's publishers as incompatible.
        """
        found = self._node.get_publishers_info_by_topic(self.info_topic)
        wanted = {info_policies(info.qos_profile) for info in found}
        if not wanted or decided(self._node, self.info_topic, "durability"):
            return
        for policies in wanted - self._infos.keys():
            self._infos[policies] = self._subscribe_infos(*policies)
        for policies in self._infos.keys() - wanted:
            self._node.destroy_subscription(self._infos.pop(policies))

    def _follow_images(self) -> None:
        """Request reliable images if that helps, best effort if they are not offered."""
        loss = self._transport.loss
        if self._reliable == self._offered_reliable or not (loss or self._reliable):
            return
        self._reliable = not self._reliable
        self._node.destroy_subscription(self._images)
        self._images = self._subscribe_images()
        self._transport.restart()
        if self._reliable:
            self._node.get_logger().warning(
                f"Images are lost: {loss}. The publisher is reliable: the subscription changes to "
                "reliable, so that lost data is resent (image_reliability: auto)."
            )
        else:
            self._node.get_logger().warning(
                f"A publisher of {self.topic} is best effort: the subscription changes to best "
                "effort (image_reliability: auto)."
            )

    @property
    def _offered_reliable(self) -> bool:
        """Whether the images have publishers and all of these are reliable."""
        found = self._node.get_publishers_info_by_topic(self.topic)
        kinds = {info.qos_profile.reliability for info in found}
        return kinds == {ReliabilityPolicy.RELIABLE}

    @property
    def problems(self) -> tuple[str, ...]:
        """Texts about incompatible publishers, for the diagnostics; usually none."""
        return tuple(self._mismatches.values())

    @property
    def loss(self) -> str:
        """A text with the share of received images and the remedy; empty unless many are lost."""
        loss = self._transport.loss
        if not loss:
            return ""
        what = remedy(self._reliable, self._offered_reliable, self._compressed)
        return f"On {self.topic} the node {loss}. {what}"

    @property
    def info_publishers(self) -> list[str]:
        """Full names of the nodes that publish camera_info."""
        found = self._node.get_publishers_info_by_topic(self.info_topic)
        return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found)

    def why_quiet(self) -> str:
        """A text of why no image arrives, according to the node graph, and the remedy."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if self._mismatches:
            return " ".join(self._mismatches.values())
        if not publishers and self._received:
            return f"{self.topic} has no publisher any more: the camera or the recording has ended."
        if not publishers:
            return f"{self.topic} has no publisher. {self._near_topic()}"
        wanted = "sensor_msgs/msg/" + ("CompressedImage" if self._compressed else "Image")
        types = {info.topic_type for info in publishers}
        if wanted not in types:
            return f"{self.topic} has the type {', '.join(sorted(types))}, not {wanted}."
        if loss := self.loss:
            return loss
        return f"the publisher of {self.topic} sends nothing."

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in (self._images, *self._infos.values()):
            self._node.destroy_subscription(subscription)

    def _near_topic(self) -> str:
        """The remedy if there is no publisher: the other transport, or a remapping."""
        raw = self.topic.removesuffix("/compressed")
        other = raw if self._compressed else raw + "/compressed"
        if self._node.count_publishers(other):
            transport = "raw" if self._compressed else "compressed"
            return f"{other} is published: set image_transport to {transport}."
        return "Remap 'image' and 'camera_info' to the camera's topics."

    def _take_image(self, image: AnyImage) -> None:
        self._received = True
        self._transport.came()
        self._on_image(image)

    def _note_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        if self._auto and policy == "RELIABILITY":
            return  # `tend` then requests best effort
        self._mismatches[policy] = self._explained(policy)
        self._node.get_logger().error(self._mismatches[policy])

    def _explained(self, policy: str) -> str:
        if policy == "RELIABILITY":
            return (
                f"The publisher of {self.topic} is best effort and this node requests reliable "
                "delivery, so no images are received. Set image_reliability to best_effort."
            )
        return (
            f"The publisher of {self.topic} offers an incompatible QoS ({policy}), so no images "
            "are received. Publish images with the default QoS or the sensor data QoS."
        )

    def _note_lost(self, event: Any) -> None:
        # rclpy's total restarts with each subscription.
        self._transport.lost(event.total_count_change)
        self._on_lost(event.total_count_change)


class Worker:
    """Takes the newest image and processes it in a separate thread until it is stopped.

    process: called with each image and whether it had to wait because this thread was busy.
    pause: called once for each call of `images_stopped`, in order between the images.
    Errors of both go to `faults`; the thread continues after a MoroError and ends after any other.
    logger: of the node; receives the library's log messages from this thread.
    busy: held while either runs; other users of the same objects must hold it.
    """

    def __init__(
        self,
        process: Callable[[AnyImage, bool], None],
        pause: Callable[[], None],
        statistics: NodeStatistics,
        faults: FaultLog,
        logger: RcutilsLogger,
    ) -> None:
        self.busy = threading.Lock()
        self._process, self._pause = process, pause
        self._statistics = statistics
        self._faults = faults
        self._logger = logger
        self._slot: NewestSlot[AnyImage | Callable[[], None]] = NewestSlot()
        self._thread = threading.Thread(target=self._work, name="moro_worker", daemon=True)
        self._thread.start()

    def put(self, image: AnyImage) -> None:
        """Hand over an image; it replaces one that is still waiting."""
        if self._slot.put(image):
            self._statistics.count("dropped")

    def images_stopped(self) -> None:
        """Call `pause` after the images handed over so far and before any later one."""
        self._slot.put(self._pause, "pause")

    def stop(self) -> None:
        """Finish the current image; one that is waiting is dropped."""
        self._slot.close()
        self._thread.join()

    def _work(self) -> None:
        while (item := self._slot.take()) is not None:
            try:
                with self.busy, speaking_as(self._logger):
                    if callable(item):
                        item()
                    else:
                        self._process(item, self._slot.late)
            except Exception as error:
                self._faults.take(error)
                if not isinstance(error, MoroError):
                    return
