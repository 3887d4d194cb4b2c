"""A beating and breathing thorax: the procedural cine with known truth, for the demo, the tests and later training.

The phantom is a function of position and time, not a picture: every structure is a soft-edged analytic shape, so it can
be sampled on any grid at any moment, and the sample between two frames is the truth and not an interpolation. Signal
levels are those of a balanced steady-state (bSSFP) short-axis cine: bright blood and fat, dark myocardium, black lungs.

Coordinates: x to the patient's left, y to the back (anterior wall at the top of the picture), z from apex to base; mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.phantoms.brush import Brush, ellipse_depth
from STEnhanceLib.phantoms.sampling import positions
from STEnhanceLib.sequence import Grid, ImageSequence

BLOOD, FAT, MYOCARDIUM, MUSCLE, LIVER, LUNG, MARROW = 1.0, 0.85, 0.34, 0.3, 0.5, 0.05, 0.42
END_SYSTOLE = 0.36  # fraction of the cycle


@dataclass(frozen=True)
class Thorax:
    """One virtual patient.

    Attributes:
        seed: anatomy; sizes, positions and vessels vary with it. The same seed is the same patient.
        heart_period_ms: one beat.
        breathing_mm: how far the anterior chest wall rises; 0 is a breath-hold, and only then is the beat a cycle.
        breathing_period_ms: one breath.
        ejection: how much the inner radius of the left ventricle shrinks at end-systole, 0 … 1.
        edge_mm: width of the soft edge of every structure.
    """

    seed: int = 0
    heart_period_ms: float = 900.0
    breathing_mm: float = 5.0
    breathing_period_ms: float = 3600.0
    ejection: float = 0.33
    edge_mm: float = 0.7

    def sample(self, grid: Grid) -> ImageSequence:
        """The phantom at the voxel centres and times of a grid, as (T, K, J, I) float32 with blood near 1000."""
        frames = np.empty((len(grid), *grid.shape), np.float32)
        for frame, time_ms in zip(frames, grid.times_ms, strict=True):
            self._paint(frame, grid, float(time_ms))
        frames *= 1000
        return ImageSequence.from_frames(
            frames,
            grid,
            name="thorax phantom",
            attributes={"STEnhance.Phantom": f"thorax, seed {self.seed}, breathing {self.breathing_mm:g} mm"},
        )

    def cine(
        self, frames: int = 24, matrix: int = 160, slices: int = 3, field_of_view_mm: float = 300.0
    ) -> ImageSequence:
        """One beat in a short-axis stack of 8 mm slices around the middle of the heart."""
        spacing = field_of_view_mm / matrix
        ijk_to_ras = np.diag([-spacing, -spacing, 8.0, 1.0])  # i to the left, j to the back
        ijk_to_ras[:3, 3] = (field_of_view_mm / 2, field_of_view_mm / 2, -4.0 * (slices - 1))
        times = self.heart_period_ms * np.arange(frames) / frames
        return self.sample(Grid((slices, matrix, matrix), ijk_to_ras, times, periodic=self.breathing_mm == 0))

    def heart_centre_mm(self) -> tuple[float, float]:
        """(x, y) of the left ventricle at the start of the first breath."""
        rng = np.random.default_rng(self.seed)
        return 22.0 + rng.uniform(-6, 6), -18.0 + rng.uniform(-6, 6)

    def _paint(self, image: np.ndarray, grid: Grid, time_ms: float) -> None:
        image[...] = 0
        left, back, z = positions(grid)
        x, y = self._breathe(left, back, time_ms)
        paint = Brush(image, x, y, z, self.edge_mm)
        self._torso(paint)
        self._heart(paint, _contraction(time_ms / self.heart_period_ms))

    def _breathe(self, x, y, time_ms: float):
        """Position in the patient at end-expiration of what is now seen at (x, y); the spine stays."""
        rise = self.breathing_mm * (0.5 - 0.5 * math.cos(2 * math.pi * time_ms / self.breathing_period_ms))
        share = np.clip((70 - y) / 150, 0, 1)  # 0 at the spine, 1 at the anterior wall
        return x + 0.25 * rise * share, y + rise * share

    def _torso(self, paint: Brush) -> None:
        rng = np.random.default_rng([self.seed, 1])
        wide, deep = 132 + rng.uniform(-6, 6), 92 + rng.uniform(-4, 4)
        x, y = paint.x, paint.y
        paint(FAT, ellipse_depth(x, y, 0, 0, wide, deep))
        chest = ellipse_depth(x, y, 0, 1, wide - 13, deep - 11) + 0.8 * np.sin(x / 9) * np.cos(y / 11)
        paint(MUSCLE, chest)
        for side in (-1, 1):  # lungs, with vessels that branch from the hilum
            lung_x = side * (68 + rng.uniform(-3, 3))
            inside = ellipse_depth(x, y, lung_x, 2, 44, 66)
            paint(LUNG, inside)
            vessels = paint.within(inside)
            for _ in range(26):
                angle, reach = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(0.02, 0.8))
                vessel_x, vessel_y = lung_x + 40 * reach * math.cos(angle), 2 + 60 * reach * math.sin(angle)
                drift = 0.15 * rng.uniform(-1, 1)
                size = 3.2 - 2.2 * reach
                vessels.ellipse(0.75, vessel_x, vessel_y, size, size, drift)
        liver = np.minimum(np.minimum(ellipse_depth(x, y, -62, 44, 62, 40), chest - 9), 14 - 0.6 * paint.z)
        paint(LIVER, liver)
        vessels = paint.within(liver - 2)
        for _ in range(9):
            vessels.ellipse(0.8, -62 + rng.uniform(-40, 40), 42 + rng.uniform(-26, 26), 2.6, 1.8, 0.2)
        paint.ellipse(MARROW, 0, 58, 17, 15)
        paint.ellipse(0.12, 0, 75, 7, 7)  # spinal canal wall and cord
        paint.ellipse(0.7, 0, 75, 5, 5)
        paint.ellipse(BLOOD, 22, 50, 9.5, 9.5)  # descending aorta
        for rib in range(9):
            angle = math.pi * (0.08 + 0.105 * rib)
            for side in (-1, 1):
                rib_x, rib_y = side * (wide - 19) * math.sin(angle), -(deep - 16) * math.cos(angle)
                paint.ellipse(0.12, rib_x, rib_y, 5.5, 4.0)
                paint.ellipse(0.5, rib_x, rib_y, 3.4, 2.2)

    def _heart(self, paint: Brush, contraction: float) -> None:
        paint = paint.around(*self.heart_centre_mm()).near(-15, 1, 62, 43)
        x, y = paint.x, paint.y
        paint(FAT, ellipse_depth(x, y, -15, 1, 60, 41) + 2 * np.sin(3 * np.arctan2(y, x)))  # pericardial fat
        squeeze = 1 - 0.3 * contraction
        free_wall = ellipse_depth(x, y, -28, 2, 24 + 15 * squeeze, 20 + 17 * squeeze)
        paint(MYOCARDIUM, free_wall)
        paint(BLOOD, free_wall - 3.4)
        for trabecula in range(7):
            along = math.pi * (0.62 + 0.12 * trabecula)
            reach = 21 + 14 * squeeze
            paint.ellipse(MYOCARDIUM, -28 + reach * math.cos(along), 2 + reach * math.sin(along), 3.2, 2.4)
        self._left_ventricle(paint, contraction)

    def _left_ventricle(self, paint: Brush, contraction: float) -> None:
        rng = np.random.default_rng([self.seed, 2])
        end_diastolic, wall_mm = 25.0 + rng.uniform(-2, 2), 10.5
        paint = paint.near(0, 0, end_diastolic + wall_mm, end_diastolic + wall_mm)
        x, y, z = paint.x, paint.y, paint.z
        radius, angle = np.sqrt(x * x + y * y), np.arctan2(y, x)
        taper = np.sqrt(np.clip(1 - ((z - 10) / 62) ** 2, 0.12, 1))  # the ventricle narrows towards the apex
        inner = end_diastolic * taper
        outer = inner + wall_mm
        inner_now = inner * (1 - self.ejection * contraction)
        outer_now = np.sqrt(outer**2 - 0.82 * (inner**2 - inner_now**2))  # the wall keeps its volume, and shortens
        paint(MYOCARDIUM, outer_now - radius)

        # Inside the wall, look up the material point that has moved here, so that texture moves with the muscle.
        angle = angle - 0.22 * contraction * np.clip(1 - radius / 60, 0, 1)  # twist
        scale = inner / inner_now
        material_x, material_y = scale * radius * np.cos(angle), scale * radius * np.sin(angle)
        wall = np.minimum(outer_now - radius, radius - inner_now)
        paint.image += np.clip(wall / 3, 0, 1) * 0.035 * np.sin(6 * angle) * np.cos(z / 7)
        cavity = inner_now - radius + 0.9 * np.sin(9 * angle)  # scalloped by trabeculae
        paint(BLOOD, cavity)
        for place, size in ((0.55, 5.0), (2.35, 4.4)):  # papillary muscles
            papillary_x, papillary_y = 0.66 * inner * math.cos(place), 0.66 * inner * math.sin(place)
            paint(MYOCARDIUM, ellipse_depth(material_x, material_y, papillary_x, papillary_y, size, size) / scale)
        chord = 0.7 - np.abs(material_y + 0.35 * material_x) / scale
        paint(MYOCARDIUM, np.minimum(chord, cavity))


def _contraction(phase: float) -> float:
    """0 at end-diastole, 1 at end-systole; smooth, quicker in systole, at rest before the next beat."""
    phase = phase % 1.0
    if phase < END_SYSTOLE:
        return 0.5 - 0.5 * math.cos(math.pi * phase / END_SYSTOLE)
    relaxing = min((phase - END_SYSTOLE) / 0.44, 1.0)
    return 0.5 + 0.5 * math.cos(math.pi * relaxing)
