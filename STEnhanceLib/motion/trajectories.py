"""Frames at any moment: neighbouring frames fetched along the paths of the tissue, and joined along them in time.

Between two frames, tissue is first taken to go evenly along a straight line. The frames before and after them tell
how it speeds up and turns: the cubic polynomial through the four places that a piece of tissue takes in the four frames
says where it is at the moment, or the harmonics that fit its places all around a cycle; three quarters of the cubic
through its four intensities say how bright it is (`course`). Where nothing moves, the same weights join the frames in
place; where warping leaves much of a difference unexplained, some of that is mixed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib import progress
from STEnhanceLib.motion import course, fields, registration, spline
from STEnhanceLib.motion.blending import share_in_place
from STEnhanceLib.motion.course import Place

THICK = 4  # slices more than so many pixels apart: nothing is interpolated across them
VOXELS_AT_ONCE = 2**21  # 100 bytes each while they are registered
HALVINGS = 6
NOISE = 1e-3  # of the intensity scale: smaller differences need no explanation


class Joined(NamedTuple):
    """A frame that was put together from others.

    Attributes:
        voxels: (K, J, I) float32 on the intensity scale of the frames, nowhere below their least.
        least_volume: the smallest Jacobian determinant of the warps of both neighbours; below 0 tissue is folded.
        folds: how many control points of these warps are folded.
    """

    voxels: np.ndarray
    least_volume: float
    folds: int


class Frames(Protocol):
    """Frames that need not all be there at once."""

    shape: tuple[int, int, int, int]

    def __getitem__(self, frame: int) -> np.ndarray:
        """(K, J, I) float32, which stays as it is."""


class MovingFrames:
    """The frames of a sequence and the motion between them, registered when it is first asked for.

    Args:
        frames: (T, K, J, I) float32, or what makes them when they are needed.
        spacing_mm: along (i, j, k).
        stiffness: see `registration.register`.
        device: where torch computes.
        cycle_ms: fit the places of tissue by harmonics of a cycle of this length; paths then hold each frame once.
        through_measured: tissue goes through its places in measured frames, however far the harmonics miss them.
        scale: the intensity that counts as 1; by default the 99.9th percentile of the frames.
    """

    def __init__(  # noqa: PLR0917
        self,
        frames: np.ndarray | Frames,
        spacing_mm: tuple[float, float, float],
        stiffness: float,
        device: str,
        cycle_ms: float | None = None,
        through_measured: bool = True,
        scale: float | None = None,
    ):
        self.frames, self.stiffness, self.device = frames, stiffness, device
        self.cycle_ms, self.through_measured = cycle_ms, through_measured
        self.spacing_mm = tuple(spacing_mm[::-1])
        self.shape = frames.shape[1:]
        self.in_plane = self.shape[0] == 1 or self.spacing_mm[0] > THICK * min(self.spacing_mm)
        unit = registration.padding_unit(self.shape, self.spacing_mm, self.in_plane)
        self._missing = [-n % step for n, step in zip(self.shape, unit, strict=True)]
        self._padded = tuple(n + more for n, more in zip(self.shape, self._missing, strict=True))
        self._scale = scale or float(np.percentile(frames, 99.9)) or 1.0
        self._velocities: dict[tuple[int, int], torch.Tensor] = {}
        self._splines: dict[int, torch.Tensor] = {}
        self._planned: list[tuple[int, int]] = []

    def plan(self, paths: Iterable[Sequence[Place]]) -> None:
        """What will be asked for, in this order: several pairs of frames are then registered at once."""
        self._planned = [pair for path in paths for pair in self.pairs(path)]

    def furthest_mm(self, path: Sequence[Place]) -> float:
        """The longest way that tissue was seen to go between two neighbours on a path."""
        return max(float(fields.lengths(self._velocities[pair]).max()) for pair in course.pairs(path))

    def register(self, wanted: list[tuple[int, int]]) -> None:
        """Find the motion between pairs of frames; a pair that was met before costs nothing."""
        if all(pair in self._velocities for pair in wanted):
            return
        missing = [pair for pair in dict.fromkeys(wanted + self._planned) if pair not in self._velocities]
        together = max(1, VOXELS_AT_ONCE // int(np.prod(self._padded)))
        for start in range(0, len(wanted), together):
            chunk = missing[start : start + together]
            if not chunk:
                break
            progress.tell(f"registering frame {chunk[0][0] + 1} and its neighbour")
            images = [self._prepared([pair[end] for pair in chunk]) for end in (0, 1)]
            velocities = registration.register(*images, self.spacing_mm, self.stiffness, self.in_plane)
            for (first, second), velocity in zip(chunk, velocities.split(1), strict=True):
                self._velocities[first, second], self._velocities[second, first] = velocity, -velocity

    @torch.no_grad()
    def at(self, path: Sequence[Place], time_ms: float) -> Joined:
        """The frame at a moment between two neighbours on the path, or instead of the measured one at its very time.

        Args:
            path: two or more frames in the order of time, of which at least one is later than the moment.
        """
        self.register(self.pairs(path))
        weights = course.brightness(path, time_ms, self.through_measured)
        before = course.before(path, time_ms)
        used = [n for n, weight in enumerate(weights) if weight or n in (before, before + 1)]
        ways, volume = self._ways(path, time_ms)
        images = [self._spline(path[n].frame) for n in used]
        moved = [
            spline.sampled(image, self.fine(ways[n]), self.spacing_mm)[0, 0]
            for image, n in zip(images, used, strict=True)
        ]
        still = [self._image(path[n].frame) for n in used]
        warped, in_place = (
            sum(float(weights[n]) * x for n, x in zip(used, parts, strict=True)) for parts in (moved, still)
        )
        gap = slice(used.index(before), used.index(before) + 2)
        pixels = fields.lengths(self.fine(ways[before + 1] - ways[before]))[0, 0] / min(self.spacing_mm)
        share = share_in_place(pixels, moved[gap], still[gap], NOISE * self._scale)
        result = (warped + share * (in_place - warped)).cpu().numpy()
        voxels = result.clip(min=min(self.frames[path[n].frame].min() for n in used))
        return Joined(voxels, float(volume.min()), int((volume <= 0).sum()))

    @torch.no_grad()
    def step(self, path: Sequence[Place], time_ms: float) -> torch.Tensor:
        """How far tissue goes until a moment from where it is in the frame before, on the control grid."""
        self.register(self.pairs(path))
        n = course.before(path, time_ms)
        onward = self.way(path[n].frame, path[n + 1].frame)
        ways = self._continued(path, n, torch.zeros_like(onward), onward)
        closed = self._closed(path, path[n].time_ms, ways)
        straight = self._weighted(course.even(path, time_ms), ways if self.through_measured else closed)
        return straight + self._weighted(self._aside(path, time_ms), closed)

    def _aside(self, path: Sequence[Place], time_ms: float) -> np.ndarray:
        return course.aside(path, time_ms, self.cycle_ms, self.through_measured)

    def _ways(self, path: Sequence[Place], time_ms: float) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Displacements from the moment to the frames of the path, in mm on the control grid, and the volumes left."""
        spacing, before = self.control_spacing(), course.before(path, time_ms)
        fraction = float(course.even(path, time_ms)[before + 1])
        velocity = self._velocities[path[before].frame, path[before + 1].frame]
        ways = self._continued(path, before, *fields.straight(velocity, fraction, spacing))
        aside = self._weighted(self._aside(path, time_ms), self._closed(path, time_ms, ways))
        for _ in range(HALVINGS):
            turned = [fields.linearly_sampled(way, -aside, spacing) - aside for way in ways]
            volume = torch.cat([fields.smallest_volume(way, spacing) for way in turned[before : before + 2]])
            if volume.min() > 0:
                break
            aside = aside / 2
        return turned, volume

    def _continued(self, path: Sequence[Place], before: int, way_before, way_after) -> list[torch.Tensor]:
        """Displacements to all frames of a path, from those to `before` and to the next one."""
        spacing = self.control_spacing()
        ways = [None] * len(path)
        ways[before : before + 2] = way_before, way_after
        for n in range(before - 1, -1, -1):
            ways[n] = fields.composed(self.way(path[n + 1].frame, path[n].frame), ways[n + 1], spacing)
        for n in range(before + 2, len(path)):
            ways[n] = fields.composed(self.way(path[n - 1].frame, path[n].frame), ways[n - 1], spacing)
        return ways

    def _closed(self, path: Sequence[Place], from_ms: float, ways: list[torch.Tensor]) -> list[torch.Tensor]:
        """The same displacements in a cycle: that by which they miss their start is shared out along it."""
        if self.cycle_ms is None:
            return ways
        around = fields.composed(self.way(path[-1].frame, path[0].frame), ways[-1], self.control_spacing())
        miss = around - ways[0]
        return [way - (place.time_ms - from_ms) / self.cycle_ms * miss for place, way in zip(path, ways, strict=True)]

    def _weighted(self, weights: np.ndarray, ways: list[torch.Tensor]) -> torch.Tensor:
        return sum(float(weight) * way for weight, way in zip(weights, ways, strict=True))

    def way(self, first: int, second: int) -> torch.Tensor:
        """The displacement from one frame to another that was registered to it, on the control grid."""
        return fields.exponential(self._velocities[first, second], self.control_spacing())

    def control_spacing(self) -> tuple[float, ...]:
        """Of the grid that motion is kept on, in mm along (k, j, i)."""
        points = next(iter(self._velocities.values())).shape[2:]
        return tuple(mm * n / count for mm, n, count in zip(self.spacing_mm, self._padded, points, strict=True))

    def fine(self, field: torch.Tensor) -> torch.Tensor:
        """A field of the control grid on the voxels of the frames."""
        k, j, i = self.shape
        return fields.resized(field, self._padded)[:, :, :k, :j, :i]

    def _prepared(self, frames: list[int]) -> torch.Tensor:
        images = torch.from_numpy(np.stack([self.frames[n] for n in frames]) / np.float32(self._scale)).to(self.device)
        k, j, i = self._missing
        return functional.pad(images[:, None], (0, i, 0, j, 0, k), mode="replicate")[:, 0]

    def _image(self, frame: int) -> torch.Tensor:
        return torch.from_numpy(self.frames[frame].copy()).to(self.device)

    def _spline(self, frame: int) -> torch.Tensor:
        if frame not in self._splines:
            while len(self._splines) > 5:  # moments come in order
                self._splines.pop(next(iter(self._splines)))
            self._splines[frame] = spline.coefficients(self._image(frame)[None, None], self.in_plane)
        return self._splines[frame]

    def pairs(self, path: Sequence[Place]) -> list[tuple[int, int]]:
        """What must be registered for a path."""
        closing = [(path[-1].frame, path[0].frame)] if self.cycle_ms is not None and path else []
        return course.pairs(path) + closing
