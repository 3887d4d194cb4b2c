"""What reconstructions from k-space share: slices one by one, accelerated steps, and what samples say of the result."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.acquisition.kspace import KSpace
from STEnhanceLib.assurance.unsupported import fraction
from STEnhanceLib.methods.declaration import UNSUPPORTED, EnhancedFrame, Enhancement, parameter
from STEnhanceLib.methods.measurement import check_that_they_belong_together, spokes_in_place
from STEnhanceLib.methods.placement import is_short_of_memory
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

    from STEnhanceLib.acquisition.operators import Operator

SUPPORT_NOT_COMPUTED = "How much of each voxel the measurement supports was not computed."
SUPPORT = (
    "The samples of each frame by themselves do not determine {:.2g} of the result (‖x − z‖ / ‖x‖ with z what they "
    "determine); the map of unsupported fractions shows where."
)
RESIDUAL = "The result differs from the measured samples by {:.2g} of them (‖Ax − y‖ / ‖y‖), "
NOISE_ALONE = "and the noise alone is {:.2g} of them."
NOISE_UNKNOWN = "and how much of that is noise is not known."
PREVIEW_FRAMES = 9  # four before and four after the one that is shown
ON_THE_CPU = "The memory of the GPU was short for a slice, so the CPU computed it and the rest, which takes longer."
DARK = 0.01  # of the brightness: no darker voxel is told from noise
EXACT = 1e-3  # of the samples: what counts as agreement where there is no noise
ROUNDS, STEPS_PER_ROUND, WEAK = 8, 5, 1e-5  # of conjugate gradients, hardly held to where they start
LEAST_STEPS = 5  # the first ones are short, as momentum has yet to build up

Reconstruct = Callable[["Operator", "torch.Tensor"], "torch.Tensor"]


def support_parameter():
    """The parameter `support` of methods that reconstruct from k-space."""
    return parameter(
        False,
        "Also compute how much of each voxel the samples of its own frame determine; takes about as long again.",
        label="Map of support",
    )


def enhancement(
    sequence: ImageSequence,
    kspace: KSpace,
    reconstruct: Reconstruct,
    *,
    models: Sequence[str] = (),
    notes: Sequence[str] = (),
    support: bool = False,
    delays: bool = True,
) -> Enhancement:
    """All slices are reconstructed before the first frame is yielded; a job that must stop sooner ends its process.

    Args:
        sequence: what the measurement belongs to.
        kspace: the measurement.
        reconstruct: operator and samples of one slice to images (T, J, I), complex64; no gradients are recorded. It
            may tell how far it is, see `progress.tell`.
        models: as of `Enhancement`.
        notes: of the method itself, one sentence each.
        support: also compute how much of each voxel the measurement determines, see `assurance.support`.
        delays: put spokes where late gradients measured them, see `acquisition.delays`.

    Raises:
        STEnhanceError: the k-space is not that of the sequence.
    """
    check_that_they_belong_together(sequence, kspace)
    all_notes = [*kspace.notes, *notes]
    if not support:
        all_notes.append(SUPPORT_NOT_COMPUTED)
    frames, maps = _frames(kspace, reconstruct, support, delays, all_notes), (UNSUPPORTED,) if support else ()
    return Enhancement(sequence.grid, frames, all_notes, tuple(models), maps)


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
        progress.tell(f"step {count} of at most {iterations}", (count - 1) / iterations)
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


def held_to_samples(kspace: KSpace, operator: Operator, samples: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Images of one slice moved as little as need be until they agree with samples that have no noise.

    They stay as they are where the noise is more than `EXACT` of the samples, or not known: it would be fitted.

    Args:
        kspace: tells the noise.
        operator: of the slice.
        samples: of the slice, on the scale of the measurement.
        images: (T, J, I) complex64 on that scale.
    """
    from STEnhanceLib.acquisition.operators import conjugate_gradient

    allowed = EXACT * _norm(samples)
    if not _noise(kspace, slices=1) <= allowed:  # also where it is NaN
        return images
    for _ in range(ROUNDS):
        if _norm(operator.forward(images) - samples) <= allowed:
            break
        images = conjugate_gradient(operator, samples, images, WEAK, iterations=STEPS_PER_ROUND)
    return images


def kept_share(sizes: torch.Tensor, limit: float) -> torch.Tensor:
    """What to multiply values of these sizes (0 or more) with to make each smaller by `limit`, down to 0."""
    import torch

    return (1 - limit / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)).clamp_min(0)


def _frames(
    kspace: KSpace, reconstruct: Reconstruct, support: bool, delays: bool, notes: list[str]
) -> Iterator[EnhancedFrame]:
    """Notes get what the measurement says of the result."""
    from STEnhanceLib.acquisition.operators import slice_operators

    kspace = spokes_in_place(kspace, delays, notes)
    slices, where, count = [], device.chosen(), kspace.grid.shape[0]
    operators = slice_operators(kspace, where)
    while len(slices) < count:
        try:
            with progress.part(len(slices), count, "slice"):
                operator, samples = next(operators)
                slices.append(_reconstructed(operator, samples, reconstruct, kspace.noise_std if support else None))
        except (RuntimeError, MemoryError) as error:
            if not is_short_of_memory(error):
                raise
            if where == "cpu":
                raise MemoryError(str(error)) from error
            where = "cpu"
            notes.append(ON_THE_CPU)
            operators = itertools.islice(slice_operators(kspace, where), len(slices), None)
    misfit, energy, invented, content = (sum(values) for values in zip(*(part.norms for part in slices), strict=True))
    noise = _noise(kspace, count) / energy**0.5
    notes.append(
        RESIDUAL.format((misfit / energy) ** 0.5) + (NOISE_ALONE.format(noise) if noise >= 0 else NOISE_UNKNOWN)
    )
    if support:
        notes.append(SUPPORT.format((invented / max(content, 1e-30)) ** 0.5))
    for index in range(len(kspace.grid)):
        voxels = np.stack([part.magnitude[index] for part in slices])
        if support:
            unsupported = np.stack([part.unsupported[index] for part in slices])
            yield EnhancedFrame(voxels, unsupported, {UNSUPPORTED.key: unsupported})
        else:
            yield EnhancedFrame(voxels, float("nan"))


class _Slice(NamedTuple):
    """One slice, finished.

    Attributes:
        magnitude: (T, J, I).
        unsupported: of each voxel, or None where it was not asked for.
        norms: squared, of what is off the samples, of the samples, of what they do not determine, and of the images.
    """

    magnitude: np.ndarray
    unsupported: np.ndarray | None
    norms: tuple[float, float, float, float]


def _reconstructed(
    operator: Operator, samples: torch.Tensor, reconstruct: Reconstruct, noise_std: float | None
) -> _Slice:
    """`noise_std` is None where support is not asked for."""
    import torch

    from STEnhanceLib.assurance.support import measured_part

    with torch.no_grad():
        with progress.part(0, 1 if noise_std is None else 2):
            progress.tell("")
            images = reconstruct(operator, samples)
        misfit = operator.forward(images) - samples
        unsupported, invented = None, torch.zeros(())
        if noise_std is not None:
            progress.tell("what the measurement supports", 1 / 2)
            invented = images - measured_part(operator, images, noise_std)
            value = images.cpu().numpy()
            # The mean magnitude of the noise of a fully sampled image, or where it is not known a guess.
            dark = 2**0.5 * noise_std if noise_std > 0 else DARK * float(np.percentile(np.abs(value), 99.9))
            unsupported = fraction(invented.cpu().numpy(), value, dark)
        norms = tuple(_norm(part) ** 2 for part in (misfit, samples, invented, images))
        return _Slice(images.abs().cpu().numpy(), unsupported, norms)


def _norm(values: torch.Tensor) -> float:
    """In double precision, as the squares of what scanners count may exceed the range of single numbers."""
    return float(values.abs().double().norm())


def _noise(kspace: KSpace, slices: int) -> float:
    """The norm of the noise of so many slices, as far as it is known."""
    total, coils, _, columns = kspace.coil_sensitivities.shape
    measured = kspace.samples.size if kspace.mask is None else int(kspace.mask.sum()) * total * coils * columns
    return kspace.noise_std * (2 * measured * slices / total) ** 0.5
