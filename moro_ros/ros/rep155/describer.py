"""REP-155 fit, posture and gesture of a person, shared by several outputs."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from moro_ros.body.posture import CAMERA_UP, Behaviour, FallDetector, Gesture, Posture
from moro_ros.recover.ground import GroundPlane
from moro_ros.ros.rep155.fit import JointFit, fit_joints
from moro_ros.types import BodyMotion


class Describer:
    """Describes people on request, each frame of a person at most once; for one thread.

    fits_made, behaviours_made: how often something was computed.
    """

    def __init__(self) -> None:
        self.fits_made = 0
        self.behaviours_made = 0
        self._fits: dict[int, tuple[int, JointFit]] = {}
        self._behaviours: dict[int, tuple[int, Behaviour]] = {}
        self._falls: dict[int, FallDetector] = {}

    def fit(self, motion: BodyMotion) -> JointFit:
        """The REP-155 model fitted to the newest frame of a person."""
        stamp_ns, known = int(motion.stamps_ns[-1]), self._fits.get(motion.track_id)
        if known is not None and known[0] == stamp_ns:
            return known[1]
        fit = fit_joints(motion, None if known is None else known[1])
        self._fits[motion.track_id] = stamp_ns, fit
        self.fits_made += 1
        return fit

    def behaviour(self, motion: BodyMotion, up: np.ndarray = CAMERA_UP) -> tuple[Posture, Gesture]:
        """Posture and gesture in the newest frame of a person.

        up: (3,) unit vector against gravity, in the frame of the motion. Call this for every image:
        waving and stable postures depend on earlier images.
        """
        stamp_ns = int(motion.stamps_ns[-1])
        last_ns, behaviour = self._behaviours.get(motion.track_id, (None, None))
        if behaviour is None:
            behaviour = Behaviour()
        if last_ns != stamp_ns:
            behaviour.update(motion, up)
            self._behaviours[motion.track_id] = stamp_ns, behaviour
            self.behaviours_made += 1
        return behaviour.posture, behaviour.gesture

    def fallen(self, motion: BodyMotion, ground: GroundPlane) -> bool:
        """Whether the person has just fallen; call it once per image.

        ground: in the frame of the motion. Images that did not measure the person are ignored.
        """
        detector = self._falls.setdefault(motion.track_id, FallDetector())
        if motion.held[-1] or not motion.keypoints_seen[-1]:
            return detector.fallen
        posture, _ = self.behaviour(motion, ground.normal)
        height_m = float(ground.heights(motion.joints[-1, 0]))
        return detector.update(height_m, posture, int(motion.stamps_ns[-1]))

    def keep(self, track_ids: Collection[int]) -> None:
        """Forget all other people."""
        for known in (self._fits, self._behaviours, self._falls):
            for track_id in known.keys() - set(track_ids):
                known.pop(track_id)
