"""A deep breath with known truth: diaphragm, liver and heart go down by centimetres, and slide along the chest wall.

All that lies within the pleura and the peritoneum moves along the body axis: nothing at the top of the lungs, most at
the diaphragm and the liver, less in the pelvis, so that the lungs are stretched and the abdomen is compressed. The wall
only widens. At the wall two motions meet that have nothing in common; registration with a smooth field cannot follow
both. The heart does not beat, as in gated images. Signal levels are those of bSSFP, with dark lines between organs and
fat.

Coordinates: x to the left, y to the back, z up, in mm, from below the right dome of the diaphragm at the end of
expiration; the picture is coronal, the right side of the patient at its left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.phantoms import breathing_anatomy as anatomy
from STEnhanceLib.phantoms import sampling
from STEnhanceLib.phantoms.brush import Brush
from STEnhanceLib.sequence import Grid, ImageSequence

LARGEST_BREATH_MM = 60.0  # beyond it tissue would fold
WIDER, DEEPER = 0.025, 0.05  # by which the trunk widens from side to side and front to back, at 30 mm
STICKING_MM = 40.0  # from the wall inwards, over which the motion fades where nothing slides
DOME = (-66.0, 0.0)  # (left, down) of the right half of the diaphragm
_MOST_STEPS, _PRECISE_MM = 40, 1e-5

_along = sampling.smooth_curve(
    [-190, -150, -105, -60, -20, 10, 80, 130, 190, 250, 330], [0, 0.02, 0.16, 0.42, 0.8, 1, 0.96, 0.8, 0.5, 0.25, 0], 14
)
_barrel = sampling.smooth_curve([-170, -120, -60, 0, 60, 120, 190], [0.76, 0.88, 0.97, 1, 0.97, 0.94, 0.98], 18)
_across = sampling.smooth_curve([-126, -66, 14, 70, 126], [0.96, 1, 0.86, 0.94, 0.9], 14)


@dataclass(frozen=True)
class Breathing:
    """One virtual patient who breathes deeply.

    Attributes:
        seed: anatomy; sizes, vessels, bowel, signal and texture vary with it. The same seed is the same patient.
        depth_mm: how far the right dome of the diaphragm goes down, up to 60.
        sliding: organs slide along the wall; without it their motion fades towards the wall.
        period_ms: one breath, from end-expiration to end-expiration; inspiration ends at its middle.
        edge_mm: width of the soft edge of every structure.
        thickness_mm: of the slices, over which the signal is averaged.

    Raises:
        STEnhanceError: the breath is out of range.
    """

    seed: int = 0
    depth_mm: float = 30.0
    sliding: bool = True
    period_ms: float = 5000.0
    edge_mm: float = 0.8
    thickness_mm: float = 6.0

    def __post_init__(self):
        if not 0 <= self.depth_mm <= LARGEST_BREATH_MM:
            raise STEnhanceError(
                f"A breath of {self.depth_mm:g} mm was asked for; expected 0 to {LARGEST_BREATH_MM:g} mm."
            )

    def sample(self, grid: Grid) -> ImageSequence:
        """The patient at the voxel centres and times of a grid, as (T, K, J, I) float32 with blood near 1000."""
        return ImageSequence.from_frames(
            sampling.painted(grid, self._paint, self.thickness_mm),
            grid,
            name="breathing phantom",
            attributes={"STEnhance.Phantom": f"breathing, seed {self.seed}, {self.depth_mm:g} mm"},
        )

    def cine(
        self, frames: int = 20, matrix: int = 192, slices: int = 1, field_of_view_mm: float = 350.0
    ) -> ImageSequence:
        """One breath, a cycle, in coronal slices of the set thickness, side by side, through liver and heart."""
        spacing = field_of_view_mm / matrix
        step = self.thickness_mm or 6.0
        ijk_to_ras = np.zeros((4, 4))
        ijk_to_ras[0, 0], ijk_to_ras[2, 1], ijk_to_ras[1, 2] = -spacing, -spacing, -step  # i left, j down, k back
        ijk_to_ras[:3, 3] = field_of_view_mm / 2, step * (slices - 1) / 2, 0.42 * field_of_view_mm
        ijk_to_ras[3, 3] = 1
        times = self.period_ms * np.arange(frames) / frames
        return self.sample(Grid((slices, matrix, matrix), ijk_to_ras, times, periodic=True))

    def inspiration(self, time_ms: float) -> float:
        """0 at the end of expiration, 1 at the end of inspiration; longer at rest in expiration, as people breathe."""
        return (0.5 - 0.5 * math.cos(2 * math.pi * time_ms / self.period_ms)) ** 1.3

    def moved(self, points: np.ndarray, from_ms: float, to_ms: float) -> np.ndarray:
        """Where tissue that is at these points (..., 3), left, back, up in mm, at one moment is at another."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        x, y = self._unshaped(x, y, z, from_ms)
        z = self._contents_at(x, y, z, from_ms)
        z = z - self._descent(x, y, -z, to_ms)
        wide, deep = self._shape(z, to_ms)
        return np.stack([x * wide, y * deep, z], axis=-1)

    def displacement(self, grid: Grid, from_ms: float, to_ms: float) -> np.ndarray:
        """The truth: how the tissue in every voxel moves, (3, K, J, I) float32 in mm along R, A, S."""
        return sampling.displacement(grid, lambda points: self.moved(points, from_ms, to_ms))

    @cached_property
    def _shapes(self) -> anatomy.AbdomenShapes:
        return anatomy.AbdomenShapes(self.seed)

    def _paint(self, image: np.ndarray, x, y, z, time_ms: float) -> None:
        x, y = self._unshaped(x, y, z, time_ms)
        self._shapes.paint_wall(Brush(image, x, -z, y, self.edge_mm))
        inside = np.zeros_like(image)
        z = self._contents_at(x, y, z, time_ms).astype(np.float32)
        self._shapes.paint_contents(Brush(inside, x, -z, y, self.edge_mm))
        Brush(image, x, -z, y, self.edge_mm)(inside, anatomy.cavity_depth(x, y))

    def _shape(self, z, time_ms: float):
        """How wide and deep the trunk is at a height: a barrel, and at inspiration a larger one."""
        share = self.inspiration(time_ms) * self.depth_mm / 30
        return _barrel(-z) * (1 + WIDER * share), 1 + DEEPER * share

    def _unshaped(self, x, y, z, time_ms: float):
        """x and y in a trunk of the same width everywhere, in which organs slide straight down."""
        wide, deep = self._shape(z, time_ms)
        return (x / wide).astype(x.dtype), y / deep

    def _contents_at(self, x, y, z, time_ms: float):
        """The height at the end of expiration of what is now at (x, y, z), with x and y as `_unshaped`."""
        start = z
        for _ in range(_MOST_STEPS):  # each leaves a small share of the error
            before, start = start, z + self._descent(x, y, -start, time_ms)
            if np.abs(start - before).max() < _PRECISE_MM:
                break
        return start

    def _descent(self, x, y, down, time_ms: float):
        """By how many mm what lies there at the end of expiration has gone down; 0 in the wall."""
        depth = anatomy.cavity_depth(x, y)
        inwards = np.clip(depth / STICKING_MM, 0, 1)
        free = depth > 0 if self.sliding else inwards**2 * (3 - 2 * inwards)
        at_dome = _across(DOME[0]) * _along(DOME[1])
        return self.depth_mm * self.inspiration(time_ms) * free * (_across(x) / at_dome) * _along(down)
