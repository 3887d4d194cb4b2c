"""Iterative reconstruction with temporal total variation: what stays from frame to frame must stay still.

Undersampling artefacts of interleaved lines or golden-angle spokes flicker from frame to frame, anatomy does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.measurement import check_that_they_belong_together, device
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

# Tuned once on the middle slice of a human short-axis cine (20 phases of 256²) sampled with 13 golden-angle spokes per
# frame, 8 coils and 1 % noise. PSNR in the heart box after 21 steps was 33.81, 33.88, 33.85, 33.43 dB for strengths of
# 0.0015, 0.002, 0.003, 0.006; of the middle two, the larger one also suits 8× Cartesian lines, which gain from more.
# The tolerance stops radial data near the 20th step on purpose: where no frame has a sample nearby, nothing but
# stopping keeps noise from growing, and 30 further steps lose 1 dB.
STRENGTH, TOLERANCE = 0.003, 3.5e-3
INNER_STEPS = 5  # of the dual problem in each outer step; enough, as it starts where the last one ended
NOTE = "How much of each voxel the measurement supports was not computed."


@dataclass(frozen=True)
class TemporalTVParameters:
    """How still the images are held, and when to stop."""

    strength: float = parameter(
        STRENGTH,
        "Weight of the temporal differences, as part of the brightness; larger removes more artefacts and more motion.",
        minimum=0.0,
        maximum=1.0,
    )
    tolerance: float = parameter(
        TOLERANCE, "Stop when a step changes the images by less than this part.", minimum=1e-6, maximum=0.1
    )
    iterations: int = parameter(60, "Stop after so many steps at the latest.", minimum=1, maximum=1000)


def enhance(sequence: ImageSequence, parameters: TemporalTVParameters, kspace: KSpace) -> Enhancement:
    """Minimise ½‖A x − y‖² + λ Σ |x(t+1) − x(t)| over all frames of each slice.

    All slices are reconstructed before the first frame is yielded, so a job that must stop sooner ends its process.

    Raises:
        STEnhanceError: the k-space is not that of the sequence.
    """
    check_that_they_belong_together(sequence, kspace)
    return Enhancement(sequence.grid, _frames(kspace, parameters, sequence.periodic), (NOTE,))


def _frames(kspace: KSpace, parameters: TemporalTVParameters, periodic: bool) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.acquisition.operators import slice_operators

    slices = [
        reconstruct(operator, samples, parameters, periodic).abs().cpu().numpy()
        for operator, samples in slice_operators(kspace, device())
    ]
    for frame in zip(*slices, strict=True):
        yield EnhancedFrame(np.stack(frame), float("nan"))


def reconstruct(
    operator: Operator, samples: torch.Tensor, parameters: TemporalTVParameters, periodic: bool
) -> torch.Tensor:
    """One slice by FISTA, with the proximal step of total variation by its dual (Beck and Teboulle 2009).

    Returns:
        (T, J, I) complex64.
    """
    import torch

    right = operator.adjoint(samples)
    gridded = operator.gridded(samples)
    step = 1 / operator.largest_eigenvalue()
    brightness = float(np.percentile(gridded.abs().cpu().numpy(), 99.9))
    limit = parameters.strength * brightness * step
    # The mean over time has the samples of all frames and few streaks: a start that saves a third of the steps.
    images = gridded.mean(0, keepdim=True).expand_as(gridded)
    point, momentum = images, 1.0
    dual = torch.zeros_like(images)
    for _ in range(parameters.iterations):
        previous = images
        images, dual = _smoothed_in_time(point - step * (operator.normal(point) - right), dual, limit, periodic)
        change = images - previous
        if float(change.norm()) <= parameters.tolerance * float(images.norm()):
            break
        # Momentum is dropped where it points uphill (O'Donoghue and Candès, Found Comput Math 2015; 15:715-732).
        uphill = float(((point - images).conj() * change).real.sum()) > 0
        faster = 1.0 if uphill else (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        point = images + (0.0 if uphill else (momentum - 1) / faster) * change
        momentum = faster
    return images


def _smoothed_in_time(
    images: torch.Tensor, dual: torch.Tensor, limit: float, periodic: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """argmin ½‖x − images‖² + limit · Σ |x(t+1) − x(t)|, and the dual variable to start from next time."""
    for _ in range(INNER_STEPS):
        dual = dual + _differences(images - _adjoint_differences(dual), periodic) / 4
        dual = dual / (dual.abs() / limit).clamp_min(1) if limit > 0 else dual * 0
    return images - _adjoint_differences(dual), dual


def _differences(images: torch.Tensor, periodic: bool) -> torch.Tensor:
    differences = images.roll(-1, 0) - images
    if not periodic:
        differences[-1] = 0
    return differences


def _adjoint_differences(differences: torch.Tensor) -> torch.Tensor:
    return differences.roll(1, 0) - differences


METHOD = Method(
    key="temporal-tv",
    title="Temporal total variation",
    task=Task.ARTEFACT_REDUCTION,
    summary="Removes flickering streaks with the help of all frames; needs the measurement and some patience.",
    parameters=TemporalTVParameters,
    enhance=enhance,
    reference="Feng et al.: Golden-angle radial sparse parallel MRI (GRASP). Magn Reson Med 2014; 72:707-717. Beck, "
    "Teboulle: Fast gradient-based algorithms for constrained total variation image denoising and deblurring problems. "
    "IEEE Trans Image Process 2009; 18:2419-2434.",
    needs=(Need.KSPACE,),
    requires=("torch", "torchkbnufft"),
    baseline=True,
    rank=20,
)
