"""How a phantom, a function of position and time, becomes a sequence; and curves and texture that phantoms share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from STEnhanceLib.sequence import Grid

Painter = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float], None]

SLAB = (-1 / 3, 0.0, 1 / 3)  # where within its thickness a slice is sampled
WAVES = 20  # that a texture is made of
SHORTEST_WAVE_MM, LONGEST_WAVE_MM = 5.0, 24.0
RIGHT_ANTERIOR = (-1.0, -1.0, 1.0)  # from (left, back, up) to RAS


def positions(grid: Grid) -> list[np.ndarray]:
    """x to the left, y to the back, z up, in mm, of every voxel; each has size 1 along directions it is constant in."""
    indices = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid.shape), indexing="ij", sparse=True)[::-1]
    to_left_back_up = np.diag(RIGHT_ANTERIOR) @ grid.ijk_to_ras[:3]
    origin = np.zeros((1, 1, 1), np.float32)
    return [
        sum((float(step) * index for step, index in zip(row[:3], indices, strict=True) if step), origin + float(row[3]))
        for row in to_left_back_up
    ]


def all_positions(grid: Grid) -> np.ndarray:
    """(K, J, I, 3) float64: left, back, up in mm of every voxel."""
    return np.stack(np.broadcast_arrays(*positions(grid)), axis=-1).astype(np.float64)


def painted(grid: Grid, paint: Painter, thickness_mm: float) -> np.ndarray:
    """Frames as (T, K, J, I) float32 with the brightest tissue near 1000.

    Args:
        grid: where and when.
        paint: called with a black image (K, J, I), x, y, z as from `positions`, and the time in ms; fills the image.
        thickness_mm: each slice is the mean over this thickness, as the slice profile of a scanner makes it.
    """
    along = np.cross(grid.ijk_to_ras[:3, 0], grid.ijk_to_ras[:3, 1])
    normal = RIGHT_ANTERIOR * along / np.linalg.norm(along)
    x, y, z = positions(grid)
    depths = [share * thickness_mm for share in SLAB] if thickness_mm else [0.0]
    frames = np.zeros((len(grid), *grid.shape), np.float32)
    layer = np.empty(grid.shape, np.float32)
    for index, time_ms in enumerate(grid.times_ms):
        for depth in depths:
            layer[...] = 0
            paint(layer, *(p + float(depth * n) for p, n in zip((x, y, z), normal, strict=True)), float(time_ms))
            frames[index] += layer
    frames *= 1000 / len(depths)
    return frames


def displacement(grid: Grid, where: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Where the tissue in every voxel goes, as (3, K, J, I) float32 in mm along R, A, S.

    Args:
        grid: gives the voxels.
        where: from points (..., 3), left, back, up in mm, to the points where the tissue in them is then.
    """
    start = all_positions(grid)
    return np.moveaxis((where(start) - start) * RIGHT_ANTERIOR, -1, 0).astype(np.float32)


def smooth_curve(at, values, blur: float) -> Callable[[np.ndarray], np.ndarray]:
    """A curve near these points, without corners: straight between them, then blurred; constant beyond the ends.

    Args:
        at: increasing.
        values: at these places.
        blur: standard deviation of the Gaussian, in units of `at`.
    """
    step = blur / 4
    knots = np.arange(at[0] - 4 * blur, at[-1] + 4 * blur + step, step)
    weights = np.exp(-0.5 * (np.arange(-16, 17) / 4) ** 2)
    straight = np.pad(np.interp(knots, at, values), 16, mode="edge")
    table = np.convolve(straight, weights / weights.sum(), mode="valid")
    return lambda x: np.interp(x, knots, table)


class Texture:
    """Random but smooth variation that belongs to a place in the tissue, so that it moves as the tissue moves."""

    def __init__(self, random: np.random.Generator):
        directions = random.normal(size=(WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.exp(random.uniform(np.log(SHORTEST_WAVE_MM), np.log(LONGEST_WAVE_MM), WAVES))
        self.waves = (2 * np.pi * directions / lengths[:, None]).astype(np.float32)
        self.phases = random.uniform(0, 2 * np.pi, WAVES)

    def __call__(self, x, y, z) -> np.ndarray:
        """The variation at positions in mm, with mean near 0 and standard deviation near 1."""
        total = np.float32(0)
        for (along_x, along_y, along_z), phase in zip(self.waves, self.phases, strict=True):
            total = total + np.sin(along_x * x + along_y * y + along_z * z + np.float32(phase))
        return total * np.float32(np.sqrt(2 / WAVES))
