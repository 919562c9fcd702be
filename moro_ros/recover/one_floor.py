"""The sizes of several people from the one floor on which they stand.

The network takes a child for an adult farther away, who stands on a lower floor. If everybody is on
one floor, its height follows from those of usual size, and the size of the others follows from it.
"""

from __future__ import annotations

import math

import numpy as np

from moro_ros.recover.children import CHILDREN, SMALLEST, child_density

# The network's own sigma of the logarithm of distance and size; measured on validation motion of
# adults.
PRIOR_SIGMA = 0.09
# Sigma of the height of a person's contacts, relative to the camera's.
CONTACT_SIGMA = 0.03
# Somebody whose size would be this many sigma from the expected one is on another level.
OTHER_SIGMAS = 3.0
# Likelihood of anything else, such as people on different floors.
OTHERWISE = 1e-6
STEP = 0.002


def sizes_on_one_floor(
    logs: np.ndarray, sigmas: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the true size of each person over that at their distance (N,), and sigma of the floor.

    logs, sigmas, known, and sigma: see shared_height. The size is 1 for those who cannot be on the
    same floor: nobody is that tall, or as small if their size is known.
    """
    log_height, sigma = shared_height(logs, sigmas, known)
    log_size = log_height - logs
    most = OTHER_SIGMAS * np.where(known, np.hypot(sigmas, CONTACT_SIGMA), PRIOR_SIGMA)
    likely = (log_size < most) & (log_size > np.where(known, -most, -SMALLEST))
    return np.where(likely, np.exp(log_size), 1.0), sigma


def shared_height(logs: np.ndarray, sigmas: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return the logarithm of the camera's height above the floor that people share, and its sigma.

    logs: (N,), of the heights [m] that follow from each person's own distance; sigmas: (N,), of
    these; known: (N,) bool, whether depth or a set stature determines it. The others may be
    children. Without a known one sigma is at least PRIOR_SIGMA, because only children look like
    only adults farther away.
    """
    width = np.where(known, sigmas, math.hypot(PRIOR_SIGMA, CONTACT_SIGMA))
    share = np.where(known, 0.0, CHILDREN)
    grid = np.arange(logs.min() - SMALLEST, logs.max() + SMALLEST, STEP)
    size = grid[:, None] - logs
    usual = np.exp(-0.5 * (size / width) ** 2) / (math.sqrt(2.0 * math.pi) * width)
    people = (1.0 - share) * usual + share * child_density(size)
    likelihood = np.prod(people + OTHERWISE, axis=1)
    likelihood /= likelihood.sum()
    mean = float(likelihood @ grid)
    sigma = math.sqrt(float(likelihood @ (grid - mean) ** 2))
    return mean, sigma if known.any() else max(sigma, PRIOR_SIGMA)
