"""A bending knee with known truth: rigid femur, tibia and patella in soft tissue that stretches, folds and slides.

From extension to 80° of flexion the shank turns about the axis of the femoral condyles, and the patella glides along
the trochlea. Bones are rigid bodies with texture of their own. Soft tissue moves on arcs around the same axis: with the
thigh near the femur, with the shank near the tibia, evenly between them, stretched in front of the joint and folded
behind it. Along the surfaces of the bones it slides. Motion of this size, along arcs and not lines, is where
registration of the ends is expected to fail. Signal levels are those of bSSFP: bright fluid, fat and fatty marrow, dark
muscle, black cortex and tendons.

Coordinates: x to the left (across the joint), y to the back, z up, in mm, from the axis of the condyles; the picture is
sagittal, the front of the knee at its left. Inside, positions are (back, down, across).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.phantoms import knee_anatomy as anatomy
from STEnhanceLib.phantoms import sampling
from STEnhanceLib.phantoms.brush import Brush
from STEnhanceLib.sequence import Grid, ImageSequence

LARGEST_FLEXION = 110.0  # degrees; beyond it the hollow of the knee would fold into itself
# Around the axis, in degrees from straight ahead (0) by the shank (90), the hollow of the knee (180) and the thigh
# (270) back to the front: the share of the flexion by which soft tissue turns, and its move outwards at 80°.
_TURNING = ((-82, 0), (-28, 0.72), (18, 0.78), (50, 1), (108, 1), (252, 0), (278, 0))
_SWELLING = ((-82, 0), (-30, -0.14), (18, -0.14), (55, 0), (112, 0), (180, 0.10), (248, 0), (278, 0))
_CUT = -90.0  # degrees; the middle of the thigh, where both are 0
_PATELLA = float(np.degrees(np.arctan2(anatomy.PATELLA_CENTRE[1], -anatomy.PATELLA_CENTRE[0])))


@dataclass(frozen=True)
class Knee:
    """One virtual knee.

    Attributes:
        seed: anatomy; sizes, fat, signal and texture vary with it. The same seed is the same knee.
        flexion_deg: at the end, up to 110.
        duration_ms: from extension to the end; the knee bends evenly, and stays as it is before and after.
        edge_mm: width of the soft edge of every structure.
        thickness_mm: of the slices, over which the signal is averaged.

    Raises:
        STEnhanceError: the flexion is out of range.
    """

    seed: int = 0
    flexion_deg: float = 80.0
    duration_ms: float = 5500.0
    edge_mm: float = 0.6
    thickness_mm: float = 4.0

    def __post_init__(self):
        if not 0 < self.flexion_deg <= LARGEST_FLEXION:
            raise STEnhanceError(
                f"A flexion of {self.flexion_deg:g}° was asked for; expected more than 0° and at most "
                f"{LARGEST_FLEXION:g}°."
            )

    def sample(self, grid: Grid) -> ImageSequence:
        """The knee at the voxel centres and times of a grid, as (T, K, J, I) float32 with fluid near 1000."""
        return ImageSequence.from_frames(
            sampling.painted(grid, self._paint, self.thickness_mm),
            grid,
            name="knee phantom",
            attributes={"STEnhance.Phantom": f"knee, seed {self.seed}, 0-{self.flexion_deg:g} degrees"},
        )

    def cine(
        self, frames: int = 12, matrix: int = 192, slices: int = 1, field_of_view_mm: float = 240.0
    ) -> ImageSequence:
        """One bend in sagittal slices of the set thickness, side by side, through the patella and a condyle."""
        if frames < 2:
            raise STEnhanceError(f"{frames} frames of a bending knee were asked for; expected at least 2.")
        spacing = field_of_view_mm / matrix
        step = self.thickness_mm or 4.0
        ijk_to_ras = np.zeros((4, 4))
        ijk_to_ras[1, 0], ijk_to_ras[2, 1], ijk_to_ras[0, 2] = -spacing, -spacing, -step  # i back, j down, k left
        ijk_to_ras[:3, 3] = -11 + step * (slices - 1) / 2, 0.38 * field_of_view_mm, 0.40 * field_of_view_mm
        ijk_to_ras[3, 3] = 1
        return self.sample(Grid((slices, matrix, matrix), ijk_to_ras, np.linspace(0, self.duration_ms, frames)))

    def angle_deg(self, time_ms: float) -> float:
        """The flexion at a moment."""
        return self.flexion_deg * min(max(time_ms / self.duration_ms, 0.0), 1.0)

    def bones(self, time_ms: float) -> dict[str, np.ndarray]:
        """(4, 4) per bone: from where its points are in extension to where they are now, left, back, up in mm."""
        tibia, femur, patella = np.eye(4), np.eye(4), np.eye(4)
        tibia[1:3, 1:3] = _rotation(self.angle_deg(time_ms))
        turned, inwards = self._patella(time_ms)
        patella[1:3, 1:3] = _rotation(turned)
        patella[1:3, 3] = _rotation(turned) @ inwards
        return {"tibia": tibia, "femur": femur, "patella": patella}

    def moved(self, points: np.ndarray, from_ms: float, to_ms: float) -> np.ndarray:
        """Where tissue that is at these points (..., 3), left, back, up in mm, at one moment is at another."""
        before, after = self.bones(from_ms), self.bones(to_ms)
        result = self._soft_to(self._soft_from(points, from_ms), to_ms)
        for bone, holds in self._shapes.holds.items():  # later ones lie over earlier ones
            there = _apply(np.linalg.inv(before[bone]), points)
            inside = holds(*self._back_down_across(there)) > 0
            result = np.where(inside[..., None], _apply(after[bone], there), result)
        return result

    def displacement(self, grid: Grid, from_ms: float, to_ms: float) -> np.ndarray:
        """The truth: how the tissue in every voxel moves, (3, K, J, I) float32 in mm along R, A, S."""
        return sampling.displacement(grid, lambda points: self.moved(points, from_ms, to_ms))

    @cached_property
    def _shapes(self) -> anatomy.KneeShapes:
        return anatomy.KneeShapes(self.seed)

    def _paint(self, image: np.ndarray, x, y, z, time_ms: float) -> None:
        points = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
        place = self._soft_from(points, time_ms)
        self._shapes.paint_soft_tissue(self._brush(image, place))
        for bone, transform in self.bones(time_ms).items():
            place = _apply(np.linalg.inv(transform), points)
            self._shapes.paint_bone[bone](self._brush(image, place))

    def _brush(self, image: np.ndarray, place: np.ndarray) -> Brush:
        return Brush(image, *self._back_down_across(place), self.edge_mm / self._shapes.size)

    def _back_down_across(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As the anatomy wants it, in mm of a knee of average size."""
        x, y, z = np.moveaxis(place / self._shapes.size, -1, 0).astype(np.float32)
        return y, -z, x

    def _patella(self, time_ms: float) -> tuple[float, np.ndarray]:
        """By how many degrees it has turned about the axis, and its move (back, up) in mm before that turn."""
        angle = self.angle_deg(time_ms)
        turned, outwards = _soft_tables(angle)
        back, down = anatomy.PATELLA_CENTRE
        there = self._shapes.size * np.array([back, -down])
        share = float(np.interp(_PATELLA, _DEGREES, outwards)) - 1
        return float(np.interp(_PATELLA, _DEGREES, turned)) - _PATELLA, share * there

    def _soft_from(self, points: np.ndarray, time_ms: float) -> np.ndarray:
        """Where soft tissue that is now at these points lies in extension."""
        turned, outwards = _soft_tables(self.angle_deg(time_ms))
        radius, degrees = _polar(points)
        degrees = np.interp(degrees, turned, _DEGREES)
        return _cartesian(points, radius / np.interp(degrees, _DEGREES, outwards), degrees)

    def _soft_to(self, points: np.ndarray, time_ms: float) -> np.ndarray:
        """Where soft tissue that lies at these points in extension is now."""
        turned, outwards = _soft_tables(self.angle_deg(time_ms))
        radius, degrees = _polar(points)
        return _cartesian(points, radius * np.interp(degrees, _DEGREES, outwards), np.interp(degrees, _DEGREES, turned))


_DEGREES = np.linspace(_CUT, _CUT + 360, 1441)
_TURNS = sampling.smooth_curve(*np.transpose(_TURNING), 4.0)(_DEGREES)
_SWELLS = sampling.smooth_curve(*np.transpose(_SWELLING), 6.0)(_DEGREES)


def _soft_tables(angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """For the directions `_DEGREES` in extension: the direction now, and by which factor the distance has grown."""
    return _DEGREES + angle_deg * _TURNS, 1 + angle_deg / 80 * _SWELLS


def _polar(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the axis, and direction in degrees from straight ahead over down to the back."""
    ahead, down = -points[..., 1], -points[..., 2]
    return np.hypot(ahead, down), (np.degrees(np.arctan2(down, ahead)) - _CUT) % 360 + _CUT


def _cartesian(points: np.ndarray, radius: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """The same x, with y and z of these polar coordinates."""
    turn = np.radians(degrees)
    return np.stack([points[..., 0], -radius * np.cos(turn), -radius * np.sin(turn)], axis=-1)


def _rotation(degrees: float) -> np.ndarray:
    """(2, 2) of (back, up): positive turns bring what is below to the back."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def _apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]
