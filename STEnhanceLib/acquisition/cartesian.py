"""Cartesian cine: masks interleaved over k-space and time or random, and the operator from images to samples."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch

from STEnhanceLib.acquisition.operators import at_once

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
        self.mask = mask
        # Of lines in the order of the transform. Real, as multiplication by truth values takes longer.
        self._weights = torch.fft.ifftshift(mask, dim=-1)[:, None, None].float()
        self._see_by(coils)

    def with_coils(self, coils: torch.Tensor) -> CartesianOperator:
        """The same lines seen by the coils of another slice, (C, J, I)."""
        other = copy.copy(self)
        other._see_by(coils)
        return other

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(T, J, I) complex images to (T, C, J, I) samples, zero where nothing is measured."""
        return torch.cat([self._measured(*part) for part in self._parts(images, self.mask)])

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, J, I) samples to (T, J, I): the zero-filled, coil-combined images."""
        return torch.cat([self._imaged(*part) for part in self._parts(samples, self.mask)])

    gridded = adjoint  # nothing to compensate

    def time_average(self, samples: torch.Tensor) -> torch.Tensor:
        """(T, C, J, I) samples to (J, I): every line averaged over the frames that measured it."""
        measured = self.mask[:, None, :, None]
        times_measured = measured.sum(0, keepdim=True).clamp_min(1)
        average = (samples * measured).sum(0, keepdim=True) / times_measured
        return self._imaged(average, self.mask.any(0, keepdim=True))[0]

    def normal(self, images: torch.Tensor) -> torch.Tensor:
        """`adjoint(forward(images))`, by transforms along the phase-encoding direction only."""
        return torch.cat([self._seen(*part) for part in self._parts(images, self._weights)])

    def largest_eigenvalue(self) -> float:
        """Of `normal`: an upper bound, as the transform and the coils keep the energy."""
        return 1.0

    def _see_by(self, coils: torch.Tensor) -> None:
        self.coils = coils
        self._at_once = at_once(coils)
        self._turned_coils = _turned(coils).split(self._at_once.coils)

    def _parts(self, *of_frames: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        return zip(*(each.split(self._at_once.frames) for each in of_frames), strict=True)

    def _seen(self, images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        # The mask is the same along a line, where the transform and its inverse cancel.
        turned, seen = _turned(images)[:, None], torch.zeros((), device=images.device)
        for coils in self._turned_coils:
            spectra = torch.fft.fft(turned * coils) * weights
            seen = seen + (torch.fft.ifft(spectra) * coils.conj()).sum(1)
        return _turned_back(seen)

    def _measured(self, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Along the readout only measured lines are transformed, here and below: few of all."""
        turned, (frame, line) = _turned(images)[:, None], mask.nonzero(as_tuple=True)
        samples = images.new_zeros(len(images), mask.shape[1], *self.coils.shape[::2])  # (T, J, C, I)
        lines = []
        for coils in self._turned_coils:
            spectra = torch.fft.fft(turned * coils, norm="ortho")
            lines.append(spectra[frame, :, :, _order(line, mask)])
        along_readout = torch.fft.fft(torch.cat(lines, dim=1), norm="ortho")
        samples[frame, line] = torch.fft.fftshift(along_readout, dim=-1)
        return samples.transpose(1, 2)

    def _imaged(self, samples: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frame, line = mask.nonzero(as_tuple=True)
        lines = torch.fft.ifft(torch.fft.ifftshift(samples[frame, :, line], dim=-1), norm="ortho")
        images = torch.zeros((), device=samples.device)
        for some, coils in zip(lines.split(self._at_once.coils, dim=1), self._turned_coils, strict=True):
            spectra = samples.new_zeros(len(samples), *coils.shape)
            spectra[frame, :, :, _order(line, mask)] = some
            images = images + (torch.fft.ifft(spectra, norm="ortho") * coils.conj()).sum(1)
        return _turned_back(images)


def _turned(images: torch.Tensor) -> torch.Tensor:
    """(…, J, I) to (…, I, J) with pixel (0, 0) in the centre: transforms along the last axis are the fastest."""
    return torch.fft.ifftshift(images, dim=(-2, -1)).transpose(-2, -1).contiguous()


def _turned_back(images: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(images.transpose(-2, -1), dim=(-2, -1))


def _order(line: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Where these lines are in a transform that begins with the centre of k-space."""
    rows = mask.shape[1]
    return (line - rows // 2) % rows
