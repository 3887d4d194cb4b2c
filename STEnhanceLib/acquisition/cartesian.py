"""Cartesian cine: masks interleaved over k-space and time or random, and the operator from images to samples."""

from __future__ import annotations

import copy

import numpy as np
import torch

from STEnhanceLib.acquisition.operators import frames_at_once

CENTRE_LINES = 8


def interleaved_mask(frames: int, rows: int, acceleration: int, centre_lines: int = CENTRE_LINES) -> np.ndarray:
    """Every `acceleration`-th line, one line further in every frame, and a few centre lines in every frame.

    Frames t … t + acceleration − 1 together measure every line (sheared k-t lattice; Tsao, Boesiger, Pruessmann:
    k-t BLAST and k-t SENSE, Magn Reson Med 2003; 50:1031-1042). The centre lines lower the net acceleration: with 8 of
    256 lines, 4× is 3.7× and 8× is 6.6×.

    Returns:
        (T, J) bool; line J // 2 is the centre of k-space and always measured.
    """
    line = np.arange(rows) - rows // 2
    frame = np.arange(frames)[:, None]
    centre = (line >= -(centre_lines // 2)) & (line < (centre_lines + 1) // 2) | (line == 0)
    return ((line - frame) % acceleration == 0) | centre


def random_mask(
    frames: int, rows: int, acceleration: float, centre_share: float, random: np.random.Generator
) -> np.ndarray:
    """The central lines, and others drawn anew for every frame, until one of `acceleration` lines is measured.

    High frequencies are left out at random and low ones kept (Hyun et al., Phys Med Biol 2018; 63:135007).

    Args:
        frames, rows: how many.
        acceleration: of all lines; those of the centre count.
        centre_share: part of all lines that is always measured.
        random: decides.

    Returns:
        (T, J) bool; line J // 2 is the centre of k-space and always measured.
    """
    centre = max(1, round(centre_share * rows))
    drawn = max(0, round(rows / acceleration) - centre)
    mask = np.zeros((frames, rows), bool)
    first = rows // 2 - centre // 2
    mask[:, first : first + centre] = True
    for lines in mask:
        lines[random.choice(np.flatnonzero(~lines), drawn, replace=False)] = True
    return mask


class CartesianOperator:
    """Images of one slice over time to the measured lines of all coils: y = M F S x.

    Args:
        mask: (T, J) bool, see `interleaved_mask`.
        coils: (C, J, I) complex, root-sum-of-squares 1; one coil of ones stands for no coils.
    """

    weights = 1.0  # all samples count the same; those of `RadialOperator` do not

    def __init__(self, mask: torch.Tensor, coils: torch.Tensor):
        self.coils = coils
        self.mask = mask
        self._mask = mask[:, None, :, None]
        # In `normal` the shifts to and from the centre cancel, so the mask is shifted once instead.
        self._shifted_mask = torch.fft.ifftshift(self._mask, dim=-2)

    def with_coils(self, coils: torch.Tensor) -> CartesianOperator:
        """The same lines seen by the coils of another slice, (C, J, I)."""
        other = copy.copy(self)
        other.coils = coils
        return other

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(T, J, I) complex images to (T, C, J, I) samples, zero where nothing is measured."""
        centred = torch.fft.ifftshift(images[:, None] * self.coils, dim=(-2, -1))
        return torch.fft.fftshift(torch.fft.fft2(centred, norm="ortho"), dim=(-2, -1)) * self._mask

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, J, I) samples to (T, J, I): the zero-filled, coil-combined images."""
        return self._imaged(samples * self._mask)

    gridded = adjoint  # nothing to compensate

    def time_average(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, J, I) samples to (J, I): every line averaged over the frames that measured it."""
        times_measured = self._mask.sum(0, keepdim=True).clamp_min(1)
        return self._imaged((samples * self._mask).sum(0, keepdim=True) / times_measured)[0]

    def normal(self, images: torch.Tensor) -> torch.Tensor:
        """`adjoint(forward(images))`, by transforms along the phase-encoding direction only."""
        at_once = frames_at_once(self.coils)
        parts = zip(images.split(at_once), self._shifted_mask.split(at_once), strict=True)
        return torch.cat([self._seen(part, lines) for part, lines in parts])

    def largest_eigenvalue(self) -> float:
        """Of `normal`: an upper bound, as the transform and the coils keep the energy."""
        return 1.0

    def _seen(self, images: torch.Tensor, shifted_mask: torch.Tensor) -> torch.Tensor:
        # The mask is the same along a line, where the transform and its inverse cancel.
        spectra = torch.fft.fft(images[:, None] * self.coils, dim=-2) * shifted_mask
        return (torch.fft.ifft(spectra, dim=-2) * self.coils.conj()).sum(1)

    def _imaged(self, samples: torch.Tensor) -> torch.Tensor:
        centred = torch.fft.ifftshift(samples, dim=(-2, -1))
        images = torch.fft.fftshift(torch.fft.ifft2(centred, norm="ortho"), dim=(-2, -1))
        return (images * self.coils.conj()).sum(1)
