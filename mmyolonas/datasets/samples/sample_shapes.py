"""Images of textured shapes for detection."""
from dataclasses import dataclass
from typing import List, Tuple

import cv2
import numpy as np

from mmyolonas.datasets.samples.sample_textures import (
    TextureBank,
    background,
    blend,
    draw_clutter,
    finish,
    textured_patch,
)

SHAPE_CLASSES = ('circle', 'square', 'triangle', 'star', 'ring')
# Colours help to tell the classes apart but do not decide: neighbouring classes
# overlap, and the second colour of a texture is free.
_HUES = tuple(360 * i / len(SHAPE_CLASSES) for i in range(len(SHAPE_CLASSES)))
_HUE_SPREAD = 18.  # standard deviation in degrees
_FRACTION_BITS = 4
_MIN_VISIBLE = 0.55
_TRIES = 12


@dataclass(frozen=True)
class ShapeKind:
    """What the images of a generated set are like.

    Attributes:
        counts (tuple[int, int]): Least number of objects, and one more than the most.
        radii (tuple[float, float]): Radii as shares of the image's side.
        shares (tuple[float, ...]): How often each class occurs; all alike if empty.
    """
    counts: Tuple[int, int] = (2, 7)
    radii: Tuple[float, float] = (0.11, 0.24)
    shares: Tuple[float, ...] = ()


#: Kinds of sets: the usual one, one large object, many small ones, a few common classes.
SHAPE_KINDS = dict(
    shapes=ShapeKind(),
    single=ShapeKind((1, 2), (0.2, 0.42)),
    crowd=ShapeKind((25, 60), (0.03, 0.07)),
    tail=ShapeKind(shares=(0.64, 0.24, 0.08, 0.03, 0.01)))


@dataclass
class SampleObject:
    """One object of a generated image.

    Attributes:
        label (int): Index of its class.
        bbox (list[float]): Hull of its visible pixels as x, y, width, height.
        area (int): Number of visible pixels.
    """
    label: int
    bbox: List[float]
    area: int


def shape_outline(rng: np.random.Generator, label: int, radius: float) -> List[np.ndarray]:
    """Return the rings of a shape around the origin.

    Args:
        rng (Generator): Source of randomness.
        label (int): Index into ``SHAPE_CLASSES``.
        radius (float): Largest distance from the centre in pixels.

    Returns:
        list[ndarray]: (N, 2) float points; a second ring is a hole.
    """
    name = SHAPE_CLASSES[label]
    turn = rng.uniform(0, 2 * np.pi)
    if name in ('circle', 'ring'):
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        rings = [radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)]
        if name == 'ring':
            rings.append(rings[0] * rng.uniform(0.5, 0.68))
    elif name == 'star':
        angles = turn + np.arange(10) * np.pi / 5
        distance = np.where(np.arange(10) % 2, rng.uniform(0.42, 0.55), 1.) * radius
        rings = [distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    else:
        corners = 4 if name == 'square' else 3
        angles = turn + np.arange(corners) * 2 * np.pi / corners
        rings = [radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    direction, stretch = rng.uniform(0, np.pi), rng.uniform(0.8, 1)
    axis = np.array([np.cos(direction), np.sin(direction)])
    squeeze = np.eye(2) - (1 - stretch) * np.outer(axis, axis)
    return [ring @ squeeze for ring in rings]


def _shape_mask(rings: List[np.ndarray], center: np.ndarray, size: int) -> Tuple[np.ndarray, ...]:
    """Return the smoothed mask (h, w) float32 of a shape and its left top corner, cut to size."""
    low = np.maximum(np.floor(rings[0].min(0) + center).astype(int) - 2, 0)
    high = np.minimum(np.ceil(rings[0].max(0) + center).astype(int) + 3, size)
    mask = np.zeros(np.maximum(high - low, 1)[::-1], dtype=np.uint8)
    points = [np.round((ring + center - low) * (1 << _FRACTION_BITS)).astype(np.int32)
              for ring in rings]
    cv2.fillPoly(mask, points, 255, cv2.LINE_AA, _FRACTION_BITS)
    return mask.astype(np.float32) / 255, low


class _Owners:
    """Which object each pixel shows, and how much of every object is left."""

    def __init__(self, size: int) -> None:
        self.map = np.zeros((size, size), dtype=np.uint8)
        self.full = np.zeros(1)
        self.visible = np.zeros(1)

    def add(self, inside: np.ndarray, low: np.ndarray, whole: float) -> bool:
        """Put an object on top unless it or an earlier one would be hidden too far."""
        area = inside.sum()
        if area < _MIN_VISIBLE * whole:
            return False
        region = self.map[low[1]:low[1] + inside.shape[0], low[0]:low[0] + inside.shape[1]]
        left = self.visible - np.bincount(region[inside], minlength=len(self.full))
        if (left[1:] < _MIN_VISIBLE * self.full[1:]).any():
            return False
        region[inside] = len(self.full)
        self.full = np.append(self.full, area)
        self.visible = np.append(left, area)
        return True


def _draw(rng: np.random.Generator, canvas: np.ndarray, bank: TextureBank,
          mask: np.ndarray, low: np.ndarray, label: int) -> None:
    """Draw a shape in a colour of its class, with shadow and rim, in place."""
    x, y = low.tolist()
    height, width = mask.shape
    shadow = cv2.GaussianBlur(mask, (0, 0), 3) * rng.uniform(0.2, 0.5)
    dx, dy = rng.integers(-4, 5), rng.integers(1, 6)
    sx, sy = max(x + dx, 0), max(y + dy, 0)
    ex, ey = min(x + dx + width, canvas.shape[1]), min(y + dy + height, canvas.shape[0])
    if ex > sx and ey > sy:
        blend(canvas, np.zeros(3, dtype=np.float32),
              shadow[sy - y - dy:ey - y - dy, sx - x - dx:ex - x - dx], sx, sy)
    hue = rng.normal(_HUES[label], _HUE_SPREAD)
    patch = textured_patch(rng, bank, height, width, hue=hue)
    rim = mask - cv2.erode(mask, np.ones((3, 3), dtype=np.uint8))
    patch *= 1 - rng.uniform(0.2, 0.7) * rim[..., None]
    blend(canvas, patch, mask, x, y)


def shapes_image(rng: np.random.Generator, bank: TextureBank, size: int,
                 kind: ShapeKind = SHAPE_KINDS['shapes']
                 ) -> Tuple[np.ndarray, List[SampleObject]]:
    """Generate one image.

    Args:
        rng (Generator): Source of randomness.
        bank (TextureBank): Made by ``texture_bank`` for this size.
        size (int): Side length in pixels.
        kind (ShapeKind): How many objects of which sizes and classes.

    Returns:
        tuple[ndarray, list[SampleObject]]: The BGR image (size, size, 3)
        uint8, and its objects; one image in thirty has none.
    """
    canvas = background(rng, bank, size)
    draw_clutter(rng, canvas)
    owners, labels = _Owners(size), []
    count = 0 if rng.random() < 1 / 30 else rng.integers(*kind.counts)
    for _ in range(count):
        label = int(rng.choice(len(SHAPE_CLASSES), p=kind.shares) if kind.shares
                    else rng.integers(len(SHAPE_CLASSES)))
        for _ in range(_TRIES):
            radius = size * np.exp(rng.uniform(*np.log(kind.radii)))
            rings = shape_outline(rng, label, radius)
            mask, low = _shape_mask(rings, rng.uniform(0, size, 2), size)
            whole = cv2.contourArea(rings[0].astype(np.float32))
            whole -= sum(cv2.contourArea(ring.astype(np.float32)) for ring in rings[1:])
            if owners.add(mask > 0.5, low, whole):
                break
        else:
            continue
        _draw(rng, canvas, bank, mask, low, label)
        labels.append(label)
    return finish(rng, bank, canvas), visible_objects(owners.map, labels)


def visible_objects(owners: np.ndarray, labels: List[int]) -> List[SampleObject]:
    """Return the objects that a map of owners shows.

    Args:
        owners (ndarray): (H, W) int, 0 for background, ``i + 1`` for object i.
        labels (list[int]): Class of every object.

    Returns:
        list[SampleObject]: In the order of ``labels``.
    """
    objects = []
    for index, label in enumerate(labels, 1):
        mask = owners == index
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        x, y = int(columns[0]), int(rows[0])
        bbox = [float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)]
        objects.append(SampleObject(label, bbox, int(mask.sum())))
    return objects
