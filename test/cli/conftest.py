"""What the tests of moro predict share: a stand-in for the networks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from moro_ros.body.body_model import BodyModel
from moro_ros.cli import predict
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import BodyMotion, Camera, Frame, PersonObservation


class Pipeline:
    """One person in every image; `before` is called with the number of each image."""

    def __init__(self, body: BodyModel, posed: Callable[..., BodyMotion]) -> None:
        self.stream = SimpleNamespace(body=body)
        self.frontend = SimpleNamespace(number_from=lambda ids: None)
        self.model_name, self.model_sha256 = "stand-in", "0" * 64
        self.ignored_people = self.unusable_poses = 0
        self.noticed: dict[str, int] = {}
        self.before: Callable[[int], object] = lambda _number: None
        self.shapes: set[tuple[int, ...]] = set()
        self._posed, self._count = posed, 0
        self.floor: GroundPlane | None = None
        self.floor_doubts: dict[int, str] = {}
        self.resets = 0
        self.statures: list[tuple[int, int, float]] = []  # number of images before, id, metres
        self.people: tuple[int, ...] = (1,)

    def reset(self) -> None:
        self.resets += 1

    def ignore_depth(self) -> None:
        pass

    def set_floor(self, plane: GroundPlane | None) -> None:
        self.floor = plane

    def expect_stature(self, track_id: int, stature_m: float) -> None:
        self.statures.append((self._count, track_id, stature_m))

    def ignored_floor(self) -> dict[int, str]:
        return self.floor_doubts if self.floor else {}

    def observe(self, image: np.ndarray, stamp_ns: int, camera: Camera) -> SimpleNamespace:
        self.before(self._count)
        self._count += 1
        self.shapes.add((*image.shape[1::-1], camera.width, camera.height))
        box = np.zeros(4, np.float32)
        people = tuple(PersonObservation(i, box, 1.0, None) for i in self.people)
        return SimpleNamespace(frame=Frame(stamp_ns, camera, people))

    def recover(self, observed: SimpleNamespace) -> SimpleNamespace:
        pose = np.zeros((22, 3))
        pose[0, 0] = np.pi
        frame = observed.frame
        return SimpleNamespace(
            motions=tuple(
                self._posed(pose, track_id=one.track_id, stamp_ns=frame.stamp_ns)
                for one in frame.people
            )
        )


@pytest.fixture
def pipeline(
    open_body: BodyModel, posed: Callable[..., BodyMotion], monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    made = Pipeline(open_body, posed)
    monkeypatch.setattr(predict, "fetch_models", lambda _config: None)
    monkeypatch.setattr(predict, "load_pipeline", lambda _config: made)
    return made
