"""Soft-edged shapes, painted over one another into an image: what the phantoms are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np


class Brush:
    """Paints soft-edged shapes into an image; where two overlap, the later one covers the earlier.

    Most shapes are small, so they are computed only in the window of the image where they can be seen.

    Attributes:
        image: (K, J, I), painted in place.
        x, y, z: positions in mm, of shapes that broadcast to that of the image.
        edge_mm: the edges are logistic curves of this width.
        limit: depth in mm below another surface, inside which all shapes stay; none without it.
    """

    def __init__(self, image, x, y, z, edge_mm: float, limit=None):  # noqa: PLR0917
        self.image, self.x, self.y, self.z, self.edge_mm, self.limit = image, x, y, z, edge_mm, limit

    def __call__(self, signal: float, depth_mm: np.ndarray) -> None:
        """Paint where the depth below the surface is positive."""
        if self.limit is not None:
            depth_mm = np.minimum(depth_mm, self.limit)
        cover = 0.5 + 0.5 * np.tanh(depth_mm / self.edge_mm)
        self.image += cover * (signal - self.image)

    def ellipse(  # noqa: PLR0917
        self, signal: float, x: float, y: float, half_width: float, half_height: float, drift: float = 0
    ):
        """Paint an elliptic cylinder whose centre moves along x by `drift` mm per mm of z."""
        spot = self.near(x, y, half_width, half_height, drift)
        spot(signal, ellipse_depth(spot.x - drift * spot.z, spot.y, x, y, half_width, half_height))

    def stroke(self, signal: float, points: Sequence[tuple[float, float]], radius: float, end_radius: float = 0):
        """Paint a line through points (x, y), as thick as two radii, or tapering towards the end."""
        (from_x, from_y), *others = points
        radii = np.linspace(radius, end_radius or radius, len(points))
        for (to_x, to_y), thick, thin in zip(others, radii, radii[1:], strict=False):
            half_width, half_height = abs(to_x - from_x) / 2 + thick, abs(to_y - from_y) / 2 + thick
            part = self.near((from_x + to_x) / 2, (from_y + to_y) / 2, half_width, half_height)
            part(signal, line_depth(part.x, part.y, (from_x, from_y), (to_x, to_y), thick, thin))
            from_x, from_y = to_x, to_y

    def within(self, limit_mm: np.ndarray) -> Brush:
        """A brush that paints only below a surface."""
        return Brush(self.image, self.x, self.y, self.z, self.edge_mm, limit_mm)

    def around(self, x: float, y: float) -> Brush:
        """A brush whose origin is this point."""
        return Brush(self.image, self.x - x, self.y - y, self.z, self.edge_mm, self.limit)

    def near(self, x: float, y: float, half_width: float, half_height: float, drift: float = 0) -> Brush:
        """A brush for the window in which an ellipse can be seen, its soft edge included."""
        seen = 1 + 6 * self.edge_mm / min(half_width, half_height)  # the cover of an edge is below 1e-5 there
        half_width = seen * half_width + abs(drift) * self._farthest_z
        half_height = seen * half_height
        window = []
        for x_low, x_high, y_low, y_high in self._extents:
            met = (x_low < x + half_width) & (x_high > x - half_width)
            met = np.flatnonzero(met & (y_low < y + half_height) & (y_high > y - half_height))
            window.append(slice(met[0], met[-1] + 1) if len(met) else slice(0, 0))
        parts = (_cut(part, window) for part in (self.image, self.x, self.y, self.z))
        return Brush(*parts, self.edge_mm, None if self.limit is None else _cut(self.limit, window))

    @cached_property
    def _extents(self) -> list[tuple[np.ndarray, ...]]:
        """Per axis of the image: the lowest and highest x, then y, of every plane across it."""
        extents = []
        for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
            lowest_and_highest = (
                np.min(self.x, axis=others, initial=np.inf),
                np.max(self.x, axis=others, initial=-np.inf),
                np.min(self.y, axis=others, initial=np.inf),
                np.max(self.y, axis=others, initial=-np.inf),
            )
            planes = self.image.shape[axis]
            extents.append(tuple(np.broadcast_to(extreme, planes) for extreme in lowest_and_highest))
        return extents

    @cached_property
    def _farthest_z(self) -> float:
        return float(np.max(np.abs(self.z), initial=0))


def _cut(part: np.ndarray, window: list[slice]) -> np.ndarray:
    return part[tuple(slice(None) if size == 1 else cut for size, cut in zip(part.shape, window, strict=True))]


def line_depth(x, y, start: tuple[float, float], end: tuple[float, float], radius, end_radius):  # noqa: PLR0917
    """Depth in mm below the surface of a line with round ends, from one radius to another."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    share = ((x - start[0]) * along_x + (y - start[1]) * along_y) / max(along_x**2 + along_y**2, 1e-6)
    share = np.clip(share, 0, 1)
    off_x, off_y = x - start[0] - share * along_x, y - start[1] - share * along_y
    return radius + share * (end_radius - radius) - np.sqrt(off_x**2 + off_y**2)


def ellipse_depth(x, y, centre_x, centre_y, half_width, half_height):  # noqa: PLR0917
    """Depth in mm below the surface of an ellipse, positive inside (exact on the surface of a circle)."""
    right, down = (x - centre_x) / half_width, (y - centre_y) / half_height
    return (1 - np.sqrt(right * right + down * down)) * min(half_width, half_height)
