"""The images that belong to a measurement of which there are no others."""

from __future__ import annotations

import numpy as np

from STEnhanceLib.acquisition.delays import in_place
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.acquisition.operators import slice_operators
from STEnhanceLib.sequence import ImageSequence

NOTE = "The images were gridded from the k-space."


def gridded_frame(kspace: KSpace, index: int, device: str) -> np.ndarray:
    """One frame (K, J, I), float32 magnitude: density-compensated adjoint or zero-filled transform, coils combined."""
    slices = slice_operators(kspace.frame(index), device)
    return np.stack([operator.gridded(samples)[0].abs().cpu().numpy() for operator, samples in slices])


def gridded_images(kspace: KSpace, name: str, device: str, delays: bool = True) -> ImageSequence:
    """All frames, with the artefacts of what was not measured.

    Args:
        delays: put spokes where late gradients measured them, see `acquisition.delays`.

    Raises:
        STEnhanceError: the data are radial, and torchkbnufft is missing.
    """
    kspace, grid = in_place(kspace) if delays else kspace, kspace.grid
    frames = np.stack([gridded_frame(kspace, index, device) for index in range(len(grid))])
    return ImageSequence(frames, grid.ijk_to_ras, grid.times_ms, grid.periodic, name=name, notes=(*kspace.notes, NOTE))
