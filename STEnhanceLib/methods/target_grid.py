"""The finer in-plane grid that super-resolution computes on, and how it lies on the grid of the input."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.sequence import Grid

KSPACE_CROP, BLOCK_AVERAGE = "k-space crop", "block average"
LARGEST_FACTOR = 8


@dataclass(frozen=True)
class FinerGrid:
    """The parameters that say how fine, and where the samples of the input lie. Slices stay as they are."""

    factor: float = parameter(
        2.0,
        "How many voxels replace one along each in-plane axis.",
        minimum=1.0,
        maximum=float(LARGEST_FACTOR),
    )
    target_spacing_mm: float | None = parameter(
        None, "In-plane voxel size to reach, instead of a factor.", minimum=0.05, unit="mm"
    )
    matrix: str = parameter(
        "", "In-plane matrix to reach, such as 256x192, instead of a factor or voxel size.", unit="columns × rows"
    )
    sampling: str = parameter(
        KSPACE_CROP,
        "How the input came to its resolution: a smaller k-space matrix, as in a scanner (the first voxel centres "
        "coincide), or averaging of neighbouring voxels (the outer edges coincide).",
        choices=(KSPACE_CROP, BLOCK_AVERAGE),
    )

    def on(self, source: Grid) -> Grid:
        """The grid of the result: the field of view of `source`, its slices and its times.

        Raises:
            STEnhanceError: the target spacing is coarser than that of `source`, or finer than by the largest factor; or
                the same of the matrix, or it is none.
        """
        shape = (source.shape[0], *self._in_plane_size(source))
        return source.resampled(shape, (*self.first_sample(source.shape[:0:-1], shape[:0:-1]), 0.0))

    def first_sample(self, old_size: tuple[int, ...], new_size: tuple[int, ...]) -> tuple[float, ...]:
        """Where the first sample of the result lies, as index of the input, for each of the given axes."""
        if self.sampling == KSPACE_CROP:
            return (0.0,) * len(old_size)
        return tuple((old / new - 1) / 2 for old, new in zip(old_size, new_size, strict=True))

    def _in_plane_size(self, source: Grid) -> tuple[int, int]:
        if self.matrix:
            return self._size_of_matrix(source.shape[1:])
        factor_ji = (self.factor, self.factor)
        if self.target_spacing_mm is not None:
            spacing_ji = source.spacing_mm[1::-1]
            factor_ji = tuple(spacing / self.target_spacing_mm for spacing in spacing_ji)
        size = tuple(math.floor(n * f + 0.5) for n, f in zip(source.shape[1:], factor_ji, strict=True))
        if any(new < old for new, old in zip(size, source.shape[1:], strict=True)) or max(factor_ji) > LARGEST_FACTOR:
            spacing_i, spacing_j, _ = source.spacing_mm
            raise STEnhanceError(
                f"A target spacing of {self.target_spacing_mm:g} mm was given for voxels of {spacing_i:.4g} × "
                f"{spacing_j:.4g} mm in-plane; expected a value from {max(spacing_i, spacing_j) / LARGEST_FACTOR:.4g} "
                f"to {min(spacing_i, spacing_j):.4g} mm."
            )
        return size

    def _size_of_matrix(self, old_ji: tuple[int, int]) -> tuple[int, int]:
        sides = re.fullmatch(r"\s*(\d{1,5})\s*[x×*]\s*(\d{1,5})\s*", self.matrix, re.IGNORECASE)
        size = (int(sides[2]), int(sides[1])) if sides else (0, 0)
        if any(not old <= new <= LARGEST_FACTOR * old for new, old in zip(size, old_ji, strict=True)):
            rows, columns = old_ji
            raise STEnhanceError(
                f"A matrix of {self.matrix} was given for images of {columns}×{rows} voxels; expected columns × rows, "
                f"from {columns}x{rows} to {LARGEST_FACTOR * columns}x{LARGEST_FACTOR * rows}."
            )
        return size


def shifted(frame: np.ndarray, by_ji: tuple[float, float]) -> np.ndarray:
    """The frame as it would be sampled `by_ji` voxels further on, by the shift theorem; (K, J, I)."""
    if not any(by_ji):
        return frame
    import scipy.fft

    spectrum = scipy.fft.fft2(frame, workers=-1)
    for axis, by in zip((-2, -1), by_ji, strict=True):
        frequency = scipy.fft.fftfreq(frame.shape[axis])
        ramp = np.exp(2j * np.pi * frequency * by)
        ramp[frequency == -0.5] = np.cos(np.pi * by)  # ±Nyquist in equal parts keep real images real
        spectrum = spectrum * ramp.reshape(-1, *[1] * (-axis - 1)).astype(np.complex64)
    shifted = scipy.fft.ifft2(spectrum, workers=-1)
    return shifted if np.iscomplexobj(frame) else shifted.real
