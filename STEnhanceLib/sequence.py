"""`ImageSequence`, the one data type between all layers, and the `Grid` on which its voxels lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from STEnhanceLib.errors import STEnhanceError


@dataclass(frozen=True, eq=False)
class Grid:
    """Where and when the voxels of a sequence lie.

    Attributes:
        shape: voxels of one frame, (K, J, I).
        ijk_to_ras: (4, 4) float64, voxel index (i, j, k) to patient position in mm, RAS.
        times_ms: (T,) float64, strictly increasing, milliseconds.
        periodic: the last frame is followed by the first, as in a cardiac cycle.

    Raises:
        STEnhanceError: the shape has no voxels, the matrix is singular or not affine, or the times do not increase.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    times_ms: np.ndarray
    periodic: bool = False

    def __post_init__(self):
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise STEnhanceError(f"A frame of shape {shape} was given; expected (K, J, I), each at least 1.")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "ijk_to_ras", _frozen(_checked_matrix(self.ijk_to_ras)))
        object.__setattr__(self, "times_ms", _frozen(_checked_times(self.times_ms)))
        object.__setattr__(self, "periodic", bool(self.periodic))

    def __len__(self) -> int:
        return len(self.times_ms)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along (i, j, k) in mm."""
        return tuple(float(n) for n in np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))

    @property
    def frame_duration_ms(self) -> float:
        """Median time between frames in ms; NaN for a single frame."""
        return float(np.median(np.diff(self.times_ms))) if len(self) > 1 else float("nan")

    @property
    def period_ms(self) -> float:
        """Length of the cycle in ms: the last frame lasts one frame duration before the first one returns."""
        return float(self.times_ms[-1] - self.times_ms[0]) + self.frame_duration_ms

    def resampled(self, shape: tuple[int, int, int], first_voxel: tuple[float, float, float] = (0, 0, 0)) -> Grid:
        """The same field of view on another matrix.

        Args:
            shape: the new (K, J, I).
            first_voxel: where the centre of the new voxel (0, 0, 0) lies, as (i, j, k) index of this grid. Zero for
                images cropped or zero-filled in k-space, whose first samples coincide.
        """
        to_old = np.eye(4)
        to_old[:3, :3] = np.diag([old / new for old, new in zip(self.shape[::-1], shape[::-1], strict=True)])
        to_old[:3, 3] = first_voxel
        return replace(self, shape=shape, ijk_to_ras=self.ijk_to_ras @ to_old)

    def at_times(self, times_ms: np.ndarray) -> Grid:
        """The same voxels at other times in ms."""
        return replace(self, times_ms=times_ms)

    def part(self, frames: Sequence[int], slices: slice) -> Grid:
        """Some frames of some neighbouring slices.

        Args:
            frames: in the order of time; after the last frame the first may follow, as in a cycle: 8, 9, 0, 1.
            slices: without a step.
        """
        frames = np.asarray(frames)
        times = self.times_ms[frames]
        if (np.diff(frames) < 0).any():
            times = times + self.period_ms * np.cumsum(np.r_[0, np.diff(frames) < 0])
        first, last, _ = slices.indices(self.shape[0])
        to_whole = np.eye(4)
        to_whole[2, 3] = first
        whole_cycle = self.periodic and len(frames) == len(self)
        return Grid((last - first, *self.shape[1:]), self.ijk_to_ras @ to_whole, times, whole_cycle)


@dataclass(frozen=True, eq=False)
class ImageSequence:
    """A 4D MR image sequence: voxels, geometry, time, and what had to be assumed about them. Immutable.

    Attributes:
        frames: (T, K, J, I), float32 magnitude or complex64; a read-only view, never a copy of what was given.
        ijk_to_ras: (4, 4) float64 in mm, see `Grid`.
        times_ms: (T,) float64, strictly increasing, milliseconds.
        periodic: the last frame is followed by the first.
        name: what the user calls it.
        notes: what a reader had to assume, one sentence each; shown to the user, never silent.
        attributes: provenance, string to string, as it is kept in file headers and node attributes.
        frame_attributes: (T,) the same of every single frame, see `origin`; empty where there are none.

    Raises:
        STEnhanceError: not 4D, no frames, a type other than the two, NaN or infinite voxels, or as `Grid`.
    """

    frames: np.ndarray
    ijk_to_ras: np.ndarray
    times_ms: np.ndarray
    periodic: bool = False
    name: str = ""
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    frame_attributes: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self):
        frames = self.frames
        if not isinstance(frames, np.ndarray) or frames.ndim != 4 or 0 in frames.shape:
            found = getattr(frames, "shape", type(frames).__name__)
            raise STEnhanceError(f"Frames of shape {found} were given; expected voxels as (T, K, J, I).")
        if frames.dtype not in (np.float32, np.complex64):
            raise STEnhanceError(
                f"Voxels of type {frames.dtype} were given; expected float32 (magnitude) or complex64. "
                "Use ImageSequence.from_frames to convert."
            )
        # A blank, one number for all voxels, is made for every stroke of a key in a panel: one look is enough.
        blank = not any(frames.strides) and np.isfinite(frames.flat[0])
        for index, frame in enumerate(() if blank else frames):
            if not np.isfinite(frame).all():
                bad = int(np.count_nonzero(~np.isfinite(frame)))
                raise STEnhanceError(
                    f"Frame {index + 1} of {len(frames)} has {bad} voxels that are NaN or infinite; expected finite "
                    "numbers. Replace them (for example by 0) or leave the frame out."
                )
        grid = Grid(frames.shape[1:], self.ijk_to_ras, self.times_ms, self.periodic)
        if len(grid) != len(frames):
            raise STEnhanceError(f"{len(frames)} frames but {len(grid)} times were given; expected one time per frame.")
        own = tuple(MappingProxyType(dict(each)) for each in self.frame_attributes)
        if own and len(own) != len(frames):
            raise STEnhanceError(f"{len(frames)} frames but attributes of {len(own)} were given; expected one of each.")
        object.__setattr__(self, "frames", _read_only_view(frames))
        object.__setattr__(self, "_grid", grid)
        object.__setattr__(self, "ijk_to_ras", grid.ijk_to_ras)
        object.__setattr__(self, "times_ms", grid.times_ms)
        object.__setattr__(self, "periodic", grid.periodic)
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))
        object.__setattr__(self, "frame_attributes", own if any(own) else ())

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        k, j, i = self.grid.shape
        return f"<ImageSequence {self.name!r}: {len(self)} frames of {i}×{j}×{k}, {self.frames.dtype}>"

    @classmethod
    def from_frames(cls, frames, grid: Grid, **named) -> ImageSequence:
        """Stack frames of any real or complex type, each (K, J, I), onto a grid.

        Raises:
            STEnhanceError: the frames differ in shape, or as the constructor.
        """
        shapes = {np.shape(frame) for frame in frames}
        if len(shapes) > 1:
            raise STEnhanceError(
                f"Frames of {len(shapes)} different shapes were found ({', '.join(map(str, sorted(shapes)))}); "
                "expected one shape. Resample them onto one grid first."
            )
        stacked = np.asarray(frames)
        wanted = np.complex64 if np.iscomplexobj(stacked) else np.float32
        return cls(stacked.astype(wanted, copy=False), grid.ijk_to_ras, grid.times_ms, grid.periodic, **named)

    @property
    def grid(self) -> Grid:
        """Geometry and time without the voxels."""
        return self._grid

    def magnitude(self) -> np.ndarray:
        """(T, K, J, I) float32; the frames themselves where they are real already."""
        return np.abs(self.frames) if np.iscomplexobj(self.frames) else self.frames

    def with_frames(self, indices) -> ImageSequence:
        """Only these frames, in the given order of time."""
        indices = np.asarray(indices)
        own = self._attributes_of(indices)
        return replace(self, frames=self.frames[indices], times_ms=self.times_ms[indices], frame_attributes=own)

    def part(self, frames: Sequence[int], slices: slice) -> ImageSequence:
        """Some frames of some neighbouring slices, see `Grid.part`."""
        grid, voxels = self.grid.part(frames, slices), self.frames[:, slices][np.asarray(frames)]
        return ImageSequence.from_frames(
            voxels,
            grid,
            name=self.name,
            notes=self.notes,
            attributes=self.attributes,
            frame_attributes=self._attributes_of(frames),
        )

    def _attributes_of(self, indices) -> tuple[Mapping[str, str], ...]:
        indices = np.arange(len(self))[indices]
        return tuple(self.frame_attributes[n] for n in indices) if self.frame_attributes else ()


def frames_per_second(times_ms: np.ndarray) -> int:
    """How fast to play frames: as fast as the heart, as far as a screen can."""
    return int(np.clip(round(1000 / np.median(np.diff(times_ms))), 1, 30)) if len(times_ms) > 1 else 1


def _checked_matrix(matrix) -> np.ndarray:
    matrix = np.array(matrix, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise STEnhanceError(
            f"The IJK→RAS matrix has shape {matrix.shape} and is not a finite affine matrix; expected 4×4 in mm with "
            "(0, 0, 0, 1) as its last row."
        )
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not spacing.all() or abs(np.linalg.det(matrix[:3, :3] / spacing)) < 1e-6:
        raise STEnhanceError(
            "The IJK→RAS matrix is singular, so voxels have no volume; expected three independent directions. "
            "Check spacing and directions of the image."
        )
    return matrix


def _checked_times(times) -> np.ndarray:
    times = np.array(times, dtype=np.float64)
    if times.ndim != 1 or len(times) == 0 or not np.isfinite(times).all():
        raise STEnhanceError(f"Times of shape {times.shape} were given; expected one finite number per frame, in ms.")
    steps = np.diff(times)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise STEnhanceError(
            f"Frame {at + 2} is at {times[at + 1]:g} ms, not later than frame {at + 1} at {times[at]:g} ms; expected "
            "strictly increasing times. Sort the frames or remove duplicates."
        )
    return times


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _read_only_view(array: np.ndarray) -> np.ndarray:
    return _frozen(array.view())
