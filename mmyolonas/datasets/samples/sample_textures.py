"""Textures, backgrounds and clutter of the generated sample images."""
import colorsys
from dataclasses import dataclass
from typing import List, Optional, Tuple

import cv2
import numpy as np

_BANK_SIZE = 256


@dataclass
class TextureBank:
    """What is made once and used in all images.

    Attributes:
        patterns (list[ndarray]): (256, 256) float32 in [0, 1].
        noise (ndarray): (2 * size, 2 * size, 3) float32, standard normal.
    """
    patterns: List[np.ndarray]
    noise: np.ndarray


def random_color(rng: np.random.Generator, saturation: Tuple[float, float] = (0.35, 0.95),
                 value: Tuple[float, float] = (0.35, 0.95),
                 hue: Optional[float] = None) -> np.ndarray:
    """Return a random BGR colour, float32 (3,), 0 to 255; ``hue`` is in degrees."""
    turn = rng.random() if hue is None else hue / 360 % 1
    rgb = colorsys.hsv_to_rgb(turn, rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb[::-1], dtype=np.float32) * 255


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int,
                 channels: int = 1) -> np.ndarray:
    """Return cloud-like noise (height, width[, channels]) in about [0, 1], float32."""
    grid = rng.random((cells, cells, channels)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def texture_bank(rng: np.random.Generator, size: int, count: int = 48) -> TextureBank:
    """Return patterns (stripes, checks, dots, grain, waves) and noise for images of ``size``."""
    noise = rng.standard_normal((2 * size, 2 * size, 3), dtype=np.float32)
    return TextureBank(_patterns(rng, count), noise)


def _patterns(rng: np.random.Generator, count: int) -> List[np.ndarray]:
    y, x = np.mgrid[:_BANK_SIZE, :_BANK_SIZE].astype(np.float32)
    bank = []
    for index in range(count):
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 26)
        u = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period)
        v = (y * np.cos(angle) - x * np.sin(angle)) * (2 * np.pi / period)
        kind = index % 6
        if kind == 0:
            pattern = 0.5 + 0.5 * np.tanh(4 * np.sin(u))
        elif kind == 1:
            pattern = 0.5 + 0.5 * np.tanh(6 * np.sin(u) * np.sin(v))
        elif kind == 2:
            pattern = 0.5 + 0.5 * np.tanh(5 * (np.sin(u) + np.sin(v) - 0.9))
        elif kind == 3:
            pattern = rng.random((_BANK_SIZE, _BANK_SIZE))
            pattern = cv2.GaussianBlur(pattern, (0, 0), rng.uniform(0.7, 2))
            pattern = (pattern - pattern.min()) / np.ptp(pattern)
        elif kind == 4:
            pattern = 0.5 + 0.5 * np.sin(u + 4 * smooth_noise(rng, _BANK_SIZE, _BANK_SIZE, 6))
        else:
            pattern = smooth_noise(rng, _BANK_SIZE, _BANK_SIZE, 7)
        bank.append(np.clip(pattern, 0, 1).astype(np.float32))
    return bank


def textured_patch(rng: np.random.Generator, bank: TextureBank, height: int, width: int,
                   contrast: float = 0.55, hue: Optional[float] = None) -> np.ndarray:
    """Return a two-coloured patch (height, width, 3) float32, lit from a random side.

    Its first colour is of a given ``hue`` in degrees within [0, 360), or of any.
    """
    pattern = bank.patterns[rng.integers(len(bank.patterns))]
    scale = max(height, width) / _BANK_SIZE
    if scale > 1:
        pattern = cv2.resize(pattern, None, fx=scale + 0.02, fy=scale + 0.02)
    y = rng.integers(pattern.shape[0] - height + 1)
    x = rng.integers(pattern.shape[1] - width + 1)
    pattern = pattern[y:y + height, x:x + width]
    base = random_color(rng, hue=hue)
    other = base + contrast * (random_color(rng, (0.1, 0.9), (0.1, 1.0)) - base)
    light = np.linspace(rng.uniform(0.75, 1), rng.uniform(1, 1.2), height, dtype=np.float32)
    if rng.random() < 0.5:
        light = light[::-1]
    patch = base + pattern[..., None] * (other - base)
    return patch * light[:, None, None]


def background(rng: np.random.Generator, bank: TextureBank, size: int) -> np.ndarray:
    """Return a cloudy, faintly patterned background (size, size, 3) float32."""
    low, high = random_color(rng, (0.05, 0.5), (0.25, 0.9)), random_color(rng, (0.05, 0.5))
    clouds = smooth_noise(rng, size, size, int(rng.integers(3, 7)))[..., None]
    canvas = low + clouds * (high - low)
    pattern = bank.patterns[rng.integers(len(bank.patterns))]
    pattern = cv2.resize(pattern, (size, size))
    canvas += (pattern[..., None] - 0.5) * rng.uniform(10, 45)
    return np.ascontiguousarray(canvas, dtype=np.float32)


def draw_clutter(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Draw lines, arcs, zigzags, letters and specks that belong to no class, in place."""
    size = canvas.shape[0]
    for _ in range(rng.integers(3, 11)):
        color = random_color(rng, (0.1, 0.9)).tolist()
        x, y = rng.integers(0, size, 2).tolist()
        thickness = int(rng.integers(1, max(size // 70, 2) + 1))
        kind = rng.integers(5)
        if kind == 0:
            points = rng.integers(0, size, (int(rng.integers(2, 6)), 2)).astype(np.int32)
            cv2.polylines(canvas, [points], False, color, thickness, cv2.LINE_AA)
        elif kind == 1:
            axes = rng.integers(size // 20, size // 4, 2).tolist()
            start = int(rng.integers(360))
            cv2.ellipse(canvas, (x, y), axes, int(rng.integers(180)), start,
                        start + int(rng.integers(40, 200)), color, thickness, cv2.LINE_AA)
        elif kind == 2:
            steps = np.arange(int(rng.integers(4, 9)))
            points = np.stack([x + steps * size // 30, y + (steps % 2) * size // 20], axis=1)
            cv2.polylines(canvas, [points.astype(np.int32)], False, color, thickness, cv2.LINE_AA)
        elif kind == 3:
            # Strokes on a 3 x 3 grid look like letters and need no font.
            strokes = rng.integers(0, 3, (int(rng.integers(3, 6)), 2, 2)) * (size // 25) + (x, y)
            cv2.polylines(canvas, list(strokes.astype(np.int32)), False, color, thickness,
                          cv2.LINE_AA)
        else:
            spots = rng.normal((x, y), size / 15, (int(rng.integers(5, 20)), 2)).astype(int)
            for spot in spots.tolist():
                cv2.circle(canvas, spot, thickness, color, -1, cv2.LINE_AA)


def finish(rng: np.random.Generator, bank: TextureBank, canvas: np.ndarray) -> np.ndarray:
    """Return the camera's view of a canvas: slight blur and noise, uint8."""
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 0.9))
    height, width = canvas.shape[:2]
    y, x = rng.integers(bank.noise.shape[0] - height), rng.integers(bank.noise.shape[1] - width)
    canvas = canvas + bank.noise[y:y + height, x:x + width] * np.float32(rng.uniform(1, 7))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def blend(canvas: np.ndarray, patch: np.ndarray, alpha: np.ndarray, x: int, y: int) -> None:
    """Blend a patch into a canvas at (x, y), in place; both lie inside.

    Args:
        canvas (ndarray): (H, W, 3) float32.
        patch (ndarray): (h, w, 3) float32, or (3,) for one colour.
        alpha (ndarray): (h, w) float32, 0 to 1.
        x (int): Left edge.
        y (int): Top edge.
    """
    region = canvas[y:y + alpha.shape[0], x:x + alpha.shape[1]]
    region += alpha[..., None] * (patch - region)
