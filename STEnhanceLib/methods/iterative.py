"""What iterative reconstructions share: slices one by one, accelerated steps, and how far off the samples they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement
from STEnhanceLib.methods.measurement import check_that_they_belong_together
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

NOTE = "How much of each voxel the measurement supports was not computed."
RESIDUAL = "The result differs from the measured samples by {:.2g} of them (‖Ax − y‖ / ‖y‖)."
LEAST_STEPS = 5  # the first ones are short, as momentum has yet to build up


def enhancement(
    sequence: ImageSequence, kspace: KSpace, reconstruct: Callable[[Operator, torch.Tensor], torch.Tensor]
) -> Enhancement:
    """All slices are reconstructed before the first frame is yielded; a job that must stop sooner ends its process.

    Args:
        sequence: what the measurement belongs to.
        kspace: the measurement.
        reconstruct: operator and samples of one slice to images (T, J, I), complex64.

    Raises:
        STEnhanceError: the k-space is not that of the sequence.
    """
    check_that_they_belong_together(sequence, kspace)
    notes = [*kspace.notes, NOTE]
    return Enhancement(sequence.grid, _frames(kspace, reconstruct, notes), notes)


def minimised(
    start: torch.Tensor,
    advance: Callable[[torch.Tensor], torch.Tensor],
    average: torch.Tensor,
    *,
    tolerance: float,
    iterations: int,
    image: Callable[[torch.Tensor], torch.Tensor] = lambda variables: variables,
) -> torch.Tensor:
    """Accelerated proximal steps (FISTA, Beck and Teboulle 2009) until little changes.

    Momentum is dropped where it points uphill (O'Donoghue and Candès, Found Comput Math 2015; 15:715-732).

    Args:
        start: the variables.
        advance: one plain proximal step from there.
        average: of the images over time.
        tolerance: stop when a step changes the images by less than this part of what distinguishes them from `average`.
        iterations: stop after so many at the latest.
        image: what the variables amount to.
    """
    variables, point, momentum = start, start, 1.0
    for count in range(1, iterations + 1):
        previous = variables
        variables = advance(point)
        change = variables - previous
        moving = float((image(variables) - average).norm())
        if count >= LEAST_STEPS and float(image(change).norm()) <= tolerance * moving:
            break
        uphill = float(((point - variables).conj() * change).real.sum()) > 0
        faster = 1.0 if uphill else (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        point = variables + (0.0 if uphill else (momentum - 1) / faster) * change
        momentum = faster
    return variables


def kept_share(sizes: torch.Tensor, limit: float) -> torch.Tensor:
    """What to multiply values of these sizes (0 or more) with to make each smaller by `limit`, down to 0."""
    import torch

    return (1 - limit / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)).clamp_min(0)


def _frames(
    kspace: KSpace, reconstruct: Callable[[Operator, torch.Tensor], torch.Tensor], notes: list[str]
) -> Iterator[EnhancedFrame]:
    """Notes get the relative residual on the measured samples."""
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
