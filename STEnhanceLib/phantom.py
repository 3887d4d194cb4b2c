"""A beating and breathing thorax: the procedural cine with known truth, for the demo, the tests and later training.

The phantom is a function of position and time, not a picture: every structure is a soft-edged analytic shape, so it can
be sampled on any grid at any moment, and the sample between two frames is the truth and not an interpolation. Signal
levels are those of a balanced steady-state (bSSFP) short-axis cine: bright blood and fat, dark myocardium, black lungs.

Coordinates: x to the patient's left, y to the back (anterior wall at the top of the picture), z from apex to base; mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
        frames = np.stack([self._frame(grid, time) for time in grid.times_ms])
        return ImageSequence.from_frames(
            (1000 * frames).astype(np.float32),
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

    def _frame(self, grid: Grid, time_ms: float) -> np.ndarray:
        k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid.shape), indexing="ij")
        to_ras = grid.ijk_to_ras.astype(np.float32)
        right, anterior, z = (to_ras[a, 0] * i + to_ras[a, 1] * j + to_ras[a, 2] * k + to_ras[a, 3] for a in range(3))
        x, y = self._breathe(-right, -anterior, time_ms)
        contraction = _contraction(time_ms / self.heart_period_ms)
        image = self._torso(x, y, z)
        return self._heart(image, x, y, z, contraction)

    def _breathe(self, x, y, time_ms: float):
        """Position in the patient at end-expiration of what is now seen at (x, y); the spine stays."""
        rise = self.breathing_mm * (0.5 - 0.5 * np.cos(2 * np.pi * time_ms / self.breathing_period_ms))
        share = np.clip((70.0 - y) / 150.0, 0, 1)  # 0 at the spine, 1 at the anterior wall
        return x + 0.25 * rise * share, y + rise * share

    def _torso(self, x, y, z) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1])
        wide, deep = 132 + rng.uniform(-6, 6), 92 + rng.uniform(-4, 4)
        image = np.zeros_like(x)
        paint = _Brush(image, self.edge_mm)
        paint(FAT, _ellipse(x, y, 0, 0, wide, deep))
        chest = _ellipse(x, y, 0, 1, wide - 13, deep - 11) + 0.8 * np.sin(x / 9) * np.cos(y / 11)
        paint(MUSCLE, chest)
        for side in (-1, 1):  # lungs, with vessels that branch from the hilum
            lung_x = side * (68 + rng.uniform(-3, 3))
            inside = _ellipse(x, y, lung_x, 2, 44, 66)
            paint(LUNG, inside)
            for _ in range(26):
                angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.02, 0.8))
                vessel_x, vessel_y = lung_x + 40 * reach * np.cos(angle), 2 + 60 * reach * np.sin(angle)
                drift = 0.15 * rng.uniform(-1, 1) * z
                size = 3.2 - 2.2 * reach
                paint(0.75, np.minimum(_ellipse(x, y, vessel_x + drift, vessel_y, size, size), inside))
        liver = np.minimum(np.minimum(_ellipse(x, y, -62, 44, 62, 40), chest - 9), 14 - 0.6 * z)
        paint(LIVER, liver)
        for _ in range(9):
            vessel_x, vessel_y = -62 + rng.uniform(-40, 40), 42 + rng.uniform(-26, 26)
            paint(0.8, np.minimum(_ellipse(x, y, vessel_x + 0.2 * z, vessel_y, 2.6, 1.8), liver - 2))
        paint(MARROW, _ellipse(x, y, 0, 58, 17, 15))
        paint(0.12, _ellipse(x, y, 0, 75, 7, 7))  # spinal canal wall and cord
        paint(0.7, _ellipse(x, y, 0, 75, 5, 5))
        paint(BLOOD, _ellipse(x, y, 22, 50, 9.5, 9.5))  # descending aorta
        for rib in range(9):
            angle = np.pi * (0.08 + 0.105 * rib)
            for side in (-1, 1):
                rib_x, rib_y = side * (wide - 19) * np.sin(angle), -(deep - 16) * np.cos(angle)
                paint(0.12, _ellipse(x, y, rib_x, rib_y, 5.5, 4.0))
                paint(0.5, _ellipse(x, y, rib_x, rib_y, 3.4, 2.2))
        return image

    def _heart(self, image, x, y, z, contraction: float) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 2])
        centre_x, centre_y = self.heart_centre_mm()
        taper = np.sqrt(np.clip(1 - ((z - 10) / 62) ** 2, 0.12, 1))  # the ventricle narrows towards the apex
        inner = (25.0 + rng.uniform(-2, 2)) * taper
        outer = inner + 10.5
        x, y = x - centre_x, y - centre_y
        radius, angle = np.hypot(x, y), np.arctan2(y, x)

        inner_now = inner * (1 - self.ejection * contraction)
        outer_now = np.sqrt(outer**2 - 0.82 * (inner**2 - inner_now**2))  # the wall keeps its volume, and shortens
        paint = _Brush(image, self.edge_mm)
        paint(FAT, _ellipse(x, y, -15, 1, 60, 41) + 2 * np.sin(3 * angle))  # pericardial fat
        squeeze = 1 - 0.3 * contraction
        free_wall = _ellipse(x, y, -28, 2, 24 + 15 * squeeze, 20 + 17 * squeeze)
        paint(MYOCARDIUM, free_wall)
        paint(BLOOD, free_wall - 3.4)
        for trabecula in range(7):
            along = np.pi * (0.62 + 0.12 * trabecula)
            reach = 21 + 14 * squeeze
            paint(MYOCARDIUM, _ellipse(x, y, -28 + reach * np.cos(along), 2 + reach * np.sin(along), 3.2, 2.4))
        paint(MYOCARDIUM, outer_now - radius)

        # Inside the wall, look up the material point that has moved here, so that texture moves with the muscle.
        twist = 0.22 * contraction * np.clip(1 - radius / 60, 0, 1)
        scale = inner / inner_now
        material_x, material_y = scale * radius * np.cos(angle - twist), scale * radius * np.sin(angle - twist)
        wall = np.minimum(outer_now - radius, radius - inner_now)
        image += np.clip(wall / 3, 0, 1) * 0.035 * np.sin(6 * (angle - twist)) * np.cos(z / 7)
        cavity = inner_now - radius + 0.9 * np.sin(9 * (angle - twist))  # scalloped by trabeculae
        paint(BLOOD, cavity)
        for place, size in ((0.55, 5.0), (2.35, 4.4)):  # papillary muscles
            papillary = _ellipse(
                material_x, material_y, 0.66 * inner * np.cos(place), 0.66 * inner * np.sin(place), size, size
            )
            paint(MYOCARDIUM, papillary / scale)
        chord = 0.7 - np.abs(material_y + 0.35 * material_x) / scale
        paint(MYOCARDIUM, np.minimum(chord, cavity))
        return image


class _Brush:
    """Paints soft-edged shapes into an image; where two overlap, the later one covers the earlier."""

    def __init__(self, image: np.ndarray, edge_mm: float):
        self.image, self.edge_mm = image, edge_mm

    def __call__(self, signal: float, depth_mm: np.ndarray) -> None:
        """Paint where the depth below the surface is positive; the edge is a logistic curve of this width."""
        cover = 0.5 + 0.5 * np.tanh(depth_mm / self.edge_mm)
        self.image += cover * (signal - self.image)


def _ellipse(x, y, centre_x, centre_y, half_width, half_height):  # noqa: PLR0917
    """Depth in mm below the surface of an ellipse, positive inside (exact on the surface of a circle)."""
    distance = np.hypot((x - centre_x) / half_width, (y - centre_y) / half_height)
    return (1 - distance) * np.minimum(half_width, half_height)


def _contraction(phase: float) -> float:
    """0 at end-diastole, 1 at end-systole; smooth, quicker in systole, at rest before the next beat."""
    phase = phase % 1.0
    if phase < END_SYSTOLE:
        return 0.5 - 0.5 * np.cos(np.pi * phase / END_SYSTOLE)
    relaxing = min((phase - END_SYSTOLE) / 0.44, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * relaxing)
