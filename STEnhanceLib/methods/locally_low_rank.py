"""Locally low rank: in every small patch all frames are mixtures of a few images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.methods import iterative
from STEnhanceLib.methods.declaration import Enhancement, Method, Need, Task, parameter
from STEnhanceLib.methods.measurement import delays_parameter
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

# Tuned once on the middle slice of a human short-axis cine (20 phases of 256², 8 coils, 1 % noise, 8× Cartesian lines).
# The 80² pixels around the heart lose 0.1 dB at a strength of 0.002 or 0.004, 0.2 dB with patches of 8, 0.1 dB with 16,
# and 0.1 dB at twice the tolerance. From 13 spokes per frame weaker is better: 0.001 gains 0.1 dB on 0.002.
STRENGTH, PATCH, TOLERANCE = 0.003, 12, 0.005


@dataclass(frozen=True)
class LocallyLowRankParameters:
    """How simple each patch is held, and when to stop."""

    strength: float = parameter(
        STRENGTH,
        "Weight of the rank of a patch, as part of the brightness; larger removes more artefacts and more motion.",
        minimum=0.0,
        maximum=1.0,
    )
    patch: int = parameter(
        PATCH, "Side of a patch; larger ones average more and tell less apart.", minimum=2, maximum=64, unit="pixels"
    )
    tolerance: float = parameter(
        TOLERANCE,
        "Stop when a step changes the images by less than this part of what distinguishes them from their average.",
        minimum=1e-5,
        maximum=0.5,
    )
    iterations: int = parameter(100, "Stop after so many steps at the latest.", minimum=1, maximum=1000)
    delays: bool = delays_parameter()
    support: bool = iterative.support_parameter()


def enhance(sequence: ImageSequence, parameters: LocallyLowRankParameters, kspace: KSpace) -> Enhancement:
    """Minimise ½‖A x − y‖² + λ Σ ‖patch of x over time‖_* over all frames of each slice.

    All slices are reconstructed before the first frame is yielded.

    Raises:
        STEnhanceError: the k-space is not that of the sequence.
    """

    def of_slice(operator: Operator, samples: torch.Tensor) -> torch.Tensor:
        return reconstruct(operator, samples, parameters)

    return iterative.enhancement(sequence, kspace, of_slice, support=parameters.support, delays=parameters.delays)


def reconstruct(operator: Operator, samples: torch.Tensor, parameters: LocallyLowRankParameters) -> torch.Tensor:
    """One slice by accelerated proximal steps.

    Patches tile the image twice, the second time half a patch further, and the average of both leaves no seams.
    Publications move the tiling at random from step to step instead, which never comes to rest.

    Returns:
        (T, J, I) complex64.
    """
    right = operator.adjoint(samples)
    average = operator.time_average(samples)
    step = 1 / operator.largest_eigenvalue()
    brightness = float(np.percentile(average.abs().cpu().numpy(), 99.9))
    # Noise of one level makes singular values of about √(pixels) + √(frames), so the strength holds for all sizes.
    limit = parameters.strength * brightness * (parameters.patch + len(right) ** 0.5) * step
    side = parameters.patch

    def advance(point: torch.Tensor) -> torch.Tensor:
        downhill = point - step * (operator.normal(point) - right)
        return (_simpler(downhill, limit, side, 0) + _simpler(downhill, limit, side, side // 2)) / 2

    return iterative.minimised(
        average.expand_as(right),
        advance,
        average,
        tolerance=parameters.tolerance,
        iterations=parameters.iterations,
    )


def _simpler(images: torch.Tensor, limit: float, side: int, first: int) -> torch.Tensor:
    """Each singular value of each patch over time (T, side²) smaller by `limit`, down to 0; patches wrap around.

    Args:
        images: (T, J, I).
        limit: in the units of the images.
        side: of the patches, in pixels.
        first: row and column where the tiling begins.
    """
    import torch

    rows, columns = images.shape[1:]
    turned = images.roll((-first, -first), (1, 2))
    # Sides that are no multiple of the patch are filled up by 0, which changes no singular value.
    padded = torch.nn.functional.pad(turned, (0, -columns % side, 0, -rows % side))
    patches = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (T, J/side, side, I/side, side)
    patches = patches.permute(1, 3, 0, 2, 4).flatten(3)  # (J/side, I/side, T, side²)
    squares, vectors = torch.linalg.eigh(patches @ patches.mH)
    shrunk = iterative.kept_share(squares.clamp_min(0).sqrt(), limit)
    patches = ((vectors * shrunk[..., None, :]) @ vectors.mH) @ patches
    patches = patches.unflatten(3, (side, side)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return patches[:, :rows, :columns].roll((first, first), (1, 2))


METHOD = Method(
    key="locally-low-rank",
    title="Locally low rank",
    task=Task.ARTEFACT_REDUCTION,
    summary="Finds few patterns over time in each patch; needs the measurement and some patience.",
    parameters=LocallyLowRankParameters,
    enhance=enhance,
    reference="Trzasko, Manduca: Local versus global low-rank promotion in dynamic MRI series reconstruction. Proc "
    "ISMRM 2011; 19:4371. Zhang, Pauly, Levesque: Accelerating parameter mapping with a locally low rank constraint. "
    "Magn Reson Med 2015; 73:655-661.",
    needs=(Need.KSPACE,),
    requires=("torch", "torchkbnufft"),
    baseline=True,
    rank=24,
    preview_frames=iterative.PREVIEW_FRAMES,
)
