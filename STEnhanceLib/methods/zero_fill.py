"""Zero-filling: the images on a finer grid, with nothing in k-space beyond what was measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task
from STEnhanceLib.methods.target_grid import FinerGrid, shifted
from STEnhanceLib.sequence import ImageSequence


def enhance(sequence: ImageSequence, parameters: FinerGrid) -> Enhancement:
    """Sinc interpolation of each slice; complex images are interpolated as such and returned as magnitude."""
    grid = parameters.on(sequence.grid)
    return Enhancement(grid, _frames(sequence, parameters, grid.shape))


def _frames(sequence: ImageSequence, parameters: FinerGrid, shape: tuple[int, int, int]) -> Iterator[EnhancedFrame]:
    first_sample = parameters.first_sample(sequence.grid.shape[1:], shape[1:])
    for frame in sequence.frames:
        finer = centre_crop.zero_fill(shifted(frame, first_sample), shape[1:])
        yield EnhancedFrame(np.abs(finer) if np.iscomplexobj(finer) else finer, 0.0)


METHOD = Method(
    key="zero-fill",
    title="Zero-filling",
    task=Task.SUPER_RESOLUTION,
    summary="More voxels without new content: what the scanner measured, shown smoothly. The baseline to beat.",
    parameters=FinerGrid,
    enhance=enhance,
    reference="Bernstein, Fain, Riederer: Effect of windowing and zero-filled reconstruction of MRI data on spatial "
    "resolution and acquisition strategy. J Magn Reson Imaging 2001; 14:270-280.",
    baseline=True,
    rank=10,
)
