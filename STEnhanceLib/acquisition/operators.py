"""What all acquisition operators have in common, and data consistency with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch

from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.errors import STEnhanceError

IN_CACHE, ON_GPU = 2**17, 2**26  # complex numbers: 1 MB and 512 MB


class Operator(Protocol):
    """Images (T, J, I) of one slice over time to the samples of C coils, and back; complex64 on one device.

    `adjoint` belongs to the inner product of samples with `weights`: ⟨forward(x), weights · y⟩ = ⟨x, adjoint(y)⟩.
    """

    weights: torch.Tensor | float
    coils: torch.Tensor

    def with_coils(self, coils: torch.Tensor) -> Operator:
        """The same acquisition seen by other coils, (C, J, I)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images to samples."""

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples to images."""

    def gridded(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples to images on the intensity scale of the truth, with the artefacts of what was not measured."""

    def time_average(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples to one image (J, I) without motion, from what was measured in any frame."""

    def normal(self, images: torch.Tensor) -> torch.Tensor:
        """`adjoint(forward(images))`, but faster."""

    def largest_eigenvalue(self) -> float:
        """Of `normal`: the step length of iterative methods is its inverse."""


class AtOnce(NamedTuple):
    """How many frames and coils an operator takes together."""

    frames: int
    coils: int


def at_once(coils: torch.Tensor, per_voxel: int = 1) -> AtOnce:
    """As many as the cache of a processor's core holds; on a GPU as many as fill it.

    On a CPU that takes half to a quarter of the time of all at once; small images together save calls.

    Args:
        coils: of the operator, (C, J, I).
        per_voxel: how many numbers are kept for each voxel of each coil.
    """
    fits = (IN_CACHE if coils.device.type == "cpu" else ON_GPU) // (coils[0].numel() * per_voxel)
    return AtOnce(max(1, fits // len(coils)), min(max(1, fits), len(coils)))


def slice_operators(kspace: KSpace, device: str | torch.device) -> Iterator[tuple[Operator, torch.Tensor]]:
    """For every slice in order: the operator of its acquisition, and its samples (T, C, …).

    Raises:
        STEnhanceError: the data are radial, and torchkbnufft is missing.
    """
    from STEnhanceLib.acquisition.cartesian import CartesianOperator

    coils = torch.tensor(kspace.coil_sensitivities, device=device)
    if kspace.mask is not None:
        operator: Operator = CartesianOperator(torch.tensor(kspace.mask, device=device), coils[0])
    else:
        try:
            from STEnhanceLib.acquisition.radial import RadialOperator  # torchkbnufft is needed for radial data only
        except ImportError as error:
            raise STEnhanceError(
                f"The k-space is radial, which needs {error.name}, not installed here; install with `pip install "
                "torchkbnufft`."
            ) from None
        density = None if kspace.density is None else torch.tensor(kspace.density, device=device)
        operator = RadialOperator(torch.tensor(kspace.trajectory, device=device), coils[0], density)
    for index, of_slice in enumerate(coils):
        yield operator.with_coils(of_slice), torch.tensor(kspace.samples[:, index], device=device)


def conjugate_gradient(
    operator: Operator,
    samples: torch.Tensor,
    start: torch.Tensor,
    strength: float | torch.Tensor,
    *,
    iterations: int = 30,
    tolerance: float = 1e-5,
    adjoint: torch.Tensor | None = None,
) -> torch.Tensor:
    """Data consistency: the images that balance the measurement against what an enhancer made of it.

    Solves (AᴴA + λ) x = Aᴴy + λ x₀ (Aggarwal, Mani, Jacob: MoDL, IEEE TMI 2019; 38:394-405). Frames are independent and
    each takes its own step length. With one Cartesian coil AᴴA is a projection, and two steps are the closed form
    F x = (y + λ F x₀) / (1 + λ) on measured lines.

    Args:
        operator: A.
        samples: y, as `operator.forward` returns them.
        start: x₀, (T, J, I) complex64.
        strength: λ > 0; small trusts the measurement, large the images.
        iterations: at most so many steps.
        tolerance: stop when the residual of every frame is below this fraction of the right-hand side.
        adjoint: Aᴴy where it is known already; saves its computation.

    Returns:
        (T, J, I) complex64; differentiable.
    """
    right = (operator.adjoint(samples) if adjoint is None else adjoint) + strength * start
    x = start
    residual = right - operator.normal(x) - strength * x
    direction = residual
    energy = _product(residual, residual)
    enough = tolerance**2 * _product(right, right)
    for _ in range(iterations):
        if bool((energy <= enough).all()):
            break
        image = operator.normal(direction) + strength * direction
        step = _ratio(energy, _product(direction, image))
        x = torch.addcmul(x, step, direction)
        residual = torch.addcmul(residual, step, image, value=-1)
        previous, energy = energy, _product(residual, residual)
        direction = torch.addcmul(residual, _ratio(energy, previous), direction)
    return x


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Real part of the inner product, frame by frame, (T, 1, 1)."""
    products = torch.view_as_real(a) * torch.view_as_real(b)
    return products.sum((-3, -2, -1))[..., None, None]


def _ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a / b.clamp_min(torch.finfo(b.dtype).tiny)  # a finished frame has 0 / 0: it takes no step
