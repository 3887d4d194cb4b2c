"""Frames at any moment: neighbouring frames fetched along the paths of the tissue, and joined along them in time.

Between two frames, tissue is first taken to go evenly along a straight line. The frames before and after them tell
how it speeds up and turns: the cubic polynomial through the four places that a piece of tissue takes in the four frames
says where it is at the moment, and three quarters of the cubic through its four intensities how bright it is (all of it
would follow the noise). Where warping leaves much of a difference unexplained, some of the blend in place is mixed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib import progress
from STEnhanceLib.motion import fields, spline
from STEnhanceLib.motion.registration import padding_unit, register

THICK = 4  # slices more than so many pixels apart: nothing is interpolated across them
VOXELS_AT_ONCE = 2**21  # 100 bytes each while they are registered
BRIGHTNESS_SHARE = 0.75  # of the cubic in time
MOST_UNEVEN = 2.5  # a frame that is farther or nearer by more than this factor tells nothing of the course
STILL, MOVING = 0.0, 0.2  # pixels: from here to there warping takes over; following half a pixel already pays
DOUBT = 0.2  # share of the blend in place where warping leaves more than EXPLAINED[1] of the squared difference
EXPLAINED = (0.0, 0.05)
HALVINGS = 6


class Place(NamedTuple):
    """A frame on the path of the tissue: which, and when, in ms."""

    frame: int
    time_ms: float


class MovingFrames:
    """The frames of a sequence and the motion between them, registered when it is first asked for.

    Args:
        frames: (T, K, J, I) float32.
        spacing_mm: along (i, j, k).
        stiffness: see `registration.register`.
        device: where torch computes.

    Attributes:
        most_mm: the longest way that tissue was seen to go between two frames.
        least_volume: the smallest Jacobian determinant of all warps that were used; below 0 tissue is folded.
        folds: how many control points of these warps were folded.
    """

    def __init__(self, frames: np.ndarray, spacing_mm: tuple[float, float, float], stiffness: float, device: str):
        self.frames, self.stiffness, self.device = frames, stiffness, device
        self.spacing_mm = tuple(spacing_mm[::-1])
        self.shape = frames.shape[1:]
        self.in_plane = self.shape[0] == 1 or self.spacing_mm[0] > THICK * min(self.spacing_mm)
        unit = padding_unit(self.shape, self.spacing_mm, self.in_plane)
        self._missing = [-n % step for n, step in zip(self.shape, unit, strict=True)]
        self._padded = tuple(n + more for n, more in zip(self.shape, self._missing, strict=True))
        self._scale = float(np.percentile(frames, 99.9)) or 1.0
        self._velocities: dict[tuple[int, int], torch.Tensor] = {}
        self._splines: dict[int, torch.Tensor] = {}
        self._planned: list[tuple[int, int]] = []
        self.most_mm, self.least_volume, self.folds = 0.0, 1.0, 0

    def plan(self, paths: Iterable[Sequence[Place]]) -> None:
        """What will be asked for, in this order: several pairs of frames are then registered at once."""
        self._planned = [pair for path in paths for pair in _pairs(path)]

    def _register(self, path: Sequence[Place]) -> None:
        if all(pair in self._velocities for pair in _pairs(path)):
            return
        missing = [pair for pair in dict.fromkeys(_pairs(path) + self._planned) if pair not in self._velocities]
        together = max(1, VOXELS_AT_ONCE // int(np.prod(self._padded)))
        for start in range(0, len(_pairs(path)), together):
            chunk = missing[start : start + together]
            if not chunk:
                break
            progress.tell(f"registering frame {chunk[0][0] + 1} and its neighbour")
            images = [self._prepared([pair[end] for pair in chunk]) for end in (0, 1)]
            velocities = register(*images, self.spacing_mm, self.stiffness, self.in_plane)
            for (first, second), velocity in zip(chunk, velocities.split(1), strict=True):
                self._velocities[first, second], self._velocities[second, first] = velocity, -velocity
                self.most_mm = max(self.most_mm, float(velocity.norm(dim=1).max()))

    @torch.no_grad()
    def at(self, path: Sequence[Place], time_ms: float) -> np.ndarray:
        """The frame at a moment between two neighbours on the path.

        Args:
            path: two to four frames in the order of time, of which the moment has at least one on each side.

        Returns:
            (K, J, I) float32 on the intensity scale of the frames, nowhere below their least.
        """
        after = next(n for n, place in enumerate(path) if place.time_ms > time_ms)
        before = after - 1
        self._register(path)
        times = np.array([place.time_ms for place in path])
        useful = _even_enough(times, before)
        path, times, before = path[useful], times[useful], before - useful.start
        even = np.zeros(len(path))
        even[before + 1] = (time_ms - times[before]) / (times[before + 1] - times[before])
        even[before] = 1 - even[before + 1]
        bend = _cubic(times, time_ms) - even
        weights = even + BRIGHTNESS_SHARE * bend
        ways = self._ways(path, before, float(even[before + 1]), bend)
        images = [self._spline(place.frame) for place in path]
        moved = [
            spline.sampled(image, self._fine(way), self.spacing_mm)[0, 0]
            for image, way in zip(images, ways, strict=True)
        ]
        still = [self._image(place.frame) for place in path]
        warped, in_place = (sum(float(w) * x for w, x in zip(weights, parts, strict=True)) for parts in (moved, still))
        share = self._share_in_place(
            self._fine(ways[before + 1] - ways[before])[0], moved[before : before + 2], still[before : before + 2]
        )
        result = (warped + share * (in_place - warped)).cpu().numpy()
        return result.clip(min=min(self.frames[place.frame].min() for place in path))

    def _ways(self, path, before, fraction, bend) -> list[torch.Tensor]:
        """Displacements from the moment to the frames of the path, in mm on the control grid."""
        spacing = self._control_spacing()
        velocities = [self._velocities[pair] for pair in _pairs(path)]
        ways = [None] * len(path)
        ways[before : before + 2] = fields.straight(velocities[before], fraction, spacing)
        for n in range(before - 1, -1, -1):
            ways[n] = fields.composed(fields.exponential(-velocities[n], spacing), ways[n + 1], spacing)
        for n in range(before + 2, len(path)):
            ways[n] = fields.composed(fields.exponential(velocities[n - 1], spacing), ways[n - 1], spacing)
        aside = sum(float(w) * way for w, way in zip(bend, ways, strict=True))
        for _ in range(HALVINGS):
            turned = [fields.linearly_sampled(way, -aside, spacing) - aside for way in ways]
            volume = torch.cat([fields.smallest_volume(way, spacing) for way in turned[before : before + 2]])
            if volume.min() > 0:
                break
            aside = aside / 2
        self.least_volume = min(self.least_volume, float(volume.min()))
        self.folds += int((volume <= 0).sum())
        return turned

    def _share_in_place(self, way: torch.Tensor, moved: list[torch.Tensor], still: list[torch.Tensor]) -> torch.Tensor:
        """How much of the blend without motion goes in: all where nothing moves, some where warping explains little."""
        left, all_of_it = (_local_mean((a - b).square()) for a, b in (moved, still))
        low, high = EXPLAINED
        noise = (1e-3 * self._scale) ** 2
        doubt = DOUBT * _smooth_step((left / (all_of_it + noise) - low) / (high - low))
        pixels = way.norm(dim=0) / min(self.spacing_mm)
        resting = 1 - _smooth_step((pixels - STILL) / (MOVING - STILL))
        return torch.maximum(doubt, resting)

    def _prepared(self, frames: list[int]) -> torch.Tensor:
        images = torch.from_numpy(self.frames[frames] / np.float32(self._scale)).to(self.device)
        k, j, i = self._missing
        return functional.pad(images[:, None], (0, i, 0, j, 0, k), mode="replicate")[:, 0]

    def _image(self, frame: int) -> torch.Tensor:
        return torch.from_numpy(self.frames[frame].copy()).to(self.device)

    def _spline(self, frame: int) -> torch.Tensor:
        if frame not in self._splines:
            while len(self._splines) > 4:  # moments come in order
                self._splines.pop(next(iter(self._splines)))
            self._splines[frame] = spline.coefficients(self._image(frame)[None, None], self.in_plane)
        return self._splines[frame]

    def _control_spacing(self) -> tuple[float, ...]:
        points = next(iter(self._velocities.values())).shape[2:]
        return tuple(mm * n / count for mm, n, count in zip(self.spacing_mm, self._padded, points, strict=True))

    def _fine(self, field: torch.Tensor) -> torch.Tensor:
        k, j, i = self.shape
        return fields.resized(field, self._padded)[:, :, :k, :j, :i]


def _pairs(path: Sequence[Place]) -> list[tuple[int, int]]:
    return [(one.frame, other.frame) for one, other in itertools.pairwise(path)]


def _even_enough(times: np.ndarray, before: int) -> slice:
    gap = times[before + 1] - times[before]
    near = [1 / MOST_UNEVEN <= step / gap <= MOST_UNEVEN for step in np.diff(times)]
    return slice(
        before - (before > 0 and near[before - 1]), before + 2 + (before + 2 < len(times) and near[before + 1])
    )


def _cubic(times: np.ndarray, time: float) -> np.ndarray:
    """Weights of the polynomial through values at `times`, for its value at `time`."""
    others = [np.delete(times, n) for n in range(len(times))]
    return np.array([np.prod((time - other) / (at - other)) for at, other in zip(times, others, strict=True)])


def _local_mean(image: torch.Tensor) -> torch.Tensor:
    """Over 7 × 7 pixels of each slice."""
    for window in ((7, 1), (1, 7)):
        half = (window[0] // 2, window[1] // 2)
        image = functional.avg_pool2d(image[:, None], window, 1, half, count_include_pad=False)[:, 0]
    return image


def _smooth_step(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
