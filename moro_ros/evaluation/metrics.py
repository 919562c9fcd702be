"""The metrics of the paper (arXiv 2601.16079, Sec. 4): from arrays to values per frame.

All inputs are float arrays in metres and in one common frame. Joints are in SMPL-X (or SMPL) order,
of which 0 is the pelvis, 1 and 2 the hips, 7/8 the ankles and 10/11 the toes. Values are returned
per frame or instance, not averaged, because the published figures pool the frames of all sequences:
collect them with paper_metrics and average with pooled_means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

MM_PER_M = 1000.0
HIP_JOINTS = (1, 2)
# Ankle and toe of each foot, and the height [m] over the ground below which each is standing.
FOOT_JOINTS = ((7, 10), (8, 11))
STANDING_HEIGHT_M = (0.15, 0.10)
TOE_JOINTS = (10, 11)
SKATING_SPEED = 0.1  # m/s
CONTACT_SPEED = 0.3  # m/s
# SMPL vertices of the heels and the balls of the feet on which foot sliding is measured.
SMPL_FOOT_VERTICES = (3216, 3387, 6617, 6787)


def paper_metrics(
    predicted: np.ndarray,
    target: np.ndarray,
    fps: float = 30.0,
    visible: np.ndarray | None = None,
    predicted_vertices: np.ndarray | None = None,
    target_vertices: np.ndarray | None = None,
    foot_vertices: tuple[int, ...] = SMPL_FOOT_VERTICES,
) -> dict[str, np.ndarray]:
    """All metrics of one sequence against ground truth, by the names of the paper's tables.

    predicted, target: joints (F, J, 3), F >= 4. visible: (F, J) bool, True where a joint is seen;
    adds the split into visible and occluded joints. predicted_vertices, target_vertices:
    (F, V, 3); add the vertex error and foot sliding. Returns name -> values (N,).
    """
    errors = joint_errors(predicted, target)
    metrics = {
        "PA-MPJPE [mm]": procrustes_errors(predicted, target).mean(1),
        "MPJPE [mm]": errors.mean(1),
        "GMPJPE [mm]": global_joint_errors(predicted, target).mean(1),
        "RTE [%]": trajectory_errors(predicted, target),
        "Accel [m/s2]": acceleration_errors(predicted, target, fps),
        "G-Accel [m/s2]": global_acceleration_errors(predicted, target, fps),
        "Jitter [10 m/s3]": jitter(predicted, fps),
    }
    if visible is not None:
        metrics["MPJPE visible [mm]"] = errors[visible]
        metrics["MPJPE occluded [mm]"] = errors[~visible]
    if predicted_vertices is not None and target_vertices is not None:
        vertex = vertex_errors(predicted_vertices, target_vertices, predicted, target)
        feet = list(foot_vertices)
        metrics["PVE [mm]"] = vertex.mean(1)
        metrics["Sliding [mm]"] = foot_sliding(
            predicted_vertices[:, feet], target_vertices[:, feet], fps
        )
    return metrics


def truth_free_metrics(
    joints: np.ndarray, vertices_y: np.ndarray, fps: float
) -> dict[str, np.ndarray]:
    """The metrics that need no ground truth (the paper's PROX table).

    joints: (F, J, 3) in a frame whose y axis points up. vertices_y: heights of the mesh, or of
    other points that touch the ground, any shape; the lowest one is the ground.
    """
    ground_y = float(np.min(vertices_y))
    depth = penetration_depths(joints, ground_y)
    return {
        "Jitter [10 m/s3]": jitter(joints, fps),
        "Skating ratio": skating(joints, ground_y, fps).astype(float),
        "Penetration depth [mm]": depth,
        "Penetration ratio": (depth > 0).astype(float),
        "Global accel [m/s2]": accelerations(joints, fps),
    }


def pooled_means(sequences: Iterable[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean of each metric over the pooled values of all sequences; NaN if there are none."""
    pooled: dict[str, list[np.ndarray]] = {}
    for metrics in sequences:
        for name, values in metrics.items():
            pooled.setdefault(name, []).append(np.asarray(values))
    return means(pooled)


def means(samples: Mapping[str, Sequence[np.ndarray]]) -> dict[str, float]:
    """Mean of each metric over all its samples, arrays of any shape; NaN if there are none."""
    joined = {name: np.concatenate([v.ravel() for v in vs]) for name, vs in samples.items()}
    return {name: float(v.mean()) if v.size else float("nan") for name, v in joined.items()}


def hip_centred(joints: np.ndarray) -> np.ndarray:
    """Joints (F, J, 3) relative to the middle of the two hips."""
    return joints - joints[:, list(HIP_JOINTS)].mean(1, keepdims=True)


def joint_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distance of each joint after aligning the middle of the hips (MPJPE), (F, J) mm."""
    return MM_PER_M * _length(hip_centred(predicted) - hip_centred(target))


def global_joint_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distance of each joint without any alignment (GMPJPE), (F, J) mm."""
    return MM_PER_M * _length(predicted - target)


def vertex_errors(
    predicted_vertices: np.ndarray,
    target_vertices: np.ndarray,
    predicted: np.ndarray,
    target: np.ndarray,
) -> np.ndarray:
    """Distance of each vertex, each mesh relative to the middle of its own hips (PVE), (F, V) mm.

    predicted_vertices, target_vertices: (F, V, 3). predicted, target: their joints (F, J, 3).
    """
    hips = list(HIP_JOINTS)
    predicted_centre = predicted[:, hips].mean(1, keepdims=True)
    target_centre = target[:, hips].mean(1, keepdims=True)
    difference = (predicted_vertices - predicted_centre) - (target_vertices - target_centre)
    return MM_PER_M * _length(difference)


def procrustes_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distance of each joint after a similarity transform per frame (PA-MPJPE), (F, J) mm."""
    return MM_PER_M * _length(aligned(predicted, target, scale=True) - target)


def aligned(points: np.ndarray, target: np.ndarray, scale: bool) -> np.ndarray:
    """Align point sets with their targets by least squares: rotation, shift and optionally scale.

    points, target: (..., N, 3). No reflection. (Umeyama 1991.) Returns (..., N, 3).
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    target_centre = target.mean(-2, keepdims=True)
    source = points - points.mean(-2, keepdims=True)
    left, singular, right = np.linalg.svd(np.swapaxes(source, -1, -2) @ (target - target_centre))
    flip = np.ones_like(singular)
    flip[..., 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * flip[..., None, :]) @ right  # acts on row vectors
    moved = source @ rotation
    if scale:
        spread = np.square(source).sum((-1, -2))
        moved *= ((singular * flip).sum(-1) / np.maximum(spread, 1e-12))[..., None, None]
    return moved + target_centre


def trajectory_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Root trajectory error (RTE), (F,) percent of the true distance travelled.

    The whole pelvis trajectory is aligned by one rotation and shift, without scale.
    """
    pelvis, truth = predicted[:, 0], target[:, 0]
    path = _length(np.diff(truth, axis=0)).sum()
    return 100 * _length(aligned(pelvis, truth, scale=False) - truth) / path


def acceleration_errors(predicted: np.ndarray, target: np.ndarray, fps: float) -> np.ndarray:
    """Error of the accelerations relative to the hips, mean over joints (Accel), (F - 2,) m/s2."""
    return global_acceleration_errors(hip_centred(predicted), hip_centred(target), fps)


def global_acceleration_errors(predicted: np.ndarray, target: np.ndarray, fps: float) -> np.ndarray:
    """Error of the accelerations in space, mean over joints (G-Accel), (F - 2,) m/s2."""
    return accelerations(np.asarray(predicted) - np.asarray(target), fps)


def accelerations(joints: np.ndarray, fps: float) -> np.ndarray:
    """Size of the joints' acceleration, mean over joints, (F - 2,) m/s2."""
    return _length(np.diff(np.asarray(joints, np.float64), n=2, axis=0)).mean(1) * fps**2


def jitter(joints: np.ndarray, fps: float) -> np.ndarray:
    """Size of the third derivative, mean over joints, (F - 3,) in units of 10 m/s3.

    The published tables head this column m/s3, but their numbers are divided by ten.
    """
    return _length(np.diff(np.asarray(joints, np.float64), n=3, axis=0)).mean(1) * fps**3 / 10


def point_jitter(points: np.ndarray, fps: float) -> float:
    """Size of the third derivative of points (F, N, 3) that may be unknown, in units of 10 m/s3.

    The mean over all points at times at which four frames have them; NaN if there are none.
    """
    sizes = _length(np.diff(np.asarray(points, np.float64), n=3, axis=0)) * fps**3 / 10
    known = sizes[np.isfinite(sizes)]
    return float(known.mean()) if known.size else float("nan")


def foot_sliding(predicted_feet: np.ndarray, target_feet: np.ndarray, fps: float) -> np.ndarray:
    """Motion of foot points per frame while the true ones stand, (number of such moments,) mm.

    predicted_feet, target_feet: (F, N, 3). A point stands while the true one moves below 0.3 m/s.
    """
    standing = _length(np.diff(target_feet, axis=0)) * fps < CONTACT_SPEED
    return MM_PER_M * _length(np.diff(predicted_feet, axis=0))[standing]


def skating(joints: np.ndarray, ground_y: float, fps: float) -> np.ndarray:
    """Whether both feet slide over the ground at once, (F - 1,) bool; y up.

    A foot slides when its ankle and its toe are low and both move sideways faster than 0.1 m/s.
    """
    feet = [joint for foot in FOOT_JOINTS for joint in foot]
    low_below = np.tile(STANDING_HEIGHT_M, len(FOOT_JOINTS))
    sideways = np.diff(joints[:, feet][..., [0, 2]], axis=0)
    fast = _length(sideways) * fps > SKATING_SPEED
    low = joints[1:, feet, 1] - ground_y < low_below
    return np.asarray((fast & low).all(1))


def penetration_depths(joints: np.ndarray, ground_y: float) -> np.ndarray:
    """Depth of the lower toe joint below the ground, (F,) mm, 0 above it; y up.

    The published evaluation takes the lowest predicted point as the ground, which makes this 0.
    """
    toes_y = joints[:, list(TOE_JOINTS), 1].min(1)
    return MM_PER_M * np.maximum(ground_y - toes_y, 0)


def _length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length along the last axis."""
    return np.asarray(np.linalg.norm(np.asarray(vectors, np.float64), axis=-1))
