"""The scale of a density: programs tell the area that each sample stands for in units of their own, or with sum 1."""

from __future__ import annotations

import math

import numpy as np

SPOTS_ACROSS = 8  # standard deviations of the spot in the width of an image: as broad as what is looked at


def brightness_of_a_spot(density: np.ndarray, trajectory: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """How bright gridding with this density makes the middle of a smooth spot of brightness 1, frame by frame.

    Gridding gives back the brightness of objects that extend over several pixels if the areas around the centre of
    k-space add up to that of the plane. So the spot is a Gaussian, whose transform fades out within a few cells, and
    counts only as far out as was measured. It is the same in all directions: how evenly the spokes are turned does not
    matter, and a density of evenly turned spokes (`radial.ramp_density`) gives 1 to 2 %.

    Args:
        density: (T, S, R), in cells of the Cartesian grid.
        trajectory: (T, S, R, 2) in radians per pixel.
        shape_ji: (J, I) of the images.

    Returns:
        (T,) float64.
    """
    pixels = math.prod(shape_ji)
    radius = np.linalg.norm(trajectory, axis=-1) * (math.sqrt(pixels) / SPOTS_ACROSS)  # in widths of the transform
    area = 1 - np.exp(-(radius.max((1, 2)) ** 2) / 2)  # of the transform, as part of all of it
    cells = SPOTS_ACROSS**2 / (2 * math.pi) * area
    return (density * np.exp(-(radius.astype(np.float64) ** 2) / 2)).sum((1, 2)) / cells
