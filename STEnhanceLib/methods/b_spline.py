"""Cubic B-spline interpolation on the grid that the acquisition implies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task
from STEnhanceLib.methods.target_grid import KSPACE_CROP, FinerGrid
from STEnhanceLib.sequence import ImageSequence


def enhance(sequence: ImageSequence, parameters: FinerGrid) -> Enhancement:
    """Interpolate each slice; the unsupported fraction is what lies beyond the measured frequencies, per voxel."""
    grid = parameters.on(sequence.grid)
    note = (
        "The unsupported fraction of a voxel is the magnitude of its content outside the measured part of k-space, "
        "relative to its value."
    )
    return Enhancement(grid, _frames(sequence, parameters, grid.shape), (note,))


def _frames(sequence: ImageSequence, parameters: FinerGrid, shape: tuple[int, int, int]) -> Iterator[EnhancedFrame]:
    import warnings

    from scipy import ndimage

    old, new = sequence.grid.shape[1:], shape[1:]
    offset = parameters.first_sample(old, new)
    step = np.divide(old, new)
    # An image from the Fourier transform is periodic over its field of view; one of averaged voxels just ends.
    mode = "grid-wrap" if parameters.sampling == KSPACE_CROP else "reflect"
    for frame in sequence.frames:
        finer = np.empty(shape, sequence.frames.dtype)
        with warnings.catch_warnings():  # SciPy before 1.17 warns that steps meant something else before 0.18
            warnings.filterwarnings("ignore", "The behavior of affine_transform", UserWarning)
            for measured, result in zip(frame, finer, strict=True):
                ndimage.affine_transform(measured, step, offset, output=result, order=3, mode=mode)
        beyond = finer - centre_crop.zero_fill(centre_crop.crop(finer, old), new)
        yield EnhancedFrame(np.abs(finer) if np.iscomplexobj(finer) else finer, fraction(beyond, finer))


METHOD = Method(
    key="b-spline",
    title="Cubic B-spline",
    task=Task.SUPER_RESOLUTION,
    summary="Smooth interpolation with less ringing than zero-filling, at the price of some sharpness.",
    parameters=FinerGrid,
    enhance=enhance,
    reference="Unser: Splines: a perfect fit for signal and image processing. IEEE Signal Process Mag 1999; 16:22-38.",
    baseline=True,
    rank=20,
)
