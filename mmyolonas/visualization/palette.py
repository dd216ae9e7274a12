"""Colours that can be told apart."""
import colorsys
from typing import List, Tuple

Colour = Tuple[int, int, int]


def make_palette(count: int) -> List[Colour]:
    """Return ``count`` BGR colours (0..255) whose hues are far from each other.

    Neighbours differ by the golden angle, so that any first few classes look
    different and a class keeps its colour when others are added.
    """
    colours = []
    for index in range(count):
        hue = (0.02 + index * 0.618034) % 1.0
        saturation = (0.95, 0.65, 0.8)[index // 3 % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0 - 0.25 * (index // 9 % 2))
        colours.append((int(blue * 255), int(green * 255), int(red * 255)))
    return colours
