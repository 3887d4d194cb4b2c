"""What iterative reconstructions share: slice by slice, and how far the result is off the measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods.declaration import EnhancedFrame

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

NOTE = "How much of each voxel the measurement supports was not computed."
RESIDUAL = "The result differs from the measured samples by {:.2g} of them (‖Ax − y‖ / ‖y‖)."


def frames(
    kspace: KSpace, reconstruct: Callable[[Operator, torch.Tensor], torch.Tensor], notes: list[str]
) -> Iterator[EnhancedFrame]:
    """Reconstruct all slices, then yield the frames; a job that must stop sooner ends its process.

    Args:
        kspace: the measurement.
        reconstruct: operator and samples of one slice to images (T, J, I), complex64.
        notes: gets the relative residual on the measured samples.
    """
    from STEnhanceLib.acquisition.operators import slice_operators

    slices, off, energy = [], 0.0, 0.0
    for operator, samples in slice_operators(kspace, device.chosen()):
        images = reconstruct(operator, samples)
        slices.append(images.abs().cpu().numpy())
        off += float((operator.forward(images) - samples).norm()) ** 2
        energy += float(samples.norm()) ** 2
    notes.append(RESIDUAL.format((off / energy) ** 0.5))
    for frame in zip(*slices, strict=True):
        yield EnhancedFrame(np.stack(frame), float("nan"))
