"""BlazePose on LiteRT: the person detector and the landmark network as functions of an image.

Bazarevsky et al. 2020, "BlazePose: On-device Real-time Body Pose Tracking" (arXiv 2006.10204).
The two model files are from the mediapipe wheel (assets.py); the decoding uses the parameters
published with them (anchors of strides 8, 16, 32; regions 1.25 times the body circle).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import cv2
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from moro_ros.types import DETAILS, KEYPOINTS, Keypoints

Shape = tuple[int, ...]


class ImageNetwork:
    """A model with one image input; calling it returns the wanted outputs by their shape.

    wanted: shapes of the outputs to compute. Operators that only serve other outputs are removed:
    the unused mask of BlazePose takes a third of its time.
    copies: number of threads that may call it at once; each copy runs on its caller's thread.
    """

    def __init__(self, model_path: Path | str, wanted: Iterable[Shape], copies: int = 1) -> None:
        content = cut_model(Path(model_path).read_bytes(), set(wanted))
        self._free: SimpleQueue[_Copy] = SimpleQueue()
        for _ in range(copies):
            self._free.put(_Copy(content))

    def __call__(self, image: np.ndarray) -> dict[Shape, np.ndarray]:
        """Run the model on an image (H, W, 3) float32; waits while all copies are busy."""
        copy = self._free.get()
        try:
            return copy(image)
        finally:
            self._free.put(copy)


class _Copy:
    """One interpreter with its own buffers, for one thread at a time."""

    def __init__(self, content: bytes) -> None:
        # More than one thread would spin while waiting for work, at the cost of other processes.
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {
            tuple(int(n) for n in item["shape"]): item["index"]
            for item in self._interpreter.get_output_details()
        }

    def __call__(self, image: np.ndarray) -> dict[Shape, np.ndarray]:
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return {
            shape: self._interpreter.get_tensor(index) for shape, index in self._outputs.items()
        }


def cut_model(content: bytes, wanted: set[Shape]) -> bytes:
    """Remove the operators of a .tflite file that only serve unused outputs.

    wanted: shapes of the outputs to keep. The others' values do not change.
    Raises: ValueError if an output of a wanted shape is missing.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    shapes = {int(i): tuple(int(n) for n in graph.tensors[i].shape) for i in graph.outputs}
    outputs = [index for index, shape in shapes.items() if shape in wanted]
    if missing := wanted - {shapes[index] for index in outputs}:
        raise ValueError(f"no outputs of shape {missing}; there are {sorted(shapes.values())}")
    maker = {int(out): i for i, item in enumerate(graph.operators) for out in item.outputs}
    needed: set[int] = set()
    open_ends = list(outputs)
    while open_ends:
        number = maker.get(int(open_ends.pop()))
        if number is not None and number not in needed:
            needed.add(number)
            open_ends += list(graph.operators[number].inputs)
    graph.operators = [item for i, item in enumerate(graph.operators) if i in needed]
    graph.outputs = np.array(outputs, dtype=np.int32)
    model.signatureDefs = None  # they name the removed outputs
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


DETECTOR_SIZE = 224
LANDMARK_SIZE = 256
NUM_LANDMARKS = 33
# Landmarks 33 and 34 are not body points but the centre of the body circle and a point on it.
CENTRE, RIM = 33, 34
REGION_SCALE = 1.25
# Factor by which the region is enlarged if no person was seen in it.
WIDER = 1.4
# A detection with a centre this near to a known region's (in sides of the larger) and a side this
# similar is redundant.
SAME_CENTRE, SAME_SIDE = 0.2, 0.75
# Outputs of the two networks; their shapes tell them apart.
DETECTED_ROWS, DETECTED_SCORES = (1, 2254, 12), (1, 2254, 1)
POINTS, WORLD, FLAG, HEATMAP = (1, 195), (1, 117), (1, 1), (1, 64, 64, 39)
# Heatmap cells on either side of a landmark that are searched, and the minimum peak.
HEATMAP_REACH = 3
HEATMAP_MIN_PEAK = 0.5
_KEYPOINT_ROWS = np.array(list(KEYPOINTS.values()))
_DETAIL_ROWS = np.array(list(DETAILS.values()))


@dataclass(frozen=True, slots=True)
class Region:
    """A square image region around a person, rotated so that the body is upright in it.

    centre_px: (2,) float64, pixels of the full image.
    side_px: side of the square, pixels.
    angle: clockwise rotation of the body from upright in the image, rad.
    """

    centre_px: np.ndarray
    side_px: float
    angle: float

    @staticmethod
    def around(centre_px: np.ndarray, rim_px: np.ndarray) -> Region:
        """The region of a body circle given by its centre and a point of it above the head."""
        up = np.asarray(rim_px, float) - centre_px
        side = 2.0 * REGION_SCALE * float(np.hypot(*up))
        return Region(np.asarray(centre_px, float), side, float(np.arctan2(up[0], -up[1])))

    @staticmethod
    def of_box(box_xyxy: np.ndarray) -> Region:
        """The region of an upright person of whom only the box (4,) pixels is known."""
        low, high = np.asarray(box_xyxy, float).reshape(2, 2)
        return Region((low + high) / 2, REGION_SCALE * float((high - low).max()), 0.0)

    def shifted(self, right_px: float, down_px: float) -> Region:
        """The same region relative to an origin that is further left and up."""
        moved = self.centre_px + np.array([right_px, down_px])
        return Region(moved, self.side_px, self.angle)

    def widened(self, factor: float) -> Region:
        """The region enlarged below the head, which stays in place."""
        up = np.array([np.sin(self.angle), -np.cos(self.angle)])
        head = self.centre_px + up * self.side_px / (2.0 * REGION_SCALE)
        return Region(head + (self.centre_px - head) * factor, self.side_px * factor, self.angle)

    def same_as(self, other: Region) -> bool:
        """Whether detections in two regions are redundant."""
        larger, smaller = max(self.side_px, other.side_px), min(self.side_px, other.side_px)
        gap = float(np.hypot(*(self.centre_px - other.centre_px)))
        return gap < SAME_CENTRE * larger and smaller > SAME_SIDE * larger

    def image_from_crop(self, crop_size: int) -> np.ndarray:
        """(2, 3) affine map from pixels of a square crop of this region to the full image."""
        scale = self.side_px / crop_size
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = self.centre_px - linear @ np.full(2, crop_size / 2)
        return np.concatenate([linear, offset[:, None]], axis=1)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The landmark network's output for one region.

    points_px: (35, 2) float32, 33 body landmarks, then centre and rim of the body circle, pixels
        of the full image.
    visibility, presence: (33,) float32 in [0, 1].
    flag: probability that there is a person in the region.
    world: (33, 3) float32, the network's own metric estimate, metres from mid-hip, camera axes.
    peaks: (33,) float32 in [0, 1], height of the peak of each landmark's heatmap: high where the
        network sees the landmark, low where it infers it from the others.
    """

    points_px: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    flag: float
    world: np.ndarray
    peaks: np.ndarray

    @property
    def keypoints(self) -> Keypoints:
        """The landmarks for the motion model, in the order of KEYPOINTS."""
        return self._rows(_KEYPOINT_ROWS)

    @property
    def details(self) -> Keypoints:
        """The landmarks of face and hands, in the order of DETAILS."""
        return self._rows(_DETAIL_ROWS)

    def _rows(self, rows: np.ndarray) -> Keypoints:
        return Keypoints(self.points_px[rows], self.visibility[rows], self.presence[rows])

    @property
    def keypoint_peaks(self) -> np.ndarray:
        """The peaks of the landmarks for the motion model, in the order of KEYPOINTS."""
        return self.peaks[_KEYPOINT_ROWS]

    @property
    def detail_peaks(self) -> np.ndarray:
        """The peaks of the landmarks of face and hands, in the order of DETAILS."""
        return self.peaks[_DETAIL_ROWS]

    @property
    def region(self) -> Region:
        """The region of the same person in the next image."""
        return Region.around(self.points_px[CENTRE], self.points_px[RIM])


@dataclass(frozen=True, slots=True)
class Detection:
    """One person detected in the full image: region and score in [0, 1]."""

    region: Region
    score: float


class BlazePoseDetector:
    """Detects the people in a whole image with the 224 x 224 single-shot detector.

    threads: how many threads may call it at once.
    """

    def __init__(self, model_path: Path | str, threads: int = 1) -> None:
        self._network = ImageNetwork(model_path, (DETECTED_ROWS, DETECTED_SCORES), threads)
        self._anchors = ssd_anchors()

    def detect(self, image_rgb: np.ndarray, min_score: float = 0.5) -> list[Detection]:
        """Detect people, best first.

        image_rgb: (H, W, 3) uint8.
        """
        height, width = image_rgb.shape[:2]
        scale = DETECTOR_SIZE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = shrunk(image_rgb, size)
        left, top = (DETECTOR_SIZE - size[0]) // 2, (DETECTOR_SIZE - size[1]) // 2
        canvas = np.full((DETECTOR_SIZE, DETECTOR_SIZE, 3), -1.0, np.float32)
        canvas[top : top + size[1], left : left + size[0]] = small * np.float32(1 / 127.5) - 1
        outputs = self._network(canvas)
        rows, scores = decode_detections(
            outputs[DETECTED_ROWS][0], outputs[DETECTED_SCORES][0, :, 0], self._anchors, min_score
        )
        points = (rows[:, 4:8].reshape(-1, 2, 2) * DETECTOR_SIZE - (left, top)) / scale
        regions = [Region.around(centre, rim) for centre, rim in points]
        return [Detection(r, float(score)) for r, score in zip(regions, scores, strict=True)]


class BlazePoseLandmarker:
    """Locates the 33 body landmarks of one person in a region (256 x 256 crop).

    threads: how many threads may call it at once.
    """

    def __init__(self, model_path: Path | str, threads: int = 1) -> None:
        self._network = ImageNetwork(model_path, (POINTS, WORLD, FLAG, HEATMAP), threads)

    def locate(self, image_rgb: np.ndarray, region: Region) -> Landmarks:
        """Locate the landmarks of the person in a region.

        image_rgb: (H, W, 3) uint8, the full image; parts of the region outside it count as black.
        """
        outputs = self._network(crop_region(image_rgb, region) * np.float32(1 / 255))
        rows = outputs[POINTS].reshape(39, 5)[: RIM + 1]
        points = refine_points(rows[:, :2] / LANDMARK_SIZE, outputs[HEATMAP][0])
        image_from_crop = region.image_from_crop(LANDMARK_SIZE)
        points = LANDMARK_SIZE * points @ image_from_crop[:, :2].T + image_from_crop[:, 2]
        return Landmarks(
            points.astype(np.float32),
            _sigmoid(rows[:NUM_LANDMARKS, 3]),
            _sigmoid(rows[:NUM_LANDMARKS, 4]),
            float(outputs[FLAG].item()),
            outputs[WORLD].reshape(39, 3)[:NUM_LANDMARKS],
            _sigmoid(outputs[HEATMAP][0, ..., :NUM_LANDMARKS].max(axis=(0, 1))),
        )


def crop_region(image_rgb: np.ndarray, region: Region, size: int = LANDMARK_SIZE) -> np.ndarray:
    """The upright crop of a region for a landmark network, (size, size, 3) uint8.

    A much larger region is sampled twice as densely and averaged, which reduces the jitter of the
    landmarks.
    """
    dense = 2 * size if region.side_px > 1.5 * size else size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image_rgb, region.image_from_crop(dense), (dense, dense), flags=flags)
    if dense == size:
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def shrunk(image_rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H, W, 3) scaled down to a size (width, height) without aliasing.

    Averaging over whole pixels first and interpolating the rest takes a tenth of the time of
    averaging over fractions of pixels.
    """
    factor = max(1, min(image_rgb.shape[1] // size[0], image_rgb.shape[0] // size[1]))
    if factor > 1:
        height, width = (n // factor * factor for n in image_rgb.shape[:2])
        whole = (width // factor, height // factor)
        image_rgb = cv2.resize(image_rgb[:height, :width], whole, interpolation=cv2.INTER_AREA)
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_LINEAR)


def refine_points(points: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Move points to the centre of the peak of their heatmap if there is a clear one.

    The network outputs both; the peaks have a third less jitter than the points.
    points: (N, 2) as fractions of the crop; heatmap: (64, 64, >= N) logits. Returns (N, 2).
    """
    count, cells = len(points), heatmap.shape[0]
    cell = np.floor(points * cells).astype(int)
    inside = np.all((cell >= 0) & (cell < cells), axis=1)
    offsets = np.arange(-HEATMAP_REACH, HEATMAP_REACH + 1)
    x = np.clip(cell[:, :1], 0, cells - 1) + offsets
    y = np.clip(cell[:, 1:], 0, cells - 1) + offsets
    padded = np.pad(
        heatmap[..., :count],
        ((HEATMAP_REACH, HEATMAP_REACH), (HEATMAP_REACH, HEATMAP_REACH), (0, 0)),
        constant_values=-np.inf,
    )
    windows = padded[
        y[:, :, None] + HEATMAP_REACH,
        x[:, None, :] + HEATMAP_REACH,
        np.arange(count)[:, None, None],
    ]  # (N, 7, 7)
    weights = _sigmoid(windows)
    clear = inside & (weights.max(axis=(1, 2)) >= HEATMAP_MIN_PEAK)
    total = np.maximum(weights.sum(axis=(1, 2)), 1e-9)
    peak_x = (weights.sum(axis=1) * x).sum(axis=1) / total
    peak_y = (weights.sum(axis=2) * y).sum(axis=1) / total
    peaks = np.stack([peak_x, peak_y], axis=1) / cells
    return np.where(clear[:, None], peaks, points)


def ssd_anchors() -> np.ndarray:
    """Centres of the detector's 2254 anchors, (2254, 2), as fractions of the input."""
    centres = []
    for stride, per_cell in ((8, 2), (16, 2), (32, 6)):
        cells = DETECTOR_SIZE // stride
        y, x = np.mgrid[:cells, :cells]
        grid = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
        centres.append(grid.repeat(per_cell, axis=0))
    return np.concatenate(centres)


def decode_detections(
    raw: np.ndarray, logits: np.ndarray, anchors: np.ndarray, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the detector's output into people: score threshold, then blending suppression.

    raw: (N, 12): box centre, box size, then 4 points, in input pixels relative to the anchors.
    logits: (N,); anchors: (N, 2) fractions of the input.
    Returns rows (M, 12) as fractions of the input, and scores (M,), best first.
    """
    scores = _sigmoid(logits)
    keep = scores >= min_score
    rows, scores = raw[keep] / DETECTOR_SIZE, scores[keep]
    rows[:, :2] += anchors[keep]
    rows[:, 4:] += np.tile(anchors[keep], 4)
    order = np.argsort(-scores)
    rows, scores = rows[order], scores[order]
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    people, best = [], []
    left = np.ones(len(rows), bool)
    for first in range(len(rows)):
        if not left[first]:
            continue
        same = left & (box_iou(boxes[first], boxes) > 0.3)
        same[first] = True
        # Overlapping detections are averaged by score, which is steadier than using the best one.
        people.append(np.average(rows[same], axis=0, weights=scores[same]))
        best.append(scores[first])
        left &= ~same
    return np.array(people).reshape(-1, 12), np.array(best)


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (N, 4), corners xyxy; (N,)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    return shared / np.maximum(area, 1e-12)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))
