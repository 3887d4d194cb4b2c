"""The through-plane step of STEnhance-SR: thinner slices, no sharper across them than slices lie where they should.

Slices are measured in different breath-holds and heartbeats. An error of position with standard deviation σ leaves of a
wavelength λ across slices the share exp(−(2πσ/λ)²) that still fits a stack of true slices (the mean of exp(i 2π(z₁ −
z₂)/λ) over two independent errors). Everything beyond interpolation is weighed by that:

* slices are interpolated along the structures that run through them (`motion.between_slices`);
* what a network adds that slices as thick as these cannot tell, on planes at right angles to them, both ways, averaged,
  is filtered by exp(−(2πσ/λ)²);
* of a Gaussian profile with standard deviation s, whose undoing amplifies by exp(2π²s²/λ²), only one with s² − 2σ² is
  undone, because that is what is left of the product of both; none where it is negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.methods.in_plane import Estimate
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles
from STEnhanceLib.sequence import ImageSequence

if TYPE_CHECKING:
    import torch

ROWS, COLUMNS = -2, -1
POSITION_ERROR_MM = 2.0  # against measured planes, a stack of a beating heart agreed as with 1.7 to 2
LARGEST_WIDTH = 2.0  # slice distances: what a header says beyond is no thickness of 2D slices
THICKNESS = "DICOM.SliceThickness"  # in mm, an attribute of sequences whose header tells it
MEASURED_PLANES = (
    "Thinner slices are for display rather than for detail: against long-axis planes that were measured in the same "
    "heart, they agreed about as well as cubic interpolation."
)


@dataclass(frozen=True)
class Stack:
    """How thick slices lie.

    Attributes:
        spacing_mm: along (i, j, k).
        thickness_mm: full width of their profile at half maximum.
        known: the header said how thick they are.
        position_error_mm: standard deviation of where they lie from where they should.
    """

    spacing_mm: tuple[float, float, float]
    thickness_mm: float
    known: bool
    position_error_mm: float

    @classmethod
    def of(cls, sequence: ImageSequence, spacing_ij: tuple[float, float], position_error_mm: float) -> Stack:
        """The stack of a sequence with these pixels; slices whose thickness no header tells are taken to touch."""
        distance = sequence.grid.spacing_mm[2]
        try:
            thickness = float(sequence.attributes[THICKNESS])
        except (KeyError, ValueError):
            thickness = math.nan
        known = 0 < thickness <= LARGEST_WIDTH * distance
        return cls((*spacing_ij, distance), thickness if known else distance, known, position_error_mm)

    @property
    def undone_mm(self) -> float:
        """Full width at half maximum of the profile that can be undone; 0 where it cannot be."""
        lost = 2 * (thick_slices.FWHM * self.position_error_mm) ** 2
        return math.sqrt(max(0.0, self.thickness_mm**2 - lost))

    def notes(self) -> list[str]:
        """What was assumed, what was not done, and what to expect."""
        thickness, distance = self.thickness_mm, self.spacing_mm[2]
        if self.known:
            told = f"Slices are {thickness:.3g} mm thick and {distance:.3g} mm apart, as the header says"
        else:
            told = (
                f"Slices were taken as {thickness:.3g} mm thick, without gaps, since no header says how thick they are"
            )
        notes = [f"{told}; their profile was taken as Gaussian.", MEASURED_PLANES]
        if not self.undone_mm:
            notes.append(
                f"Their thickness was not undone, since they may lie {self.position_error_mm:.3g} mm from where they "
                "should: undoing it would sharpen errors of position more than anatomy."
            )
        return notes


def thinner(
    stacks: Callable[[int], Estimate],
    around: Callable[[int], tuple[int, int, int]],
    factor: float,
    stack: Stack,
    *,
    model: str,
    placement: Placement,
    consistent: bool,
) -> Callable[[int], Estimate]:
    """Frames by index, with thinner slices; arguments as `in_plane.finer`.

    Args:
        stacks: the frames with thick slices, by index.
        factor: see `thick_slices.operator`.
        stack: how the thick slices lie.
    """
    import torch

    from STEnhanceLib.motion import between_slices

    distance_mm = stack.spacing_mm[2]
    smoothness = math.sqrt(2) * stack.position_error_mm * factor / distance_mm  # of the filter, in thin slices
    width = stack.undone_mm / distance_mm

    def frame(t: int) -> Estimate:
        thick = stacks(t)
        starts = np.stack([thick_slices.start(stacks(n).fine, factor) for n in around(t)])  # (3, K, J, I)
        images, magnitude = _magnitude(starts), _magnitude(thick.fine)

        def added(network, device, largest) -> np.ndarray:
            given = torch.from_numpy(images).to(device)
            refined = sum(_planes(network, given, axis, factor, largest) for axis in (ROWS, COLUMNS)) / 2
            return (refined - given[0]).cpu().numpy()

        beyond = placement.run(model, added)
        if consistent:
            beyond = thick_slices.replace_measured(beyond, np.zeros_like(magnitude), factor)
        beyond = _smoothed(beyond, smoothness)
        if consistent and not width:  # slices stay as they are
            beyond -= thick_slices.interpolated(thick_slices.measure(beyond, len(magnitude), factor, 0.0), factor)
        places = np.arange(len(beyond)) / factor
        fine = between_slices.interpolated(magnitude, places, stack.spacing_mm[:2], placement.device) + beyond
        if np.iscomplexobj(starts):
            fine = fine * np.exp(1j * np.angle(starts[0])).astype(np.complex64)
        if consistent and width:
            fine = thick_slices.replace_measured(fine, thick.fine, factor, width)
        supported = thick_slices.replace_measured(np.zeros_like(fine), thick.supported, factor)
        return Estimate(fine, supported)

    return frame


def _magnitude(images: np.ndarray) -> np.ndarray:
    return np.abs(images) if np.iscomplexobj(images) else images


def _smoothed(images: np.ndarray, sigma: float) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter1d(images, sigma, axis=0, mode="nearest") if sigma else images


def _planes(network, images: torch.Tensor, axis: int, factor: float, largest: int) -> torch.Tensor:
    """Each plane of the (3, K, J, I) stacks that lies at right angles to `axis` refined: (K, J, I)."""
    import torch

    from STEnhanceLib.networks.stenhance_sr import FOLD

    planes = images.movedim(axis, 0)  # (J, 3, K, I) or (I, 3, K, J)
    support = images.new_tensor([[1 / factor, 1.0]])

    def apply(tile: torch.Tensor) -> torch.Tensor:
        return network(tile, None, support.expand(len(tile), 2))

    each = planes.shape[-2] * planes.shape[-1]
    results = [
        in_tiles(apply, planes[part].contiguous(), network.radius, multiple=FOLD, largest=largest)[:, 0]
        for part in chunks(len(planes), each, largest)
    ]
    return torch.cat(results).movedim(0, axis)
