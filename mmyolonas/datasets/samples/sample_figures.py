"""Images of jointed figures for pose estimation."""
from dataclasses import dataclass
from typing import Dict, List, Tuple

import cv2
import numpy as np

from mmyolonas.datasets.samples.sample_textures import (
    TextureBank,
    background,
    blend,
    draw_clutter,
    finish,
    random_color,
    textured_patch,
)

#: The key points of COCO, in its order.
KEYPOINT_NAMES = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder',
                  'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
                  'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle')
#: The limbs of COCO: pairs of key point numbers counted from 1.
SKELETON = ((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8),
            (7, 9), (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7))
_MIN_VISIBLE = 0.6
_TRIES = 10


@dataclass
class SampleFigure:
    """One figure of a generated image.

    Attributes:
        keypoints (ndarray): (17, 3) x, y in pixels and visibility: 2 seen, 1
            hidden by another figure, 0 outside the image (then x = y = 0).
        bbox (list[float]): Hull of its visible pixels as x, y, width, height.
        area (int): Number of visible pixels.
    """
    keypoints: np.ndarray
    bbox: List[float]
    area: int


def _rotate(vector: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def random_pose(rng: np.random.Generator, height: float) -> Dict[str, np.ndarray]:
    """Return the joints of a figure that faces the viewer, around its middle.

    Args:
        rng (Generator): Source of randomness.
        height (float): Height of the upright figure in pixels.

    Returns:
        dict[str, ndarray]: Name -> (x, y); its left is the viewer's right.
    """
    lean = rng.uniform(-22, 22)
    down = _rotate(np.array([0., 1.]), lean)
    across = _rotate(np.array([1., 0.]), lean)
    joints = {}
    neck, pelvis = -0.14 * height * down, 0.14 * height * down
    head = neck - 0.15 * height * _rotate(down, rng.uniform(-15, 15))
    face = head + rng.uniform(-0.012, 0.012, 2) * height
    joints['nose'] = face + 0.012 * height * down
    for name, side in (('left', 1), ('right', -1)):
        out = side * across
        joints[f'{name}_eye'] = face + 0.032 * height * out - 0.02 * height * down
        joints[f'{name}_ear'] = head + 0.073 * height * out
        joints[f'{name}_shoulder'] = neck + 0.105 * height * out
        joints[f'{name}_hip'] = pelvis + 0.065 * height * out
        arm, bend = rng.uniform(5, 140), rng.uniform(-20, 100)
        upper = _rotate(down, -side * arm)
        joints[f'{name}_elbow'] = joints[f'{name}_shoulder'] + 0.16 * height * upper
        joints[f'{name}_wrist'] = (joints[f'{name}_elbow']
                                   + 0.15 * height * _rotate(upper, -side * bend))
        leg, knee = rng.uniform(-3, 45), rng.uniform(-5, 60)
        thigh = _rotate(down, -side * leg)
        joints[f'{name}_knee'] = joints[f'{name}_hip'] + 0.19 * height * thigh
        joints[f'{name}_ankle'] = (joints[f'{name}_knee']
                                   + 0.19 * height * _rotate(thigh, side * knee))
    joints['head'] = head
    return joints


class _Layer:
    """A transparent picture that one figure is drawn on."""

    def __init__(self, size: int) -> None:
        self.color = np.zeros((size, size, 3), dtype=np.uint8)
        self.mask = np.zeros((size, size), dtype=np.uint8)

    def limb(self, points: List[np.ndarray], color: np.ndarray, width: int) -> None:
        """Draw a chain of joints with a dark rim."""
        chain = [np.round(np.array(points) * 16).astype(np.int32)]
        rim = width + 2 + width // 6
        cv2.polylines(self.mask, chain, False, 255, rim, cv2.LINE_AA, 4)
        cv2.polylines(self.color, chain, False, (0.35 * color).tolist(), rim + 2, cv2.LINE_AA, 4)
        cv2.polylines(self.color, chain, False, color.tolist(), width, cv2.LINE_AA, 4)

    def disc(self, center: np.ndarray, radius: float, color: np.ndarray) -> None:
        """Draw a filled circle, part of the figure."""
        point = np.round(center * 16).astype(int).tolist()
        cv2.circle(self.mask, point, round(radius * 16), 255, -1, cv2.LINE_AA, 4)
        cv2.circle(self.color, point, round(radius * 16), color.tolist(), -1, cv2.LINE_AA, 4)

    def cloth(self, corners: np.ndarray, patch: np.ndarray, origin: np.ndarray) -> None:
        """Fill a polygon with a textured patch."""
        area = np.zeros_like(self.mask)
        cv2.fillPoly(area, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        np.maximum(self.mask, area, out=self.mask)
        low, high = np.maximum(origin, 0), np.minimum(origin + patch.shape[1::-1],
                                                      area.shape[::-1])
        if (high <= low).any():
            return
        window = np.s_[low[1]:high[1], low[0]:high[0]]
        inner = patch[low[1] - origin[1]:high[1] - origin[1],
                      low[0] - origin[0]:high[0] - origin[0]]
        self.color[window] = np.where(area[window][..., None] > 127, inner, self.color[window])


def _draw_figure(rng: np.random.Generator, bank: TextureBank, joints: Dict[str, np.ndarray],
                 height: float, size: int) -> _Layer:
    """Draw a figure whose left limbs are warm and whose right limbs are cold in colour."""
    layer = _Layer(size)
    width = max(int(0.05 * height), 2)
    skin = np.array([140, 180, 225]) * rng.uniform(0.45, 1.08)
    warm = np.array([rng.uniform(20, 90), rng.uniform(60, 200), rng.uniform(200, 255)])
    cold = np.array([rng.uniform(190, 255), rng.uniform(80, 200), rng.uniform(20, 90)])
    sides = (('right', cold), ('left', warm))
    for name, color in sides:
        layer.limb([joints[f'{name}_{part}'] for part in ('hip', 'knee', 'ankle')], color, width)
        layer.disc(joints[f'{name}_ankle'], 0.75 * width, 0.3 * color)
    neck = (joints['left_shoulder'] + joints['right_shoulder']) / 2
    layer.limb([neck, joints['head']], skin, width)
    corners = np.array([joints['left_shoulder'], joints['right_shoulder'], joints['right_hip'],
                        joints['left_hip']])
    corners = corners.mean(0) + 1.15 * (corners - corners.mean(0))
    origin = np.floor(corners.min(0)).astype(int)
    extent = np.ceil(corners.max(0)).astype(int) + 1 - origin
    patch = np.clip(textured_patch(rng, bank, int(extent[1]), int(extent[0])), 0, 255)
    layer.cloth(corners, patch.astype(np.uint8), origin)
    for name, color in sides:
        layer.limb([joints[f'{name}_{part}'] for part in ('shoulder', 'elbow', 'wrist')],
                   0.8 * color, width)
        layer.disc(joints[f'{name}_wrist'], 0.7 * width, skin)
    _draw_head(rng, layer, joints, height, skin)
    return layer


def _draw_head(rng: np.random.Generator, layer: _Layer, joints: Dict[str, np.ndarray],
               height: float, skin: np.ndarray) -> None:
    """Draw ears, head, hair, eyes and nose."""
    for name in ('left', 'right'):
        layer.disc(joints[f'{name}_ear'], 0.022 * height, 0.8 * skin)
    layer.disc(joints['head'], 0.08 * height, 0.4 * skin)
    layer.disc(joints['head'], 0.072 * height, skin)
    up = joints['head'] - (joints['left_shoulder'] + joints['right_shoulder']) / 2
    up /= np.linalg.norm(up)
    hair = random_color(rng, (0.2, 0.9), (0.1, 0.7))
    layer.disc(joints['head'] + 0.048 * height * up, 0.05 * height, hair)
    for name in ('left', 'right'):
        layer.disc(joints[f'{name}_eye'], max(0.016 * height, 1), np.array([250., 250, 250]))
        layer.disc(joints[f'{name}_eye'], max(0.009 * height, 0.7), np.array([20., 20, 20]))
    layer.disc(joints['nose'], max(0.013 * height, 0.8), np.array([60., 60, 200]))


def figures_image(rng: np.random.Generator, bank: TextureBank,
                  size: int) -> Tuple[np.ndarray, List[SampleFigure]]:
    """Generate one image.

    Args:
        rng (Generator): Source of randomness.
        bank (TextureBank): Made by ``texture_bank`` for this size.
        size (int): Side length in pixels.

    Returns:
        tuple[ndarray, list[SampleFigure]]: The BGR image (size, size, 3)
        uint8, and its figures; one image in thirty has none.
    """
    canvas = background(rng, bank, size)
    draw_clutter(rng, canvas)
    owners = np.zeros((size, size), dtype=np.uint8)
    joints_of, full = [], []
    count = 0 if rng.random() < 1 / 30 else rng.integers(1, 4)
    for _ in range(count):
        for _ in range(_TRIES):
            height = size * rng.uniform(0.35, 0.85)
            pose = random_pose(rng, height)
            center = rng.uniform(0.15, 0.85, 2) * size
            pose = {name: point + center for name, point in pose.items()}
            layer = _draw_figure(rng, bank, pose, height, size)
            inside = layer.mask > 127
            left = np.bincount(owners[~inside], minlength=len(full) + 1)[1:]
            outside = sum(((p < 0) | (p >= size)).any() for p in pose.values())
            if outside <= 4 and (left >= _MIN_VISIBLE * np.array(full)).all():
                break
        else:
            continue
        blend(canvas, layer.color.astype(np.float32), layer.mask.astype(np.float32) / 255, 0, 0)
        joints_of.append(np.array([pose[name] for name in KEYPOINT_NAMES]))
        full.append(int(inside.sum()))
        owners[inside] = len(full)
    figures = [_annotate(joints, owners, i) for i, joints in enumerate(joints_of, 1)]
    return finish(rng, bank, canvas), figures


def _annotate(joints: np.ndarray, owners: np.ndarray, index: int) -> SampleFigure:
    """Describe figure ``index`` of a map of owners."""
    size = owners.shape[0]
    inside = ((joints >= 0) & (joints < size)).all(1)
    x, y = np.clip(joints, 0, size - 1).astype(int).T
    # Later figures lie on top, so only a higher number hides a joint.
    visible = np.where(owners[y, x] > index, 1, 2) * inside
    keypoints = np.concatenate([joints * inside[:, None], visible[:, None]], axis=1)
    mask = owners == index
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    bbox = [float(columns[0]), float(rows[0]), float(columns[-1] + 1 - columns[0]),
            float(rows[-1] + 1 - rows[0])]
    return SampleFigure(np.round(keypoints, 1), bbox, int(mask.sum()))
