"""Conversions of moro_distance: capsules to arrays, distances to messages."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import Point
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.msg import HumanCapsules, HumanDistance, HumanDistances
from moro_ros.ros.distance_options import DistanceConfig

if TYPE_CHECKING:
    from moro_ros.robot.collision import RobotModel
    from moro_ros.robot.separation import Separation

LINE_WIDTH_M, TEXT_HEIGHT_M = 0.01, 0.08
# Lifetime of the markers, long enough for a slow viewer, s.
MARKER_LIFE_S = 0.3


@dataclass(frozen=True, slots=True)
class People:
    """The P body parts of a HumanCapsules message as arrays.

    starts, ends, velocities: (P, 3) m and m/s in frame_id; radii: (P,) m of the body alone; sigmas:
    (P,) m; topics: (P,) number of the topic. latency_s: age of the image at arrival, NaN unknown;
    ttl_s: how long it may be used.
    """

    frame_id: str
    latency_s: float
    ttl_s: float
    topics: np.ndarray
    ids: np.ndarray
    joints: np.ndarray
    states: np.ndarray
    sigmas: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray
    velocities: np.ndarray

    @staticmethod
    def of(message: HumanCapsules, topic: int = 0) -> People:
        """The people of a message; parts without a volume are omitted."""
        parts = [part for part in message.capsules if part.body_radius > 0.0]

        def vectors(name: str) -> np.ndarray:
            items = [getattr(part, name) for part in parts]
            return np.array([(v.x, v.y, v.z) for v in items]).reshape(-1, 3)

        def numbers(name: str) -> np.ndarray:
            return np.array([getattr(part, name) for part in parts])

        return People(
            frame_id=message.header.frame_id.lstrip("/"),
            latency_s=message.latency,
            ttl_s=message.ttl,
            topics=np.full(len(parts), topic),
            ids=numbers("id").astype(int),
            joints=numbers("joint").astype(int),
            states=numbers("state").astype(int),
            sigmas=numbers("sigma"),
            starts=vectors("start"),
            ends=vectors("end"),
            radii=numbers("body_radius"),
            velocities=vectors("velocity"),
        )

    def moved(self, pose: np.ndarray) -> People:
        """The people in another frame; the transform (4, 4) maps points into it."""
        turn, shift = pose[:3, :3], pose[:3, 3]
        return dataclasses.replace(
            self,
            starts=self.starts @ turn.T + shift,
            ends=self.ends @ turn.T + shift,
            velocities=self.velocities @ turn.T,
        )


def together(people: list[People]) -> People:
    """The people of several topics in one frame; latency and ttl are those of the first."""
    arrays = [f.name for f in dataclasses.fields(People) if f.type == "np.ndarray"]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in people]) for name in arrays
    }
    return dataclasses.replace(people[0], **joined)


def nothing(
    header: Header, status: int, ttl_s: float, people_topics: Sequence[str] = ()
) -> HumanDistances:
    """The message without distances, with the reason (STATUS_*)."""
    return HumanDistances(
        header=header, status=status, ttl=ttl_s, age=float("nan"), people_topics=people_topics
    )


def distances_message(
    header: Header,
    robot: RobotModel,
    people: People,
    found: Separation,
    motion: tuple[np.ndarray, np.ndarray, float],
    age_s: float,
    ttl_s: float,
    people_topics: Sequence[str],
) -> HumanDistances:
    """The distances of all pairs, and the minimum of each person.

    motion: poses (L, 4, 4) of the links now and before, and the time between them, s.
    """
    from moro_ros.robot.separation import closing_speeds

    speeds = closing_speeds(found, *motion, people.velocities)
    message = HumanDistances(header=header, status=HumanDistances.STATUS_OK, ttl=ttl_s, age=age_s)
    message.people_topics = people_topics
    message.links = [link.name for link in robot.links]
    message.ids = array.array("I", people.ids)
    message.topics = array.array("B", people.topics)
    message.joints = array.array("B", people.joints)
    message.states = array.array("B", people.states)
    message.sigmas = _floats(people.sigmas)
    message.distances = _floats(found.distances)
    message.closing_speeds = _floats(speeds)
    message.robot_points = _floats(found.robot_points)
    message.human_points = _floats(found.human_points)
    whose = zip(people.topics.tolist(), people.ids.tolist(), strict=True)
    for topic, person in dict.fromkeys(whose):
        columns = np.flatnonzero((people.topics == topic) & (people.ids == person))
        least = int(found.distances[:, columns].argmin())
        row, column = least // len(columns), int(columns[least % len(columns)])
        message.nearest.append(
            HumanDistance(
                id=person,
                topic=topic,
                link=robot.links[row].name,
                joint=int(people.joints[column]),
                state=int(people.states[column]),
                distance=float(found.distances[row, column]),
                sigma=float(people.sigmas[column]),
                closing_speed=float(speeds[row, column]),
                robot_point=_point(found.robot_points[row, column]),
                human_point=_point(found.human_points[row, column]),
            )
        )
    return message


def _floats(values: np.ndarray) -> array.array[float]:
    numbers = array.array("f")
    numbers.frombytes(np.ascontiguousarray(values, np.float32).tobytes())
    return numbers


def _point(place: np.ndarray) -> Point:
    x, y, z = place.tolist()
    return Point(x=x, y=y, z=z)


def marker_array(message: HumanDistances, options: DistanceConfig) -> MarkerArray:
    """A line between the nearest points of each person, red below near_m, and the distance."""
    markers = [Marker(header=message.header, action=Marker.DELETEALL)]
    # Ids of people from two topics may be the same.
    for number, pair in enumerate(message.nearest):
        red = pair.distance < options.near_m
        colour = ColorRGBA(r=1.0, g=0.2, b=0.1, a=1.0) if red else ColorRGBA(r=0.1, g=0.9, a=1.0)
        line = Marker(
            header=message.header, ns="distance", id=number, type=Marker.LINE_LIST, color=colour
        )
        line.scale.x = LINE_WIDTH_M
        line.points = [pair.robot_point, pair.human_point]
        text = Marker(
            header=message.header,
            ns="distance_text",
            id=number,
            type=Marker.TEXT_VIEW_FACING,
            color=colour,
            text=f"{pair.distance:.2f} m",
        )
        text.scale.z = TEXT_HEIGHT_M
        a, b = pair.robot_point, pair.human_point
        middle = text.pose.position
        middle.x, middle.y, middle.z = (a.x + b.x) / 2, (a.y + b.y) / 2, (a.z + b.z) / 2
        for marker in (line, text):
            marker.pose.orientation.w = 1.0
            marker.lifetime = Duration(seconds=MARKER_LIFE_S).to_msg()
        markers += [line, text]
    return MarkerArray(markers=markers)
